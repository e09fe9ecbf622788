use std::sync::Arc;

use bytes::Bytes;
use pinnace_api::Key;

use crate::StoreError;

#[cfg(feature = "disk")]
mod directory;
#[cfg(feature = "disk")]
mod disk;
#[cfg(feature = "disk")]
mod encrypted;
mod memory;
#[cfg(feature = "disk")]
mod row;

#[cfg(feature = "disk")]
pub use disk::DiskBackend;
#[cfg(feature = "disk")]
pub use encrypted::EncryptedBackend;
pub use memory::MemoryBackend;

/// Where a store keeps its objects. One thread uses it, so it may block.
pub trait Backend: Send {
    /// Everything that is there; called once, first.
    ///
    /// # Errors
    /// When the data is damaged, too new or unreadable.
    fn load(&mut self) -> Result<Loaded, StoreError>;

    /// Writes a batch, all or nothing; durable on return. A record replaces the one before it
    /// under the same key; the revision of the last record is the revision of the store.
    ///
    /// # Errors
    /// When it could not be written. The store does not rely on nothing having been written: it
    /// puts the former versions at the front of the next batch.
    fn write(&mut self, batch: &[Record]) -> Result<(), StoreError>;

    /// Lets go of everything; called once, last.
    ///
    /// # Errors
    /// When what was written may not be readable later.
    fn close(&mut self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// What a back end has.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The revision of the last record written, 0 if there was none.
    pub revision: u64,
    /// The last record under each key, removals left out.
    pub records: Vec<Record>,
}

/// One object to write, or to remove.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its table.
    pub table: Arc<str>,
    /// Its key.
    pub key: Key,
    /// When it was written.
    pub revision: u64,
    /// Its JSON form; `None` to remove it.
    pub json: Option<Bytes>,
}
