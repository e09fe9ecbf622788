//! What happens between a commit and its being durable, and when it never is.

use pinnace_store::{CommitError, Expect, Store, StoreError};
use tokio::task::{JoinHandle, yield_now};

use crate::backends::{Fate, Gate};
use crate::support::{TABLE, key, open, put, seen, set};

async fn gated() -> (Gate, Store) {
    let gate = Gate::default();
    let store = open(gate.clone()).await.unwrap();
    (gate, store)
}

/// Starts a write and waits until the back end has it, as its `batch`th.
async fn start(
    gate: &Gate,
    store: &Store,
    name: &'static str,
    value: u64,
    batch: usize,
) -> JoinHandle<Result<pinnace_store::Committed, CommitError>> {
    let task = queue(store, name, Expect::Any, value).await;
    gate.batches(batch);
    task
}

/// Starts a write, which waits behind the one that the back end has.
async fn queue(
    store: &Store,
    name: &'static str,
    expect: Expect,
    value: u64,
) -> JoinHandle<Result<pinnace_store::Committed, CommitError>> {
    let store = store.clone();
    let task = tokio::spawn(async move { store.commit(put(TABLE, name, expect, value)).await });
    yield_now().await;
    task
}

fn is_full<T>(outcome: Result<T, CommitError>) -> bool {
    matches!(outcome, Err(CommitError::Storage(StoreError::Full { .. })))
}

#[tokio::test]
async fn nobody_sees_a_write_before_it_is_durable() {
    let (gate, store) = gated().await;
    let mut cursor = store.watch(TABLE, store.revision()).unwrap();
    let write = start(&gate, &store, "a", 1, 1).await;
    assert_eq!((seen(&store, "a"), store.revision()), (None, 1));
    assert!(cursor.try_next().unwrap().is_none());
    gate.open();
    write.await.unwrap().unwrap();
    assert_eq!((seen(&store, "a"), store.revision()), (Some(1), 2));
    assert_eq!(cursor.next().await.unwrap().revision, 2);
}

#[tokio::test]
async fn commits_that_wait_are_written_together() {
    let (gate, store) = gated().await;
    let mut writes = vec![start(&gate, &store, "a", 1, 1).await];
    for _ in 0..20 {
        writes.push(queue(&store, "b", Expect::Any, 1).await);
    }
    gate.open();
    for write in writes {
        write.await.unwrap().unwrap();
    }
    assert_eq!(gate.batches(2), [1, 20]);
}

#[tokio::test]
async fn a_write_may_build_on_one_that_is_not_durable_yet() {
    let (gate, store) = gated().await;
    let first = start(&gate, &store, "a", 1, 1).await;
    let second = queue(&store, "a", Expect::Revision(2), 2).await;
    gate.open();
    first.await.unwrap().unwrap();
    assert_eq!(second.await.unwrap().unwrap().revision, 3);
}

#[tokio::test]
async fn a_full_disk_fails_what_was_to_be_written_and_what_built_on_it_and_no_more() {
    let (gate, store) = gated().await;
    let first = start(&gate, &store, "a", 1, 1).await;
    gate.allow(Fate::Succeeds);
    first.await.unwrap().unwrap();
    let second = start(&gate, &store, "a", 2, 2).await;
    let third = queue(&store, "a", Expect::Revision(3), 3).await;
    let other = queue(&store, "b", Expect::Any, 1).await;
    gate.allow(Fate::Fails);
    assert!(is_full(second.await.unwrap()));
    assert!(is_full(third.await.unwrap()));
    assert!(is_full(other.await.unwrap()));
    assert_eq!((seen(&store, "a"), seen(&store, "b")), (Some(1), None));
    gate.open();
    store.commit(put(TABLE, "a", Expect::Revision(2), 4)).await.unwrap();
    assert_eq!(seen(&store, "a"), Some(4));
}

#[tokio::test]
async fn a_write_that_failed_but_was_written_does_not_come_back() {
    let (gate, store) = gated().await;
    gate.allow(Fate::Succeeds);
    set(&store, "a", 1).await.unwrap();
    gate.allow(Fate::FailsAfterwards);
    gate.allow(Fate::FailsAfterwards);
    assert!(is_full(set(&store, "a", 2).await));
    assert!(is_full(set(&store, "b", 2).await));
    gate.open();
    set(&store, "c", 3).await.unwrap();
    let crashed = open(gate.records()).await.unwrap();
    let found = ["a", "b", "c"].map(|name| seen(&crashed, name));
    assert_eq!(found, [Some(1), None, Some(3)]);
    assert_eq!(crashed.revision(), store.revision());
    let revision = |store: &Store| store.snapshot().get(TABLE, &key("a")).unwrap().revision();
    assert_eq!(revision(&crashed), revision(&store));
}

#[tokio::test]
async fn a_conflict_with_a_write_that_fails_is_no_conflict() {
    let (gate, store) = gated().await;
    let first = start(&gate, &store, "a", 1, 1).await;
    let second = queue(&store, "a", Expect::Absent, 2).await;
    assert!(!second.is_finished(), "it is not known yet");
    gate.allow(Fate::Fails);
    assert!(is_full(first.await.unwrap()));
    assert!(is_full(second.await.unwrap()));
}

#[tokio::test]
async fn a_conflict_is_told_once_it_can_be_seen() {
    let (gate, store) = gated().await;
    let first = start(&gate, &store, "a", 1, 1).await;
    let second = queue(&store, "a", Expect::Absent, 2).await;
    gate.open();
    first.await.unwrap().unwrap();
    match second.await.unwrap() {
        Err(CommitError::Conflict { index: 0, current: Some(current) }) => {
            assert!(store.revision() >= current.revision());
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_back_end_that_panics_has_failed_and_no_more() {
    let (gate, store) = gated().await;
    gate.allow(Fate::Panics);
    match set(&store, "a", 1).await {
        Err(CommitError::Storage(StoreError::Backend(message))) => {
            assert!(message.contains("as asked"), "{message}");
        }
        other => panic!("{other:?}"),
    }
    gate.open();
    set(&store, "a", 2).await.unwrap();
}

#[tokio::test]
async fn closing_writes_what_is_queued() {
    let (gate, store) = gated().await;
    let first = start(&gate, &store, "a", 1, 1).await;
    let second = queue(&store, "b", Expect::Any, 2).await;
    let closing = tokio::spawn({
        let store = store.clone();
        async move { store.close().await }
    });
    yield_now().await;
    assert!(matches!(set(&store, "c", 3).await, Err(CommitError::Storage(StoreError::Closed))));
    gate.open();
    first.await.unwrap().unwrap();
    second.await.unwrap().unwrap();
    closing.await.unwrap().unwrap();
    store.close().await.unwrap();
    let reopened = open(gate.records()).await.unwrap();
    assert_eq!((seen(&reopened, "a"), seen(&reopened, "b")), (Some(1), Some(2)));
}

#[tokio::test]
async fn dropping_the_last_handle_writes_what_is_queued() {
    let (gate, store) = gated().await;
    let write = start(&gate, &store, "a", 1, 1).await;
    gate.open();
    write.abort();
    let _ = write.await;
    drop(store);
    assert_eq!(seen(&open(gate.records()).await.unwrap(), "a"), Some(1));
}
