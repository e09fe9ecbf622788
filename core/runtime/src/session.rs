//! Processes that somebody is connected to.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{mpsc, oneshot};

use crate::Result;

/// Changes of a terminal's size that may wait to be made.
#[cfg(all(target_os = "linux", feature = "containerd"))]
pub(crate) const RESIZES_WAITING: usize = 8;

/// Which streams of a process are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Streams {
    /// Standard input.
    pub stdin: bool,
    /// Standard output.
    pub stdout: bool,
    /// Standard error; a terminal has none.
    pub stderr: bool,
    /// A terminal.
    pub tty: bool,
}

/// A process that somebody is connected to. Dropping all of it lets go of the streams; what was
/// executed is then killed, what was attached to goes on.
pub struct Session {
    /// Where its input goes; shutting it down is the end of input.
    pub stdin: Option<Pin<Box<dyn AsyncWrite + Send>>>,
    /// Its output.
    pub stdout: Option<Pin<Box<dyn AsyncRead + Send>>>,
    /// Its error output.
    pub stderr: Option<Pin<Box<dyn AsyncRead + Send>>>,
    /// Takes the terminal's size, where there is a terminal.
    pub resize: Option<mpsc::Sender<TerminalSize>>,
    /// The exit code, once it has ended.
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

impl fmt::Debug for dyn Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connection")
    }
}

/// Something that is shared by all parts of a session; the receiver learns when the last of them
/// was dropped.
#[derive(Clone)]
pub(crate) struct Hold(
    #[expect(dead_code, reason = "its being dropped is what tells")] Arc<oneshot::Sender<()>>,
);

impl Hold {
    pub(crate) fn new() -> (Self, oneshot::Receiver<()>) {
        let (sender, receiver) = oneshot::channel();
        (Self(Arc::new(sender)), receiver)
    }

    pub(crate) fn on<T>(&self, inner: T) -> Held<T> {
        Held { inner, _hold: self.clone() }
    }
}

/// A stream that is part of a session.
pub(crate) struct Held<T> {
    inner: T,
    _hold: Hold,
}

impl<T: AsyncRead + Unpin> AsyncRead for Held<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Held<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// The writing end of a process's input. A pipe ends by being closed, so shutting it down closes
/// it, and tells whoever keeps another end open that the input has ended.
#[cfg(target_os = "linux")]
pub(crate) struct Input {
    pipe: Option<tokio::net::unix::pipe::Sender>,
    /// Dropped together with the pipe.
    ended: Option<oneshot::Sender<()>>,
}

#[cfg(target_os = "linux")]
impl Input {
    /// The receiver resolves, with an error, when the input has ended.
    pub(crate) fn new(pipe: tokio::net::unix::pipe::Sender) -> (Self, oneshot::Receiver<()>) {
        let (sender, receiver) = oneshot::channel();
        (Self { pipe: Some(pipe), ended: Some(sender) }, receiver)
    }

    fn pipe(&mut self) -> io::Result<Pin<&mut tokio::net::unix::pipe::Sender>> {
        self.pipe.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::BrokenPipe.into())
    }
}

#[cfg(target_os = "linux")]
impl AsyncWrite for Input {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.pipe() {
            Ok(pipe) => pipe.poll_write(cx, bytes),
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.pipe = None;
        self.ended = None;
        Poll::Ready(Ok(()))
    }
}
