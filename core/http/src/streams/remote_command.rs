use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _};
use http::Response;
use hyper::upgrade::OnUpgrade;
use pinnace_api::{ApiError, Result};
use pinnace_client::nodes::{NodeConnection, PodReference, Session, Streams, TerminalSize};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;

use super::containers::container_of;
use super::web_socket::{self, Framing, Socket};
use super::{Connect, Upgrading, is_spdy, spdy_command};
use crate::Body;

/// Bytes that are read of an output at once.
const READ_BYTES: usize = 16 * 1024;
/// Messages that may wait to be sent.
const MESSAGES: usize = 8;

pub(crate) const STDIN: u8 = 0;
pub(crate) const STDOUT: u8 = 1;
pub(crate) const STDERR: u8 = 2;
pub(crate) const ERROR: u8 = 3;
pub(crate) const RESIZE: u8 = 4;
/// In version 5: the other side has no more data for the channel that is named.
pub(crate) const CLOSE: u8 = 255;

/// What a subprotocol is able to say.
#[derive(Clone, Copy, Debug)]
struct Protocol {
    framing: Framing,
    /// How a command has ended is told as a `Status`, from version 4 on.
    status: bool,
    /// Channels can be closed one by one, from version 5 on.
    closes: bool,
}

const fn protocol(framing: Framing, status: bool, closes: bool) -> Protocol {
    Protocol { framing, status, closes }
}

const PROTOCOLS: [(&str, Protocol); 6] = [
    ("", protocol(Framing::Binary, false, false)),
    ("channel.k8s.io", protocol(Framing::Binary, false, false)),
    ("base64.channel.k8s.io", protocol(Framing::Base64, false, false)),
    ("v4.channel.k8s.io", protocol(Framing::Binary, true, false)),
    ("v4.base64.channel.k8s.io", protocol(Framing::Base64, true, false)),
    ("v5.channel.k8s.io", protocol(Framing::Binary, true, true)),
];

/// A process that somebody wants to be connected to.
pub(crate) struct Wanted {
    /// Its pod.
    pub(crate) pod: PodReference,
    /// Its container.
    pub(crate) container: String,
    /// What is to be run; the container's first process is joined when not set.
    pub(crate) command: Option<Vec<String>>,
    /// Which of its streams.
    pub(crate) streams: Streams,
}

impl Connect<'_> {
    /// `exec` and `attach`.
    pub(super) async fn remote_command(
        &self,
        asked: &Value,
        upgrade: OnUpgrade,
    ) -> Result<Response<Body>> {
        let place = self.place()?;
        let container = container_of(&place.pod, asked["container"].as_str())?;
        let flag = |name: &str| asked[name].as_bool().unwrap_or(false);
        let streams = streams(flag("stdin"), flag("stdout"), flag("stderr"), flag("tty"))?;
        let command = asked["command"].as_array().into_iter().flatten();
        let command = command.filter_map(|word| word.as_str().map(str::to_owned)).collect();
        let command = (self.info.subresource == "exec").then_some(command);
        let node = self.node_of(&place)?;
        let wanted = Wanted { pod: place.reference, container, command, streams };
        wanted.connect(&*node, Upgrading { headers: self.headers, upgrade, peer: self.peer }).await
    }
}

