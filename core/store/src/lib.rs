//! The versioned store: transactions, snapshots, watch.
//!
//! - [`Store`]: a cheap handle. [`Store::commit`] writes a [`Transaction`], all or nothing, checked
//!   against revisions, durable before it returns.
//! - [`Snapshot`]: all tables at one revision, in O(1); it blocks nobody.
//! - [`Cursor`]: a watch, which is a place in the one event log of a table.
//! - [`Backend`]: where objects are kept. A store in memory needs none; `DiskBackend` (feature
//!   `disk`, on by default) keeps them in a directory, and `EncryptedBackend` encrypts what goes
//!   there.
//!
//! Every operation has a revision of its own, in one order over all tables. How it works inside,
//! and the figures behind the choices, are in `docs/store.md`.
//!
//! ```
//! use std::sync::Arc;
//! use pinnace_api::k8s_openapi::api::core::v1::ConfigMap;
//! use pinnace_api::Draft;
//! use pinnace_store::{Change, Expect, Store, Transaction};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let store = Store::memory();
//! let table: Arc<str> = "configmaps".into();
//! let mut watch = store.watch(&table, store.revision())?;
//!
//! let mut settings = ConfigMap::default();
//! settings.metadata.namespace = Some("default".into());
//! settings.metadata.name = Some("settings".into());
//! let draft = Draft::new(settings);
//! let key = draft.key();
//! let mut transaction = Transaction::new();
//! transaction.put(&table, key.clone(), Expect::Absent, draft);
//! let committed = store.commit(transaction).await?;
//!
//! assert_eq!(store.snapshot().get(&table, &key).unwrap().revision(), committed.revision);
//! let event = watch.next().await?;
//! assert_eq!((event.change, event.revision), (Change::Added, committed.revision));
//! # Ok(())
//! # }
//! ```

mod backend;
mod core;
#[cfg(feature = "disk")]
mod encryption;
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

pub use backend::{Backend, Loaded, MemoryBackend, Record};
#[cfg(feature = "disk")]
pub use backend::{DiskBackend, EncryptedBackend};
#[cfg(feature = "disk")]
pub use encryption::{
    EncryptionConfiguration, EncryptionError, IdentityConfiguration, KeyConfiguration,
    KeysConfiguration, ProviderConfiguration, ResourceConfiguration,
};
pub use error::{CommitError, StoreError};
pub use log::{Change, Event, Limits};
pub use snapshot::Snapshot;
pub use store::{Codecs, FIRST_REVISION, QUEUED_COMMITS, Store};
pub use transaction::{Committed, Consequence, Expect, Transaction};
pub use watch::Cursor;
