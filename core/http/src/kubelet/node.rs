use std::fmt;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes as Chunk;
use futures::{StreamExt as _, TryStreamExt as _};
use http::header::{ACCEPT, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyDataStream, BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use pinnace_api::{ApiError, Reason, Result};
use pinnace_client::nodes::{
    Bytes, Connection, Document, LogOptions, NodeConnection, PodReference, Session, Streams,
};
use pinnace_client::summary::Summary;
use pinnace_client::wire;
use pinnace_env::Env;
use pinnace_server::ExtensionAddress;
use tokio_rustls::rustls::ClientConfig;
use tokio_tungstenite::tungstenite::protocol::Role;
use url::form_urlencoded::Serializer;

use super::{NODE_USER_PREFIX, session};
use crate::authentication::certificate_user;
use crate::extensions::{Trust, dial, words};
use crate::streams::port_forward::SINGLE;
use crate::streams::single_port;
use crate::streams::web_socket::{self, Socket};
use crate::{Authority, BoxError};

/// As whom nodes know the server of the API, as upstream's tools name it.
pub const CLIENT_NAME: &str = "kube-apiserver-kubelet-client";
const CLIENT_GROUP: &str = "system:masters";
/// How long it may take to be connected.
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a node may take to begin an answer, and to give one that does not go on.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// After how many seconds this side's certificate, which lasts a year, is made anew.
const RENEW_SECONDS: i64 = 300 * 24 * 60 * 60;
/// Over how long figures of a node are taken to be, which it does not say.
const WINDOW: Duration = Duration::from_secs(15);

/// Reaches nodes on other machines over mutual TLS: they know this side by a certificate of the
/// cluster's authority, and each has to bring one of that for its address and its name.
pub struct NodeClients {
    authority: Arc<Authority>,
    env: Env,
    /// With what to connect, and since when, in seconds.
    config: Mutex<Option<(Arc<ClientConfig>, i64)>>,
}

impl NodeClients {
    /// The way to the nodes of a cluster.
    pub fn new(authority: Arc<Authority>, env: Env) -> Self {
        Self { authority, env, config: Mutex::new(None) }
    }

    /// The connection to a node that listens at an address. Nobody is asked yet.
    ///
    /// # Errors
    /// `InternalError` when there is no certificate to connect with.
    pub fn node(&self, name: &str, address: IpAddr, port: u16) -> Result<Arc<dyn NodeConnection>> {
        let socket = SocketAddr::new(address, port);
        Ok(Arc::new(HttpsNode {
            name: name.to_owned(),
            address: ExtensionAddress {
                authority: socket.to_string(),
                server_name: address.to_string(),
                addresses: vec![socket],
                ca_bundle: None,
            },
            config: self.config()?,
        }))
    }

    fn config(&self) -> Result<Arc<ClientConfig>> {
        let now = self.env.now().as_second();
        let mut kept = self.config.lock();
        if let Some((config, since)) = &*kept
            && now.saturating_sub(*since) < RENEW_SECONDS
        {
            return Ok(config.clone());
        }
        let identity = self.authority.client(CLIENT_NAME, &[CLIENT_GROUP.to_owned()]);
        let identity = identity.map_err(ApiError::internal)?;
        let roots: Arc<[u8]> = self.authority.certificate_pem().as_bytes().into();
        let trust = Trust::proving(Some(&identity)).map_err(ApiError::internal)?;
        let config = trust.config(Some(&roots));
        let config = config.map_err(ApiError::internal)?;
        *kept = Some((config.clone(), now));
        Ok(config)
    }
}

impl fmt::Debug for NodeClients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NodeClients")
    }
}

/// A node on another machine.
struct HttpsNode {
    name: String,
    address: ExtensionAddress,
    config: Arc<ClientConfig>,
}

