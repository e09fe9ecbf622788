//! Cursors: what they give, when they wake, and when they end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use pinnace_store::{Change, Expect, Limits, Store, StoreError};

use crate::support::{TABLE, delete, put, set, value};

/// Counts how often a task would have been woken.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Two sealed segments of the log and one to write to.
const SHORT: Limits = Limits { log_events: 128, log_bytes: usize::MAX };

#[tokio::test]
async fn a_cursor_gives_what_happens_to_its_table_in_order() {
    let store = Store::memory();
    let mut cursor = store.watch(TABLE, store.revision()).unwrap();
    set(&store, "a", 1).await.unwrap();
    store.commit(put("secrets", "a", Expect::Any, 9)).await.unwrap();
    set(&store, "a", 2).await.unwrap();
    store.commit(delete(TABLE, "a", Expect::Any)).await.unwrap();
    let mut told = Vec::new();
    for _ in 0..3 {
        let event = cursor.next().await.unwrap();
        told.push((event.revision, event.change, value(&event.object)));
    }
    assert_eq!(told, [(2, Change::Added, 1), (4, Change::Modified, 2), (5, Change::Deleted, 2)]);
    assert!(cursor.try_next().unwrap().is_none());
}

#[tokio::test]
async fn a_removal_carries_its_own_resource_version() {
    let store = Store::memory();
    set(&store, "a", 1).await.unwrap();
    let committed = store.commit(delete(TABLE, "a", Expect::Revision(2))).await.unwrap();
    let meta = committed.objects[0].meta();
    assert_eq!(meta.resource_version.as_deref(), Some("3"));
    assert_eq!(meta.name.as_deref(), Some("a"));
}

