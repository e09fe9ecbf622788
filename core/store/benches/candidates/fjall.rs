use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use pinnace_api::Key;
use pinnace_store::{Backend, Loaded, Record, StoreError};

/// The back end that was not taken: an LSM tree behind a journal.
pub(crate) struct FjallBackend {
    database: Database,
    objects: Keyspace,
    meta: Keyspace,
}

impl FjallBackend {
    pub(crate) fn open(directory: &Path) -> Result<Self, StoreError> {
        let database = Database::builder(directory).open().map_err(failed)?;
        let objects =
            database.keyspace("objects", KeyspaceCreateOptions::default).map_err(failed)?;
        let meta = database.keyspace("meta", KeyspaceCreateOptions::default).map_err(failed)?;
        Ok(Self { database, objects, meta })
    }
}

impl Backend for FjallBackend {
    fn load(&mut self) -> Result<Loaded, StoreError> {
        let mut records = Vec::new();
        for row in self.objects.iter() {
            let (key, value) = row.into_inner().map_err(failed)?;
            let key = std::str::from_utf8(&key).unwrap();
            let mut parts = key.split('\0').map(Arc::<str>::from);
            let mut part = || parts.next().unwrap();
            let (table, namespace, name) = (part(), part(), part());
            let (revision, json) = value.split_first_chunk().unwrap();
            records.push(Record {
                table,
                key: Key::new(namespace, name),
                revision: u64::from_le_bytes(*revision),
                json: Some(Bytes::copy_from_slice(json)),
            });
        }
        let revision = self.meta.get("revision").map_err(failed)?;
        let revision =
            revision.map_or(0, |value| u64::from_le_bytes(value[..].try_into().unwrap()));
        Ok(Loaded { revision, records })
    }

    fn write(&mut self, batch: &[Record]) -> Result<(), StoreError> {
        let mut write = self.database.batch().durability(Some(PersistMode::SyncData));
        for record in batch {
            let (namespace, name) = (record.key.namespace(), record.key.name());
            let key = format!("{}\0{namespace}\0{name}", record.table);
            match &record.json {
                Some(json) => {
                    let mut value = record.revision.to_le_bytes().to_vec();
                    value.extend_from_slice(json);
                    write.insert(&self.objects, key, value);
                }
                None => write.remove(&self.objects, key),
            }
        }
        if let Some(last) = batch.last() {
            write.insert(&self.meta, "revision", last.revision.to_le_bytes());
        }
        write.commit().map_err(failed)
    }
}

fn failed(error: fjall::Error) -> StoreError {
    StoreError::Backend(error.to_string())
}
