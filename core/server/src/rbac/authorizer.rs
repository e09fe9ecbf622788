use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, PolicyRule, RoleBinding, RoleRef, Subject};
use pinnace_api::Key;
use pinnace_store::{Snapshot, Store};

use super::index::{Index, Whom, whom};
use super::rule::Request;
use crate::authorization::MASTERS;
use crate::followed::Followed;
use crate::{Attributes, Authorizer, Decision, Rules, User};

/// Decides by the roles and bindings in the store. Cheap to clone; clones share.
///
/// It keeps an index of them, by whom they are for, and brings it up to date with the store before
/// each decision: a binding that has been written counts from then on.
#[derive(Clone)]
pub struct Rbac(Arc<Followed<Index>>);

impl Rbac {
    /// An authorizer over a store.
    pub fn new(store: Store) -> Self {
        Self(Arc::new(Followed::new(store)))
    }

    /// All rules that a user has in a namespace, and what is wrong with the bindings that give
    /// none.
    pub fn rules_for(&self, user: &User, namespace: &str) -> (Vec<PolicyRule>, Vec<String>) {
        let (mut rules, mut problems) = (Vec::new(), Vec::new());
        let state = self.0.state();
        let _: ControlFlow<()> = state.index.visit(user, namespace, |_, role| {
            match role {
                Ok(role) => rules.extend_from_slice(role.policy()),
                Err(problem) => problems.push(problem),
            }
            ControlFlow::Continue(())
        });
        (rules, problems)
    }

    /// The rules of the role that a binding in a namespace refers to.
    ///
    /// # Errors
    /// A text that says that there is no such role.
    pub fn rules_of(&self, role: &RoleRef, namespace: &str) -> Result<Vec<PolicyRule>, String> {
        self.0.state().index.role(role, namespace).map(|role| role.policy().to_vec())
    }
}

impl Authorizer for Rbac {
    fn authorize(&self, request: &Attributes<'_>) -> Decision {
        if request.user.groups.iter().any(|group| group == MASTERS) {
            return Decision::Allow;
        }
        let asked = Request::new(request);
        let mut problems = Vec::new();
        let state = self.0.state();
        let visited = state.index.visit(request.user, request.namespace, |_, role| {
            match role {
                Ok(role) if role.rules.iter().any(|rule| rule.allows(&asked)) => {
                    return ControlFlow::Break(());
                }
                Ok(_) => {}
                Err(problem) => problems.push(problem),
            }
            ControlFlow::Continue(())
        });
        match visited {
            ControlFlow::Break(()) => Decision::Allow,
            ControlFlow::Continue(()) => Decision::Deny(reason(problems)),
        }
    }

    fn why_allowed(&self, request: &Attributes<'_>) -> String {
        if request.user.groups.iter().any(|group| group == MASTERS) {
            return String::new();
        }
        let asked = Request::new(request);
        let state = self.0.state();
        let visited =
            state.index.visit(request.user, request.namespace, |source, role| match role {
                Ok(role) if role.rules.iter().any(|rule| rule.allows(&asked)) => {
                    ControlFlow::Break(Key::new(source.namespace, source.binding))
                }
                _ => ControlFlow::Continue(()),
            });
        drop(state);
        let ControlFlow::Break(binding) = visited else { return String::new() };
        let said = described(&self.0.store().snapshot(), &binding, request.user);
        said.map(|said| format!("RBAC: allowed by {said}")).unwrap_or_default()
    }

    fn rules_for(&self, user: &User, namespace: &str) -> Rules {
        let (rules, problems) = Rbac::rules_for(self, user, namespace);
        Rules { rules, incomplete: false, problems: listed(problems) }
    }
}

/// A binding of a user in upstream's words.
fn described(snapshot: &Snapshot, key: &Key, user: &User) -> Option<String> {
    let (namespace, name) = (key.namespace(), key.name());
    let (kind, shown, role, subjects) = if namespace.is_empty() {
        let found = snapshot.get("clusterrolebindings.rbac.authorization.k8s.io", key)?;
        let found = found.get::<ClusterRoleBinding>().ok()?;
        ("ClusterRoleBinding", name.to_owned(), &found.role_ref, &found.subjects)
    } else {
        let found = snapshot.get("rolebindings.rbac.authorization.k8s.io", key)?;
        let found = found.get::<RoleBinding>().ok()?;
        ("RoleBinding", format!("{name}/{namespace}"), &found.role_ref, &found.subjects)
    };
    let is_meant = |subject: &&Subject| match whom(subject, namespace) {
        Some(Whom::User(name)) => *name == *user.name,
        Some(Whom::Group(name)) => user.groups.iter().any(|group| **group == *name),
        None => false,
    };
    let subject = subjects.iter().flatten().find(is_meant)?;
    let subject_name = match &*subject.kind {
        "ServiceAccount" => {
            let of = subject.namespace.as_deref().filter(|namespace| !namespace.is_empty());
            format!("{}/{}", subject.name, of.unwrap_or(namespace))
        }
        _ => subject.name.clone(),
    };
    let RoleRef { kind: role_kind, name: role, .. } = role;
    let subject_kind = &subject.kind;
    Some(format!("{kind} {shown:?} of {role_kind} {role:?} to {subject_kind} {subject_name:?}"))
}

/// Several problems as upstream lists them: each once, in brackets when there are several.
pub(super) fn listed(problems: Vec<String>) -> String {
    let mut each: Vec<String> = Vec::new();
    for problem in problems {
        if !each.contains(&problem) {
            each.push(problem);
        }
    }
    match &each[..] {
        [] => String::new(),
        [one] => one.clone(),
        many => format!("[{}]", many.join(", ")),
    }
}

fn reason(problems: Vec<String>) -> String {
    if problems.is_empty() { String::new() } else { format!("RBAC: {}", listed(problems)) }
}

impl fmt::Debug for Rbac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rbac")
    }
}
