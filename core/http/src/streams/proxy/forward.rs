use std::time::Duration;

use http::header::{
    AUTHORIZATION, CONNECTION, HOST, HeaderName, HeaderValue, LOCATION, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::request::Parts;
use http::{HeaderMap, Request, Response, StatusCode, Uri};
use http_body_util::{BodyDataStream, BodyExt as _};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use pinnace_api::{ApiError, Result};
use pinnace_client::nodes::Connection;
use tokio::net::TcpStream;

use super::location::{Place, Upstream};
use super::{insecure, path_below, unreachable};
use crate::authentication::Peer;
use crate::streams::Connect;
use crate::{Body, BoxError, RequestBody};

/// How long it may take to be connected.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// What concerns one connection and is not passed on.
const HOP_BY_HOP: [HeaderName; 7] =
    [CONNECTION, UPGRADE, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING];

impl Upstream {
    async fn connect(&self) -> Result<Box<dyn Connection>> {
        let connect = async {
            let connection: Box<dyn Connection> = match &self.place {
                Place::Pod { node, reference, port } => {
                    let connected = node.connect(reference, *port).await;
                    connected.map_err(|error| unreachable(error.message()))?
                }
                Place::Address(ip, port) => {
                    let connected = TcpStream::connect((*ip, *port)).await;
                    let host = &self.host;
                    Box::new(connected.map_err(|error| {
                        unreachable(format!("dial tcp {host}: connect: {error}"))
                    })?)
                }
            };
            if self.secure {
                insecure::wrap(connection, &self.host).await.map_err(unreachable)
            } else {
                Ok(connection)
            }
        };
        tokio::time::timeout(CONNECT_TIMEOUT, connect)
            .await
            .map_err(|_| unreachable(format!("dial tcp {}: i/o timeout", self.host)))?
    }
}

impl Connect<'_> {
    /// Sends a request on and gives the answer, and after an upgrade whatever is said.
    ///
    /// # Errors
    /// `ServiceUnavailable` when nobody answers.
    pub(super) async fn forward(
        &self,
        upstream: &Upstream,
        parts: &Parts,
        path: &str,
        body: RequestBody,
        upgrade: Option<OnUpgrade>,
    ) -> Result<Response<Body>> {
        let request = self.request(upstream, parts, path, body, upgrade.is_some())?;
        let connection = TokioIo::new(upstream.connect().await?);
        let (mut sender, driver) = http1::handshake(connection).await.map_err(unreachable)?;
        let stop = self.peer.stop.clone();
        self.peer.tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                // The answer or its body tells what went wrong.
                _ = driver.with_upgrades() => {}
            }
        });
        let mut response = sender.send_request(request).await.map_err(unreachable)?;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let upgrade = upgrade.ok_or_else(|| unreachable("an upgrade nobody asked for"))?;
            join(self.peer, upgrade, hyper::upgrade::on(&mut response));
            return Ok(response.map(|_| Body::empty()));
        }
        remove_hop_by_hop(response.headers_mut());
        self.rewrite_location(&mut response, upstream, parts);
        Ok(response.map(|body| Body::stream(BodyDataStream::new(body.map_err(BoxError::from)))))
    }

    fn request(
        &self,
        upstream: &Upstream,
        parts: &Parts,
        path: &str,
        body: RequestBody,
        upgrade: bool,
    ) -> Result<Request<RequestBody>> {
        let uri: Uri = path.parse().map_err(|error| ApiError::bad_request(format!("{error}")))?;
        let mut request = Request::new(body);
        *request.method_mut() = parts.method.clone();
        *request.uri_mut() = uri;
        let mut headers = parts.headers.clone();
        let protocol = headers.get(UPGRADE).cloned();
        remove_hop_by_hop(&mut headers);
        if let Some(protocol) = protocol.filter(|_| upgrade) {
            headers.insert(UPGRADE, protocol);
            headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        }
        // Who the caller is was for us to know.
        headers.remove(AUTHORIZATION);
        let impersonation: Vec<HeaderName> = headers
            .keys()
            .filter(|name| name.as_str().starts_with("impersonate-"))
            .cloned()
            .collect();
        for name in impersonation {
            headers.remove(name);
        }
        let text = |text: &str| HeaderValue::from_str(text).map_err(ApiError::internal);
        if let Some(host) = headers.insert(HOST, text(&upstream.host)?) {
            headers.insert("x-forwarded-host", host);
        }
        headers.insert("x-forwarded-uri", text(parts.uri.path())?);
        headers.insert("x-forwarded-proto", HeaderValue::from_static("https"));
        if let Some(address) = self.peer.address {
            headers.append("x-forwarded-for", text(&address.ip().to_string())?);
        }
        *request.headers_mut() = headers;
        Ok(request)
    }

    /// Sends a client that is sent elsewhere on the same host there by way of the proxy.
    fn rewrite_location(&self, response: &mut Response<Incoming>, to: &Upstream, parts: &Parts) {
        let Some(location) = response.headers().get(LOCATION) else { return };
        let Some(uri) = location.to_str().ok().and_then(|text| text.parse::<Uri>().ok()) else {
            return;
        };
        let elsewhere = uri.authority().is_some_and(|authority| authority.as_str() != to.host);
        if elsewhere || !uri.path().starts_with('/') {
            return;
        }
        let ours = parts.uri.path();
        let below = path_below(ours, self.resource.is_namespaced());
        let base = &ours[..ours.len() - below.len()];
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        if let Ok(value) = HeaderValue::from_str(&format!("{base}{path}")) {
            response.headers_mut().insert(LOCATION, value);
        }
    }
}

/// Carries bytes both ways, until either side ends.
pub(crate) fn join(peer: &Peer, ours: OnUpgrade, theirs: OnUpgrade) {
    let stop = peer.stop.clone();
    peer.tasks.spawn(async move {
        let copied = async {
            let (ours, theirs) = tokio::try_join!(ours, theirs)?;
            let (mut ours, mut theirs) = (TokioIo::new(ours), TokioIo::new(theirs));
            tokio::io::copy_bidirectional(&mut ours, &mut theirs).await?;
            Ok::<_, BoxError>(())
        };
        tokio::select! {
            () = stop.cancelled() => {}
            copied = copied => if let Err(error) = copied {
                tracing::debug!(%error, "a proxied connection ended");
            },
        }
    });
}

/// Removes what concerns one connection alone.
pub(crate) fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}
