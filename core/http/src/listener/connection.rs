use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::rt::Executor;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_rustls::server::TlsStream;
use tokio_util::task::TaskTracker;

use super::stall::Stall;
use super::{Shared, handover, stream, tls};
use crate::authentication::certificate_user;
use crate::limits::{
    HANDSHAKE_TIMEOUT, HEADER_READ_TIMEOUT, IDLE_CHECK, IDLE_TIMEOUT, MAX_HEAD_BYTES,
    MAX_HEADER_LIST_BYTES, MAX_HEADERS, MAX_LOCAL_RESETS, MAX_PENDING_RESETS, MAX_SEND_BYTES,
    MAX_STREAMS, PING_INTERVAL, PING_TIMEOUT,
};
use crate::{Body, BoxError, Peer};

/// Runs the streams of HTTP/2 as tasks that the listener owns.
#[derive(Clone)]
struct Owned(TaskTracker);

impl<F: Future<Output: Send> + Send + 'static> Executor<F> for Owned {
    fn execute(&self, future: F) {
        self.0.spawn(stream::unless_stalled(future));
    }
}

/// Serves a connection until it ends, or nothing is left of it but a watch. The watch lives in a
/// task of its caller, so that all else that a conversation needs is gone by then.
pub(super) async fn serve_tls(
    stream: TcpStream,
    remote: SocketAddr,
    tls: &tls::Tls,
    shared: &Shared,
) -> Option<Watch<TlsStream<Stall<TcpStream>>>> {
    // Events are small and should not wait for each other.
    drop(stream.set_nodelay(true));
    let handshake = tls.acceptor().accept(Stall::new(stream));
    let accepted = tokio::select! {
        () = shared.stop.cancelled() => return None,
        accepted = tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake) => accepted,
    };
    let stream = match accepted {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            tracing::debug!(%remote, %error, "TLS handshake failed");
            return None;
        }
        Err(_) => {
            tracing::debug!(%remote, "TLS handshake took too long");
            return None;
        }
    };
    let (_, session) = stream.get_ref();
    let certificate = session.peer_certificates().and_then(|chain| chain.first());
    let user = certificate.and_then(|certificate| certificate_user(certificate));
    let http2 = session.alpn_protocol() == Some(tls::H2);
    let peer = Peer {
        user,
        address: Some(remote),
        stop: shared.stop.clone(),
        tasks: shared.tasks.clone(),
    };
    let builder = builder(&shared.tasks);
    let builder = if http2 { builder.http2_only() } else { builder.http1_only() };
    converse(stream, &builder, peer, shared).await
}

/// As [`serve_tls`].
#[cfg(unix)]
pub(super) async fn serve_unix(
    stream: tokio::net::UnixStream,
    owner: u32,
    shared: &Shared,
) -> Option<Watch<Stall<tokio::net::UnixStream>>> {
    let peer = stream.peer_cred().ok().map(|peer| peer.uid());
    let user = peer.filter(|uid| *uid == owner || *uid == 0).map(|_| pinnace_server::User::host());
    let peer = Peer { user, address: None, stop: shared.stop.clone(), tasks: shared.tasks.clone() };
    converse(Stall::new(stream), &builder(&shared.tasks), peer, shared).await
}

fn builder(tasks: &TaskTracker) -> auto::Builder<Owned> {
    let mut builder = auto::Builder::new(Owned(tasks.clone()));
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_READ_TIMEOUT)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADER_LIST_BYTES)
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .max_local_error_reset_streams(MAX_LOCAL_RESETS)
        .max_send_buf_size(MAX_SEND_BYTES)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
    builder
}

/// Counts the requests in flight on a connection.
struct InFlight(Arc<AtomicUsize>);

impl InFlight {
    fn begin(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The body of an answer, which is in flight as long as it is sent.
pub(super) struct Counted {
    body: Body,
    _in_flight: InFlight,
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        stream::asks();
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(_))) = &polled {
            stream::given();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A watch over HTTP/1.1, whose connection has become its own.
pub(super) type Watch<T> = handover::Left<T, Counted>;

/// Answers requests, until the connection ends or a watch over HTTP/1.1 is the answer.
async fn converse<T>(
    stream: T,
    builder: &auto::Builder<Owned>,
    peer: Peer,
    shared: &Shared,
) -> Option<Watch<T>>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let active = Arc::new(AtomicUsize::new(0));
    let (lent, lender) = handover::lend(stream);
    let left = Arc::new(Mutex::new(None));
    let service = service_fn(|request: Request<Incoming>| {
        let (handler, peer) = (shared.handler.clone(), peer.clone());
        let in_flight = InFlight::begin(&active);
        let (lender, left) = (lender.clone(), left.clone());
        async move {
            let alone = request.version() == Version::HTTP_11;
            let request = request.map(|body| UnsyncBoxBody::new(body.map_err(Into::into)));
            // A box, which is gone once there is an answer: a connection that only watches has
            // no use for all that a request may need on its way.
            let response = handler.handle(request, &peer).await;
            let watch = alone && response.body().is_watch() && lender.is_settled();
            let response = response.map(|body| Counted { body, _in_flight: in_flight });
            if watch {
                *left.lock() = Some(response);
                return std::future::pending().await;
            }
            Ok::<_, Infallible>(response)
        }
    });
    let mut connection = pin!(builder.serve_connection_with_upgrades(TokioIo::new(lent), service));
    let mut check = tokio::time::interval(IDLE_CHECK);
    check.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut busy = Instant::now();
    let mut stopping = false;
    loop {
        let turn = poll_fn(|cx| match connection.as_mut().poll(cx) {
            Poll::Ready(ended) => Poll::Ready(Turn::Ended(ended)),
            Poll::Pending => {
                left.lock().take().map_or(Poll::Pending, |answer| Poll::Ready(Turn::Watch(answer)))
            }
        });
        tokio::select! {
            turn = turn => {
                return match turn {
                    Turn::Watch(answer) => {
                        handover::Left::begin(lender.take()?, answer, &shared.abort).await
                    }
                    Turn::Ended(ended) => {
                        if let Err(error) = ended {
                            tracing::debug!(peer = ?peer.address, %error, "connection ended");
                        }
                        None
                    }
                };
            }
            () = shared.stop.cancelled(), if !stopping => {
                stopping = true;
                connection.as_mut().graceful_shutdown();
            }
            () = shared.abort.cancelled() => return None,
            _ = check.tick(), if !stopping => {
                if active.load(Ordering::Relaxed) > 0 {
                    busy = Instant::now();
                } else if busy.elapsed() >= IDLE_TIMEOUT {
                    stopping = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    }
}

/// How a conversation ends.
enum Turn {
    Ended(Result<(), BoxError>),
    Watch(Response<Counted>),
}
