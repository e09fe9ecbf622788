use std::fmt;
use std::sync::Arc;

use pinnace_api::{ApiError, Draft, Key, Object};
use smallvec::SmallVec;

use crate::Snapshot;

/// Writes that happen together or not at all.
///
/// Operations are applied in order, each seeing the ones before it, and each takes a revision of
/// its own.
#[derive(Default)]
pub struct Transaction {
    pub(crate) operations: SmallVec<[Operation; 1]>,
    pub(crate) consequence: Option<Consequence>,
}

/// What else is to be written, as it follows from what the store holds with a transaction done,
/// and from the objects that it has written; or why it may not be done.
pub type Consequence =
    Box<dyn FnOnce(&Snapshot, &[Object]) -> Result<Transaction, ApiError> + Send>;

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

    /// Has this decide, when everything else is done and nothing can come between any more, what
    /// else is written in the same transaction, or that nothing is. It holds up all other writers.
    /// A transaction has one; what it gives has none.
    pub fn then(&mut self, consequence: Consequence) -> &mut Self {
        self.consequence = Some(consequence);
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

impl fmt::Debug for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.operations).finish()
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
    /// An object per operation, in order, those that followed last: the version written, or for a removal the last version,
    /// with the revision of the removal as its `resourceVersion`.
    pub objects: SmallVec<[Object; 1]>,
}
