use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use redb::{
    CommitError, Database, DatabaseError, ReadableDatabase as _, ReadableTable as _, StorageError,
    TableDefinition, TableError, TransactionError,
};

use super::directory::Directory;
use super::row::{Decoder, encode_key, encode_value};
use super::{Backend, Loaded, Record};
use crate::StoreError;

/// Table, namespace and name, to revision and JSON form.
const OBJECTS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("objects");

/// Numbers about the whole store.
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");

/// In [`META`]: the revision of the store.
const REVISION: &str = "revision";

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
        Ok(Self { directory, path, database: None })
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
        match loaded.map_err(|error| self.error(error))? {
            Some(loaded) => Ok(loaded),
            None => Err(StoreError::Corrupt {
                path: self.path.clone(),
                message: "it has a row that is no object".to_owned(),
            }),
        }
    }

    fn write(&mut self, batch: &[Record]) -> Result<(), StoreError> {
        write(self.database()?, batch).map_err(|error| {
            self.database = None;
            self.error(error)
        })
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
    transaction.commit()?;
    database.close()?;
    Ok(())
}

fn load(database: &Database) -> Result<Option<Loaded>, Failure> {
    let transaction = database.begin_read()?;
    let objects = transaction.open_table(OBJECTS)?;
    let revision = transaction.open_table(META)?.get(REVISION)?.map_or(0, |value| value.value());
    let mut decoder = Decoder::default();
    let mut records = Vec::new();
    for row in objects.iter()? {
        let (key, value) = row?;
        let Some(record) = decoder.decode(key.value(), value.value()) else { return Ok(None) };
        records.push(record);
    }
    Ok(Some(Loaded { revision, records }))
}

fn write(database: &Database, batch: &[Record]) -> Result<(), Failure> {
    let transaction = database.begin_write()?;
    {
        let mut objects = transaction.open_table(OBJECTS)?;
        let mut meta = transaction.open_table(META)?;
        let (mut key, mut value) = (Vec::new(), Vec::new());
        for record in batch {
            encode_key(record, &mut key);
            match &record.json {
                Some(json) => {
                    encode_value(record.revision, json, &mut value);
                    objects.insert(&*key, &*value)?;
                }
                None => {
                    objects.remove(&*key)?;
                }
            }
        }
        if let Some(last) = batch.last() {
            meta.insert(REVISION, last.revision)?;
        }
    }
    transaction.commit()?;
    Ok(())
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
