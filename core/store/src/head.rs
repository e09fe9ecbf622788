use std::sync::Arc;

use pinnace_api::Object;
use smallvec::SmallVec;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::core::TableEvent;
use crate::log::{Change, Event};
use crate::row_key::RowKey;
use crate::state::State;
use crate::transaction::{Operation, Transaction};
use crate::{CommitError, Committed, Snapshot, StoreError};

/// What writers see: the state with every commit so far, durable or not, and the commits that
/// wait to be.
pub(crate) struct Head {
    pub(crate) state: State,
    pub(crate) queue: Vec<Pending>,
    /// How many commits the writer thread waits for.
    pub(crate) wanted: usize,
    pub(crate) closed: bool,
}

/// A commit that waits until it is durable. One without events waits for those before it.
pub(crate) struct Pending {
    pub(crate) events: Events,
    pub(crate) acknowledge: oneshot::Sender<Result<(), StoreError>>,
    /// Its place in the queue, free again when it is answered.
    pub(crate) _permit: OwnedSemaphorePermit,
}

pub(crate) type Events = SmallVec<[TableEvent; 1]>;

impl Head {
    pub(crate) fn new(state: State) -> Self {
        Self { state, queue: Vec::new(), wanted: 1, closed: false }
    }

    /// Applies a transaction to the head, or nothing of it.
    pub(crate) fn apply(
        &mut self,
        transaction: Transaction,
    ) -> Result<(Committed, Events), CommitError> {
        if self.closed {
            return Err(StoreError::Closed.into());
        }
        let mut state = self.state.clone();
        let mut events = Events::new();
        let mut objects = SmallVec::new();
        let Transaction { operations, consequence } = transaction;
        apply_all(&mut state, operations, &mut events, &mut objects)?;
        if let Some(consequence) = consequence {
            let done = Snapshot(Arc::new(state.clone()));
            let more = consequence(&done, &objects).map_err(CommitError::Refused)?;
            drop(done);
            apply_all(&mut state, more.operations, &mut events, &mut objects)?;
        }
        self.state = state;
        Ok((Committed { revision: self.state.revision, objects }, events))
    }
}

fn apply_all(
    state: &mut State,
    operations: SmallVec<[Operation; 1]>,
    events: &mut Events,
    objects: &mut SmallVec<[Object; 1]>,
) -> Result<(), CommitError> {
    for operation in operations {
        let index = objects.len();
        let (event, object) =
            apply(state, operation).map_err(|current| CommitError::Conflict { index, current })?;
        events.push(event);
        objects.push(object);
    }
    Ok(())
}

fn apply(state: &mut State, operation: Operation) -> Result<(TableEvent, Object), Option<Object>> {
    let Operation { table, key, expect, draft } = operation;
    let revision = state.revision + 1;
    let rows = state.table_mut(&table);
    let row = RowKey::new(&key);
    let previous = rows.get(&row).cloned();
    if !expect.is_met(previous.as_ref()) {
        return Err(previous);
    }
    let (change, object) = match (draft, &previous) {
        (Some(draft), None) => (Change::Added, draft.commit(revision)),
        (Some(draft), Some(_)) => (Change::Modified, draft.commit(revision)),
        (None, Some(last)) => (Change::Deleted, tombstone(last, revision)),
        (None, None) => return Err(None),
    };
    match change {
        Change::Deleted => rows.remove(&row),
        _ => rows.insert(row, object.clone()),
    };
    state.revision = revision;
    let event = Event { revision, change, key, object: object.clone(), previous };
    Ok(((table, Arc::new(event)), object))
}

/// The last version of a removed object. One whose stored form cannot be read any more can still
/// be removed, so it goes as it is.
fn tombstone(last: &Object, revision: u64) -> Object {
    match last.draft() {
        Ok(draft) => draft.commit(revision),
        Err(error) => {
            tracing::warn!(revision, %error, "removed an object that could not be read");
            last.clone()
        }
    }
}
