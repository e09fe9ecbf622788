//! Calls to what extends the API from outside, over HTTPS/1.1.
//!
//! Connections are kept for the next call to the same place, as long as they are young and few. HTTP/2
//! is not offered, as upstream does not: one connection would have one backend do all the work.

mod dial;
mod pool;
mod trust;

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use http::{Method, Request, Response, Uri};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use pinnace_server::{ExtensionAddress, ExtensionAnswer, ExtensionClient, ExtensionRequest};

pub(crate) use dial::{Stream, dial};
pub(crate) use pool::{Open, Pool, Returns};
pub(crate) use trust::Trust;

/// Reaches webhooks over HTTPS.
#[derive(Default)]
pub struct HttpsExtensions {
    pool: Pool<Full<Bytes>>,
    trust: Trust,
}

impl HttpsExtensions {
    /// A client without connections.
    pub fn new() -> Self {
        Self::default()
    }

    async fn connect(&self, address: &ExtensionAddress) -> Result<Open<Full<Bytes>>, String> {
        let config = self.trust.config(address.ca_bundle.as_ref())?;
        let (stream, peer) = dial(address, config).await?;
        let (sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| words(&error))?;
        // It ends with its sender, which is in the pool or with the call.
        tokio::spawn(connection);
        Ok(Open { sender, peer })
    }

    /// The answer to a request, with the connection that it comes over.
    async fn send(
        &self,
        address: &ExtensionAddress,
        request: Request<Full<Bytes>>,
    ) -> Result<(Response<Incoming>, Open<Full<Bytes>>), String> {
        let mut request = request;
        if let Some(mut kept) = self.pool.take(address) {
            let again = request.clone();
            match kept.sender.try_send_request(request).await {
                Ok(response) => return Ok((response, kept)),
                Err(mut failed) => {
                    let sent = failed.take_message();
                    let error = failed.into_error();
                    // The other side may close what is idle at any moment. Nothing was answered, so
                    // nothing was begun.
                    if sent.is_none() && !error.is_incomplete_message() && !error.is_canceled() {
                        return Err(words(&error));
                    }
                    request = sent.unwrap_or(again);
                }
            }
        }
        let mut open = self.connect(address).await?;
        match open.sender.send_request(request).await {
            Ok(response) => Ok((response, open)),
            Err(error) => Err(words(&error)),
        }
    }
}

#[async_trait]
impl ExtensionClient for HttpsExtensions {
    async fn post(&self, request: ExtensionRequest) -> Result<ExtensionAnswer, String> {
        let ExtensionRequest { address, path, body, max_answer } = request;
        let sent = post(&address, &path, body)?;
        let (response, open) = self.send(&address, sent).await?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), max_answer).collect().await;
        let body = body.map_err(|error| {
            if error.is::<LengthLimitError>() {
                format!("the answer is longer than {max_answer} bytes")
            } else {
                error.to_string()
            }
        })?;
        self.pool.keep(&address, open);
        Ok(ExtensionAnswer { status, body: body.to_bytes() })
    }
}

fn post(
    address: &ExtensionAddress,
    path: &str,
    body: Bytes,
) -> Result<Request<Full<Bytes>>, String> {
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = path.parse::<Uri>().map_err(|error| error.to_string())?;
    let host = HeaderValue::from_str(&address.authority).map_err(|error| error.to_string())?;
    let headers = request.headers_mut();
    headers.insert(HOST, host);
    let json = HeaderValue::from_static("application/json");
    headers.insert(CONTENT_TYPE, json.clone());
    headers.insert(ACCEPT, json);
    headers.insert(USER_AGENT, HeaderValue::from_static("kube-apiserver-admission"));
    Ok(request)
}

/// What went wrong with a connection, as Go words it.
pub(crate) fn words(error: &hyper::Error) -> String {
    if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
        return "EOF".to_owned();
    }
    if error.is_parse() {
        return format!("net/http: malformed HTTP response: {error}");
    }
    error.to_string()
}

impl fmt::Debug for HttpsExtensions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HttpsExtensions")
    }
}
