use std::path::PathBuf;
use std::time::Duration;

use pinnace_api::{ApiError, Reason};

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong with an engine.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The API has refused.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// A manifest cannot be read, or one of its objects was refused.
    #[error("{0}")]
    Manifest(String),
    /// One object of a manifest was refused; those before it have been applied.
    #[error("{object}: {source}")]
    Object {
        /// Which, as `deployment.apps/web`.
        object: String,
        /// Why.
        source: ApiError,
    },
    /// The engine cannot be made as configured.
    #[error("invalid configuration: {0}")]
    Config(String),
    /// The store cannot be opened or has failed.
    #[error("store: {0}")]
    Store(#[from] pinnace_store::StoreError),
    /// What runs containers has failed.
    #[error("runtime: {0}")]
    Runtime(#[from] pinnace_runtime::Error),
    /// The pod network cannot be made.
    #[error("network: {0}")]
    Network(#[from] pinnace_network::Error),
    /// The API cannot be served.
    #[error("serve: {0}")]
    Serve(#[from] pinnace_http::Error),
    /// There is no way to a cluster elsewhere.
    #[cfg(feature = "remote")]
    #[error(transparent)]
    Remote(#[from] pinnace_remote::Error),
    /// A node agent cannot start.
    #[error("node: {0}")]
    Node(String),
    /// The scheduler cannot start.
    #[error("scheduler: {0}")]
    Scheduler(String),
    /// Something on this machine failed.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// What was waited for has not come.
    #[error("timed out after {} waiting for {what}{}", seconds(*after), state(seen))]
    Timeout {
        /// What was waited for, as `condition=Available on deployments/web`.
        what: String,
        /// How long.
        after: Duration,
        /// What was seen last, empty for nothing.
        seen: String,
    },
    /// The engine has been shut down.
    #[error("the engine has been shut down")]
    Closed,
}

impl Error {
    fn api(&self) -> Option<&ApiError> {
        match self {
            Self::Api(error) | Self::Object { source: error, .. } => Some(error),
            _ => None,
        }
    }

    /// Why, by a name of the Kubernetes API such as `NotFound` or `Conflict`.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Api(error) | Self::Object { source: error, .. } => error.reason().as_str(),
            #[cfg(feature = "remote")]
            Self::Remote(_) => Reason::BadRequest.as_str(),
            Self::Manifest(_) | Self::Config(_) => Reason::BadRequest.as_str(),
            Self::Timeout { .. } => Reason::Timeout.as_str(),
            Self::Closed => Reason::ServiceUnavailable.as_str(),
            Self::Store(_)
            | Self::Runtime(_)
            | Self::Network(_)
            | Self::Serve(_)
            | Self::Node(_)
            | Self::Scheduler(_)
            | Self::Io { .. } => Reason::InternalError.as_str(),
        }
    }

    /// The HTTP status code that goes with the reason.
    pub fn code(&self) -> u16 {
        Reason::parse(self.reason()).map_or(500, Reason::code)
    }

    /// Whether the same call may succeed later without being changed.
    pub fn is_retryable(&self) -> bool {
        match self.api() {
            Some(error) => error.is_retryable(),
            None => matches!(self, Self::Timeout { .. }),
        }
    }

    /// The object that it is about, as `deployments/web`, where there is one.
    pub fn object(&self) -> Option<String> {
        match self {
            Self::Object { object, .. } => Some(object.clone()),
            _ => {
                let details = self.api()?.details()?;
                let kind = details.kind.as_deref()?;
                Some(format!("{kind}/{}", details.name.as_deref()?))
            }
        }
    }

    /// The error as the API says it, where the API said it.
    pub fn status(&self) -> Option<&ApiError> {
        self.api()
    }
}

fn seconds(time: Duration) -> String {
    format!("{:?}", Duration::from_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX)))
}

fn state(seen: &str) -> String {
    if seen.is_empty() { String::new() } else { format!(" ({seen})") }
}
