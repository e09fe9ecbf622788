//! One connection to a port of a pod over a WebSocket, as the engine speaks with its nodes: whether it
//! stands is said first, and each side may end its half.

use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt as _, StreamExt as _};
use pinnace_api::{ApiError, Result};
use pinnace_client::nodes::Connection;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio_tungstenite::tungstenite::Message;

use super::port_forward::Pod;
use super::web_socket::{self, Framing, Socket};

/// The channels of data and of what goes wrong. An empty message on the first is its end, but for the
/// server's first one, which says that the connection stands.
const DATA: u8 = 0;
const ERROR: u8 = 1;
/// Bytes that are read at once.
const READ_BYTES: usize = 16 * 1024;
/// Bytes that may wait for whoever reads the connection.
const PIPE_BYTES: usize = 64 * 1024;

/// Connects a client with a port of a pod.
pub(super) async fn serve(mut socket: Socket, port: u16, pod: &Pod) {
    let connection = match pod.node.connect(&pod.reference, port).await {
        Ok(connection) => connection,
        Err(why) => {
            let status = serde_json::to_vec(&why.to_status()).unwrap_or_default();
            drop(socket.send(Framing::Binary.message(ERROR, &status)).await);
            drop(socket.send(web_socket::normal_close()).await);
            return;
        }
    };
    if socket.send(Framing::Binary.message(DATA, b"")).await.is_ok() {
        carry(socket, connection).await;
    }
}

/// The connection that [`serve`] gives, at the other end.
///
/// # Errors
/// What the node says, or that it has gone.
pub(crate) async fn open(
    mut socket: Socket,
    gone: impl Fn() -> ApiError,
) -> Result<Box<dyn Connection>> {
    while let Some(Ok(message)) = socket.next().await {
        match Framing::Binary.read(message) {
            Some((DATA, _)) => {
                let (ours, theirs) = tokio::io::duplex(PIPE_BYTES);
                // It ends when either side does.
                tokio::spawn(carry(socket, Box::new(theirs)));
                return Ok(Box::new(ours));
            }
            Some((ERROR, status)) => return Err(pinnace_client::wire::failure(500, &status)),
            _ => {}
        }
    }
    Err(gone())
}

/// Carries bytes both ways, until both have ended or one side has gone.
async fn carry(socket: Socket, connection: Box<dyn Connection>) {
    let (sink, messages) = socket.split();
    let (read, write) = tokio::io::split(connection);
    let mut down = std::pin::pin!(receive(messages, write));
    let mut up = std::pin::pin!(send(sink, read));
    tokio::select! {
        more = &mut down => if more && let Some(sink) = up.await { close(sink).await },
        sink = &mut up => if let Some(sink) = sink && down.await { close(sink).await },
    }
}

async fn close(mut sink: SplitSink<Socket, Message>) {
    // Best effort: the other side may have gone.
    drop(sink.send(web_socket::normal_close()).await);
}

/// Whether the other side has ended its half and is still there.
async fn receive(
    mut messages: SplitStream<Socket>,
    mut write: WriteHalf<Box<dyn Connection>>,
) -> bool {
    while let Some(Ok(message)) = messages.next().await {
        if message.is_close() {
            return false;
        }
        let Some((DATA, data)) = Framing::Binary.read(message) else { continue };
        if data.is_empty() {
            return write.shutdown().await.is_ok();
        }
        if write.write_all(&data).await.is_err() {
            return false;
        }
    }
    false
}

/// Where to send, once all has been; `None` when the other side has gone.
async fn send(
    mut sink: SplitSink<Socket, Message>,
    mut read: ReadHalf<Box<dyn Connection>>,
) -> Option<SplitSink<Socket, Message>> {
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let size = read.read(&mut buffer).await.ok()?;
        let message = Framing::Binary.message(DATA, &buffer[..size]);
        sink.send(message).await.ok()?;
        if size == 0 {
            return Some(sink);
        }
    }
}
