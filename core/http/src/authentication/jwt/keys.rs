use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::jwk::Jwk;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_rustls::rustls::ClientConfig;

use super::config::JwtIssuer;
use crate::extensions::Trust;
use crate::{Error, Result};

const DISCOVERY: &str = "/.well-known/openid-configuration";
/// How long an issuer may take to answer, and how much.
const TIMEOUT: Duration = Duration::from_secs(10);
const MAX_DOCUMENT: usize = 1024 * 1024;
/// Between two looks for a key that was not there: whoever makes up keys shall not make us ask for
/// each.
const PAUSE: Duration = Duration::from_secs(5);

/// The public keys of an issuer, fetched when a token names one that is not known.
pub(super) struct RemoteKeys {
    client: reqwest::Client,
    issuer: String,
    discovery: String,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    keys: Vec<Jwk>,
    asked: Option<Instant>,
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

#[derive(Deserialize)]
struct Keys {
    keys: Vec<serde_json::Value>,
}

impl RemoteKeys {
    pub(super) fn new(issuer: &JwtIssuer) -> Result<Self> {
        let mut client = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .https_only(true);
        if !issuer.certificate_authority.is_empty() {
            let pem = Arc::from(issuer.certificate_authority.as_bytes());
            let trusted = Trust::default().config(Some(&pem)).map_err(Error::config)?;
            client = client.tls_backend_preconfigured(ClientConfig::clone(&trusted));
        }
        let discovery = if issuer.discovery_url.is_empty() {
            format!("{}{DISCOVERY}", issuer.url.trim_end_matches('/'))
        } else {
            issuer.discovery_url.clone()
        };
        Ok(Self {
            client: client.build().map_err(Error::config)?,
            issuer: issuer.url.clone(),
            discovery,
            known: Mutex::default(),
        })
    }

    /// The keys by which a token may be signed that names this one, or none.
    ///
    /// # Errors
    /// Why the issuer cannot be asked.
    pub(super) async fn find(&self, id: Option<&str>) -> Result<Vec<Jwk>, String> {
        // Held while asking: who comes in the meantime waits for the same answer.
        let mut known = self.known.lock().await;
        let matching = |keys: &[Jwk]| -> Vec<Jwk> {
            let same = |key: &&Jwk| id.is_none_or(|id| key.common.key_id.as_deref() == Some(id));
            keys.iter().filter(same).cloned().collect()
        };
        let found = matching(&known.keys);
        let lately = known.asked.is_some_and(|asked| asked.elapsed() < PAUSE);
        if !found.is_empty() || lately {
            return Ok(found);
        }
        known.asked = Some(Instant::now());
        known.keys = self.fetch().await?;
        Ok(matching(&known.keys))
    }

    async fn fetch(&self) -> Result<Vec<Jwk>, String> {
        let discovery: Discovery = self.document(&self.discovery).await?;
        if discovery.issuer != self.issuer {
            return Err(format!(
                "oidc: issuer did not match the issuer returned by provider, expected {:?} got {:?}",
                self.issuer, discovery.issuer
            ));
        }
        let keys: Keys = self.document(&discovery.jwks_uri).await?;
        let keys = keys.keys.into_iter().filter_map(|key| serde_json::from_value(key).ok());
        // Those of kinds that nobody here knows are left out.
        Ok(keys.collect())
    }

    async fn document<T: DeserializeOwned>(&self, url: &str) -> Result<T, String> {
        let failed = |error: &dyn std::fmt::Display| format!("{url}: {error}");
        let sent = self.client.get(url).send().await;
        let mut response = sent.map_err(|error| failed(&error))?;
        if !response.status().is_success() {
            return Err(failed(&response.status()));
        }
        let mut body = Vec::new();
        while let Some(more) = response.chunk().await.map_err(|error| failed(&error))? {
            if body.len() + more.len() > MAX_DOCUMENT {
                return Err(failed(&"the document is too large"));
            }
            body.extend_from_slice(&more);
        }
        serde_json::from_slice(&body).map_err(|error| failed(&error))
    }
}
