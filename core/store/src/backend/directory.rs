use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use crate::StoreError;

/// The format version this code writes, and the newest it reads.
const FORMAT_VERSION: u64 = 1;

/// What the version stands behind in its file.
const FORMAT_NAME: &str = "pinnace-store";

/// A data directory that nobody else uses: held by a lock, and of a format we know.
pub(super) struct Directory {
    path: PathBuf,
    /// The lock goes with the file handle, so not even `kill -9` leaves it behind.
    _lock: File,
}

impl Directory {
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        fs::create_dir_all(path).map_err(|error| StoreError::io(path, error))?;
        let lock = lock(path)?;
        let directory = Self { path: path.to_owned(), _lock: lock };
        directory.check_format()?;
        Ok(directory)
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Makes names that were given or taken in the directory durable.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        File::open(&self.path)
            .and_then(|directory| directory.sync_all())
            .map_err(|error| StoreError::io(&self.path, error))
    }

    fn check_format(&self) -> Result<(), StoreError> {
        let path = self.file("format");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return self.write_format(&path);
            }
            Err(error) => return Err(StoreError::io(path, error)),
        };
        let found = text
            .strip_prefix(FORMAT_NAME)
            .and_then(|version| version.trim().parse::<u64>().ok())
            .ok_or_else(|| StoreError::Corrupt {
                path,
                message: "it does not name a format version".to_owned(),
            })?;
        if found > FORMAT_VERSION {
            return Err(StoreError::NewerVersion { found, supported: FORMAT_VERSION });
        }
        Ok(())
    }

    fn write_format(&self, path: &Path) -> Result<(), StoreError> {
        let new = self.file("format.new");
        let write = || {
            let mut file = File::create(&new)?;
            writeln!(file, "{FORMAT_NAME} {FORMAT_VERSION}")?;
            file.sync_all()?;
            fs::rename(&new, path)
        };
        write().map_err(|error| StoreError::io(path, error))?;
        self.sync()
    }
}

fn lock(directory: &Path) -> Result<File, StoreError> {
    let path = directory.join("lock");
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(&path)
        .map_err(|error| StoreError::io(&path, error))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // The holder may not have written its id yet.
            let _ = file.read_to_string(&mut holder);
            let pid = holder.trim().parse().ok();
            return Err(StoreError::Locked { path: directory.to_owned(), pid });
        }
        Err(TryLockError::Error(error)) => return Err(StoreError::io(path, error)),
    }
    // Only for the message above: a full disk is no reason not to read what is there.
    let _ = file
        .set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| writeln!(file, "{}", std::process::id()));
    Ok(file)
}
