//! Watches over HTTP/1.1 leave Hyper. A watch is silent for most of its life, and what Hyper keeps
//! for a connection, two buffers and more, would be nearly all that it takes in memory. So Hyper is
//! lent the transport; it is taken back when the answer is a watch, and the events are written here.
//! The connection ends with the watch.

use std::fmt::Write as _;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body_util::BodyExt as _;
use hyper::body::Body as HttpBody;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio_util::sync::CancellationToken;

use crate::BoxError;

/// What follows the last chunk of a body, RFC 9112, section 7.1.
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

struct Loan<T> {
    transport: Option<T>,
    /// Whether the borrower has something to write that the transport has not taken.
    owes: bool,
}

/// A transport as the borrower has it.
pub(super) struct Lent<T>(Arc<Mutex<Loan<T>>>);

/// Who may take it back.
pub(super) struct Lender<T>(Arc<Mutex<Loan<T>>>);

/// Lends a transport.
pub(super) fn lend<T>(transport: T) -> (Lent<T>, Lender<T>) {
    let loan = Arc::new(Mutex::new(Loan { transport: Some(transport), owes: false }));
    (Lent(loan.clone()), Lender(loan))
}

impl<T> Lender<T> {
    /// Whether the borrower has written all that it has to write.
    pub(super) fn is_settled(&self) -> bool {
        !self.0.lock().owes
    }

    /// Takes the transport back; the borrower finds it closed.
    pub(super) fn take(&self) -> Option<T> {
        self.0.lock().transport.take()
    }
}

