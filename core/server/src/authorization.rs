use pinnace_api::selector::{FieldSelector, Selector};
use pinnace_client::ListOptions;
use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::rbac::v1::PolicyRule;

/// Who makes a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct User {
    /// Its name.
    pub name: Arc<str>,
    /// The groups it belongs to.
    pub groups: Arc<[String]>,
    /// What tells it from others that had or will have its name; `None` where nobody says.
    pub uid: Option<Arc<str>>,
    /// What else its authenticator knows of it.
    pub extra: Arc<BTreeMap<String, Vec<String>>>,
}

/// The group that may do everything.
pub(crate) const MASTERS: &str = "system:masters";
const AUTHENTICATED: &str = "system:authenticated";
/// What is known of a service account whose token is bound to a node, or to a pod on one.
const NODE_NAME: &str = "authentication.kubernetes.io/node-name";

/// Namespace and name of a service account, by the name of its user.
pub fn account_of(user: &str) -> Option<(&str, &str)> {
    let (namespace, name) = user.strip_prefix("system:serviceaccount:")?.split_once(':')?;
    let is_one = !namespace.is_empty() && !name.is_empty() && !name.contains(':');
    is_one.then_some((namespace, name))
}

impl User {
    /// A user with groups.
    pub fn new(name: &str, groups: impl IntoIterator<Item = String>) -> Self {
        Self {
            name: name.into(),
            groups: groups.into_iter().collect(),
            uid: None,
            extra: Arc::default(),
        }
    }

    /// The host application itself: it owns the engine, so it may do everything.
    pub fn host() -> Self {
        Self::new("pinnace:host", [MASTERS.to_owned()])
    }

    /// A component of the engine.
    pub fn system(component: &str) -> Self {
        Self::new(&format!("system:{component}"), [MASTERS.to_owned()])
    }

    /// Namespace and name of a service account; `None` for all others.
    pub fn account(&self) -> Option<(&str, &str)> {
        account_of(&self.name)
    }

    /// The node that the token of a service account is bound to.
    pub fn node_of_account(&self) -> Option<&str> {
        self.account()?;
        match &self.extra.get(NODE_NAME)?[..] {
            [node] => Some(node),
            _ => None,
        }
    }

    /// The user as a member of the group of all who are known.
    pub fn authenticated(mut self) -> Self {
        if !self.groups.iter().any(|group| group == AUTHENTICATED) {
            self.groups = self.groups.iter().cloned().chain([AUTHENTICATED.to_owned()]).collect();
        }
        self
    }
}

/// What somebody wants to do: something with objects, or, with a `path`, something else.
#[derive(Clone, Copy, Debug)]
pub struct Attributes<'a> {
    /// Who.
    pub user: &'a User,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`,
    /// `impersonate`; the HTTP method in lower case where there is a `path`.
    pub verb: &'a str,
    /// API group, empty for the core group.
    pub group: &'a str,
    /// Plural name of the kind.
    pub resource: &'a str,
    /// Subresource, empty for none.
    pub subresource: &'a str,
    /// Namespace, empty for all or for cluster-scoped kinds.
    pub namespace: &'a str,
    /// Name, empty where the verb names none.
    pub name: &'a str,
    /// Path of a request that is not about objects, such as `/metrics`; empty otherwise.
    pub path: &'a str,
    /// To which objects it is narrowed down.
    pub selectors: Selectors<'a>,
}

/// To which objects a request about several is narrowed down. What can't be read narrows nothing
/// down: an authorizer may allow less for it, never more.
#[derive(Clone, Copy, Debug, Default)]
pub struct Selectors<'a> {
    /// By their fields.
    pub fields: Option<&'a FieldSelector>,
    /// By their labels.
    pub labels: Option<&'a Selector>,
}

impl<'a> Selectors<'a> {
    /// Those of a list or a watch.
    pub(crate) fn of(options: &'a ListOptions) -> Self {
        Self {
            fields: options.fields.as_ref().filter(|fields| !fields.is_everything()),
            labels: options.labels.as_ref().filter(|labels| !labels.is_everything()),
        }
    }
}

