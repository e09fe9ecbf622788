use std::fmt;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};
use pinnace_api::Codec;
use tokio::sync::{Semaphore, oneshot};

use crate::core::Core;
use crate::head::{Events, Head, Pending};
use crate::log::Limits;
use crate::state::State;
use crate::writer::Writer;
use crate::{Backend, CommitError, Committed, Cursor, Snapshot, StoreError, Transaction};

/// The revision of a store in which nothing has happened. Not 0, which in a `resourceVersion`
/// means "any".
pub const FIRST_REVISION: u64 = 1;

/// How many commits may wait to become durable; more wait for a place.
pub const QUEUED_COMMITS: usize = 4096;

/// Names the codec of a table.
pub type Codecs = Arc<dyn Fn(&str) -> &'static Codec + Send + Sync>;

/// The versioned store. Cloning is cheap, and all clones are the same store.
///
/// The last handle to go closes it, which on a durable store waits for commits under way; use
/// [`Store::close`] where waiting should not block the thread.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    /// `None` when there is no back end: commits are then done by the caller.
    writer: Option<Writer>,
}

/// What the store and its writer thread share.
pub(crate) struct Shared {
    pub(crate) core: Core,
    pub(crate) head: Mutex<Head>,
    /// Tells the writer thread of work in the head, and of its closing.
    pub(crate) work: Condvar,
    pub(crate) permits: Arc<Semaphore>,
}

impl Shared {
    pub(crate) fn new(state: State, limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            core: Core::new(state.clone(), limits),
            head: Mutex::new(Head::new(state)),
            work: Condvar::new(),
            permits: Arc::new(Semaphore::new(QUEUED_COMMITS)),
        })
    }
}

impl Store {
    /// A store that lives as long as its handles.
    pub fn memory() -> Self {
        Self::memory_with(Limits::default())
    }

    /// As [`Store::memory`], with an event log of another length.
    pub fn memory_with(limits: Limits) -> Self {
        let shared = Shared::new(State::at(FIRST_REVISION), limits);
        Self(Arc::new(Inner { shared, writer: None }))
    }

    /// A store on a back end: loads everything that is there.
    ///
    /// The back end is used from a thread of its own, so nothing here blocks.
    ///
    /// # Errors
    /// What the back end says of data that cannot be loaded.
    pub async fn open(backend: Box<dyn Backend>, codecs: Codecs) -> Result<Self, StoreError> {
        Self::open_with(backend, codecs, Limits::default()).await
    }

    /// As [`Store::open`], with an event log of another length.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub async fn open_with(
        backend: Box<dyn Backend>,
        codecs: Codecs,
        limits: Limits,
    ) -> Result<Self, StoreError> {
        let (writer, shared) = Writer::start(backend, codecs, limits).await?;
        Ok(Self(Arc::new(Inner { shared, writer: Some(writer) })))
    }

    /// The latest state: O(1), consistent over all tables, neither blocking writers nor blocked.
    pub fn snapshot(&self) -> Snapshot {
        self.0.shared.core.snapshot()
    }

    /// An earlier state, found by undoing what has happened since.
    ///
    /// # Errors
    /// [`StoreError::Expired`] when the event log no longer reaches back that far or it has been
    /// [compacted](Store::compact) since,
    /// [`StoreError::Future`] for a revision that has not happened yet.
    pub fn snapshot_at(&self, revision: u64) -> Result<Snapshot, StoreError> {
        self.0.shared.core.snapshot_at(revision)
    }

    /// From now on no state before this revision is shown, and the events up to it are let go of,
    /// all but the last few (64) of each table. Watches still begin wherever the events reach.
    pub fn compact(&self, revision: u64) {
        self.0.shared.core.compact(revision);
    }

    /// The latest revision.
    pub fn revision(&self) -> u64 {
        self.0.shared.core.revision()
    }

    /// Waits until a revision has happened, or no more will. Cancel-safe.
    pub async fn reached(&self, revision: u64) {
        self.0.shared.core.reached(revision).await;
    }

    /// Whether commits are still taken.
    pub fn is_open(&self) -> bool {
        !self.0.shared.head.lock().closed
    }

    /// Does what the transaction says, all or nothing, and returns once it is durable.
    ///
    /// In memory this never waits. On a back end, dropping the future before it is done leaves
    /// open whether the commit happens.
    ///
    /// # Errors
    /// [`CommitError::Conflict`] when an operation does not find what it expects,
    /// [`CommitError::Refused`] when what follows says so,
    /// [`CommitError::Storage`] when it cannot be written; nothing has changed then.
    pub async fn commit(&self, transaction: Transaction) -> Result<Committed, CommitError> {
        let shared = &self.0.shared;
        if self.0.writer.is_none() {
            return shared.commit_in_memory(transaction);
        }
        let permit =
            shared.permits.clone().acquire_owned().await.map_err(|_| StoreError::Closed)?;
        let (acknowledge, durable) = oneshot::channel();
        let outcome = {
            let mut head = shared.head.lock();
            let (outcome, events) = match head.apply(transaction) {
                Ok((committed, events)) => (Ok(committed), events),
                // What stands against it may never become durable; only then does it.
                Err(no @ (CommitError::Conflict { .. } | CommitError::Refused(_)))
                    if head.state.revision > shared.core.revision() =>
                {
                    (Err(no), Events::new())
                }
                Err(error) => return Err(error),
            };
            head.queue.push(Pending { events, acknowledge, _permit: permit });
            if head.queue.len() >= head.wanted {
                shared.work.notify_one();
            }
            outcome
        };
        durable.await.map_err(|_| StoreError::Closed)??;
        outcome
    }

    /// The events of a table with a revision after `after`.
    ///
    /// # Errors
    /// [`StoreError::Expired`] when the log no longer reaches back that far,
    /// [`StoreError::Future`] for a revision that has not happened yet.
    pub fn watch(&self, table: &str, after: u64) -> Result<Cursor, StoreError> {
        let core = &self.0.shared.core;
        core.check_reached(after)?;
        let log = core.log(table);
        let place = log.seek(after)?;
        Ok(Cursor::new(place, log, core.feed.clone()))
    }

    /// Writes what is still to be written and lets go of the back end. Commits fail from now on;
    /// snapshots can still be read. Closing twice is fine.
    ///
    /// # Errors
    /// What the back end says on being closed.
    pub async fn close(&self) -> Result<(), StoreError> {
        self.0.shared.begin_close();
        match &self.0.writer {
            Some(writer) => writer.finished().await,
            None => {
                self.0.shared.core.close();
                Ok(())
            }
        }
    }
}

impl Shared {
    fn commit_in_memory(&self, transaction: Transaction) -> Result<Committed, CommitError> {
        let mut head = self.head.lock();
        let (committed, events) = head.apply(transaction)?;
        let news = self.core.publish(head.state.clone(), events.iter());
        drop(head);
        news.spread();
        Ok(committed)
    }

    fn begin_close(&self) {
        self.head.lock().closed = true;
        self.work.notify_one();
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shared.begin_close();
        match &mut self.writer {
            Some(writer) => writer.join(),
            None => self.shared.core.close(),
        }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Store(@{})", self.revision())
    }
}
