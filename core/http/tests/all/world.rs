use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use http::{Method, Request, Response};
use http_body_util::{BodyDataStream, BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use pinnace_api::Catalog;
use pinnace_client::nodes::NodeDirectory;
use pinnace_env::Env;
use pinnace_http::{Authority, ClientIdentity, Front, FrontBuilder, ServeConfig, Serving};
use pinnace_server::{Server, ServerBuilder};
use pinnace_store::Store;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};

/// Long enough for anything that happens at all.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A server that listens, and its authority.
pub(crate) struct World {
    pub(crate) server: Server,
    pub(crate) serving: Serving,
    pub(crate) front: Front,
    pub(crate) authority: Arc<Authority>,
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::with(None).await
    }

    pub(crate) async fn with(nodes: Option<Arc<dyn NodeDirectory>>) -> Self {
        let front = |front: FrontBuilder| match nodes {
            Some(nodes) => front.nodes(nodes),
            None => front,
        };
        Self::built(|server| server, front).await
    }

    /// As [`World::start`], with more to the server and to the front.
    pub(crate) async fn built(
        more: impl FnOnce(ServerBuilder) -> ServerBuilder,
        still_more: impl FnOnce(FrontBuilder) -> FrontBuilder,
    ) -> Self {
        let env = Env::system();
        let server = Server::builder(Store::memory(), Catalog::builtin(), env.clone());
        let server = more(server).build();
        let authority = Arc::new(Authority::open(None, &env).unwrap());
        let front = still_more(Front::builder(server.clone())).build();
        let address = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
        let config = ServeConfig { address, ..ServeConfig::default() };
        let serving = front.serve(authority.clone(), config).await.unwrap();
        let world = Self { server, serving, front, authority };
        let namespace = json!({"metadata": {"name": "default"}});
        let (code, _) = world.admin().send(Method::POST, "/api/v1/namespaces", &namespace).await;
        assert_eq!(code, 201);
        world
    }

    /// A client that may do everything.
    pub(crate) fn admin(&self) -> Client {
        self.user("admin", &["system:masters"])
    }

    pub(crate) fn user(&self, name: &str, groups: &[&str]) -> Client {
        let groups: Vec<String> = groups.iter().map(|group| (*group).to_owned()).collect();
        self.client(Some(self.authority.client(name, &groups).unwrap()))
    }

    pub(crate) fn nobody(&self) -> Client {
        self.client(None)
    }

    /// A client with a certificate of this server's authority that has ended.
    pub(crate) fn expired(&self, name: &str, group: &str) -> Client {
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.distinguished_name.push(rcgen::DnType::OrganizationName, group);
        let key = rcgen::KeyPair::generate().unwrap();
        let request = params.serialize_request(&key).unwrap().pem().unwrap();
        let usages = ["digital signature", "client auth"].map(str::to_owned);
        let end = "2021-01-01T00:00:00Z".parse().unwrap();
        let certificate_pem = self.authority.sign_request(&request, &usages, end).unwrap();
        self.client(Some(ClientIdentity { certificate_pem, key_pem: key.serialize_pem() }))
    }

    /// A client of this server with a certificate of another's authority.
    pub(crate) fn stranger(&self, other: &Self) -> Client {
        let groups = ["system:masters".to_owned()];
        self.client(Some(other.authority.client("admin", &groups).unwrap()))
    }

    fn client(&self, identity: Option<ClientIdentity>) -> Client {
        let address = self.serving.address().unwrap();
        Client { address, tls: tls(self.serving.ca(), identity), headers: Vec::new() }
    }
}

fn tls(ca: &str, identity: Option<ClientIdentity>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.as_bytes()).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let chain = CertificateDer::from_pem_slice(identity.certificate_pem.as_bytes());
            let key = PrivateKeyDer::from_pem_slice(identity.key_pem.as_bytes()).unwrap();
            builder.with_client_auth_cert(vec![chain.unwrap()], key).unwrap()
        }
    }
}

/// A client that opens a connection for each request.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) address: SocketAddr,
    tls: ClientConfig,
    headers: Vec<(String, String)>,
}

impl Client {
    /// The same client, sending one header more, in place of one of the same name.
    pub(crate) fn with(&self, name: &str, value: &str) -> Self {
        let mut client = self.clone();
        client.headers.retain(|(known, _)| known != name || name.starts_with("impersonate"));
        client.headers.push((name.to_owned(), value.to_owned()));
        client
    }

    pub(crate) async fn connect(&self, protocol: &[u8]) -> TlsStream<TcpStream> {
        self.try_connect(protocol).await.unwrap()
    }

    pub(crate) async fn try_connect(
        &self,
        protocol: &[u8],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let mut tls = self.tls.clone();
        tls.alpn_protocols = vec![protocol.to_vec()];
        let stream = TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(tls)).connect(name, stream).await
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> http::request::Builder {
        let mut request = Request::builder().method(method).uri(path).header("host", "localhost");
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        request
    }

    /// Sends a request over HTTP/1.1 and gives the answer with its body still to come.
    pub(crate) async fn open(
        &self,
        method: Method,
        path: &str,
        body: impl Into<Bytes>,
    ) -> Response<Incoming> {
        let request = self.request(method, path).body(Full::new(body.into())).unwrap();
        let stream = TokioIo::new(self.connect(b"http/1.1").await);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
        tokio::spawn(connection.with_upgrades());
        tokio::time::timeout(PATIENCE, sender.send_request(request)).await.unwrap().unwrap()
    }

    /// As [`Client::open`], over HTTP/2.
    pub(crate) async fn open2(&self, method: Method, path: &str) -> Response<Incoming> {
        let uri = format!("https://localhost{path}");
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(Bytes::new())).unwrap();
        let stream = TokioIo::new(self.connect(b"h2").await);
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
        tokio::spawn(connection);
        tokio::time::timeout(PATIENCE, sender.send_request(request)).await.unwrap().unwrap()
    }

    /// The answer to a request with this body, as code and text.
    pub(crate) async fn text(
        &self,
        method: Method,
        path: &str,
        body: impl Into<Bytes>,
    ) -> (u16, String) {
        let response = self.open(method, path, body).await;
        let code = response.status().as_u16();
        let bytes = tokio::time::timeout(PATIENCE, response.into_body().collect()).await.unwrap();
        (code, String::from_utf8(bytes.unwrap().to_bytes().to_vec()).unwrap())
    }

    /// Sends an object, gives an object.
    pub(crate) async fn send(&self, method: Method, path: &str, body: &Value) -> (u16, Value) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let (code, text) = self.text(method, path, body).await;
        (code, serde_json::from_str(&text).unwrap_or_else(|_| text.into()))
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        self.send(Method::GET, path, &Value::Null).await
    }

    /// The lines of an answer that goes on.
    pub(crate) async fn lines(&self, path: &str) -> Lines {
        let response = self.open(Method::GET, path, "").await;
        assert_eq!(response.status(), 200);
        Lines { body: BodyDataStream::new(response.into_body()), rest: Vec::new() }
    }
}

/// The lines of a body.
pub(crate) struct Lines {
    body: BodyDataStream<Incoming>,
    rest: Vec<u8>,
}

impl Lines {
    /// The next one as JSON; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let more = tokio::time::timeout(PATIENCE, self.body.next()).await;
            self.rest.extend_from_slice(&more.expect("nothing came")?.unwrap());
        }
    }
}

/// A ConfigMap of one entry.
pub(crate) fn config_map(name: &str, value: &str) -> Value {
    json!({"metadata": {"name": name}, "data": {"key": value}})
}

pub(crate) const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