impl<T> Clone for Lender<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Unpin> Lent<T> {
    fn with<R>(
        &self,
        poll: impl FnOnce(Pin<&mut T>) -> Poll<io::Result<R>>,
    ) -> Poll<io::Result<R>> {
        match self.0.lock().transport.as_mut() {
            Some(transport) => poll(Pin::new(transport)),
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn writes<R>(
        &self,
        poll: impl FnOnce(Pin<&mut T>) -> Poll<io::Result<R>>,
    ) -> Poll<io::Result<R>> {
        let polled = self.with(poll);
        if polled.is_pending() {
            self.0.lock().owes = true;
        }
        polled
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Lent<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.with(|transport| transport.poll_read(cx, buffer))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Lent<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.writes(|transport| transport.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.writes(|transport| transport.poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        self.0.lock().transport.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = self.writes(|transport| transport.poll_flush(cx));
        if polled.is_ready() {
            // Who flushes has no bytes of its own left.
            self.0.lock().owes = false;
        }
        polled
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|transport| transport.poll_shutdown(cx))
    }
}

/// A watch that is left of a conversation: what it is told over, and what is still to be told.
pub(super) struct Left<T, B> {
    transport: T,
    body: B,
}

impl<T, B> Left<T, B>
where
    T: AsyncRead + AsyncWrite + Unpin,
    B: HttpBody<Data = Bytes, Error = BoxError> + Unpin,
{
    /// Writes the head of the answer; `None` when the client has gone or it is cut off.
    pub(super) async fn begin(
        mut transport: T,
        answer: Response<B>,
        abort: &CancellationToken,
    ) -> Option<Self> {
        let (parts, body) = answer.into_parts();
        let head = head(parts.status, &parts.headers);
        abort.run_until_cancelled(write(&mut transport, &head)).await?.ok()?;
        Some(Self { transport, body })
    }

    /// Writes events until they end, the client hangs up, or it is cut off.
    pub(super) async fn tell(mut self, abort: &CancellationToken) {
        // It may be the client who has gone.
        drop(abort.run_until_cancelled(self.tell_body()).await);
    }

    async fn tell_body(&mut self) -> io::Result<()> {
        loop {
            let frame = tokio::select! {
                () = hang_up(&mut self.transport) => return Ok(()),
                frame = self.body.frame() => frame,
            };
            match frame {
                Some(Ok(frame)) => {
                    let Ok(bytes) = frame.into_data() else { continue };
                    write(&mut self.transport, &chunk(&bytes)).await?;
                }
                // The client finds that the last chunk is missing.
                Some(Err(_)) => return Ok(()),
                None => {
                    write(&mut self.transport, LAST_CHUNK).await?;
                    return self.transport.shutdown().await;
                }
            }
        }
    }
}

/// The head of an answer over HTTP/1.1 whose body comes in chunks.
fn head(status: http::StatusCode, headers: &HeaderMap) -> Vec<u8> {
    let mut out = format!("HTTP/1.1 {status}\r\n").into_bytes();
    for (name, value) in headers {
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"transfer-encoding: chunked\r\nconnection: close\r\n\r\n");
    out
}

fn chunk(bytes: &[u8]) -> Vec<u8> {
    let mut size = String::with_capacity(10);
    // Writing to a string cannot fail.
    let _ = write!(size, "{:x}\r\n", bytes.len());
    let mut out = Vec::with_capacity(size.len() + bytes.len() + 2);
    out.extend_from_slice(size.as_bytes());
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
    out
}

async fn write<T: AsyncWrite + Unpin>(transport: &mut T, bytes: &[u8]) -> io::Result<()> {
    transport.write_all(bytes).await?;
    transport.flush().await
}

/// Ends when the client does. Nothing that it says matters any more.
async fn hang_up<T: AsyncRead + Unpin>(transport: &mut T) {
    let mut said = [0; 16];
    while matches!(transport.read(&mut said).await, Ok(1..)) {}
}

#[cfg(test)]
mod tests {
    use http_body_util::StreamBody;
    use hyper::body::Frame;
    use tokio::io::duplex;

    use super::*;

    async fn tell<T, B>(transport: T, answer: Response<B>, abort: &CancellationToken)
    where
        T: AsyncRead + AsyncWrite + Unpin,
        B: HttpBody<Data = Bytes, Error = BoxError> + Unpin,
    {
        if let Some(left) = Left::begin(transport, answer, abort).await {
            left.tell(abort).await;
        }
    }

    #[tokio::test]
    async fn events_come_in_chunks_and_the_connection_ends_with_them() {
        let (ours, mut theirs) = duplex(4096);
        let frames = ["one\n", "two, longer\n"].map(|text| Ok(Frame::data(Bytes::from(text))));
        let mut answer = Response::new(StreamBody::new(futures::stream::iter(frames)));
        answer.headers_mut().insert("audit-id", http::HeaderValue::from_static("7"));
        tell(ours, answer, &CancellationToken::new()).await;
        let mut text = String::new();
        theirs.read_to_string(&mut text).await.unwrap();
        assert_eq!(
            text,
            "HTTP/1.1 200 OK\r\naudit-id: 7\r\ntransfer-encoding: chunked\r\n\
             connection: close\r\n\r\n4\r\none\n\r\nc\r\ntwo, longer\n\r\n0\r\n\r\n"
        );
    }

    #[tokio::test]
    async fn it_ends_when_the_client_hangs_up_or_does_not_read_until_it_is_cut_off() {
        let endless = || futures::stream::pending::<Result<Frame<Bytes>, BoxError>>();
        let (ours, theirs) = duplex(4096);
        drop(theirs);
        tell(ours, Response::new(StreamBody::new(endless())), &CancellationToken::new()).await;

        let (ours, _theirs) = duplex(1);
        let abort = CancellationToken::new();
        let told = tell(ours, Response::new(StreamBody::new(endless())), &abort);
        tokio::join!(told, async { abort.cancel() });
    }

    #[tokio::test]
    async fn what_is_owed_is_known_and_what_is_taken_is_gone() {
        let (ours, mut theirs) = duplex(4);
        let (mut lent, lender) = lend(ours);
        lent.write_all(b"four").await.unwrap();
        assert!(lender.is_settled());
        let more = async {
            lent.write_all(b"more").await.unwrap();
            lent.flush().await.unwrap();
        };
        let read = async {
            assert!(!lender.is_settled());
            theirs.read_exact(&mut [0; 8]).await.unwrap();
        };
        tokio::join!(biased; more, read);
        assert!(lender.is_settled());
        assert!(lender.take().is_some());
        assert_eq!(lent.write(b"x").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
