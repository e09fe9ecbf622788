use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use pinnace_api::{ApiError, Object};

/// What can go wrong with the store as a whole.
///
/// Cheap to clone: one failed write fails every commit that was part of it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The event log no longer reaches back that far; list again and watch from there.
    #[error("revision {requested} is too old: the log begins after {oldest}")]
    Expired {
        /// The revision that was asked for.
        requested: u64,
        /// The oldest revision that can still be asked for.
        oldest: u64,
    },
    /// The revision has not happened yet.
    #[error("revision {requested} is ahead of the store, which is at {current}")]
    Future {
        /// The revision that was asked for.
        requested: u64,
        /// The latest revision.
        current: u64,
    },
    /// The store has been closed.
    #[error("the store is closed")]
    Closed,
    /// Another engine has the data directory open.
    #[error("{} is in use by {}", path.display(), holder(*pid))]
    Locked {
        /// The data directory.
        path: PathBuf,
        /// The process that holds it, where it could be told.
        pid: Option<u32>,
    },
    /// The data was written by a newer version.
    #[error("the data has format version {found}, this version reads up to {supported}")]
    NewerVersion {
        /// The format version of the data.
        found: u64,
        /// The newest format version that can be read.
        supported: u64,
    },
    /// What is stored is not what was written.
    #[error("{} is damaged: {message}", path.display())]
    Corrupt {
        /// The damaged file.
        path: PathBuf,
        /// What was found.
        message: String,
    },
    /// The disk, or the quota, is full. Writes work again once there is space.
    #[error("no space left for {}", path.display())]
    Full {
        /// The file or directory that could not grow.
        path: PathBuf,
    },
    /// Reading or writing failed.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory it happened to.
        path: PathBuf,
        /// What the operating system said.
        source: Arc<io::Error>,
    },
    /// What is stored cannot be decrypted, or the configuration for that cannot be.
    #[cfg(feature = "disk")]
    #[error(transparent)]
    Encryption(#[from] crate::EncryptionError),
    /// A back end failed in a way of its own.
    #[error("{0}")]
    Backend(String),
}

impl StoreError {
    /// The error for an I/O error on a path; a full disk is told apart.
    pub fn io(path: impl Into<PathBuf>, error: io::Error) -> Self {
        let path = path.into();
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { path },
            _ => Self::Io { path, source: Arc::new(error) },
        }
    }

    /// Whether the event log no longer reaches back far enough.
    pub fn is_expired(&self) -> bool {
        matches!(self, Self::Expired { .. })
    }
}

/// Why a transaction was not committed; nothing of it was written.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CommitError {
    /// An operation found something else than it expected.
    #[error("operation {index} found {}", found(current.as_ref()))]
    Conflict {
        /// Which operation of the transaction, from 0.
        index: usize,
        /// What is stored under its key.
        current: Option<Object>,
    },
    /// What follows from the transaction forbids it.
    #[error(transparent)]
    Refused(ApiError),
    /// The store could not write.
    #[error(transparent)]
    Storage(#[from] StoreError),
}

fn holder(pid: Option<u32>) -> String {
    match pid {
        Some(pid) => format!("process {pid}"),
        None => "another engine".to_owned(),
    }
}

fn found(current: Option<&Object>) -> String {
    match current {
        Some(object) => format!("revision {} of {}", object.revision(), object.key()),
        None => "no object".to_owned(),
    }
}
