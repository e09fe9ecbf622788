use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use redb::{
    CommitError, Database, DatabaseError, ReadableDatabase as _, ReadableTable as _, StorageError,
    TableDefinition, TableError, TransactionError, WriteTransaction,
};

use super::directory::Directory;
use super::row::{Decoder, decode_batch, encode_batch};
use super::{Backend, Loaded, Record};
use crate::StoreError;

/// Table, namespace and name, to revision and JSON form; batches since are in [`JOURNAL`].
const OBJECTS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("objects");

/// Numbers about the whole store.
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");

/// In [`META`]: the revision of the store.
const REVISION: &str = "revision";

/// Batches by the order in which they were written, to be worked into [`OBJECTS`].
///
/// A batch changes objects all over their tree, which would be a page or more to write for each of
/// them. Here it is one run of bytes at the end, and pages are changed once for many batches.
const JOURNAL: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("journal");

/// Size in bytes from which the journal is worked into the objects: so much that most pages are
/// written for several objects, so little that the batch that does it takes some 20 ms.
const JOURNAL_BYTES: usize = 1 << 20;

/// Pages the database keeps in memory, in bytes. Objects are read once, at the start; what is
/// needed after that are the pages on the way to what is written.
const CACHE_BYTES: usize = 8 << 20;

/// A back end that keeps objects in a directory, in one file of the embedded database `redb`.
///
/// A batch is one transaction of the database, synchronized once. Damage is found by checksums:
/// the whole file is checked when it is opened.
pub struct DiskBackend {
    directory: Directory,
    path: PathBuf,
    /// `None` before loading, and after an error, which the database does not survive: the next
    /// write opens it again.
    database: Option<Database>,
    /// Bytes in the journal.
    journal_bytes: usize,
    /// How many of them are enough to work them into the objects.
    checkpoint_bytes: usize,
}

impl DiskBackend {
    /// Takes a data directory for itself, making it where there is none.
    ///
    /// # Errors
    /// [`StoreError::Locked`] when another engine has it, [`StoreError::NewerVersion`] when a
    /// newer version wrote it, [`StoreError::Corrupt`], [`StoreError::Full`], [`StoreError::Io`].
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        let directory = Directory::open(directory)?;
        let path = directory.file("objects.redb");
        Ok(Self {
            directory,
            path,
            database: None,
            journal_bytes: 0,
            checkpoint_bytes: JOURNAL_BYTES,
        })
    }

    fn database(&mut self) -> Result<&Database, StoreError> {
        if self.database.is_none() {
            if !self.path.exists() {
                self.create()?;
            }
            let opened = builder().open(&self.path);
            self.database = Some(opened.map_err(|error| self.error(error.into()))?);
        }
        self.database.as_ref().ok_or(StoreError::Closed)
    }

    /// Makes an empty database under another name first: one that exists is one that was finished.
    fn create(&self) -> Result<(), StoreError> {
        let new = self.directory.file("objects.redb.new");
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(StoreError::io(new, error));
            }
            _ => {}
        }
        create(&new).map_err(|error| self.error(error))?;
        fs::rename(&new, &self.path).map_err(|error| StoreError::io(&self.path, error))?;
        self.directory.sync()
    }

    fn transact(&mut self, batch: &[u8], is_checkpoint: bool) -> Result<(), StoreError> {
        write(self.database()?, batch, is_checkpoint).map_err(|error| {
            self.database = None;
            self.error(error)
        })
    }

    fn error(&self, error: Failure) -> StoreError {
        let path = self.path.clone();
        match error.0 {
            redb::Error::Io(error) if is_damage(&error) => {
                StoreError::Corrupt { path, message: error.to_string() }
            }
            redb::Error::Io(error) => StoreError::io(path, error),
            redb::Error::Corrupted(message) => StoreError::Corrupt { path, message },
            other => StoreError::Backend(format!("{}: {other}", path.display())),
        }
    }
}

impl Backend for DiskBackend {
    fn load(&mut self) -> Result<Loaded, StoreError> {
        let loaded = load(self.database()?);
        let (loaded, journal_bytes) = loaded.map_err(|error| self.error(error))?;
        self.journal_bytes = journal_bytes;
        Ok(loaded)
    }

    fn write(&mut self, batch: &[Record]) -> Result<(), StoreError> {
        if batch.is_empty() {
            return Ok(());
        }
        let bytes = encode_batch(batch);
        let journal_bytes = self.journal_bytes + bytes.len();
        if journal_bytes >= self.checkpoint_bytes {
            match self.transact(&bytes, true) {
                Ok(()) => {
                    (self.journal_bytes, self.checkpoint_bytes) = (0, JOURNAL_BYTES);
                    return Ok(());
                }
                // It takes more space than the batch alone, which may still find room. A batch
                // that was written after all does no harm by being there twice.
                Err(error) => {
                    tracing::warn!(%error, "the journal stays as it is");
                    self.checkpoint_bytes = journal_bytes + JOURNAL_BYTES;
                }
            }
        }
        self.transact(&bytes, false)?;
        self.journal_bytes = journal_bytes;
        Ok(())
    }

