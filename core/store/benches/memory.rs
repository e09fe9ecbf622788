//! How fast the store is in memory: commit, get, snapshot, and one event to many watchers.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run should say so and end")]

mod support;

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use pinnace_env::Stopwatch;
use pinnace_store::Store;
use support::{key, put, report, table};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;

const OBJECTS: usize = 10_000;
const WATCHERS: usize = 1_000;
const ROUNDS: usize = 30;
const RUNS: usize = 10;

fn main() {
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    let threads = Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    let store = Store::memory();
    commit(&runtime, &store);
    measure("store/commit/create", "us", Some(3.0), || commit(&runtime, &Store::memory()));
    measure("store/commit/update", "us", Some(3.0), || commit(&runtime, &store));
    measure("store/get", "ns", Some(300.0), || get(&store));
    measure("store/snapshot", "ns", Some(50.0), || snapshot(&store));
    measure("store/list 10000", "us", None, || list(&store));
    measure("store/fan-out 1000/one thread", "us", Some(1000.0), || fan_out(&runtime));
    measure("store/fan-out 1000/two threads", "us", Some(1000.0), || fan_out(&threads));
}

/// Reports the least of several runs, for what else the machine does only ever adds. An argument
/// chooses the benchmarks whose names contain it.
fn measure(name: &str, unit: &str, target: Option<f64>, run: impl FnMut() -> f64) {
    let mut filters = std::env::args().skip(1).filter(|argument| !argument.starts_with('-'));
    if filters.next().is_none_or(|filter| name.contains(&filter)) {
        let least = std::iter::repeat_with(run).take(RUNS).fold(f64::INFINITY, f64::min);
        report(name, least, unit, target);
    }
}

/// Microseconds for a commit of one object among 10,000.
fn commit(runtime: &Runtime, store: &Store) -> f64 {
    let table = table();
    // In an order that jumps about, as names do.
    let transactions: Vec<_> = (0..OBJECTS).map(|n| put(&table, n * 7919 % OBJECTS)).collect();
    let stopwatch = Stopwatch::start();
    runtime.block_on(async {
        for transaction in transactions {
            store.commit(transaction).await.unwrap();
        }
    });
    micros(stopwatch.elapsed()) / OBJECTS as f64
}

fn get(store: &Store) -> f64 {
    let keys: Vec<_> = (0..OBJECTS).map(|n| key(n * 7919 % OBJECTS)).collect();
    let stopwatch = Stopwatch::start();
    for key in &keys {
        black_box(store.snapshot().get("configmaps", key).unwrap());
    }
    micros(stopwatch.elapsed()) * 1000.0 / OBJECTS as f64
}

fn snapshot(store: &Store) -> f64 {
    const SNAPSHOTS: usize = 1_000_000;
    let stopwatch = Stopwatch::start();
    for _ in 0..SNAPSHOTS {
        black_box(store.snapshot());
    }
    micros(stopwatch.elapsed()) * 1000.0 / SNAPSHOTS as f64
}

fn list(store: &Store) -> f64 {
    let stopwatch = Stopwatch::start();
    for _ in 0..ROUNDS {
        assert_eq!(black_box(store.snapshot()).iter("configmaps").map(black_box).count(), OBJECTS);
    }
    micros(stopwatch.elapsed()) / ROUNDS as f64
}

/// Microseconds from the commit to the last of 1,000 watchers having the event, in the median.
fn fan_out(runtime: &Runtime) -> f64 {
    runtime.block_on(async {
        let store = Store::memory();
        let table = table();
        let received = Arc::new(AtomicUsize::new(0));
        let all = Arc::new(Notify::new());
        for _ in 0..WATCHERS {
            let mut cursor = store.watch(&table, store.revision()).unwrap();
            let (received, all) = (received.clone(), all.clone());
            tokio::spawn(async move {
                while cursor.next().await.is_ok() {
                    if received.fetch_add(1, Ordering::AcqRel) + 1 == WATCHERS {
                        all.notify_one();
                    }
                }
            });
        }
        let mut times = Vec::new();
        for round in 0..ROUNDS {
            // Let every watcher come to wait.
            tokio::time::sleep(Duration::from_millis(5)).await;
            received.store(0, Ordering::Release);
            let transaction = put(&table, round);
            let stopwatch = Stopwatch::start();
            store.commit(transaction).await.unwrap();
            all.notified().await;
            times.push(micros(stopwatch.elapsed()));
        }
        times.sort_by(f64::total_cmp);
        times[ROUNDS / 2]
    })
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}
