use std::time::Duration;

use http::header::{AUTHORIZATION, CONNECTION, HOST, HeaderName, HeaderValue, UPGRADE};
use http::request::Parts;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyDataStream, BodyExt as _};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use pinnace_api::{ApiError, Result};
use pinnace_server::{ExtensionAddress, User};

use super::Aggregator;
use super::remote::Remote;
use crate::authentication::Peer;
use crate::extensions::{Open, Returns, dial, words};
use crate::response;
use crate::streams::{asks_for_upgrade, join, remove_hop_by_hop};
use crate::{Body, BoxError, RequestBody};

/// How long it may take to be connected.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
const USER: HeaderName = HeaderName::from_static("x-remote-user");
const UID: HeaderName = HeaderName::from_static("x-remote-uid");
const GROUP: HeaderName = HeaderName::from_static("x-remote-group");
const EXTRA: &str = "x-remote-extra-";
const REMOTE: &str = "x-remote-";
const IMPERSONATION: &str = "impersonate-";
/// What the name of a header cannot have.
const ESCAPED: AsciiSet = NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'*')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

/// A request that is sent on.
pub(crate) struct Forwarded<'a> {
    pub(crate) parts: &'a Parts,
    pub(crate) body: RequestBody,
    pub(crate) upgrade: Option<OnUpgrade>,
    pub(crate) user: &'a User,
    pub(crate) peer: &'a Peer,
    /// Whether the answer goes on for hours.
    pub(crate) is_watch: bool,
}

impl Aggregator {
    /// Sends a request on to another server, in the name of the user who makes it, and gives its
    /// answer.
    ///
    /// # Errors
    /// None: what goes wrong is an answer in plain text, as upstream's.
    pub(crate) async fn forward(
        &self,
        remote: &Remote,
        forwarded: Forwarded<'_>,
    ) -> Result<Response<Body>> {
        let unavailable =
            |why: &str| Ok(response::text(StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")));
        if !remote.available {
            return unavailable("service unavailable");
        }
        let Ok(address) = self.address(remote) else { return unavailable("service unavailable") };
        match self.send(remote, &address, forwarded).await {
            Ok(response) => Ok(response),
            Err(why) => unavailable(&format!("error trying to reach service: {why}")),
        }
    }

    async fn send(
        &self,
        remote: &Remote,
        address: &ExtensionAddress,
        forwarded: Forwarded<'_>,
    ) -> Result<Response<Body>, String> {
        let Forwarded { parts, body, upgrade, user, peer, is_watch } = forwarded;
        let upgrade = upgrade.filter(|_| asks_for_upgrade(&parts.headers));
        let request = request(address, parts, body, user, peer, upgrade.is_some());
        let mut request = request.map_err(|error| error.message().to_owned())?;
        if let Some(upgrade) = upgrade {
            return self.send_upgrade(remote, address, request, upgrade, peer).await;
        }
        if let Some(mut open) = self.0.pool.take(address) {
            match open.sender.try_send_request(request).await {
                Ok(response) => return Ok(self.answer(address, open, response, is_watch)),
                Err(mut failed) => match failed.take_message() {
                    // It was closed while nobody used it.
                    Some(unsent) => request = unsent,
                    None => return Err(words(failed.error())),
                },
            }
        }
        let (stream, at) = self.connect(remote, address).await?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| words(&error))?;
        // It ends with its sender, which is in the pool or with the answer.
        tokio::spawn(connection);
        let response = sender.send_request(request).await.map_err(|error| words(&error))?;
        Ok(self.answer(address, Open { sender, peer: at }, response, is_watch))
    }

    fn answer(
        &self,
        address: &ExtensionAddress,
        open: Open<RequestBody>,
        mut response: Response<Incoming>,
        is_watch: bool,
    ) -> Response<Body> {
        remove_hop_by_hop(response.headers_mut());
        // Kept with the answer: the connection is of use again when that is sent.
        let inner = self.0.clone();
        let returns = Returns::new(open, address.clone(), move |address, open| {
            inner.pool.keep(address, open);
        });
        response.map(|body| {
            let stream = BodyDataStream::new(body.map_err(BoxError::from));
            let body = if is_watch { Body::watch(stream) } else { Body::stream(stream) };
            body.holding(returns)
        })
    }

    async fn send_upgrade(
        &self,
        remote: &Remote,
        address: &ExtensionAddress,
        request: Request<RequestBody>,
        upgrade: OnUpgrade,
        peer: &Peer,
    ) -> Result<Response<Body>, String> {
        let (stream, _) = self.connect(remote, address).await?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| words(&error))?;
        let stop = peer.stop.clone();
        peer.tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                // The answer or its body tells what went wrong.
                _ = connection.with_upgrades() => {}
            }
        });
        let mut response = sender.send_request(request).await.map_err(|error| words(&error))?;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            join(peer, upgrade, hyper::upgrade::on(&mut response));
            return Ok(response.map(|_| Body::empty()));
        }
        remove_hop_by_hop(response.headers_mut());
        let stream = |body: Incoming| BodyDataStream::new(body.map_err(BoxError::from));
        Ok(response.map(|body| Body::stream(stream(body))))
    }

    async fn connect(
        &self,
        remote: &Remote,
        address: &ExtensionAddress,
    ) -> Result<(crate::extensions::Stream, std::net::SocketAddr), String> {
        let trust = &self.0.trust;
        let config = match remote.insecure {
            true => trust.anybody()?,
            false => trust.config(address.ca_bundle.as_ref())?,
        };
        let reached = tokio::time::timeout(CONNECT_TIMEOUT, dial(address, config)).await;
        reached.map_err(|_| format!("dial tcp {}: i/o timeout", address.authority))?
    }
}