    fn close(&mut self) -> Result<(), StoreError> {
        match self.database.take().map(Database::close) {
            Some(Err(error)) => Err(self.error(error.into())),
            _ => Ok(()),
        }
    }
}

fn builder() -> redb::Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
    builder
}

fn create(path: &Path) -> Result<(), Failure> {
    let database = builder().create(path)?;
    let transaction = database.begin_write()?;
    transaction.open_table(OBJECTS)?;
    transaction.open_table(META)?.insert(REVISION, 0)?;
    transaction.open_table(JOURNAL)?;
    transaction.commit()?;
    database.close()?;
    Ok(())
}

/// The objects as the journal leaves them, and the bytes in the journal. Nothing is written: this
/// must work on a full disk.
fn load(database: &Database) -> Result<(Loaded, usize), Failure> {
    let transaction = database.begin_read()?;
    let journal = transaction.open_table(JOURNAL)?;
    let batches: Vec<_> = journal.iter()?.collect::<Result<_, _>>()?;
    let journaled = Journal::read(batches.iter().map(|(_, batch)| batch.value()))?;
    let stored = transaction.open_table(META)?.get(REVISION)?.map_or(0, |value| value.value());
    let mut decoder = Decoder::default();
    let mut records = Vec::new();
    for row in transaction.open_table(OBJECTS)?.iter()? {
        let (key, value) = row?;
        if !journaled.rows.contains_key(key.value()) {
            records.push(decoder.decode(key.value(), value.value()).ok_or_else(no_row)?);
        }
    }
    for (key, value) in &journaled.rows {
        if let Some(value) = value {
            records.push(decoder.decode(key, value).ok_or_else(no_row)?);
        }
    }
    let loaded = Loaded { revision: journaled.revision.unwrap_or(stored), records };
    Ok((loaded, journaled.bytes))
}

fn write(database: &Database, batch: &[u8], is_checkpoint: bool) -> Result<(), Failure> {
    let transaction = database.begin_write()?;
    {
        let mut journal = transaction.open_table(JOURNAL)?;
        let last = journal.last()?.map_or(0, |(number, _)| number.value());
        journal.insert(last + 1, batch)?;
    }
    if is_checkpoint {
        checkpoint(&transaction)?;
    }
    transaction.commit()?;
    Ok(())
}

/// Works the journal into the objects.
fn checkpoint(transaction: &WriteTransaction) -> Result<(), Failure> {
    {
        let journal = transaction.open_table(JOURNAL)?;
        let batches: Vec<_> = journal.iter()?.collect::<Result<_, _>>()?;
        let journaled = Journal::read(batches.iter().map(|(_, batch)| batch.value()))?;
        let mut objects = transaction.open_table(OBJECTS)?;
        for (key, value) in journaled.rows {
            match value {
                Some(value) => objects.insert(key, value)?,
                None => objects.remove(key)?,
            };
        }
        if let Some(revision) = journaled.revision {
            transaction.open_table(META)?.insert(REVISION, revision)?;
        }
    }
    transaction.delete_table(JOURNAL)?;
    // Empty again: reading expects it.
    transaction.open_table(JOURNAL)?;
    Ok(())
}

/// What the batches of the journal come to.
#[derive(Default)]
struct Journal<'b> {
    /// The last value of each row, `None` where it was removed.
    rows: BTreeMap<&'b [u8], Option<&'b [u8]>>,
    revision: Option<u64>,
    bytes: usize,
}

impl<'b> Journal<'b> {
    fn read(batches: impl Iterator<Item = &'b [u8]>) -> Result<Self, Failure> {
        let mut journal = Self::default();
        for batch in batches {
            let rows = decode_batch(batch).ok_or_else(no_row)?;
            journal.revision = rows.last().map(|row| row.revision);
            journal.rows.extend(rows.into_iter().map(|row| (row.key, row.value)));
            journal.bytes += batch.len();
        }
        Ok(journal)
    }
}

/// What no checksum can tell.
fn no_row() -> Failure {
    Failure(redb::Error::Corrupted("it has a row that is no object".to_owned()))
}

/// How reading says that a file is not a database, or ends too early.
fn is_damage(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
}

/// Any error of the database.
struct Failure(redb::Error);

macro_rules! failure_from {
    ($($error:ty),*) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self(error.into())
            }
        })*
    };
}

failure_from!(CommitError, DatabaseError, StorageError, TableError, TransactionError);
