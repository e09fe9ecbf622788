use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _};
use http::{HeaderMap, Response, StatusCode};
use hyper::upgrade::OnUpgrade;
use pinnace_api::field::{ErrorList, Path};
use pinnace_api::{ApiError, Result};
use pinnace_client::nodes::{self, LogOptions};

use tokio_tungstenite::tungstenite::Message;

use super::Connect;
use super::containers::container_of;
use super::web_socket::{self, is_web_socket};
use crate::request::Query;
use crate::request::options::invalid_named;
use crate::response::reply;
use crate::{Body, BoxError, Peer};

const TEXT: &str = "text/plain";

/// How bytes are put into the messages of a WebSocket that has one channel.
#[derive(Clone, Copy, Debug)]
enum Wire {
    Binary,
    Base64,
}

const PROTOCOLS: [(&str, Wire); 3] =
    [("", Wire::Binary), ("binary.k8s.io", Wire::Binary), ("base64.binary.k8s.io", Wire::Base64)];

impl Wire {
    fn message(self, bytes: Bytes) -> Message {
        match self {
            Self::Binary => Message::Binary(bytes),
            Self::Base64 => Message::Text(STANDARD.encode(bytes).into()),
        }
    }
}

impl Connect<'_> {
    /// A container's log, as the body of the answer or over a WebSocket.
    pub(super) async fn log(&self, upgrade: Option<OnUpgrade>) -> Result<Response<Body>> {
        let options = log_options(self.query, &self.info.name, self.server.env().now())?;
        let place = self.place()?;
        let container = container_of(&place.pod, self.query.text("container"))?;
        // As upstream: what has not been placed has said nothing yet.
        let lines = match self.node(&place.pod)? {
            None => futures::stream::empty().boxed(),
            Some(node) => node.logs(&place.reference, &container, options).await?,
        };
        respond(lines, self.headers, upgrade, self.peer)
    }
}

/// Answers with a log, as the body or over a WebSocket.
///
/// # Errors
/// `BadRequest` for a WebSocket that cannot be understood.
pub(crate) fn respond(
    lines: nodes::Bytes,
    headers: &HeaderMap,
    upgrade: Option<OnUpgrade>,
    peer: &Peer,
) -> Result<Response<Body>> {
    let stop = peer.stop.clone();
    let Some(upgrade) = upgrade.filter(|_| is_web_socket(headers)) else {
        let body = lines.map(|bytes| bytes.map_err(BoxError::from));
        let body = body.take_until(stop.cancelled_owned());
        return Ok(reply(StatusCode::OK, TEXT, Body::stream(body)));
    };
    let (response, wire) = web_socket::accept(headers, &PROTOCOLS)?;
    peer.tasks.spawn(async move {
        tokio::select! {
            () = stop.cancelled() => {}
            () = send(upgrade, lines, wire) => {}
        }
    });
    Ok(response)
}

/// Sends a log until it ends or the client goes. One that reads nothing holds it up.
async fn send(upgrade: OnUpgrade, mut lines: nodes::Bytes, wire: Wire) {
    let Some(mut socket) = web_socket::open(upgrade).await else { return };
    while let Some(Ok(bytes)) = lines.next().await {
        if socket.send(wire.message(bytes)).await.is_err() {
            return;
        }
    }
    // Best effort: the client may have gone.
    let _ = socket.send(web_socket::normal_close()).await;
}

/// `PodLogOptions`, from the parameters of a request.
///
/// # Errors
/// `Invalid` and `BadRequest`.
pub(crate) fn log_options(query: &Query, pod: &str, now: jiff::Timestamp) -> Result<LogOptions> {
    let mut errors = ErrorList::default();
    let number = |name: &'static str, least: i64, why: &str, errors: &mut ErrorList| {
        let value = query.number(name)?;
        if value.is_some_and(|value| value < least) {
            errors.invalid(&Path::root(name), value.unwrap_or(0), why);
        }
        Ok::<_, ApiError>(value.and_then(|value| u64::try_from(value).ok()))
    };
    let tail_lines = number("tailLines", 0, "must be greater than or equal to 0", &mut errors)?;
    let limit_bytes = number("limitBytes", 1, "must be greater than 0", &mut errors)?;
    let seconds = number("sinceSeconds", 1, "must be greater than 0", &mut errors)?;
    let time = query.text("sinceTime");
    if seconds.is_some() && time.is_some() {
        let why = "at most one of `sinceTime` or `sinceSeconds` may be specified";
        errors.forbidden(&Path::root("sinceSeconds"), why);
    }
    let stream = query.text("stream").filter(|stream| *stream != "All");
    if let Some(other) = stream.filter(|stream| !matches!(*stream, "Stdout" | "Stderr")) {
        let path = Path::root("stream");
        errors.not_supported(&path, other, &["All", "Stderr", "Stdout"]);
    }
    if stream.is_some() && tail_lines.is_some() {
        let why = "`tailLines` and specific `stream` are mutually exclusive for now";
        errors.forbidden(&Path::root("tailLines"), why);
    }
    if !errors.is_empty() {
        return Err(invalid_named("PodLogOptions", "", pod, &errors));
    }
    let since = match (seconds, time) {
        (Some(seconds), _) => {
            let span = jiff::SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
            Some(now.checked_sub(span).unwrap_or(jiff::Timestamp::MIN))
        }
        (None, Some(time)) => Some(time.parse().map_err(|_| {
            ApiError::bad_request(format!("sinceTime: {time:?} is not a time of RFC 3339"))
        })?),
        (None, None) => None,
    };
    Ok(LogOptions {
        follow: query.flag("follow"),
        previous: query.flag("previous"),
        since,
        timestamps: query.flag("timestamps"),
        tail_lines,
        limit_bytes,
        stream: stream.map(str::to_owned),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_sense_is_refused() {
        let now = jiff::Timestamp::constant(1_000_000, 0);
        let read = |query: &str| log_options(&Query::parse(query), "web", now);
        let options = read("follow=true&tailLines=3&sinceSeconds=10").unwrap();
        assert!(options.follow && options.tail_lines == Some(3));
        assert_eq!(options.since, Some(jiff::Timestamp::constant(999_990, 0)));
        assert_eq!(
            read("limitBytes=0").unwrap_err().message(),
            "PodLogOptions \"web\" is invalid: limitBytes: Invalid value: 0: must be greater than 0"
        );
        assert!(read("sinceTime=yesterday").is_err());
        assert!(read("stream=Stdin").is_err());
    }
}
