use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use pinnace_api::{Key, Object};
use tokio::sync::{oneshot, watch};

use crate::backend::{Backend, Loaded, Record};
use crate::head::Pending;
use crate::log::{Change, Limits};
use crate::state::State;
use crate::store::{Codecs, FIRST_REVISION, Shared};
use crate::{Snapshot, StoreError};

/// How long a batch waits for as many commits as the one before had: less than a disk takes to
/// synchronize.
const GATHERING: Duration = Duration::from_micros(200);

/// The thread that owns the back end: it takes every commit that waits, writes them as one batch,
/// shows them to readers and answers them all.
pub(crate) struct Writer {
    thread: Option<JoinHandle<()>>,
    finished: watch::Receiver<Option<Result<(), StoreError>>>,
}

impl Writer {
    pub(crate) async fn start(
        backend: Box<dyn Backend>,
        codecs: Codecs,
        limits: Limits,
    ) -> Result<(Self, Arc<Shared>), StoreError> {
        let (opened, opening) = oneshot::channel();
        let (finish, finished) = watch::channel(None);
        let thread = thread::Builder::new()
            .name("pinnace-store".to_owned())
            .spawn(move || run(backend, &codecs, limits, opened, &finish))
            .map_err(|error| StoreError::Backend(format!("starting the writer: {error}")))?;
        let shared = opening.await.map_err(|_| writer_gone())??;
        Ok((Self { thread: Some(thread), finished }, shared))
    }

    /// Waits until the thread has written everything and closed the back end.
    pub(crate) async fn finished(&self) -> Result<(), StoreError> {
        let mut finished = self.finished.clone();
        let result = finished.wait_for(Option::is_some).await.map_err(|_| writer_gone())?;
        result.clone().unwrap_or(Ok(()))
    }

    pub(crate) fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            // The thread catches what its back end throws; there is nothing to hand on.
            let _ = thread.join();
        }
    }
}

fn run(
    mut backend: Box<dyn Backend>,
    codecs: &Codecs,
    limits: Limits,
    opened: oneshot::Sender<Result<Arc<Shared>, StoreError>>,
    finish: &watch::Sender<Option<Result<(), StoreError>>>,
) {
    let shared = match guarded(|| backend.load()) {
        Ok(loaded) => Shared::new(restore(loaded, codecs), limits),
        Err(error) => {
            // Who is told may open it again at once.
            drop(backend);
            let _ = opened.send(Err(error));
            return;
        }
    };
    // Who no longer waits for the opening will never close the store either.
    if opened.send(Ok(shared.clone())).is_err() {
        return;
    }
    let mut batches = Batches { backend, doubtful: BTreeSet::new() };
    let mut before = 0;
    while let Some((pending, state)) = next_batch(&shared, before) {
        before = pending.len();
        match batches.write(&shared, &pending) {
            Ok(()) => {
                let events = pending.iter().flat_map(|pending| &pending.events);
                shared.core.publish(state, events).spread();
                answer(pending, &Ok(()));
            }
            Err(error) => fail(&shared, pending, error),
        }
    }
    shared.core.close();
    let result = guarded(|| batches.backend.close());
    drop(batches);
    finish.send_replace(Some(result));
}

fn restore(loaded: Loaded, codecs: &Codecs) -> State {
    let mut state = State::at(loaded.revision.max(FIRST_REVISION));
    for Record { table, key, revision, json } in loaded.records {
        let object = json.map(|json| Object::from_stored(codecs(&table), json, revision));
        state.set(&table, &key, object);
    }
    state
}

/// Waits for commits, takes all there are and the state after the last; `None` when the store is
/// closed and there are no more.
///
/// Those who were answered together come back together: where the batch before had many, waiting
/// a moment for as many spares each of them a second turn of the disk.
fn next_batch(shared: &Shared, before: usize) -> Option<(Vec<Pending>, State)> {
    let mut head = shared.head.lock();
    while head.queue.is_empty() {
        if head.closed {
            return None;
        }
        shared.work.wait(&mut head);
    }
    if head.queue.len() < before && !head.closed {
        head.wanted = before;
        shared.work.wait_for(&mut head, GATHERING);
        head.wanted = 1;
    }
    Some((std::mem::take(&mut head.queue), head.state.clone()))
}

/// Takes back what could not be written, with everything that was built on it.
fn fail(shared: &Shared, mut pending: Vec<Pending>, error: StoreError) {
    tracing::error!(%error, commits = pending.len(), "could not write");
    let mut head = shared.head.lock();
    head.state = State::clone(&shared.core.snapshot().0);
    pending.append(&mut head.queue);
    drop(head);
    answer(pending, &Err(error));
}

fn answer(pending: Vec<Pending>, result: &Result<(), StoreError>) {
    for pending in pending {
        // Who has stopped waiting needs no answer.
        let _ = pending.acknowledge.send(result.clone());
    }
}

struct Batches {
    backend: Box<dyn Backend>,
    /// Keys of batches that failed, which may have been written all the same: what readers see
    /// under them goes first in the next batch.
    doubtful: BTreeSet<(Arc<str>, Key)>,
}

impl Batches {
    fn write(&mut self, shared: &Shared, pending: &[Pending]) -> Result<(), StoreError> {
        let events = pending.iter().flat_map(|pending| &pending.events);
        if events.clone().next().is_none() {
            return Ok(());
        }
        let published = shared.core.snapshot();
        let mut batch: Vec<Record> =
            self.doubtful.iter().map(|(table, key)| repair(&published, table, key)).collect();
        batch.extend(events.clone().map(|(table, event)| Record {
            table: table.clone(),
            key: event.key.clone(),
            revision: event.revision,
            json: (event.change != Change::Deleted).then(|| event.object.json()),
        }));
        let written = guarded(|| self.backend.write(&batch));
        match written {
            Ok(()) => self.doubtful.clear(),
            Err(_) => self
                .doubtful
                .extend(events.map(|(table, event)| (table.clone(), event.key.clone()))),
        }
        written
    }
}

fn repair(published: &Snapshot, table: &Arc<str>, key: &Key) -> Record {
    let object = published.get(table, key);
    Record {
        table: table.clone(),
        key: key.clone(),
        revision: object.map_or(published.revision(), Object::revision),
        json: object.map(Object::json),
    }
}

/// A back end that panics has failed, and no more than that.
fn guarded<T>(call: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| {
        let message = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("no message");
        Err(StoreError::Backend(format!("the back end panicked: {message}")))
    })
}

fn writer_gone() -> StoreError {
    StoreError::Backend("the writer has ended".to_owned())
}