impl HttpsNode {
    /// Sends a request over a connection of its own.
    async fn send(&self, request: Request<Empty<Chunk>>) -> Result<Response<Incoming>, String> {
        let address = &self.address.authority;
        let dialed =
            tokio::time::timeout(DIAL_TIMEOUT, dial(&self.address, self.config.clone())).await;
        let (stream, _) = dialed.map_err(|_| format!("dial tcp {address}: i/o timeout"))??;
        let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let shown = shown.and_then(|certificate| certificate_user(certificate));
        let wanted = format!("{NODE_USER_PREFIX}{}", self.name);
        if shown.as_ref().is_none_or(|user| *user.name != *wanted) {
            let shown = shown.map(|user| user.name.to_string()).unwrap_or_default();
            return Err(format!(
                "tls: failed to verify certificate: x509: certificate is of {shown:?}, not {wanted}"
            ));
        }
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| words(&error))?;
        // It ends with the answer, or with what comes after it.
        tokio::spawn(connection.with_upgrades());
        let answered = tokio::time::timeout(ANSWER_TIMEOUT, sender.send_request(request)).await;
        let late = || format!("{address}: net/http: timeout awaiting response headers");
        answered.map_err(|_| late())?.map_err(|error| words(&error))
    }

    fn request(&self, path: &str) -> Result<Request<Empty<Chunk>>> {
        let request = Request::builder()
            .uri(path)
            .header(HOST, &self.address.authority)
            .header(ACCEPT, "*/*")
            .header(USER_AGENT, "pinnace");
        request.body(Empty::new()).map_err(ApiError::internal)
    }

    /// The answer to a GET, whatever it is.
    async fn get(&self, path: &str) -> Result<Response<Incoming>> {
        let request = self.request(path)?;
        self.send(request).await.map_err(|why| {
            unavailable(format!("Get \"https://{}{path}\": {why}", self.address.authority))
        })
    }

    /// All of an answer that does not go on.
    async fn whole(&self, response: Response<Incoming>) -> Result<Chunk> {
        let body = wire::collect(chunks(response).map_err(|error| error.to_string()).boxed());
        self.in_time(body).await
    }

    /// What the node does not take long to say.
    async fn in_time<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let done = tokio::time::timeout(ANSWER_TIMEOUT, work).await;
        done.map_err(|_| backend(format!("{}: i/o timeout", self.address.authority)))?
    }

    /// A whole page; `None` where there is none.
    async fn page(&self, path: &str) -> Result<Option<(HeaderValue, Chunk)>> {
        let response = self.get(path).await?;
        let status = response.status();
        let kind = response.headers().get(CONTENT_TYPE).cloned();
        let body = self.whole(response).await?;
        let text = HeaderValue::from_static("text/plain");
        match status {
            StatusCode::OK => Ok(Some((kind.unwrap_or(text), body))),
            StatusCode::NOT_FOUND => Ok(None),
            status => Err(wire::failure(status.as_u16(), &body)),
        }
    }

    /// A WebSocket to a path of the node.
    async fn socket(&self, path: &str, protocol: &'static str) -> Result<Socket> {
        let mut request = self.request(path)?;
        web_socket::ask(request.headers_mut(), protocol);
        let mut response = self.send(request).await.map_err(backend)?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            let status = response.status().as_u16();
            return Err(wire::failure(status, &self.whole(response).await?));
        }
        let upgraded = hyper::upgrade::on(&mut response).await;
        let upgraded = upgraded.map_err(|error| backend(words(&error)))?;
        Ok(web_socket::within(upgraded, Role::Client).await)
    }

    async fn process(
        &self,
        what: &str,
        pod: &PodReference,
        container: &str,
        command: &[String],
        streams: Streams,
    ) -> Result<Session> {
        let flags = [
            ("input", streams.stdin),
            ("output", streams.stdout),
            ("error", streams.stderr),
            ("tty", streams.tty),
        ];
        let flags = flags.into_iter().filter(|(_, is)| *is).map(|(name, _)| (name, "1"));
        let words = command.iter().map(|word| ("command", word.as_str()));
        let query = query(flags.chain(words));
        let path = format!("/{what}/{}/{container}?{query}", path_of(pod));
        let socket = self.socket(&path, session::PROTOCOL).await?;
        Ok(session::open(socket, streams))
    }
}

