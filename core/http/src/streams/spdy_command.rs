//! `exec` and `attach` over SPDY: a stream for each of input, outputs, error and size.

use std::collections::HashMap;
use std::time::Duration;

use http::header::{CONNECTION, HeaderName, HeaderValue, UPGRADE};
use http::{HeaderMap, Response, StatusCode};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use pinnace_api::{ApiError, Result};
use pinnace_client::nodes::{Session, Streams};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::mpsc;

use super::remote_command::{resize_to, text_of};
use super::spdy::{self, SpdyStream};
use crate::Body;

const PROTOCOL: HeaderName = HeaderName::from_static("x-stream-protocol-version");
/// How long a client may take to open its streams.
const OPEN_TIMEOUT: Duration = Duration::from_secs(30);

/// Agrees on SPDY, and whether the end of a command is told as a `Status`.
///
/// # Errors
/// `Forbidden` as upstream has it, when the client knows no protocol that we know.
pub(super) fn accept(headers: &HeaderMap) -> Result<(Response<Body>, bool)> {
    let values = headers.get_all(PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    let mut wanted = values.flat_map(|value| value.split(',')).map(str::trim).peekable();
    let known = |name: &str| match name {
        "v4.channel.k8s.io" => Some(("v4.channel.k8s.io", true)),
        "v3.channel.k8s.io" => Some(("v3.channel.k8s.io", false)),
        "v2.channel.k8s.io" => Some(("v2.channel.k8s.io", false)),
        "channel.k8s.io" => Some(("channel.k8s.io", false)),
        _ => None,
    };
    let none = wanted.peek().is_none();
    let found = if none { Some(("", false)) } else { wanted.find_map(known) };
    let (name, status) = found.ok_or_else(|| {
        let message = "unable to upgrade: unable to negotiate protocol";
        ApiError::new(pinnace_api::Reason::Forbidden, message)
    })?;
    let mut response = switching();
    if !name.is_empty() {
        response.headers_mut().insert(PROTOCOL, HeaderValue::from_static(name));
    }
    Ok((response, status))
}

/// The answer that begins SPDY.
pub(super) fn switching() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(UPGRADE, HeaderValue::from_static("SPDY/3.1"));
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    response
}

pub(super) async fn serve(upgrade: OnUpgrade, session: Session, streams: Streams, status: bool) {
    let Ok(upgraded) = upgrade.await else { return };
    let transport = TokioIo::new(upgraded);
    let ended = spdy::serve(transport, async |opened| run(opened, session, streams, status).await);
    if let Err(error) = ended.await {
        tracing::debug!(%error, "a connection over SPDY ended");
    }
}

async fn run(
    mut opened: mpsc::Receiver<SpdyStream>,
    session: Session,
    wanted: Streams,
    status: bool,
) {
    let mut kinds = vec!["error"];
    for (is, kind) in
        [(wanted.stdin, "stdin"), (wanted.stdout, "stdout"), (wanted.stderr, "stderr")]
    {
        if is {
            kinds.push(kind);
        }
    }
    let collect = async {
        let mut found: HashMap<String, SpdyStream> = HashMap::new();
        while !kinds.iter().all(|kind| found.contains_key(*kind)) {
            let stream = opened.recv().await?;
            let kind = stream.headers.get("streamtype").cloned().unwrap_or_default();
            found.insert(kind, stream);
        }
        Some(found)
    };
    let Ok(Some(mut found)) = tokio::time::timeout(OPEN_TIMEOUT, collect).await else { return };
    let Session { stdin, stdout, stderr, resize, exit } = session;
    let input = found.remove("stdin");
    let input = async move {
        let (Some(mut stdin), Some(stream)) = (stdin, input) else { return };
        let mut incoming = stream.incoming;
        while let Some(data) = incoming.recv().await {
            if stdin.write_all(&data).await.is_err() {
                return;
            }
        }
        drop(stdin.shutdown().await);
    };
    let mut resizes = found.remove("resize");
    let (out, err, error) = (found.remove("stdout"), found.remove("stderr"), found.remove("error"));
    let output = async {
        let copy = async |stream: Option<SpdyStream>, from| {
            if let Some(stream) = stream {
                stream.outgoing.copy(from).await;
            }
        };
        tokio::join!(copy(out, stdout), copy(err, stderr));
        let end = exit.await;
        let text = text_of(&end, status);
        if let Some(stream) = error {
            stream.outgoing.send(text.as_bytes(), true).await;
        }
    };
    // The size comes on a stream that the client opens after the others.
    let sizes = async {
        loop {
            let Some(stream) = &mut resizes else {
                match opened.recv().await {
                    Some(stream) => resizes = Some(stream),
                    None => return,
                }
                continue;
            };
            match stream.incoming.recv().await {
                Some(json) => resize_to(resize.as_ref(), &json).await,
                None => return,
            }
        }
    };
    let beside = async { tokio::join!(input, sizes) };
    tokio::select! {
        () = output => {}
        _ = async { beside.await; std::future::pending::<()>().await } => {}
    }
}
