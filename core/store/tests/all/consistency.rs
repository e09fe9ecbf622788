//! Readers while writers write.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pinnace_store::{Expect, MemoryBackend, Snapshot, Store, Transaction};

use crate::support::{draft, key, open, value};

const TABLES: [&str; 2] = ["configmaps", "secrets"];
const ROUNDS: u64 = 2_000;

/// One transaction writes the same number to both tables; a reader must never see two numbers.
async fn write_pairs(store: Store, writer: u64) {
    let name = format!("writer-{writer}");
    for round in 0..ROUNDS {
        let mut transaction = Transaction::new();
        for table in TABLES {
            let table: Arc<str> = table.into();
            transaction.put(&table, key(&name), Expect::Any, draft(&key(&name), round));
        }
        store.commit(transaction).await.unwrap();
    }
}

fn values(snapshot: &Snapshot, table: &str) -> Vec<u64> {
    snapshot.iter(table).map(value).collect()
}

async fn check(store: Store) {
    let done = Arc::new(AtomicBool::new(false));
    let reader = std::thread::spawn({
        let (store, done) = (store.clone(), done.clone());
        move || {
            let mut last = 0;
            while !done.load(Ordering::Acquire) {
                let snapshot = store.snapshot();
                assert!(snapshot.revision() >= last, "time ran backwards");
                last = snapshot.revision();
                assert_eq!(values(&snapshot, TABLES[0]), values(&snapshot, TABLES[1]));
                // An event that has been given is there for who looks.
                let earlier = store.snapshot_at(last.saturating_sub(last % 2).max(1));
                let _ = earlier.map(|earlier| assert!(earlier.revision() <= last));
            }
        }
    });
    let watcher = tokio::spawn({
        let store = store.clone();
        let mut cursor = store.watch(TABLES[0], store.revision()).unwrap();
        async move {
            for _ in 0..2 * ROUNDS {
                let event = cursor.next().await.unwrap();
                assert!(store.revision() >= event.revision, "told before it can be seen");
            }
        }
    });
    let writers = [0, 1].map(|writer| tokio::spawn(write_pairs(store.clone(), writer)));
    for writer in writers {
        writer.await.unwrap();
    }
    watcher.await.unwrap();
    done.store(true, Ordering::Release);
    reader.join().unwrap();
    assert_eq!(store.revision(), 1 + 2 * 2 * ROUNDS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_never_shows_half_a_transaction_in_memory() {
    check(Store::memory()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_never_shows_half_a_transaction_on_a_back_end() {
    check(open(MemoryBackend::new()).await.unwrap()).await;
}
