//! WebSockets: the handshake, and the subprotocols by which several streams share one.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut as _, Bytes, BytesMut};
use http::header::{
    CONNECTION, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, Response, StatusCode};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use pinnace_api::{ApiError, Result};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};

use crate::Body;

/// Bytes of a message that a client may send.
const MAX_MESSAGE: usize = 1024 * 1024;
/// Bytes of the buffer that is read into.
const READ_BUFFER: usize = 8 * 1024;
/// Bytes that may wait to be written.
const WRITE_BUFFER: usize = 256 * 1024;

pub(crate) type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// Whether a request asks for a WebSocket.
pub(crate) fn is_web_socket(headers: &HeaderMap) -> bool {
    headers.get(UPGRADE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// Agrees on a WebSocket and on the first subprotocol of the client that is among `known`. A
/// client that names none gets the one that has no name, if it is among them.
///
/// # Errors
/// `BadRequest`.
pub(crate) fn accept<P: Copy>(
    headers: &HeaderMap,
    known: &[(&'static str, P)],
) -> Result<(Response<Body>, P)> {
    let mut response = switching(headers)?;
    let values = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
    let text = values.filter_map(|value| value.to_str().ok()).collect::<Vec<_>>().join(",");
    let wanted: Vec<&str> =
        text.split(',').map(str::trim).filter(|protocol| !protocol.is_empty()).collect();
    let find = |wanted: &str| known.iter().find(|(name, _)| *name == wanted);
    let found =
        if wanted.is_empty() { find("") } else { wanted.iter().find_map(|wanted| find(wanted)) };
    let (name, protocol) = found.ok_or_else(|| {
        let known: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
        ApiError::bad_request(format!(
            "requested protocol(s) are not supported: {wanted:?}; supports {known:?}"
        ))
    })?;
    let headers = response.headers_mut();
    if !name.is_empty() {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(name));
    }
    Ok((response, *protocol))
}

/// Agrees on a WebSocket without a subprotocol.
///
/// # Errors
/// `BadRequest`.
pub(crate) fn accept_any(headers: &HeaderMap) -> Result<Response<Body>> {
    switching(headers)
}

fn switching(headers: &HeaderMap) -> Result<Response<Body>> {
    let key = headers.get(SEC_WEBSOCKET_KEY).filter(|_| {
        headers.get(SEC_WEBSOCKET_VERSION).is_some_and(|version| version.as_bytes() == b"13")
    });
    let key = key.ok_or_else(|| ApiError::bad_request("a WebSocket of version 13 is required"))?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    let accept = HeaderValue::from_str(&derive_accept_key(key.as_bytes()));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept.map_err(ApiError::internal)?);
    Ok(response)
}

/// The WebSocket, once the answer has been sent; `None` if the client has gone.
pub(crate) async fn open(upgrade: OnUpgrade) -> Option<Socket> {
    Some(within(upgrade.await.ok()?, Role::Server).await)
}

/// The WebSocket within a connection that has been agreed on.
pub(crate) async fn within(upgraded: Upgraded, role: Role) -> Socket {
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(0)
        .max_write_buffer_size(WRITE_BUFFER + MAX_MESSAGE)
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE));
    WebSocketStream::from_raw_socket(TokioIo::new(upgraded), role, Some(config)).await
}

/// What a request says that asks for a WebSocket of a subprotocol.
pub(crate) fn ask(headers: &mut HeaderMap, protocol: &'static str) {
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
    if let Ok(key) = HeaderValue::from_str(&generate_key()) {
        headers.insert(SEC_WEBSOCKET_KEY, key);
    }
}

/// The message that ends a WebSocket in order. Clients take an end without a code for a failure.
pub(crate) fn normal_close() -> Message {
    Message::Close(Some(CloseFrame { code: CloseCode::Normal, reason: "".into() }))
}

/// How the messages of several channels are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// The first byte is the number of the channel.
    Binary,
    /// The first character is the number of the channel, the rest is in base64.
    Base64,
}

impl Framing {
    /// A message of a channel.
    pub(crate) fn message(self, channel: u8, data: &[u8]) -> Message {
        match self {
            Self::Binary => {
                let mut message = BytesMut::with_capacity(data.len() + 1);
                message.put_u8(channel);
                message.extend_from_slice(data);
                Message::Binary(message.freeze())
            }
            Self::Base64 => {
                let text = format!("{}{}", char::from(b'0' + channel), STANDARD.encode(data));
                Message::Text(text.into())
            }
        }
    }

    /// The channel of a message, and its data; `None` for one that belongs to none.
    pub(crate) fn read(self, message: Message) -> Option<(u8, Bytes)> {
        match (self, message) {
            (Self::Binary, Message::Binary(mut message)) if !message.is_empty() => {
                let data = message.split_off(1);
                Some((message[0], data))
            }
            (Self::Base64, Message::Text(text)) => {
                let (channel, data) = text.as_bytes().split_first()?;
                let data = STANDARD.decode(data).ok()?;
                Some((channel.checked_sub(b'0')?, data.into()))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_back_from_both_framings() {
        for framing in [Framing::Binary, Framing::Base64] {
            let message = framing.message(2, b"a\0b");
            assert_eq!(framing.read(message), Some((2, Bytes::from_static(b"a\0b"))));
            assert_eq!(framing.read(Message::Ping(Bytes::new())), None);
        }
        assert_eq!(Framing::Binary.read(Message::Binary(Bytes::new())), None);
        assert_eq!(Framing::Base64.read(Message::Text("1!".into())), None);
    }
}
