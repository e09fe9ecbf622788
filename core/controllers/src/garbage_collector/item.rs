use std::fmt;
use std::sync::Arc;

use pinnace_api::{Key, Object};

/// The finalizer of an object whose dependents go first.
pub(super) const FOREGROUND: &str = "foregroundDeletion";
/// The finalizer of an object whose dependents are to stay.
pub(super) const ORPHAN: &str = "orphan";

/// An object that may have to go.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Item {
    /// `plural.group`.
    pub(super) kind: Arc<str>,
    pub(super) key: Key,
}

impl Item {
    pub(super) fn new(kind: &Arc<str>, object: &Object) -> Self {
        Self { kind: kind.clone(), key: object.key() }
    }
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.key)
    }
}

/// Whether an object has a finalizer.
pub(super) fn has(object: &Object, finalizer: &str) -> bool {
    object.meta().finalizers.iter().flatten().any(|one| one == finalizer)
}

/// Whether an object waits for its dependents to go first.
pub(super) fn waits_for_dependents(object: &Object) -> bool {
    object.is_deleting() && has(object, FOREGROUND)
}

/// Whether an object waits for its dependents to be let go.
pub(super) fn waits_for_orphans(object: &Object) -> bool {
    object.is_deleting() && has(object, ORPHAN)
}
