//! `portforward`: connections to ports of a pod, any number of them over one from the client.

use std::collections::HashMap;
use std::sync::Arc;

use futures::stream::FuturesUnordered;
use futures::{SinkExt as _, StreamExt as _};
use http::{HeaderMap, Response};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use pinnace_api::{ApiError, Result};
use pinnace_client::nodes::{NodeConnection, PodReference};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;

use super::spdy::{self, SpdyStream};
use super::tunnel::Tunnel;
use super::web_socket::{self, Framing, Socket};
use super::{Connect, Upgrading, is_spdy, single_port, spdy_command};
use crate::Body;
use crate::request::Query;

const PROTOCOL: &str = "portforward.k8s.io";
/// Ports of one request of the old form, connections at once, and half-opened ones.
const MAX_PORTS: usize = 100;
const MAX_CONNECTIONS: usize = 256;
/// Messages that may wait to be sent, and bytes that are read at once.
const MESSAGES: usize = 8;
const READ_BYTES: usize = 16 * 1024;

/// How a client forwards ports over a WebSocket.
#[derive(Clone, Copy, Debug)]
enum Form {
    /// SPDY within it: a pair of streams for each connection.
    Tunnel,
    /// A pair of channels for each port.
    Channels(Framing),
    /// One connection, of which each side may end its half.
    Single,
}

/// What the engine speaks with its nodes. None of upstream's forms tells over a WebSocket alone whether
/// somebody listens, or that one side has said all.
pub(crate) const SINGLE: &str = "port.pinnace";

const FORMS: [(&str, Form); 7] = [
    (SINGLE, Form::Single),
    ("SPDY/3.1+portforward.k8s.io", Form::Tunnel),
    ("v4.channel.k8s.io", Form::Channels(Framing::Binary)),
    ("v4.base64.channel.k8s.io", Form::Channels(Framing::Base64)),
    ("portforward.k8s.io", Form::Channels(Framing::Binary)),
    ("channel.k8s.io", Form::Channels(Framing::Binary)),
    ("", Form::Channels(Framing::Binary)),
];

/// The pod whose ports they are.
#[derive(Clone)]
pub(crate) struct Pod {
    pub(crate) node: Arc<dyn NodeConnection>,
    pub(crate) reference: PodReference,
}

impl Connect<'_> {
    pub(super) fn port_forward(&self, upgrade: OnUpgrade) -> Result<Response<Body>> {
        let place = self.place()?;
        let node = self.node_of(&place)?;
        let pod = Pod { node, reference: place.reference };
        let client = Upgrading { headers: self.headers, upgrade, peer: self.peer };
        pod.forward(client, self.query)
    }
}