impl<'a> Attributes<'a> {
    /// Something that is not about objects.
    pub fn path(user: &'a User, verb: &'a str, path: &'a str) -> Self {
        let selectors = Selectors::default();
        let (group, resource, subresource, namespace, name) = ("", "", "", "", "");
        Self { user, verb, group, resource, subresource, namespace, name, path, selectors }
    }

    /// `resource.group`, or the resource alone in the core group.
    pub(crate) fn qualified_resource(&self) -> String {
        if self.group.is_empty() {
            self.resource.to_owned()
        } else {
            format!("{}.{}", self.resource, self.group)
        }
    }
}

/// What an authorizer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It may be done.
    Allow,
    /// It may not, with what there is to say of it.
    Deny(String),
}

/// Decides who may do what.
pub trait Authorizer: Send + Sync + 'static {
    /// Whether it may be done.
    fn authorize(&self, request: &Attributes<'_>) -> Decision;

    /// Why it may be done, in words for people: empty for what is not allowed, or by nothing that can
    /// be named. Only asked where that is shown.
    fn why_allowed(&self, _request: &Attributes<'_>) -> String {
        String::new()
    }

    /// What a user may do in a namespace, as far as it can be listed.
    fn rules_for(&self, _user: &User, _namespace: &str) -> Rules {
        Rules { incomplete: true, ..Rules::default() }
    }
}

/// Several authorizers: what one of them allows may be done.
#[derive(Clone, Default)]
pub struct Authorizers(Vec<Arc<dyn Authorizer>>);

impl Authorizers {
    /// The same, with one more to be asked after those that are there.
    pub fn and(mut self, authorizer: Arc<dyn Authorizer>) -> Self {
        self.0.push(authorizer);
        self
    }
}

impl Authorizer for Authorizers {
    fn authorize(&self, request: &Attributes<'_>) -> Decision {
        let mut reasons: Vec<String> = Vec::new();
        for authorizer in &self.0 {
            match authorizer.authorize(request) {
                Decision::Allow => return Decision::Allow,
                Decision::Deny(why) if why.is_empty() => {}
                Decision::Deny(why) => reasons.push(why),
            }
        }
        Decision::Deny(reasons.join("\n"))
    }

    fn why_allowed(&self, request: &Attributes<'_>) -> String {
        // Nobody is asked twice what they allow: a host's own authorizer may count.
        let mut reasons = self.0.iter().map(|one| one.why_allowed(request));
        reasons.find(|why| !why.is_empty()).unwrap_or_default()
    }

    fn rules_for(&self, user: &User, namespace: &str) -> Rules {
        let mut all = Rules::default();
        let mut problems = Vec::new();
        for authorizer in &self.0 {
            let Rules { rules, incomplete, problems: some } = authorizer.rules_for(user, namespace);
            all.rules.extend(rules);
            all.incomplete |= incomplete;
            problems.extend(Some(some).filter(|some| !some.is_empty()));
        }
        all.problems = problems.join(", ");
        all
    }
}

impl std::fmt::Debug for Authorizers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Authorizers({})", self.0.len())
    }
}

/// What somebody may do in a namespace.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rules {
    /// The rules.
    pub rules: Vec<PolicyRule>,
    /// Whether there may be more.
    pub incomplete: bool,
    /// What went wrong while they were gathered, empty for nothing.
    pub problems: String,
}

/// Allows everything to the group `system:masters` and nothing to anybody else.
#[derive(Clone, Copy, Debug, Default)]
pub struct MastersOnly;

impl Authorizer for MastersOnly {
    fn authorize(&self, request: &Attributes<'_>) -> Decision {
        if request.user.groups.iter().any(|group| group == MASTERS) {
            Decision::Allow
        } else {
            Decision::Deny(String::new())
        }
    }

    fn rules_for(&self, user: &User, _namespace: &str) -> Rules {
        let all = || Some(vec!["*".to_owned()]);
        let verbs = || vec!["*".to_owned()];
        let objects = PolicyRule {
            verbs: verbs(),
            api_groups: all(),
            resources: all(),
            ..Default::default()
        };
        let paths = PolicyRule { verbs: verbs(), non_resource_urls: all(), ..Default::default() };
        let may = user.groups.iter().any(|group| group == MASTERS);
        Rules { rules: if may { vec![objects, paths] } else { Vec::new() }, ..Rules::default() }
    }
}
