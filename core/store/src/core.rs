use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use ahash::AHashMap;
use arc_swap::ArcSwap;
use parking_lot::{Mutex, RwLock};
use smallvec::SmallVec;
use tokio::sync::Notify;

use crate::log::{Event, Limits, TableLog};
use crate::state::State;
use crate::{Snapshot, StoreError};

/// What readers see: the published state and the event logs.
pub(crate) struct Core {
    published: ArcSwap<State>,
    logs: RwLock<AHashMap<Arc<str>, Arc<TableLog>>>,
    /// Held while a state and its events are published, so that who holds it finds in the logs
    /// every event up to the published state.
    publishing: Mutex<()>,
    pub(crate) feed: Arc<Feed>,
    /// The revision the store was opened at: no log reaches further back.
    base: u64,
    /// No state before this revision is shown.
    compacted: AtomicU64,
    limits: Limits,
}

/// How far the logs of all tables are, for cursors.
pub(crate) struct Feed {
    /// Every event up to this revision is in its log.
    pub(crate) logged: AtomicU64,
    /// No more events will come.
    pub(crate) closed: AtomicBool,
    /// Told whenever `logged` or `closed` changes.
    pub(crate) moved: Notify,
}

/// An event and the table it belongs to.
pub(crate) type TableEvent = (Arc<str>, Arc<Event>);

/// Logs that have news, to be woken once nothing is locked any more.
pub(crate) struct News {
    logs: SmallVec<[Arc<TableLog>; 1]>,
    feed: Arc<Feed>,
}

impl News {
    pub(crate) fn spread(self) {
        for log in self.logs {
            log.appended.notify_waiters();
        }
        self.feed.moved.notify_waiters();
    }
}

impl Core {
    pub(crate) fn new(state: State, limits: Limits) -> Self {
        let base = state.revision;
        Self {
            published: ArcSwap::from_pointee(state),
            logs: RwLock::default(),
            publishing: Mutex::new(()),
            feed: Arc::new(Feed {
                logged: AtomicU64::new(base),
                closed: AtomicBool::new(false),
                moved: Notify::new(),
            }),
            base,
            compacted: AtomicU64::new(base),
            limits,
        }
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot(self.published.load_full())
    }

    pub(crate) fn revision(&self) -> u64 {
        self.published.load().revision
    }

    /// Shows readers a new state and the events that led to it. The state comes first: who hears
    /// of an event and looks must find it.
    pub(crate) fn publish<'e>(
        &self,
        state: State,
        events: impl Iterator<Item = &'e TableEvent>,
    ) -> News {
        let revision = state.revision;
        let mut logs = SmallVec::<[Arc<TableLog>; 1]>::new();
        let publishing = self.publishing.lock();
        self.published.store(Arc::new(state));
        for (table, event) in events {
            let log = self.log(table);
            log.append(event.clone());
            if !logs.iter().any(|known| Arc::ptr_eq(known, &log)) {
                logs.push(log);
            }
        }
        self.feed.logged.store(revision, Ordering::Release);
        drop(publishing);
        News { logs, feed: self.feed.clone() }
    }

    /// Waits until there is every event up to a revision, or the store is closed.
    pub(crate) async fn reached(&self, revision: u64) {
        loop {
            let mut moved = pin!(self.feed.moved.notified());
            moved.as_mut().enable();
            if self.feed.logged.load(Ordering::Acquire) >= revision
                || self.feed.closed.load(Ordering::Acquire)
            {
                return;
            }
            moved.await;
        }
    }

    /// Ends all watches once they have given what there is.
    pub(crate) fn close(&self) {
        self.feed.closed.store(true, Ordering::Release);
        let logs = self.logs.read().values().cloned().collect();
        News { logs, feed: self.feed.clone() }.spread();
    }

    pub(crate) fn log(&self, table: &str) -> Arc<TableLog> {
        if let Some(log) = self.logs.read().get(table) {
            return log.clone();
        }
        let mut logs = self.logs.write();
        logs.entry(table.into())
            .or_insert_with(|| Arc::new(TableLog::new(self.base, self.limits)))
            .clone()
    }

    /// An earlier state: the present one with the events since undone.
    pub(crate) fn snapshot_at(&self, revision: u64) -> Result<Snapshot, StoreError> {
        let present = {
            let _publishing = self.publishing.lock();
            self.snapshot()
        };
        let current = present.revision();
        if revision == current {
            return Ok(present);
        }
        self.check_reached(revision)?;
        let oldest = self.compacted.load(Ordering::Relaxed);
        if revision < oldest {
            return Err(StoreError::Expired { requested: revision, oldest });
        }
        let logs: Vec<_> =
            self.logs.read().iter().map(|(table, log)| (table.clone(), log.clone())).collect();
        let mut state = State::clone(&present.0);
        for (table, log) in &logs {
            for event in log.backwards(revision, current)? {
                state.set(table, &event.key, event.previous.clone());
            }
        }
        state.revision = revision;
        Ok(Snapshot(Arc::new(state)))
    }

    pub(crate) fn compact(&self, revision: u64) {
        let until = revision.min(self.revision());
        self.compacted.fetch_max(until, Ordering::Relaxed);
        let logs: Vec<_> = self.logs.read().values().cloned().collect();
        logs.iter().for_each(|log| log.forget(until));
    }

    pub(crate) fn check_reached(&self, revision: u64) -> Result<(), StoreError> {
        let current = self.revision();
        if revision > current {
            return Err(StoreError::Future { requested: revision, current });
        }
        Ok(())
    }
}