impl Pod {
    /// Connects a client with ports of the pod.
    ///
    /// # Errors
    /// `BadRequest` for a client that cannot be understood or names no ports.
    pub(crate) fn forward(self, client: Upgrading<'_>, query: &Query) -> Result<Response<Body>> {
        let Upgrading { headers, upgrade, peer } = client;
        let pod = self;
        let (response, form) = if is_spdy(headers) {
            (accept_spdy(headers)?, None)
        } else {
            let (response, form) = web_socket::accept(headers, &FORMS)?;
            (response, Some(form))
        };
        let ports = match form {
            Some(Form::Channels(_) | Form::Single) => ports(query.all("ports"))?,
            _ => Vec::new(),
        };
        let stop = peer.stop.clone();
        peer.tasks.spawn(async move {
            let served = async {
                match form {
                    None => {
                        let Ok(upgraded) = upgrade.await else { return };
                        over_spdy(TokioIo::new(upgraded), pod).await;
                    }
                    Some(form) => {
                        let Some(socket) = web_socket::open(upgrade).await else { return };
                        match form {
                            Form::Tunnel => over_spdy(Tunnel::new(socket), pod).await,
                            Form::Channels(framing) => {
                                over_channels(socket, framing, &ports, &pod).await;
                            }
                            Form::Single => single_port::serve(socket, ports[0], &pod).await,
                        }
                    }
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

fn accept_spdy(headers: &HeaderMap) -> Result<Response<Body>> {
    let name = "x-stream-protocol-version";
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    let mut wanted = values.flat_map(|value| value.split(',')).map(str::trim).peekable();
    if wanted.peek().is_some() && !wanted.any(|wanted| wanted == PROTOCOL) {
        let message = "unable to upgrade: unable to negotiate protocol";
        return Err(ApiError::new(pinnace_api::Reason::Forbidden, message));
    }
    let mut response = spdy_command::switching();
    response.headers_mut().insert(name, http::HeaderValue::from_static(PROTOCOL));
    Ok(response)
}

fn ports<'a>(values: impl Iterator<Item = &'a str>) -> Result<Vec<u16>> {
    let mut ports = Vec::new();
    for value in values.flat_map(|value| value.split(',')) {
        match value.parse() {
            Ok(port) if port > 0 && ports.len() < MAX_PORTS => ports.push(port),
            _ => return Err(ApiError::bad_request(format!("unable to parse {value:?} as a port"))),
        }
    }
    if ports.is_empty() {
        return Err(ApiError::bad_request("query parameter \"ports\" is required"));
    }
    Ok(ports)
}

/// A connection over SPDY: the client opens a stream for errors and one for data, with the same
/// request id.
async fn over_spdy(transport: impl tokio::io::AsyncRead + tokio::io::AsyncWrite, pod: Pod) {
    let ended = spdy::serve(transport, async |mut opened: mpsc::Receiver<SpdyStream>| {
        let mut halves: HashMap<String, SpdyStream> = HashMap::new();
        let mut open = FuturesUnordered::new();
        loop {
            tokio::select! {
                stream = opened.recv(), if open.len() < MAX_CONNECTIONS => {
                    let Some(stream) = stream else { return };
                    let id = stream.headers.get("requestid").cloned().unwrap_or_default();
                    match stream.headers.get("streamtype").map(String::as_str) {
                        Some("error") if halves.len() < MAX_CONNECTIONS => {
                            halves.insert(id, stream);
                        }
                        Some("data") => match halves.remove(&id) {
                            Some(error) => open.push(forward(pod.clone(), error, stream)),
                            None => tracing::debug!(id, "a connection has no stream for errors"),
                        },
                        _ => {}
                    }
                }
                Some(()) = open.next() => {}
            }
        }
    });
    if let Err(error) = ended.await {
        tracing::debug!(%error, "forwarding over SPDY ended");
    }
}

async fn forward(pod: Pod, error: SpdyStream, data: SpdyStream) {
    let port = data.headers.get("port").and_then(|port| port.parse().ok()).unwrap_or(0);
    let connection = match pod.node.connect(&pod.reference, port).await {
        Ok(connection) => connection,
        Err(why) => {
            let uid = &pod.reference.uid;
            let message = format!("error forwarding port {port} to pod {uid}, uid : {why}");
            error.outgoing.send(message.as_bytes(), true).await;
            data.outgoing.send(b"", true).await;
            return;
        }
    };
    let (read, mut write) = tokio::io::split(connection);
    let mut incoming = data.incoming;
    let up = async {
        while let Some(bytes) = incoming.recv().await {
            if write.write_all(&bytes).await.is_err() {
                return;
            }
        }
        // Neither side has failed: the other direction may go on.
        drop(write.shutdown().await);
    };
    tokio::join!(up, data.outgoing.copy(Some(read)));
    error.outgoing.send(b"", true).await;
}

/// The old form: channels 2n and 2n+1 are data and errors of the nth port, and each begins with
/// the number of the port.
async fn over_channels(socket: Socket, framing: Framing, ports: &[u16], pod: &Pod) {
    let (mut sink, mut messages) = socket.split();
    let (send, mut waiting) = mpsc::channel::<Message>(MESSAGES);
    let mut inputs = Vec::new();
    let mut open = FuturesUnordered::new();
    for (index, port) in ports.iter().copied().enumerate() {
        let (input, incoming) = mpsc::channel(MESSAGES);
        inputs.push(input);
        let channel = u8::try_from(2 * index).unwrap_or(u8::MAX);
        open.push(forward_channel(pod, port, channel, framing, incoming, send.clone()));
    }
    drop(send);
    let read = async {
        while let Some(Ok(message)) = messages.next().await {
            if message.is_close() {
                return;
            }
            let Some((channel, data)) = framing.read(message) else { continue };
            if channel % 2 == 0
                && let Some(input) = inputs.get(usize::from(channel / 2))
            {
                // A port that has been closed takes nothing any more.
                drop(input.send(data).await);
            }
        }
    };
    let run = async {
        let all = async { while open.next().await.is_some() {} };
        let write = async {
            while let Some(message) = waiting.recv().await {
                if sink.send(message).await.is_err() {
                    return;
                }
            }
            drop(sink.send(web_socket::normal_close()).await);
        };
        tokio::join!(all, write)
    };
    tokio::select! {
        () = read => {}
        _ = run => {}
    }
}

async fn forward_channel(
    pod: &Pod,
    port: u16,
    channel: u8,
    framing: Framing,
    mut incoming: mpsc::Receiver<bytes::Bytes>,
    send: mpsc::Sender<Message>,
) {
    for channel in [channel, channel + 1] {
        if send.send(framing.message(channel, &port.to_le_bytes())).await.is_err() {
            return;
        }
    }
    let connection = match pod.node.connect(&pod.reference, port).await {
        Ok(connection) => connection,
        Err(why) => {
            let message = format!("error forwarding port {port} to pod: {why}");
            drop(send.send(framing.message(channel + 1, message.as_bytes())).await);
            return;
        }
    };
    let (mut read, mut write) = tokio::io::split(connection);
    let up = async {
        while let Some(data) = incoming.recv().await {
            if write.write_all(&data).await.is_err() {
                break;
            }
        }
        std::future::pending::<()>().await;
    };
    let down = async {
        let mut buffer = vec![0; READ_BYTES];
        while let Ok(size) = read.read(&mut buffer).await {
            let message = framing.message(channel, &buffer[..size]);
            if size == 0 || send.send(message).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = up => {}
        () = down => {}
    }
}
