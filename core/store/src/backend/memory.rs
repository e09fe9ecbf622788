use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use pinnace_api::Key;

use super::{Backend, Loaded, Record};
use crate::StoreError;

/// A back end that keeps records in memory. All clones hold the same records, so a store can be
/// closed and opened again on one: a restart without a disk.
#[derive(Clone, Debug, Default)]
pub struct MemoryBackend(Arc<Mutex<Records>>);

#[derive(Debug, Default)]
struct Records {
    revision: u64,
    records: BTreeMap<(Arc<str>, Key), Record>,
}

impl MemoryBackend {
    /// One without records.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Backend for MemoryBackend {
    fn load(&mut self) -> Result<Loaded, StoreError> {
        let records = self.0.lock();
        Ok(Loaded {
            revision: records.revision,
            records: records.records.values().cloned().collect(),
        })
    }

    fn write(&mut self, batch: &[Record]) -> Result<(), StoreError> {
        let mut records = self.0.lock();
        for record in batch {
            let place = (record.table.clone(), record.key.clone());
            match record.json {
                Some(_) => records.records.insert(place, record.clone()),
                None => records.records.remove(&place),
            };
            records.revision = record.revision;
        }
        Ok(())
    }
}
