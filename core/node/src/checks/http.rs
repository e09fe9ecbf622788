use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT, CONNECTION, HOST, LOCATION, USER_AGENT as USER_AGENT_HEADER};
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::{Container, HTTPGetAction};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    ClientConfig, DigitallySignedStruct, Error as TlsError, SignatureScheme,
};
use tokio_util::task::AbortOnDropHandle;

use super::{MAX_ANSWER_BYTES, Outcome, authority, words};

/// How a probe calls itself.
pub(crate) const USER_AGENT: &str = "kube-probe/1.36";
/// How often a redirection is followed, as upstream.
const MAX_REDIRECTIONS: usize = 10;

/// An HTTP request of a probe or hook.
#[derive(Clone, Debug)]
pub(crate) struct Get {
    https: bool,
    host: String,
    port: u16,
    /// With its query.
    path: String,
    headers: HeaderMap,
}

/// What was answered.
struct Answer {
    status: StatusCode,
    location: Option<String>,
    body: String,
}

impl Get {
    /// The request that an action describes, to the pod unless it names another host.
    ///
    /// # Errors
    /// What of it makes no sense.
    pub(crate) fn of(
        action: &HTTPGetAction,
        container: &Container,
        pod_ip: &str,
    ) -> Result<Self, String> {
        let mut headers = HeaderMap::new();
        for header in action.http_headers.iter().flatten() {
            let name: HeaderName = header.name.parse().map_err(|_| bad_header(&header.name))?;
            let value: HeaderValue = header.value.parse().map_err(|_| bad_header(&header.name))?;
            headers.append(name, value);
        }
        let own_host = action.host.as_deref().filter(|host| !host.is_empty());
        let path = action.path.as_deref().unwrap_or_default();
        Ok(Self {
            https: action.scheme.as_deref() == Some("HTTPS"),
            host: own_host.unwrap_or(pod_ip).to_owned(),
            port: super::port(&action.port, container)?,
            path: if path.starts_with('/') { path.to_owned() } else { format!("/{path}") },
            headers,
        })
    }

    pub(crate) fn url(&self) -> String {
        let scheme = if self.https { "https" } else { "http" };
        format!("{scheme}://{}{}", authority(&self.host, self.port), self.path)
    }

    /// Whether the answer is good: anything from 200 to 399. Redirections within the host are
    /// followed; one that leads away ends the check, well enough but with a warning.
    pub(crate) async fn check(&self) -> Outcome {
        let mut target = self.clone();
        for _ in 0..=MAX_REDIRECTIONS {
            let answer = match target.send().await {
                Ok(answer) => answer,
                Err(why) => return Outcome::Failure(format!("Get {:?}: {why}", target.url())),
            };
            let redirects = matches!(answer.status.as_u16(), 301 | 302 | 303 | 307 | 308);
            let Some(location) = answer.location.filter(|_| redirects) else {
                return match answer.status.as_u16() {
                    200..400 => Outcome::Success,
                    code => Outcome::Failure(format!("HTTP probe failed with statuscode: {code}")),
                };
            };
            match target.redirected(&location) {
                Some(next) => target = next,
                None => {
                    return Outcome::Warning(format!(
                        "Probe terminated redirects, Response body: {}",
                        answer.body
                    ));
                }
            }
        }
        let why = format!("stopped after {MAX_REDIRECTIONS} redirects");
        Outcome::Failure(format!("Get {:?}: {why}", target.url()))
    }

    /// Sends it and lets any answer count.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) async fn call(&self) -> Result<(), String> {
        self.send().await.map(drop).map_err(|why| format!("Get {:?}: {why}", self.url()))
    }

    /// Where a redirection leads; `None` when that is another host.
    fn redirected(&self, location: &str) -> Option<Self> {
        let uri: Uri = location.parse().ok()?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let path = if path.starts_with('/') {
            path.to_owned()
        } else {
            let directory = self.path.split('?').next()?.rsplit_once('/')?.0;
            format!("{directory}/{path}")
        };
        let mut next = Self { path, ..self.clone() };
        if let Some(host) = uri.host() {
            if host.trim_matches(['[', ']']) != self.host {
                return None;
            }
            next.https = uri.scheme_str().map_or(self.https, |scheme| scheme == "https");
            next.port = uri.port_u16().unwrap_or(if next.https { 443 } else { 80 });
        }
        Some(next)
    }

    async fn send(&self) -> Result<Answer, String> {
        let address = authority(&self.host, self.port);
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await;
        let stream =
            stream.map_err(|error| format!("dial tcp {address}: connect: {}", words(&error)))?;
        if !self.https {
            return self.send_over(stream).await;
        }
        let name = ServerName::try_from(self.host.clone()).map_err(|error| error.to_string())?;
        let connector = TlsConnector::from(trusting()?);
        let stream = connector.connect(name, stream).await.map_err(|error| error.to_string())?;
        self.send_over(stream).await
    }

    async fn send_over(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) -> Result<Answer, String> {
        let failed = |error: hyper::Error| crate::pod::set_up::chain(&error);
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
        let _connection = AbortOnDropHandle::new(tokio::spawn(connection));
        let mut request = Request::get(self.path.as_str())
            .body(Empty::<Bytes>::new())
            .map_err(|error| error.to_string())?;
        *request.headers_mut() = self.all_headers()?;
        let answer = sender.send_request(request).await.map_err(failed)?;
        let location = answer.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        let (status, location) = (answer.status(), location.map(str::to_owned));
        Ok(Answer { status, location, body: beginning(answer.into_body()).await? })
    }

    /// Its own headers, and what every probe says unless it says otherwise.
    fn all_headers(&self) -> Result<HeaderMap, String> {
        let mut headers = self.headers.clone();
        let address = authority(&self.host, self.port);
        let host = HeaderValue::from_str(&address).map_err(|error| error.to_string())?;
        headers.entry(HOST).or_insert(host);
        headers.entry(USER_AGENT_HEADER).or_insert(HeaderValue::from_static(USER_AGENT));
        headers.entry(ACCEPT).or_insert(HeaderValue::from_static("*/*"));
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        // An empty value asks for none at all.
        for name in [USER_AGENT_HEADER, ACCEPT] {
            if headers.get(&name).is_some_and(HeaderValue::is_empty) {
                headers.remove(&name);
            }
        }
        Ok(headers)
    }
}

