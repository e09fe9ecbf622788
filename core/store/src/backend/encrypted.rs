use std::collections::HashMap;
use std::sync::Arc;

use pinnace_api::Key;

use super::{Backend, Loaded, Record};
use crate::StoreError;
use crate::encryption::{Encryption, EncryptionConfiguration};

/// How many objects that an older key has encrypted are written anew along with a batch.
const RENEWED_AT_ONCE: usize = 64;

/// A back end whose objects are encrypted on their way to another.
///
/// What was kept by an older key, or unencrypted, is written anew along with later writes, so that
/// a key that is not the first any more is not needed for long.
pub struct EncryptedBackend<B> {
    inner: B,
    encryption: Encryption,
    stale: HashMap<(Arc<str>, Key), Record, ahash::RandomState>,
}

impl<B: Backend> EncryptedBackend<B> {
    /// Encrypts as a configuration says; without one, nothing, and what is encrypted is an error
    /// that says so.
    ///
    /// # Errors
    /// [`StoreError::Encryption`] for a configuration that cannot be.
    pub fn new(inner: B, config: Option<&EncryptionConfiguration>) -> Result<Self, StoreError> {
        let encryption = match config {
            Some(config) => Encryption::new(config)?,
            None => Encryption::none(),
        };
        Ok(Self { inner, encryption, stale: HashMap::default() })
    }

    fn seal(&self, record: &Record) -> Result<Record, StoreError> {
        Ok(Record { json: self.encryption.seal(record)?, ..record.clone() })
    }
}

impl<B: Backend> Backend for EncryptedBackend<B> {
    fn load(&mut self) -> Result<Loaded, StoreError> {
        let mut loaded = self.inner.load()?;
        for record in &mut loaded.records {
            let Some(kept) = record.json.take() else { continue };
            let opened = self.encryption.open(record, &kept)?;
            record.json = Some(opened.json);
            if opened.stale {
                let at = (record.table.clone(), record.key.clone());
                self.stale.insert(at, record.clone());
            }
        }
        Ok(loaded)
    }

    fn write(&mut self, batch: &[Record]) -> Result<(), StoreError> {
        if !self.stale.is_empty() {
            for record in batch {
                self.stale.remove(&(record.table.clone(), record.key.clone()));
            }
        }
        // They stand first: the last record of a batch says which revision the store is at.
        let renewed: Vec<_> = self.stale.keys().take(RENEWED_AT_ONCE).cloned().collect();
        let old = renewed.iter().filter_map(|at| self.stale.get(at));
        let sealed = old.chain(batch).map(|record| self.seal(record));
        let sealed = sealed.collect::<Result<Vec<_>, _>>()?;
        self.inner.write(&sealed)?;
        for at in renewed {
            self.stale.remove(&at);
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), StoreError> {
        self.inner.close()
    }
}
