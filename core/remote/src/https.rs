use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use pinnace_api::{ApiError, Reason};
use pinnace_client::wire::{Answer, Request, Sender};
use reqwest::header::{ACCEPT, CONTENT_TYPE};

use crate::error::words;
use crate::{Error, Kubeconfig, Result};

/// How long it may take to be connected.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a silent connection is asked whether the other side is there, and how long that may take.
/// A watch on a machine that has gone ends by it.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(15);
const USER_AGENT: &str = concat!("pinnace/", env!("CARGO_PKG_VERSION"));

/// Sends requests to one server: over one connection where that speaks HTTP/2.
pub(crate) struct Https {
    client: reqwest::Client,
    server: String,
    token: Option<String>,
}

impl Https {
    pub(crate) fn new(config: &Kubeconfig) -> Result<Self> {
        let wrong = |error: reqwest::Error| Error::kubeconfig(words(&error));
        let mut client = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(PING_INTERVAL)
            .http2_keep_alive_timeout(PING_TIMEOUT)
            .http2_adaptive_window(true)
            // Where a cluster is is said by the kubeconfig alone.
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy();
        if let Some(pem) = &config.authority {
            let roots = reqwest::Certificate::from_pem_bundle(pem.as_bytes()).map_err(wrong)?;
            client = client.tls_certs_only(roots);
        }
        if config.insecure {
            client = client.tls_danger_accept_invalid_certs(true);
        }
        if let Some(identity) = &config.identity {
            let pem = format!("{}\n{}", identity.certificate, identity.key);
            client = client.identity(reqwest::Identity::from_pem(pem.as_bytes()).map_err(wrong)?);
        }
        let client = client.build().map_err(wrong)?;
        Ok(Self { client, server: config.server.clone(), token: config.token.clone() })
    }

    /// Sends a request and gives the answer, whatever it is.
    ///
    /// # Errors
    /// `ServiceUnavailable` when there is none.
    pub(crate) async fn ask(
        &self,
        method: &str,
        path: &str,
        body: Option<(&str, Bytes)>,
    ) -> pinnace_api::Result<Answer> {
        let method = method.parse::<reqwest::Method>().map_err(ApiError::internal)?;
        let mut request = self.client.request(method, format!("{}{path}", self.server));
        request = request.header(ACCEPT, "application/json");
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some((content_type, body)) = body {
            request = request.header(CONTENT_TYPE, content_type).body(body);
        }
        let response = request.send().await.map_err(|error| {
            ApiError::new(Reason::ServiceUnavailable, words(&error.without_url()))
        })?;
        Ok(Answer { status: response.status().as_u16(), body: chunks(response) })
    }
}

fn chunks(response: reqwest::Response) -> BoxStream<'static, Result<Bytes, String>> {
    stream::try_unfold(response, |mut response| async move {
        let chunk = response.chunk().await.map_err(|error| words(&error.without_url()))?;
        Ok(chunk.map(|chunk| (chunk, response)))
    })
    .boxed()
}

#[async_trait]
impl Sender for Https {
    async fn send(&self, request: Request) -> pinnace_api::Result<Answer> {
        let Request { method, path, content_type, body, .. } = request;
        let body = (!content_type.is_empty()).then_some((content_type, body));
        self.ask(method, &path, body).await
    }
}
