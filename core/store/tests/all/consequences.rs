//! What is written because something else is.

use std::sync::Arc;

use pinnace_api::{ApiError, Reason};
use pinnace_store::{CommitError, Committed, Expect, MemoryBackend, Store, Transaction};

use crate::support::{draft, key, open, value};

const ROWS: &str = "configmaps";
const SUMS: &str = "secrets";
const MOST: u64 = 10;

/// Writes a row, and with it the number of rows there are; not more than there may be.
async fn add(store: Store, row: usize) -> Result<Committed, CommitError> {
    let (rows, sums): (Arc<str>, Arc<str>) = (ROWS.into(), SUMS.into());
    let name = format!("row-{row}");
    let mut transaction = Transaction::new();
    transaction.put(&rows, key(&name), Expect::Absent, draft(&key(&name), 0));
    transaction.then(Box::new(move |state, written| {
        assert_eq!(written[0].name(), name);
        let sum = state.get(SUMS, &key("sum")).map_or(0, value) + 1;
        if sum > MOST {
            return Err(ApiError::new(Reason::Forbidden, "full"));
        }
        let mut more = Transaction::new();
        more.put(&sums, key("sum"), Expect::Any, draft(&key("sum"), sum));
        Ok(more)
    }));
    store.commit(transaction).await
}

async fn check(store: Store) {
    let writers: Vec<_> = (0..30).map(|row| tokio::spawn(add(store.clone(), row))).collect();
    let mut done = 0;
    for writer in writers {
        match writer.await.unwrap() {
            Ok(committed) => {
                done += 1;
                assert_eq!(committed.objects.len(), 2);
                assert_eq!(committed.objects[1].revision(), committed.revision);
            }
            Err(CommitError::Refused(error)) => assert_eq!(error.message(), "full"),
            Err(error) => panic!("{error}"),
        }
    }
    let snapshot = store.snapshot();
    assert_eq!((done, snapshot.len(ROWS)), (10, 10), "nothing of what is refused is written");
    assert_eq!(snapshot.get(SUMS, &key("sum")).map(value), Some(MOST));
}

#[tokio::test]
async fn what_follows_is_decided_by_what_all_others_have_written() {
    check(Store::memory()).await;
    check(open(MemoryBackend::new()).await.unwrap()).await;
}
