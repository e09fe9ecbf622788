use std::path::PathBuf;

/// Why there is no way to a cluster.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file cannot be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A kubeconfig does not say what it has to.
    #[error("{}{reason}", path.as_ref().map(|path| format!("{}: ", path.display())).unwrap_or_default())]
    Kubeconfig {
        /// The file, where it is one.
        path: Option<PathBuf>,
        /// What is wrong.
        reason: String,
    },
}

impl Error {
    pub(crate) fn kubeconfig(reason: impl Into<String>) -> Self {
        Self::Kubeconfig { path: None, reason: reason.into() }
    }

    /// Says which file it is about, where that is not said yet.
    pub(crate) fn of_file(self, file: &std::path::Path) -> Self {
        match self {
            Self::Kubeconfig { path: None, reason } => {
                Self::Kubeconfig { path: Some(file.to_owned()), reason }
            }
            other => other,
        }
    }
}

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error with what it comes from: the first often says only what was tried.
pub(crate) fn words(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", words(source)),
        None => error.to_string(),
    }
}