impl Wanted {
    /// Connects a client with the process.
    ///
    /// # Errors
    /// `BadRequest` for a client that cannot be understood or asks for nothing, and what the node
    /// says.
    pub(crate) async fn connect(
        self,
        node: &dyn NodeConnection,
        client: Upgrading<'_>,
    ) -> Result<Response<Body>> {
        let Self { pod, container, command, streams } = self;
        if command.as_ref().is_some_and(Vec::is_empty) {
            return Err(ApiError::bad_request("you must specify at least 1 command"));
        }
        let Upgrading { headers, upgrade, peer } = client;
        let spdy = is_spdy(headers);
        // Agreed on first: nothing is run for a client that would not understand what it says.
        let (response, protocol) = if spdy {
            let (response, status) = spdy_command::accept(headers)?;
            (response, protocol(Framing::Binary, status, true))
        } else {
            web_socket::accept(headers, &PROTOCOLS)?
        };
        let session = match command {
            Some(command) => node.exec(&pod, &container, command, streams).await?,
            None => node.attach(&pod, &container, streams).await?,
        };
        let stop = peer.stop.clone();
        peer.tasks.spawn(async move {
            let served = async {
                if spdy {
                    spdy_command::serve(upgrade, session, streams, protocol.status).await;
                } else if let Some(socket) = web_socket::open(upgrade).await {
                    serve(socket, session, streams, protocol).await;
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = served => {}
            }
        });
        Ok(response)
    }
}

/// The streams that a client names.
///
/// # Errors
/// `BadRequest` for those that cannot be together, and for none.
pub(crate) fn streams(stdin: bool, stdout: bool, stderr: bool, tty: bool) -> Result<Streams> {
    if tty && stderr {
        return Err(ApiError::bad_request("tty and stderr cannot both be true"));
    }
    if !(stdin || stdout || stderr) {
        let message = "you must specify at least 1 of stdin, stdout, stderr";
        return Err(ApiError::bad_request(message));
    }
    Ok(Streams { stdin, stdout, stderr, tty })
}

async fn serve(socket: Socket, session: Session, streams: Streams, protocol: Protocol) {
    let (mut sink, mut messages) = socket.split();
    let (send, mut waiting) = mpsc::channel::<Message>(MESSAGES);
    let Session { mut stdin, stdout, stderr, resize, exit } = session;
    let framing = protocol.framing;
    let output = async {
        if !protocol.closes {
            // Tells a client of an older version that the connection stands.
            let channel = if streams.stdout {
                STDOUT
            } else if streams.stderr {
                STDERR
            } else {
                ERROR
            };
            drop(send.send(framing.message(channel, b"")).await);
        }
        tokio::join!(copy(stdout, STDOUT, framing, &send), copy(stderr, STDERR, framing, &send),);
        let end = exit.await;
        let text = text_of(&end, protocol.status);
        if protocol.status || !text.is_empty() {
            drop(send.send(framing.message(ERROR, text.as_bytes())).await);
        }
        drop(send.send(web_socket::normal_close()).await);
        drop(send);
    };
    let write = async {
        while let Some(message) = waiting.recv().await {
            if sink.send(message).await.is_err() {
                return;
            }
        }
    };
    let input = async {
        while let Some(Ok(message)) = messages.next().await {
            if message.is_close() {
                return;
            }
            match framing.read(message) {
                Some((STDIN, data)) if !data.is_empty() => {
                    if let Some(input) = &mut stdin
                        && input.write_all(&data).await.is_err()
                    {
                        // The process has closed its input; its output still matters.
                        stdin = None;
                    }
                }
                Some((CLOSE, data)) if protocol.closes && data.first() == Some(&STDIN) => {
                    if let Some(mut input) = stdin.take() {
                        drop(input.shutdown().await);
                    }
                }
                Some((RESIZE, data)) => resize_to(resize.as_ref(), &data).await,
                _ => {}
            }
        }
    };
    tokio::select! {
        ((), ()) = async { tokio::join!(output, write) } => {}
        // The client has gone: dropping the session ends what was executed.
        () = input => {}
    }
}

async fn copy(
    from: Option<impl AsyncRead + Unpin>,
    channel: u8,
    framing: Framing,
    to: &mpsc::Sender<Message>,
) {
    let Some(mut from) = from else { return };
    let mut buffer = vec![0; READ_BYTES];
    while let Ok(read) = from.read(&mut buffer).await {
        if read == 0 || to.send(framing.message(channel, &buffer[..read])).await.is_err() {
            return;
        }
    }
}

/// Tells the terminal its size.
pub(super) async fn resize_to(resize: Option<&mpsc::Sender<TerminalSize>>, json: &Bytes) {
    let Some(resize) = resize else { return };
    let Ok(size) = serde_json::from_slice::<Value>(json) else { return };
    let side = |name: &str| size[name].as_u64().and_then(|side| u16::try_from(side).ok());
    if let (Some(width), Some(height)) = (side("Width"), side("Height")) {
        // A process that has ended has no terminal any more.
        let _ = resize.send(TerminalSize { width, height }).await;
    }
}

/// What is said at the end of a command: a status, or to older clients why it has failed.
pub(super) fn text_of(end: &Result<i32>, status: bool) -> String {
    let document = status_of(end);
    if status {
        document.to_string()
    } else {
        document["message"].as_str().unwrap_or_default().to_owned()
    }
}

/// How a command has ended, as clients understand it.
pub(crate) fn status_of(end: &Result<i32>) -> Value {
    match end {
        Ok(0) => json!({"metadata": {}, "status": "Success"}),
        Ok(code) => json!({
            "metadata": {},
            "status": "Failure",
            "reason": "NonZeroExitCode",
            "message": format!("command terminated with non-zero exit code: exit status {code}"),
            "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
        }),
        Err(error) => json!({
            "metadata": {},
            "status": "Failure",
            "reason": "InternalError",
            "message": error.message(),
            "code": 500,
        }),
    }
}
