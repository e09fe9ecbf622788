use std::sync::Arc;

/// Who makes a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Its name.
    pub name: Arc<str>,
    /// The groups it belongs to.
    pub groups: Arc<[String]>,
}

/// The group that may do everything.
const MASTERS: &str = "system:masters";

impl User {
    /// A user with groups.
    pub fn new(name: &str, groups: impl IntoIterator<Item = String>) -> Self {
        Self { name: name.into(), groups: groups.into_iter().collect() }
    }

    /// The host application itself: it owns the engine, so it may do everything.
    pub fn host() -> Self {
        Self::new("pinnace:host", [MASTERS.to_owned()])
    }

    /// A component of the engine.
    pub fn system(component: &str) -> Self {
        Self::new(&format!("system:{component}"), [MASTERS.to_owned()])
    }
}

/// What somebody wants to do.
#[derive(Clone, Copy, Debug)]
pub struct Attributes<'a> {
    /// Who.
    pub user: &'a User,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete` or `deletecollection`.
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
}
