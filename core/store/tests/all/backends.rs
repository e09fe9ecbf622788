//! Back ends that do as they are told: wait, fail before writing, fail after it, or panic.

use std::sync::{Arc, Condvar, Mutex};

use pinnace_store::{Backend, Loaded, MemoryBackend, Record, StoreError};

/// What becomes of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Succeeds,
    /// The disk is full.
    Fails,
    /// It is written, and fails all the same.
    FailsAfterwards,
    Panics,
}

/// A [`MemoryBackend`] whose writes wait until they are allowed.
#[derive(Clone, Default)]
pub(crate) struct Gate {
    records: MemoryBackend,
    state: Arc<(Mutex<State>, Condvar)>,
}

#[derive(Default)]
struct State {
    fates: Vec<Fate>,
    /// From now on everything succeeds at once.
    open: bool,
    /// Sizes of batches asked for.
    batches: Vec<usize>,
}

impl Gate {
    /// Lets one write through to its fate.
    pub(crate) fn allow(&self, fate: Fate) {
        self.state.0.lock().unwrap().fates.push(fate);
        self.state.1.notify_all();
    }

    /// Lets everything through.
    pub(crate) fn open(&self) {
        self.state.0.lock().unwrap().open = true;
        self.state.1.notify_all();
    }

    /// Waits until so many batches have come.
    pub(crate) fn batches(&self, count: usize) -> Vec<usize> {
        let state = self.state.0.lock().unwrap();
        let state = self.state.1.wait_while(state, |state| state.batches.len() < count).unwrap();
        state.batches.clone()
    }

    /// What a crash would leave.
    pub(crate) fn records(&self) -> MemoryBackend {
        self.records.clone()
    }
}

impl Backend for Gate {
    fn load(&mut self) -> Result<Loaded, StoreError> {
        self.records.load()
    }

    fn write(&mut self, batch: &[Record]) -> Result<(), StoreError> {
        let (state, changed) = &*self.state;
        let mut state = state.lock().unwrap();
        state.batches.push(batch.len());
        changed.notify_all();
        let mut state =
            changed.wait_while(state, |state| !state.open && state.fates.is_empty()).unwrap();
        let fate = if state.fates.is_empty() { Fate::Succeeds } else { state.fates.remove(0) };
        drop(state);
        match fate {
            Fate::Succeeds => self.records.write(batch),
            Fate::Fails => Err(full()),
            Fate::FailsAfterwards => self.records.write(batch).and(Err(full())),
            Fate::Panics => panic!("as asked"),
        }
    }
}

fn full() -> StoreError {
    StoreError::Full { path: "/data".into() }
}
