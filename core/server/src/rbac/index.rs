use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use k8s_openapi::api::rbac::v1::{
    ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject,
};
use pinnace_api::{Key, Object};

use super::rule::Rule;
use crate::User;

/// The tables that are read.
const TABLES: [&str; 4] = [
    "clusterroles.rbac.authorization.k8s.io",
    "roles.rbac.authorization.k8s.io",
    "clusterrolebindings.rbac.authorization.k8s.io",
    "rolebindings.rbac.authorization.k8s.io",
];

type Map<K, V> = HashMap<K, V, ahash::RandomState>;

/// Roles, and bindings by whom they are for. Cluster-wide is the namespace without a name.
#[derive(Debug, Default)]
pub(super) struct Index {
    roles: Map<Arc<str>, Map<Arc<str>, RoleEntry>>,
    scopes: Map<Arc<str>, Scope>,
    /// Whom each binding is for, to find it again when it changes.
    bindings: Map<Key, Vec<Whom>>,
}

/// A role: its rules as they are written and as they are compared.
#[derive(Debug)]
pub(super) struct RoleEntry {
    pub(super) rules: Vec<Rule>,
    object: Object,
}

/// The bindings of a namespace.
#[derive(Debug, Default)]
struct Scope {
    users: Map<Box<str>, Vec<Bound>>,
    groups: Map<Box<str>, Vec<Bound>>,
}

#[derive(Clone, Debug)]
pub(super) enum Whom {
    User(Box<str>),
    Group(Box<str>),
}

/// That a subject has a role.
#[derive(Clone, Debug)]
struct Bound {
    binding: Arc<str>,
    role: Named,
}

/// A binding that gives a role.
#[derive(Clone, Copy)]
pub(super) struct Source<'i> {
    /// Empty for one of the whole cluster.
    pub(super) namespace: &'i str,
    pub(super) binding: &'i str,
}

/// Which role is meant.
#[derive(Clone, Debug)]
enum Named {
    Cluster(Arc<str>),
    /// Of the binding's own namespace.
    Local(Arc<str>),
    Unsupported(Arc<str>),
}

impl Named {
    fn of(reference: &RoleRef) -> Self {
        match &*reference.kind {
            "ClusterRole" => Self::Cluster(reference.name.as_str().into()),
            "Role" => Self::Local(reference.name.as_str().into()),
            kind => Self::Unsupported(kind.into()),
        }
    }
}

impl RoleEntry {
    /// The rules as they are written.
    pub(super) fn policy(&self) -> &[PolicyRule] {
        let rules = match self.object.get::<ClusterRole>() {
            Ok(role) => role.rules.as_deref(),
            Err(_) => self.object.get::<Role>().ok().and_then(|role| role.rules.as_deref()),
        };
        rules.unwrap_or_default()
    }
}

impl crate::followed::Index for Index {
    const TABLES: &'static [&'static str] = &TABLES;

    /// Takes a new version of an object, or its removal. What is none of the four kinds is passed
    /// over.
    fn apply(&mut self, table: &str, object: &Object, removed: bool) {
        let key = object.key();
        if table == TABLES[0] || table == TABLES[1] {
            if removed {
                if let Some(roles) = self.roles.get_mut(key.namespace()) {
                    roles.remove(key.name());
                }
            } else {
                self.add_role(object);
            }
            return;
        }
        self.unbind(&key);
        if !removed {
            self.bind(object);
        }
    }
}

impl Index {
    fn add_role(&mut self, object: &Object) {
        let mut entry = RoleEntry { rules: Vec::new(), object: object.clone() };
        entry.rules = entry.policy().iter().map(Rule::new).collect();
        let key = object.key();
        self.roles.entry(key.namespace().into()).or_default().insert(key.name().into(), entry);
    }

