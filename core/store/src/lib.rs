//! The versioned store: transactions, snapshots, watch.
mod backend;
mod core;
mod error;
mod head;
mod log;
mod row_key;
mod snapshot;
mod state;
mod store;
mod transaction;
mod watch;
mod writer;

#[cfg(feature = "disk")]
pub use backend::DiskBackend;
pub use backend::{Backend, Loaded, MemoryBackend, Record};
pub use error::{CommitError, StoreError};
pub use log::{Change, Event, Limits};
pub use snapshot::Snapshot;
pub use store::{Codecs, FIRST_REVISION, QUEUED_COMMITS, Store};
pub use transaction::{Committed, Expect, Transaction};
pub use watch::Cursor;
