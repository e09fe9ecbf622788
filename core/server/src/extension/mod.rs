//! Calls to what extends the API from outside the process: where it answers is worked out here, from
//! what is stored; whoever has sockets does the calling, behind [`ExtensionClient`].

mod answer;
mod config;
mod resolve;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::Value;

pub(crate) use config::ExtensionConfig;
use resolve::resolve_service;

use crate::Server;

/// Most bytes that an extension may answer with.
const MAX_ANSWER: usize = 3 << 20;

/// Where an extension answers, and how it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtensionAddress {
    /// Host and port, as the header `Host` and messages have them.
    pub authority: String,
    /// The name that its certificate has to be for: a DNS name or an IP address.
    pub server_name: String,
    /// Where to connect, in the order in which to try; where there is none, the host of
    /// `authority` is looked up.
    pub addresses: Vec<SocketAddr>,
    /// Certificates in PEM, one of which has to have signed its own; without them, what the machine
    /// trusts.
    pub ca_bundle: Option<Arc<[u8]>>,
}

/// A JSON document for an extension.
#[derive(Clone, Debug)]
pub struct ExtensionRequest {
    /// Who is asked.
    pub address: ExtensionAddress,
    /// Path and query.
    pub path: String,
    /// The document.
    pub body: Bytes,
    /// Most bytes that the answer may have. A longer one is an error.
    pub max_answer: usize,
}

/// What an extension has answered.
#[derive(Clone, Debug)]
pub struct ExtensionAnswer {
    /// The status code of HTTP.
    pub status: u16,
    /// The body.
    pub body: Bytes,
}

/// Reaches extensions over HTTPS. It follows no redirects, and is given up by dropping the call.
#[async_trait]
pub trait ExtensionClient: Send + Sync + 'static {
    /// Posts a document.
    ///
    /// # Errors
    /// Why there is no answer, in words that fit behind `Post "URL": `.
    async fn post(&self, request: ExtensionRequest) -> Result<ExtensionAnswer, String>;
}

impl Server {
    /// The ready endpoints behind a port of a service, one that chance has chosen first.
    ///
    /// # Errors
    /// `NotFound` and `ServiceUnavailable`, in upstream's words.
    pub fn service_endpoints(
        &self,
        namespace: &str,
        name: &str,
        port: u16,
    ) -> pinnace_api::Result<Vec<SocketAddr>> {
        let mut found = resolve_service(&self.snapshot(), namespace, name, port)?;
        let first = self.env().random().below(found.len().max(1) as u64);
        found.rotate_left(usize::try_from(first).unwrap_or(0));
        Ok(found)
    }

    /// Asks an extension, which has so long to answer.
    ///
    /// # Errors
    /// Why there is no answer, in upstream's words.
    pub(crate) async fn call_extension(
        &self,
        config: &ExtensionConfig,
        document: &Value,
        timeout: Duration,
        says_timeout: bool,
    ) -> Result<Value, String> {
        let body = serde_json::to_vec(document).map_err(|error| error.to_string())?;
        let mut path = config.path().to_owned();
        if says_timeout {
            path.push_str(&format!("?timeout={}s", timeout.as_secs()));
        }
        let url = format!("https://{}{path}", config.authority());
        let failed = |why: &str| format!("Post {url:?}: {why}");
        let client =
            self.extensions().ok_or_else(|| failed("this server reaches no extensions"))?;
        let address = config.resolve(self).map_err(|why| failed(&why))?;
        // Whoever is sent much may have much to say about it.
        let max_answer = MAX_ANSWER.max(body.len().saturating_mul(2));
        let request = ExtensionRequest { address, path, body: body.into(), max_answer };
        let answer = tokio::time::timeout(timeout, client.post(request))
            .await
            .map_err(|_| failed("context deadline exceeded"))?
            .map_err(|why| failed(&why))?;
        answer.document()
    }
}