    fn bind(&mut self, object: &Object) {
        let (subjects, reference) = match object.get::<ClusterRoleBinding>() {
            Ok(binding) => (&binding.subjects, &binding.role_ref),
            Err(_) => match object.get::<RoleBinding>() {
                Ok(binding) => (&binding.subjects, &binding.role_ref),
                Err(_) => return,
            },
        };
        let key = object.key();
        let bound = Bound { binding: key.name().into(), role: Named::of(reference) };
        let scope = self.scopes.entry(key.namespace().into()).or_default();
        let all = subjects.iter().flatten().filter_map(|one| whom(one, key.namespace()));
        let all: Vec<_> = all.collect();
        for one in &all {
            let (map, name) = scope.map(one);
            let list = map.entry(name.into()).or_default();
            if !list.iter().any(|other| other.binding == bound.binding) {
                list.push(bound.clone());
            }
        }
        self.bindings.insert(key, all);
    }

    fn unbind(&mut self, key: &Key) {
        let Some(all) = self.bindings.remove(key) else { return };
        let Some(scope) = self.scopes.get_mut(key.namespace()) else { return };
        for one in &all {
            let (map, name) = scope.map(one);
            if let Some(list) = map.get_mut(name) {
                list.retain(|bound| *bound.binding != *key.name());
                if list.is_empty() {
                    map.remove(name);
                }
            }
        }
    }

    /// Visits the roles that a user has in a namespace, cluster-wide ones first; a role that is not
    /// there gives a text that says so.
    pub(super) fn visit<'i, B>(
        &'i self,
        user: &User,
        namespace: &'i str,
        mut visit: impl FnMut(Source<'i>, Result<&'i RoleEntry, String>) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let own = Some(namespace).filter(|namespace| !namespace.is_empty());
        for namespace in [Some(""), own].into_iter().flatten() {
            let Some(scope) = self.scopes.get(namespace) else { continue };
            let own = scope.users.get(&*user.name);
            let groups = user.groups.iter().filter_map(|group| scope.groups.get(group.as_str()));
            for bound in own.into_iter().chain(groups).flatten() {
                let source = Source { namespace, binding: &bound.binding };
                visit(source, self.find(&bound.role, namespace))?;
            }
        }
        ControlFlow::Continue(())
    }

    /// The role of a reference in a binding of this namespace.
    pub(super) fn role(&self, reference: &RoleRef, namespace: &str) -> Result<&RoleEntry, String> {
        self.find(&Named::of(reference), namespace)
    }

    fn find(&self, role: &Named, namespace: &str) -> Result<&RoleEntry, String> {
        let (kind, namespace, name) = match role {
            Named::Cluster(name) => ("clusterrole", "", name),
            Named::Local(name) => ("role", namespace, name),
            Named::Unsupported(kind) => {
                return Err(format!("unsupported role reference kind: {kind:?}"));
            }
        };
        let found = self.roles.get(namespace).and_then(|roles| roles.get(name));
        found.ok_or_else(|| format!("{kind}.rbac.authorization.k8s.io {name:?} not found"))
    }
}

impl Scope {
    fn map<'s, 'w>(&'s mut self, whom: &'w Whom) -> (&'s mut Map<Box<str>, Vec<Bound>>, &'w str) {
        match whom {
            Whom::User(name) => (&mut self.users, name),
            Whom::Group(name) => (&mut self.groups, name),
        }
    }
}

/// Whom a subject of a binding in a namespace means; nobody when it is of no known kind.
pub(super) fn whom(subject: &Subject, namespace: &str) -> Option<Whom> {
    let name = subject.name.as_str();
    match &*subject.kind {
        "User" => Some(Whom::User(name.into())),
        "Group" => Some(Whom::Group(name.into())),
        "ServiceAccount" => {
            let own = subject.namespace.as_deref().filter(|namespace| !namespace.is_empty());
            let namespace = own.unwrap_or(namespace);
            let account = format!("system:serviceaccount:{namespace}:{name}");
            (!namespace.is_empty()).then(|| Whom::User(account.into()))
        }
        _ => None,
    }
}
