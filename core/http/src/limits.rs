//! What a client may ask of the front, each bound with its unit.

use std::time::Duration;

/// Bytes of a request's body.
pub(crate) const MAX_BODY_BYTES: usize = 3 * 1024 * 1024;
/// How long a request's body may take to arrive.
pub(crate) const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// Bytes of the head of a request over HTTP/1.1, and of its buffers.
pub(crate) const MAX_HEAD_BYTES: usize = 128 * 1024;
/// Bytes of the headers of a request over HTTP/2, unpacked.
pub(crate) const MAX_HEADER_LIST_BYTES: u32 = 128 * 1024;
/// Headers of a request.
pub(crate) const MAX_HEADERS: usize = 100;
/// How long the head of a request may take to arrive, and how long a connection over HTTP/1.1 may
/// wait for its next request.
pub(crate) const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(32);
/// How long a connection may be without a request.
pub(crate) const IDLE_TIMEOUT: Duration = Duration::from_secs(90);
/// How often connections are looked at for being idle.
pub(crate) const IDLE_CHECK: Duration = Duration::from_secs(30);
/// How long the TLS handshake may take.
pub(crate) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections that one listener holds; more wait in the operating system's queue.
pub(crate) const MAX_CONNECTIONS: usize = 16 * 1024;
/// How long a client may leave the data that waits for it unread.
pub(crate) const WRITE_STALL_TIMEOUT: Duration = Duration::from_secs(60);
/// Requests at once on a connection over HTTP/2.
pub(crate) const MAX_STREAMS: u32 = 250;
/// Streams that a client has reset and that are not dealt with yet, before it counts as an attack.
pub(crate) const MAX_PENDING_RESETS: usize = 100;
/// Streams reset for the client's errors, before it counts as an attack.
pub(crate) const MAX_LOCAL_RESETS: usize = 200;
/// How often a silent client over HTTP/2 is asked whether it is there, and how long it may take.
pub(crate) const PING_INTERVAL: Duration = Duration::from_secs(30);
pub(crate) const PING_TIMEOUT: Duration = Duration::from_secs(15);
/// Bytes that may wait to be sent on a stream over HTTP/2.
pub(crate) const MAX_SEND_BYTES: usize = 64 * 1024;
/// How long requests in flight may take to finish once the front is told to stop.
pub(crate) const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of an answer that are put together before they are sent.
pub(crate) const CHUNK_BYTES: usize = 32 * 1024;
/// From how many bytes on an answer is compressed when the client takes that.
pub(crate) const COMPRESS_FROM_BYTES: usize = 128 * 1024;
/// A watch that names no end is ended after this long, and at most twice that.
pub(crate) const MIN_WATCH: Duration = Duration::from_secs(1800);
