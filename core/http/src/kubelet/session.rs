//! A process on another machine: the other end of what `streams/remote_command` serves.

use bytes::Bytes;
use futures::stream::{SplitSink, SplitStream};
use futures::{FutureExt as _, SinkExt as _, StreamExt as _};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use pinnace_api::{ApiError, Reason, Result};
use pinnace_client::nodes::{Session, Streams, TerminalSize};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::sync::{mpsc, oneshot};
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::CancellationToken;

use crate::streams::remote_command::{CLOSE, ERROR, RESIZE, STDERR, STDIN, STDOUT};
use crate::streams::web_socket::{Framing, Socket};

/// The subprotocol in which each channel can be closed, and the end of a command is a `Status`.
pub(super) const PROTOCOL: &str = "v5.channel.k8s.io";
/// Bytes that may wait for whoever reads or writes a stream, and that are read at once.
const PIPE_BYTES: usize = 64 * 1024;
const READ_BYTES: usize = 16 * 1024;
/// Bytes of what is said at the end of a command.
const MAX_STATUS: usize = 64 * 1024;
const FRAMING: Framing = Framing::Binary;

/// The outputs of a process, on their way to whoever reads them.
#[derive(Default)]
struct Outputs {
    stdout: Option<DuplexStream>,
    stderr: Option<DuplexStream>,
}

/// A process that a node has connected a WebSocket with.
pub(super) fn open(socket: Socket, wanted: Streams) -> Session {
    let (sink, messages) = socket.split();
    let pipe = |is: bool| is.then(|| tokio::io::duplex(PIPE_BYTES)).unzip();
    let (stdin, input) = pipe(wanted.stdin);
    let (stdout, out) = pipe(wanted.stdout);
    let (stderr, err) = pipe(wanted.stderr && !wanted.tty);
    let (resize, sizes) = mpsc::channel(1);
    let (tell, told) = oneshot::channel();
    let gone = CancellationToken::new();
    let nobody = gone.clone();
    // It ends with the process, or when nobody wants to know how that ends.
    tokio::spawn(async move {
        let outputs = Outputs { stdout: out, stderr: err };
        let work = async {
            tokio::select! {
                end = read(messages, outputs) => end,
                never = write(sink, input, sizes) => match never {},
            }
        };
        if let Some(end) = nobody.run_until_cancelled(work).await {
            // Whoever asked may have gone just now.
            let _ = tell.send(end);
        }
    });
    let guard = gone.drop_guard();
    let exit = async move {
        let _guard = guard;
        told.await.unwrap_or_else(|_| Err(broken_off()))
    };
    Session {
        stdin: stdin.map(|stdin| Box::pin(stdin) as _),
        stdout: stdout.map(|stdout| Box::pin(stdout) as _),
        stderr: stderr.map(|stderr| Box::pin(stderr) as _),
        resize: wanted.tty.then_some(resize),
        exit: exit.boxed(),
    }
}

/// Carries the outputs; gives how the process has ended.
async fn read(mut messages: SplitStream<Socket>, mut outputs: Outputs) -> Result<i32> {
    let mut status = Vec::new();
    while let Some(Ok(message)) = messages.next().await {
        if message.is_close() {
            break;
        }
        match FRAMING.read(message) {
            Some((STDOUT, data)) => pass(&mut outputs.stdout, &data).await,
            Some((STDERR, data)) => pass(&mut outputs.stderr, &data).await,
            Some((ERROR, data)) if status.len() + data.len() <= MAX_STATUS => {
                status.extend_from_slice(&data);
            }
            Some((CLOSE, data)) => match data.first() {
                Some(&STDOUT) => outputs.stdout = None,
                Some(&STDERR) => outputs.stderr = None,
                _ => {}
            },
            _ => {}
        }
    }
    end_of(&status)
}

async fn pass(output: &mut Option<DuplexStream>, data: &Bytes) {
    if let Some(to) = output
        && to.write_all(data).await.is_err()
    {
        // Nobody reads it any more; how the process ends still matters.
        *output = None;
    }
}

/// Carries the input and the sizes, for as long as there is a process.
async fn write(
    mut sink: SplitSink<Socket, Message>,
    mut input: Option<DuplexStream>,
    mut sizes: mpsc::Receiver<TerminalSize>,
) -> std::convert::Infallible {
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let message = tokio::select! {
            read = from(&mut input, &mut buffer) => match read {
                0 => {
                    input = None;
                    FRAMING.message(CLOSE, &[STDIN])
                }
                size => FRAMING.message(STDIN, &buffer[..size]),
            },
            Some(TerminalSize { width, height }) = sizes.recv() => {
                let size = json!({"Width": width, "Height": height}).to_string();
                FRAMING.message(RESIZE, size.as_bytes())
            }
            else => std::future::pending().await,
        };
        if sink.send(message).await.is_err() {
            // The other direction finds out, too, and has the last word.
            std::future::pending::<()>().await;
        }
    }
}

async fn from(input: &mut Option<DuplexStream>, buffer: &mut [u8]) -> usize {
    match input {
        Some(input) => input.read(buffer).await.unwrap_or(0),
        None => std::future::pending().await,
    }
}

/// How a process has ended, as the other side says it.
fn end_of(status: &[u8]) -> Result<i32> {
    let Ok(status) = serde_json::from_slice::<Status>(status) else { return Err(broken_off()) };
    if status.status.as_deref() == Some("Success") {
        return Ok(0);
    }
    let causes = status.details.iter().flat_map(|details| details.causes.iter().flatten());
    let code = causes
        .filter(|cause| cause.reason.as_deref() == Some("ExitCode"))
        .find_map(|cause| cause.message.as_deref()?.parse().ok());
    code.ok_or_else(|| ApiError::from_status(status))
}

fn broken_off() -> ApiError {
    ApiError::new(Reason::ServiceUnavailable, "error dialing backend: unexpected EOF")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::streams::remote_command::status_of;

    #[test]
    fn ends_are_read_as_they_are_told() {
        for end in [Ok(0), Ok(3), Ok(137)] {
            assert_eq!(end_of(status_of(&end).to_string().as_bytes()), end);
        }
        let failed = end_of(status_of(&Err(ApiError::internal("no shell"))).to_string().as_bytes());
        assert_eq!(failed.unwrap_err().message(), ApiError::internal("no shell").message());
        assert_eq!(end_of(b"").unwrap_err().code(), 503);
    }
}