fn bad_header(name: &str) -> String {
    format!("invalid header {name:?}")
}

async fn beginning(mut body: Incoming) -> Result<String, String> {
    let mut kept = Vec::new();
    while kept.len() < MAX_ANSWER_BYTES {
        let Some(frame) = body.frame().await else { break };
        let frame = frame.map_err(|error| crate::pod::set_up::chain(&error))?;
        if let Some(data) = frame.data_ref() {
            let room = MAX_ANSWER_BYTES - kept.len();
            kept.extend_from_slice(&data[..data.len().min(room)]);
        }
    }
    Ok(String::from_utf8_lossy(&kept).into_owned())
}

/// TLS that takes any certificate: a pod's own is nobody's to vouch for, and upstream asks for
/// none either.
fn trusting() -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
        .with_no_client_auth();
    Ok(Arc::new(config))
}

#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// Serves the answers one after the other and gives the requests.
    async fn serve(answers: Vec<String>) -> (u16, tokio::task::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let task = tokio::spawn(async move {
            let mut requests = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = String::new();
                while !request.contains("\r\n\r\n") {
                    request.push(stream.read_u8().await.unwrap().into());
                }
                requests.push(request);
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
            requests
        });
        (port, task)
    }

    fn get(port: u16, path: &str) -> Get {
        let action = json!({"port": port, "path": path, "httpHeaders": [
            {"name": "X-Own", "value": "1"}, {"name": "Host", "value": "web.example"}]});
        let action: HTTPGetAction = serde_json::from_value(action).unwrap();
        Get::of(&action, &Container::default(), "127.0.0.1").unwrap()
    }

    fn answer(status: &str, more: &str) -> String {
        format!("HTTP/1.1 {status}\r\n{more}content-length: 2\r\n\r\nok")
    }

    async fn check(answers: &[String], expected: Outcome) {
        let (port, served) = serve(answers.to_vec()).await;
        assert_eq!(get(port, "/health?x=1").check().await, expected);
        assert_eq!(served.await.unwrap().len(), answers.len());
    }

    #[tokio::test]
    async fn answers_from_200_to_399_are_good_and_redirections_stay_with_the_host() {
        check(&[answer("204 No Content", "")], Outcome::Success).await;
        check(&[answer("304 Not Modified", "")], Outcome::Success).await;
        let failed = Outcome::Failure("HTTP probe failed with statuscode: 500".into());
        check(&[answer("500 Oh", "")], failed).await;
        let moved = answer("302 Found", "location: /there\r\n");
        check(&[moved, answer("200 OK", "")], Outcome::Success).await;
        let away = answer("302 Found", "location: http://other.example/\r\n");
        let warned = "Probe terminated redirects, Response body: ok";
        check(&[away], Outcome::Warning(warned.into())).await;
        let round = vec![answer("302 Found", "location: /round\r\n"); 11];
        let (port, _served) = serve(round).await;
        let Outcome::Failure(why) = get(port, "/").check().await else { panic!("it fails") };
        assert!(why.ends_with("stopped after 10 redirects"), "{why}");
    }

    #[tokio::test]
    async fn a_request_says_what_it_was_told_to_and_who_it_is() {
        let (port, served) = serve(vec![answer("200 OK", "")]).await;
        get(port, "health?x=1").call().await.unwrap();
        let request = served.await.unwrap().remove(0).to_lowercase();
        assert!(request.starts_with("get /health?x=1 http/1.1\r\n"), "{request}");
        for line in ["host: web.example", "x-own: 1", "user-agent: kube-probe/", "accept: */*"] {
            assert!(request.contains(line), "{line} is not in {request}");
        }
        let refused = get(port, "/").check().await;
        let expected = format!(
            "Get \"http://127.0.0.1:{port}/\": dial tcp 127.0.0.1:{port}: connect: connection refused"
        );
        assert_eq!(refused, Outcome::Failure(expected));
    }
}
