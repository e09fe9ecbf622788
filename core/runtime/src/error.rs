use thiserror::Error;

/// What can go wrong with a runtime.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The runtime does not answer.
    #[error("runtime {runtime} does not answer: {message}")]
    Unavailable {
        /// Which adapter.
        runtime: &'static str,
        /// What it said.
        message: String,
    },
    /// The image is not present or the registry has none of that name.
    #[error("image {reference:?} not found: {message}")]
    ImageNotFound {
        /// The name as given.
        reference: String,
        /// What was tried.
        message: String,
    },
    /// The image's name or content is not what it should be.
    #[error("invalid image {reference:?}: {message}")]
    InvalidImage {
        /// The name as given.
        reference: String,
        /// What is wrong.
        message: String,
    },
    /// The registry refused or failed.
    #[error("failed to pull image {reference:?}: {message}")]
    Pull {
        /// The name as given.
        reference: String,
        /// What the registry said.
        message: String,
    },
    /// There is no such pod.
    #[error("pod {0} not found")]
    PodNotFound(String),
    /// There is no such container.
    #[error("container {0} not found")]
    ContainerNotFound(String),
    /// The container does not run, and what was asked for needs it to.
    #[error("container {0} is not running")]
    NotRunning(String),
    /// The command could not be executed in the container.
    #[error("failed to exec in container: {message}")]
    Execute {
        /// Why.
        message: String,
    },
    /// Nobody answers at a port of a pod.
    #[error("failed to connect to localhost:{port} inside the pod: {message}")]
    Connect {
        /// The port.
        port: u16,
        /// Why.
        message: String,
    },
    /// The configuration cannot be made into a container.
    #[error("invalid container configuration: {0}")]
    InvalidConfig(String),
    /// The container could not be made.
    #[error("failed to create container {container:?}: {message}")]
    Create {
        /// Its name.
        container: String,
        /// Why.
        message: String,
    },
    /// The container's process could not be executed (`RunContainerError`).
    #[error("failed to start container {container:?}: {message}")]
    Start {
        /// Its id.
        container: String,
        /// Why.
        message: String,
    },
    /// Something on this machine failed.
    #[error("{operation}: {source}")]
    Io {
        /// What was tried.
        operation: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// Anything else.
    #[error("{operation}: {message}")]
    Other {
        /// What was tried.
        operation: String,
        /// Why it failed.
        message: String,
    },
}

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