fn request(
    address: &ExtensionAddress,
    parts: &Parts,
    body: RequestBody,
    user: &User,
    peer: &Peer,
    upgrade: bool,
) -> Result<Request<RequestBody>> {
    let text = |text: &str| HeaderValue::from_str(text).map_err(ApiError::internal);
    let mut request = Request::new(body);
    *request.method_mut() = parts.method.clone();
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    *request.uri_mut() = path.parse().map_err(ApiError::internal)?;
    let mut headers = parts.headers.clone();
    let protocol = headers.get(UPGRADE).cloned();
    remove_hop_by_hop(&mut headers);
    if let Some(protocol) = protocol.filter(|_| upgrade) {
        headers.insert(UPGRADE, protocol);
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    }
    // Who the caller is was for us to know, and is said in another way.
    headers.remove(AUTHORIZATION);
    remove(&mut headers, IMPERSONATION);
    name(&mut headers, user)?;
    if let Some(host) = headers.insert(HOST, text(&address.authority)?) {
        headers.insert("x-forwarded-host", host);
    }
    headers.insert("x-forwarded-uri", text(parts.uri.path())?);
    headers.insert("x-forwarded-proto", HeaderValue::from_static("https"));
    if let Some(address) = peer.address {
        headers.append("x-forwarded-for", text(&address.ip().to_string())?);
    }
    *request.headers_mut() = headers;
    Ok(request)
}

/// Says who makes a request, whatever the request says itself.
pub(super) fn name(headers: &mut HeaderMap, user: &User) -> Result<()> {
    let text = |text: &str| HeaderValue::from_str(text).map_err(ApiError::internal);
    remove(headers, REMOTE);
    headers.insert(USER, text(&user.name)?);
    if let Some(uid) = &user.uid {
        headers.insert(UID, text(uid)?);
    }
    for group in &*user.groups {
        headers.append(GROUP, text(group)?);
    }
    for (key, values) in &*user.extra {
        let key = utf8_percent_encode(key, &ESCAPED);
        let header = format!("{EXTRA}{key}").to_ascii_lowercase();
        let header: HeaderName = header.parse().map_err(ApiError::internal)?;
        for value in values {
            headers.append(header.clone(), text(value)?);
        }
    }
    Ok(())
}

fn remove(headers: &mut HeaderMap, prefix: &str) {
    let named = headers.keys().filter(|name| name.as_str().starts_with(prefix));
    for name in named.cloned().collect::<Vec<HeaderName>>() {
        headers.remove(name);
    }
}
