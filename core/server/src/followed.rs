use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{RwLock, RwLockReadGuard};
use pinnace_api::Object;
use pinnace_store::{Change, Cursor, Store};

/// What is known of the objects of some tables, in a form that answers questions.
pub(crate) trait Index: Default + Send + Sync + 'static {
    /// The tables.
    const TABLES: &'static [&'static str];

    /// Takes an object that has come, has changed or is gone.
    fn apply(&mut self, table: &str, object: &Object, removed: bool);
}

/// An index that is brought up to date with the store before each question: what has been written
/// counts from then on.
pub(crate) struct Followed<I> {
    store: Store,
    state: RwLock<State<I>>,
    /// The revision of the store that the index has seen.
    seen: AtomicU64,
}

pub(crate) struct State<I> {
    pub(crate) index: I,
    /// Places in the event logs of the tables; none before the first question.
    cursors: Vec<Cursor>,
}

impl<I: Index> Followed<I> {
    pub(crate) fn new(store: Store) -> Self {
        let state = RwLock::new(State { index: I::default(), cursors: Vec::new() });
        Self { store, state, seen: AtomicU64::new(0) }
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// The index, no older than the store was when this was called.
    pub(crate) fn state(&self) -> RwLockReadGuard<'_, State<I>> {
        let Self { store, state, seen } = self;
        if seen.load(Ordering::Acquire) < store.revision() {
            let mut state = state.write();
            let reached = state.catch_up(store);
            seen.store(reached, Ordering::Release);
        }
        state.read()
    }
}

impl<I: Index> State<I> {
    /// Takes what has happened; the revision up to which that is everything.
    fn catch_up(&mut self, store: &Store) -> u64 {
        if self.cursors.is_empty() {
            self.rebuild(store);
        }
        let mut reached = u64::MAX;
        let Self { index, cursors } = self;
        for (table, cursor) in I::TABLES.iter().zip(cursors) {
            loop {
                match cursor.try_next() {
                    Ok(Some(event)) => {
                        let removed = matches!(event.change, Change::Deleted);
                        index.apply(table, &event.object, removed);
                    }
                    Ok(None) => break,
                    // The log is cut off behind what was missed, or closed: what the store holds
                    // says it all.
                    Err(_) => return self.rebuild(store),
                }
            }
            reached = reached.min(cursor.revision());
        }
        reached
    }

    fn rebuild(&mut self, store: &Store) -> u64 {
        let snapshot = store.snapshot();
        self.index = I::default();
        for table in I::TABLES {
            snapshot.iter(table).for_each(|object| self.index.apply(table, object, false));
        }
        let cursors = I::TABLES.iter().map(|table| store.watch(table, snapshot.revision()));
        // Without cursors it is done anew each time: slower, not wrong.
        self.cursors = cursors.collect::<Result<_, _>>().unwrap_or_default();
        snapshot.revision()
    }
}

impl<I> fmt::Debug for Followed<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Followed")
    }
}
