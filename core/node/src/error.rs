use std::io;
use std::path::PathBuf;

use pinnace_api::ApiError;
use thiserror::Error;

/// What can go wrong with a node agent as a whole. What goes wrong with a pod is said in the pod's
/// status and Events instead.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The API refused.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// Something about this machine cannot be read or made.
    #[error("{operation} {}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// With what.
        path: PathBuf,
        /// What the file system answered.
        source: io::Error,
    },
    /// The configuration cannot work.
    #[error("invalid node agent configuration: {field}: {reason}")]
    InvalidConfig {
        /// The field at fault.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no log to show, in the words that the API uses.
    #[error("{0}")]
    NoLog(String),
}

impl Error {
    pub(crate) fn io(
        operation: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { operation, path, source }
    }
}

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