#[tokio::test]
async fn only_watchers_of_the_table_are_woken() {
    let store = Store::memory();
    let mut cursor = store.watch(TABLE, store.revision()).unwrap();
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(wakes.clone());
    let mut next = Box::pin(cursor.next());
    assert!(next.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    store.commit(put("secrets", "a", Expect::Any, 1)).await.unwrap();
    assert_eq!(wakes.0.load(Ordering::Relaxed), 0);
    set(&store, "a", 1).await.unwrap();
    assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
    match next.as_mut().poll(&mut Context::from_waker(&waker)) {
        Poll::Ready(Ok(event)) => assert_eq!(event.key.name(), "a"),
        other => panic!("{other:?}"),
    };
}

#[tokio::test]
async fn dropping_a_waiting_next_loses_no_event() {
    let store = Store::memory();
    let mut cursor = store.watch(TABLE, store.revision()).unwrap();
    for round in 0..3 {
        let mut next = Box::pin(cursor.next());
        assert!(next.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        set(&store, "a", round).await.unwrap();
        drop(next);
        assert_eq!(value(&cursor.next().await.unwrap().object), round);
    }
}

#[tokio::test]
async fn bookmarks_move_with_other_tables_but_not_past_what_is_unread() {
    let store = Store::memory();
    let mut cursor = store.watch(TABLE, store.revision()).unwrap();
    assert_eq!(cursor.revision(), 1);
    store.commit(put("secrets", "a", Expect::Any, 1)).await.unwrap();
    assert_eq!(cursor.revision(), 2);
    set(&store, "a", 1).await.unwrap();
    store.commit(put("secrets", "a", Expect::Any, 2)).await.unwrap();
    assert_eq!(cursor.revision(), 2, "the event at 3 has not been given");
    cursor.next().await.unwrap();
    assert_eq!(cursor.revision(), 4);
}

#[tokio::test]
async fn a_watch_may_begin_at_any_revision_of_the_log() {
    let store = Store::memory_with(SHORT);
    for value in 0..500 {
        set(&store, "a", value).await.unwrap();
    }
    let Err(StoreError::Expired { oldest, .. }) = store.watch(TABLE, 1) else {
        panic!("the log should be cut off by now")
    };
    assert!(store.revision() - oldest >= 128, "too short: after {oldest}");
    assert!(store.revision() - oldest <= 192 + 1, "too long: after {oldest}");
    for after in oldest..=store.revision() {
        let mut cursor = store.watch(TABLE, after).unwrap();
        for revision in after + 1..=store.revision() {
            assert_eq!(cursor.next().await.unwrap().revision, revision);
        }
        assert!(cursor.try_next().unwrap().is_none());
    }
    assert!(store.snapshot_at(oldest - 1).is_err_and(|error| error.is_expired()));
    assert_eq!(value(store.snapshot_at(oldest).unwrap().iter(TABLE).next().unwrap()), oldest - 2);
}

#[tokio::test]
async fn a_cursor_that_falls_behind_is_told_so() {
    let store = Store::memory_with(SHORT);
    let mut cursor = store.watch(TABLE, store.revision()).unwrap();
    for value in 0..500 {
        set(&store, "a", value).await.unwrap();
    }
    assert!(cursor.next().await.is_err_and(|error| error.is_expired()));
}

#[tokio::test]
async fn a_forgotten_cursor_keeps_no_events_in_memory() {
    let store = Store::memory_with(SHORT);
    let mut reader = store.watch(TABLE, store.revision()).unwrap();
    let _forgotten = store.watch(TABLE, store.revision()).unwrap();
    set(&store, "a", 0).await.unwrap();
    let first = Arc::downgrade(&reader.next().await.unwrap());
    assert!(first.upgrade().is_some());
    for value in 0..500 {
        set(&store, "a", value).await.unwrap();
    }
    assert!(first.upgrade().is_none());
}

#[tokio::test]
async fn large_objects_make_the_log_shorter() {
    let store = Store::memory_with(Limits { log_bytes: 100_000, ..Limits::default() });
    for value in 0..500 {
        set(&store, "a", value).await.unwrap();
    }
    assert!(store.watch(TABLE, 1).is_err_and(|error| error.is_expired()));
}

#[tokio::test]
async fn the_future_has_an_error_of_its_own() {
    let store = Store::memory();
    for error in [store.watch(TABLE, 2).err(), store.snapshot_at(2).err()] {
        assert!(matches!(error, Some(StoreError::Future { requested: 2, current: 1 })));
    }
}

#[tokio::test]
async fn closing_ends_watches_after_their_last_event() {
    let store = Store::memory();
    let mut cursor = store.watch(TABLE, store.revision()).unwrap();
    let mut waiting = store.watch("secrets", store.revision()).unwrap();
    let waiting = tokio::spawn(async move { waiting.next().await });
    tokio::task::yield_now().await;
    set(&store, "a", 1).await.unwrap();
    store.close().await.unwrap();
    assert!(matches!(waiting.await.unwrap(), Err(StoreError::Closed)));
    assert_eq!(cursor.next().await.unwrap().revision, 2);
    assert!(matches!(cursor.next().await, Err(StoreError::Closed)));
    assert!(set(&store, "a", 2).await.is_err());
    assert_eq!(store.snapshot().len(TABLE), 1);
}

#[tokio::test]
async fn dropping_the_last_handle_ends_watches() {
    let store = Store::memory();
    let mut cursor = store.watch(TABLE, store.revision()).unwrap();
    drop(store);
    assert!(matches!(cursor.next().await, Err(StoreError::Closed)));
}

#[tokio::test]
async fn compaction_lets_go_of_events_but_of_no_cursor_that_is_up_to_date() {
    let store = Store::memory();
    let mut cursor = store.watch(TABLE, store.revision()).unwrap();
    set(&store, "a", 0).await.unwrap();
    let first = Arc::downgrade(&cursor.next().await.unwrap());
    for value in 1..200 {
        set(&store, "a", value).await.unwrap();
        cursor.next().await.unwrap();
    }
    assert!(cursor.try_next().unwrap().is_none());
    let before = store.revision();
    set(&store, "a", 200).await.unwrap();
    store.compact(before);
    assert!(first.upgrade().is_none());
    assert!(store.watch(TABLE, 1).is_err_and(|error| error.is_expired()));
    assert_eq!(value(&cursor.next().await.unwrap().object), 200);
    let mut late = store.watch(TABLE, before).unwrap();
    assert_eq!(late.next().await.unwrap().revision, before + 1);
}
