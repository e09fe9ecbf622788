use std::sync::Arc;

use pinnace_api::{Draft, Key, Object};
use smallvec::SmallVec;

/// Writes that happen together or not at all.
///
/// Operations are applied in order, each seeing the ones before it, and each takes a revision of
/// its own.
#[derive(Debug, Default)]
pub struct Transaction {
    pub(crate) operations: SmallVec<[Operation; 1]>,
}

impl Transaction {
    /// A transaction that does nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes an object under a key, which should be the one its metadata says.
    pub fn put(&mut self, table: &Arc<str>, key: Key, expect: Expect, draft: Draft) -> &mut Self {
        self.operations.push(Operation { table: table.clone(), key, expect, draft: Some(draft) });
        self
    }

    /// Removes an object. There must be one: with [`Expect::Any`] as with [`Expect::Present`].
    pub fn delete(&mut self, table: &Arc<str>, key: Key, expect: Expect) -> &mut Self {
        self.operations.push(Operation { table: table.clone(), key, expect, draft: None });
        self
    }

    /// How many operations there are.
    pub fn len(&self) -> usize {
        self.operations.len()
    }

    /// Whether there are no operations.
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }
}

#[derive(Debug)]
pub(crate) struct Operation {
    pub(crate) table: Arc<str>,
    pub(crate) key: Key,
    pub(crate) expect: Expect,
    /// `None` to delete.
    pub(crate) draft: Option<Draft>,
}

/// What an operation expects to find under its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Anything or nothing.
    Any,
    /// Nothing.
    Absent,
    /// An object, at whatever revision.
    Present,
    /// An object at this revision.
    Revision(u64),
}

impl Expect {
    pub(crate) fn is_met(self, current: Option<&Object>) -> bool {
        match (self, current) {
            (Self::Any, _) | (Self::Absent, None) | (Self::Present, Some(_)) => true,
            (Self::Revision(revision), Some(object)) => object.revision() == revision,
            _ => false,
        }
    }
}

/// What a transaction did.
#[derive(Clone, Debug)]
pub struct Committed {
    /// The revision of the last operation; for an empty transaction, of the store.
    pub revision: u64,
    /// An object per operation, in order: the version written, or for a removal the last version,
    /// with the revision of the removal as its `resourceVersion`.
    pub objects: SmallVec<[Object; 1]>,
}
