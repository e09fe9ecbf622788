use std::time::Duration;

use bytes::BytesMut;
use futures::{SinkExt as _, StreamExt as _};
use http::{Response, StatusCode};
use hyper::upgrade::OnUpgrade;
use pinnace_api::selector::FieldSelector;
use pinnace_api::{ApiError, Reason, Result};
use pinnace_client::{ListOptions, Transport as _, WatchStream};
use tokio_tungstenite::tungstenite::Message;

use super::Call;
use crate::Body;
use crate::encoding::{Accepted, Can, WatchBody, WatchFrames};
use crate::limits::MIN_WATCH;
use crate::request::options;
use crate::response::reply;
use crate::streams::web_socket::{self, Socket};

impl Call<'_> {
    pub(super) async fn watch(&self, upgrade: Option<OnUpgrade>) -> Result<Response<Body>> {
        // Over a WebSocket events are text.
        let protobuf = !web_socket::is_web_socket(self.headers) && self.asks_for_protobuf();
        let can = Can { shapes: true, stream: true, protobuf };
        let accepted = Accepted::negotiate(self.headers, self.query, can)?;
        let mut options = options::list_options(self.query, true)?;
        self.narrow(&mut options)?;
        let timeout = self.timeout()?;
        options.timeout = Some(timeout);
        let frames = WatchFrames::new(self.resource.clone(), accepted, self.server.env().clock());
        let watch = self.api.watch(self.resource.clone(), self.scope(), options).await;
        let body = match watch {
            Ok(events) if web_socket::is_web_socket(self.headers) => {
                return self.watch_socket(events, frames, timeout, upgrade);
            }
            Ok(events) => Body::watch(WatchBody::new(events, frames, timeout, &self.peer.stop)),
            // As upstream: the answer to a version that is too old or too new is an event.
            Err(error) if error.is_expired() || error.reason() == Reason::Timeout => {
                let mut out = BytesMut::new();
                frames.write_error(&error, &mut out);
                Body::from(out.freeze())
            }
            Err(error) => return Err(error),
        };
        Ok(reply(StatusCode::OK, accepted.stream_type(), body))
    }

    /// Events over a WebSocket. As upstream, which names no subprotocol here.
    fn watch_socket(
        &self,
        events: WatchStream,
        frames: WatchFrames,
        timeout: Duration,
        upgrade: Option<OnUpgrade>,
    ) -> Result<Response<Body>> {
        let upgrade = upgrade.ok_or_else(|| ApiError::bad_request("Upgrade request required"))?;
        let response = web_socket::accept_any(self.headers)?;
        let stop = self.peer.stop.clone();
        self.peer.tasks.spawn(async move {
            let Some(socket) = web_socket::open(upgrade).await else { return };
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(timeout) => {}
                () = send(socket, events, frames) => {}
            }
        });
        Ok(response)
    }

    /// A path of the old form may name one object.
    fn narrow(&self, options: &mut ListOptions) -> Result<()> {
        if self.info.legacy_watch && !self.info.name.is_empty() && options.fields.is_none() {
            let selector = format!("metadata.name={}", self.info.name);
            options.fields = Some(FieldSelector::parse(&selector)?);
        }
        Ok(())
    }

    /// How long a watch lasts: what it says, or at random between half an hour and an hour, so
    /// that clients do not come back all at once.
    fn timeout(&self) -> Result<Duration> {
        let seconds = self.query.number("timeoutSeconds")?.unwrap_or(0);
        match u64::try_from(seconds) {
            Ok(seconds) if seconds > 0 => Ok(Duration::from_secs(seconds)),
            Ok(_) => Ok(self.server.env().random().jitter(MIN_WATCH, 1.0)),
            Err(_) => Err(ApiError::bad_request("timeoutSeconds must not be negative")),
        }
    }
}

/// Sends each event as a message, until the watch or the client ends.
async fn send(socket: Socket, mut events: WatchStream, mut frames: WatchFrames) {
    let (mut sink, mut messages) = socket.split();
    let write = async {
        while let Some(event) = events.next().await {
            let mut out = BytesMut::new();
            let written = event.and_then(|event| frames.write(&event, &mut out));
            if let Err(error) = &written {
                frames.write_error(error, &mut out);
            }
            let text = String::from_utf8_lossy(out.trim_ascii_end()).into_owned();
            if sink.send(Message::Text(text.into())).await.is_err() || written.is_err() {
                break;
            }
        }
        // It may be the client who has gone.
        let _ = sink.send(web_socket::normal_close()).await;
    };
    // Nothing that a client says matters, but that it goes.
    let read = async { while let Some(Ok(_)) = messages.next().await {} };
    tokio::select! {
        () = write => {}
        () = read => {}
    }
}