#[async_trait]
impl NodeConnection for HttpsNode {
    async fn logs(
        &self,
        pod: &PodReference,
        container: &str,
        options: LogOptions,
    ) -> Result<Bytes> {
        let flag = |is: bool| is.then(|| "true".to_owned());
        let asked = [
            ("follow", flag(options.follow)),
            ("previous", flag(options.previous)),
            ("timestamps", flag(options.timestamps)),
            ("sinceTime", options.since.map(|since| since.to_string())),
            ("tailLines", options.tail_lines.map(|lines| lines.to_string())),
            ("limitBytes", options.limit_bytes.map(|bytes| bytes.to_string())),
            ("stream", options.stream),
        ];
        let query =
            query(asked.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?))));
        let PodReference { namespace, name, .. } = pod;
        let path = format!("/containerLogs/{namespace}/{name}/{container}?{query}");
        let response = self.get(&path).await?;
        let status = response.status();
        if status != StatusCode::OK {
            return Err(wire::failure(status.as_u16(), &self.whole(response).await?));
        }
        Ok(chunks(response).map_err(|error| unavailable(error.to_string())).boxed())
    }

    async fn exec(
        &self,
        pod: &PodReference,
        container: &str,
        command: Vec<String>,
        streams: Streams,
    ) -> Result<Session> {
        self.process("exec", pod, container, &command, streams).await
    }

    async fn attach(
        &self,
        pod: &PodReference,
        container: &str,
        streams: Streams,
    ) -> Result<Session> {
        self.process("attach", pod, container, &[], streams).await
    }

    async fn connect(&self, pod: &PodReference, port: u16) -> Result<Box<dyn Connection>> {
        let path = format!("/portForward/{}?ports={port}", path_of(pod));
        let socket = self.socket(&path, SINGLE).await?;
        self.in_time(single_port::open(socket, || backend("unexpected EOF".to_owned()))).await
    }

    async fn summary(&self, only_cpu_and_memory: bool) -> Result<Summary> {
        let path = match only_cpu_and_memory {
            true => "/stats/summary?only_cpu_and_memory=true",
            false => "/stats/summary",
        };
        let (_, body) = self.page(path).await?.ok_or_else(|| unavailable("404 page not found"))?;
        let mut summary: Summary =
            serde_json::from_slice(&body).map_err(|error| ApiError::decode(&error))?;
        let pods = summary.pods.iter_mut().flat_map(|pod| {
            let containers = pod.containers.iter_mut().filter_map(|one| one.cpu.as_mut());
            pod.cpu.as_mut().into_iter().chain(containers)
        });
        for cpu in summary.node.cpu.as_mut().into_iter().chain(pods) {
            cpu.window = WINDOW;
        }
        Ok(summary)
    }

    async fn document(&self, path: &str) -> Result<Option<Document>> {
        let Some((kind, body)) = self.page(path).await? else { return Ok(None) };
        let media_type = kind.to_str().unwrap_or("text/plain").to_owned().into();
        Ok(Some(Document { media_type, body: String::from_utf8_lossy(&body).into_owned() }))
    }
}

fn chunks(
    response: Response<Incoming>,
) -> impl futures::Stream<Item = Result<Chunk, BoxError>> + Send + 'static {
    BodyDataStream::new(response.into_body().map_err(BoxError::from))
}

fn query<'a>(pairs: impl Iterator<Item = (&'static str, &'a str)>) -> String {
    Serializer::new(String::new()).extend_pairs(pairs).finish()
}

fn path_of(pod: &PodReference) -> String {
    let PodReference { namespace, name, uid } = pod;
    if uid.is_empty() { format!("{namespace}/{name}") } else { format!("{namespace}/{name}/{uid}") }
}

fn backend(why: String) -> ApiError {
    unavailable(format!("error dialing backend: {why}"))
}

fn unavailable(message: impl Into<String>) -> ApiError {
    ApiError::new(Reason::ServiceUnavailable, message)
}
