//! The way to what runs on a node: what upstream's API server asks of a kubelet.
//!
//! The server finds a node's [`NodeConnection`] in the [`NodeDirectory`] that the engine fills; an
//! agent in the same process is a function call away, one on another machine answers over HTTPS.

use std::borrow::Cow;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use pinnace_api::Result;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

use crate::summary::Summary;

/// Finds nodes by name.
pub trait NodeDirectory: Send + Sync + 'static {
    /// The connection to a node's agent.
    ///
    /// # Errors
    /// `ServiceUnavailable` or `InternalError`, saying why, when it cannot be reached.
    fn node(&self, name: &str) -> Result<Arc<dyn NodeConnection>>;
}

/// What a node's agent does on request. Containers are named as the pod's spec names them.
#[async_trait]
pub trait NodeConnection: Send + Sync + 'static {
    /// The log of a container, as text with line ends.
    ///
    /// # Errors
    /// `NotFound` for the pod, `BadRequest` for the container or one that has not been started.
    async fn logs(&self, pod: &PodReference, container: &str, options: LogOptions)
    -> Result<Bytes>;

    /// Runs a command in a running container.
    ///
    /// # Errors
    /// `NotFound` for the pod or container, `BadRequest` when it does not run.
    async fn exec(
        &self,
        pod: &PodReference,
        container: &str,
        command: Vec<String>,
        streams: Streams,
    ) -> Result<Session>;

    /// Joins the first process of a running container.
    ///
    /// # Errors
    /// As [`NodeConnection::exec`].
    async fn attach(
        &self,
        pod: &PodReference,
        container: &str,
        streams: Streams,
    ) -> Result<Session>;

    /// Connects to a port of a pod, on its loopback address where the network allows that.
    ///
    /// # Errors
    /// `NotFound` for the pod, `ServiceUnavailable` when nothing listens there.
    async fn connect(&self, pod: &PodReference, port: u16) -> Result<Box<dyn Connection>>;

    /// What the node, its pods and their containers use now; everything, or only the two that cost
    /// nothing to look at.
    ///
    /// # Errors
    /// `ServiceUnavailable` when the runtime does not answer.
    async fn summary(&self, only_cpu_and_memory: bool) -> Result<Summary>;

    /// What a kubelet answers to a GET of a path with its query, such as `/stats/summary`; `None`
    /// for a path that it does not have.
    ///
    /// # Errors
    /// As [`NodeConnection::summary`].
    async fn document(&self, path: &str) -> Result<Option<Document>>;
}

/// A page of a kubelet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// `Content-Type`.
    pub media_type: Cow<'static, str>,
    /// What it says.
    pub body: String,
}

/// Text or bytes as they come. An error ends them.
pub type Bytes = BoxStream<'static, Result<bytes::Bytes>>;

/// Which pod is meant; `uid` keeps a request from reaching a later pod of the same name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodReference {
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// `metadata.uid`.
    pub uid: String,
}

/// Which lines of a log, as `PodLogOptions` names them.
#[derive(Clone, Debug, Default)]
pub struct LogOptions {
    /// Go on until the container ends.
    pub follow: bool,
    /// The log of the attempt before the last restart.
    pub previous: bool,
    /// Only lines not older than this.
    pub since: Option<jiff::Timestamp>,
    /// Put the time before each line.
    pub timestamps: bool,
    /// Only so many lines before the present end.
    pub tail_lines: Option<u64>,
    /// End after so many bytes.
    pub limit_bytes: Option<u64>,
    /// Only `Stdout` or `Stderr`; both when not set.
    pub stream: Option<String>,
}

/// Which streams of a process are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Streams {
    /// Standard input.
    pub stdin: bool,
    /// Standard output.
    pub stdout: bool,
    /// Standard error; never with a terminal, which has one output.
    pub stderr: bool,
    /// A terminal.
    pub tty: bool,
}

/// A process somebody is connected to. Dropping it lets go of the streams; what was executed is
/// then killed, what was attached to goes on.
pub struct Session {
    /// Where its input goes; shutting it down is the end of input.
    pub stdin: Option<Pin<Box<dyn AsyncWrite + Send>>>,
    /// Its output.
    pub stdout: Option<Pin<Box<dyn AsyncRead + Send>>>,
    /// Its error output.
    pub stderr: Option<Pin<Box<dyn AsyncRead + Send>>>,
    /// Takes the terminal's size, where there is a terminal.
    pub resize: Option<mpsc::Sender<TerminalSize>>,
    /// The exit code, once it has ended and its output has been read.
    pub exit: BoxFuture<'static, Result<i32>>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Session")
    }
}

/// The size of a terminal, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TerminalSize {
    /// Columns.
    pub width: u16,
    /// Rows.
    pub height: u16,
}

/// A stream of bytes both ways.
pub trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}
