use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Certificate, Client, ClientBuilder, Identity, Url};

use super::{ExtenderConfig, ExtenderTls};

/// Longest answer of an extender, in bytes: that of one which gives 10,000 nodes back as a whole.
const MAX_ANSWER: usize = 256 << 20;

/// How an extender is asked.
#[async_trait]
pub trait ExtenderTransport: Send + Sync + 'static {
    /// Posts JSON for a verb; gives the JSON of the answer.
    ///
    /// # Errors
    /// Why there is none, in words for people.
    async fn post(&self, verb: &str, body: Vec<u8>) -> Result<Vec<u8>, String>;
}

/// Over HTTP or HTTPS.
pub(super) struct Http {
    client: Client,
    prefix: String,
}

impl Http {
    /// # Errors
    /// What is wrong with the URL or the certificates.
    pub(super) fn new(config: &ExtenderConfig) -> Result<Self, String> {
        let mut url = Url::parse(&config.url_prefix)
            .map_err(|error| format!("parse {:?}: {error}", config.url_prefix))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(format!("{}: unsupported protocol scheme {:?}", url, url.scheme()));
        }
        let none = ExtenderTls::default();
        let tls = config.tls_config.as_ref().unwrap_or(&none);
        let mut client = Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
        client = trust(client, tls, config.enable_https)?;
        if !tls.server_name.is_empty() {
            let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
            url.set_host(Some(&tls.server_name)).map_err(|error| error.to_string())?;
            client = client.dns_resolver(Arc::new(Always(host)));
        }
        let client = client.build().map_err(|error| words(&error))?;
        Ok(Self { client, prefix: url.as_str().trim_end_matches('/').to_owned() })
    }
}

/// Whom to believe, and who asks. As upstream, who has HTTPS enabled and names no authority believes
/// anybody.
fn trust(
    mut client: ClientBuilder,
    tls: &ExtenderTls,
    enable_https: bool,
) -> Result<ClientBuilder, String> {
    let authority = given(&tls.ca_data, &tls.ca_file)?;
    if tls.insecure || (enable_https && authority.is_none()) {
        client = client.tls_danger_accept_invalid_certs(true);
    }
    if let Some(pem) = authority {
        let roots = Certificate::from_pem_bundle(&pem).map_err(|error| words(&error))?;
        client = client.tls_certs_only(roots);
    }
    match (given(&tls.cert_data, &tls.cert_file)?, given(&tls.key_data, &tls.key_file)?) {
        (None, None) => {}
        (Some(mut pem), Some(key)) => {
            pem.push(b'\n');
            pem.extend(key);
            client = client.identity(Identity::from_pem(&pem).map_err(|error| words(&error))?);
        }
        _ => return Err("tlsConfig: a certificate and its key have to be given together".into()),
    }
    Ok(client)
}

fn given(data: &str, file: &Path) -> Result<Option<Vec<u8>>, String> {
    if !data.is_empty() {
        return STANDARD.decode(data).map(Some).map_err(|error| format!("tlsConfig: {error}"));
    }
    if file.as_os_str().is_empty() {
        return Ok(None);
    }
    std::fs::read(file).map(Some).map_err(|error| format!("{}: {error}", file.display()))
}

/// Whatever name is asked for is that of this host.
struct Always(String);

impl Resolve for Always {
    fn resolve(&self, _: Name) -> Resolving {
        let host = self.0.clone();
        Box::pin(async move {
            let found = tokio::net::lookup_host((host, 0)).await?;
            let found: Vec<SocketAddr> = found.collect();
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

#[async_trait]
impl ExtenderTransport for Http {
    async fn post(&self, verb: &str, body: Vec<u8>) -> Result<Vec<u8>, String> {
        let url = format!("{}/{verb}", self.prefix);
        let request = self.client.post(&url).header("Content-Type", "application/json").body(body);
        let mut response = request.send().await.map_err(|error| words(&error))?;
        let code = response.status().as_u16();
        if code != 200 {
            return Err(format!("failed {verb} with extender at URL {url}, code {code}"));
        }
        let mut answer = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| words(&error))? {
            if answer.len() + chunk.len() > MAX_ANSWER {
                return Err(format!("the answer of {url} is longer than {MAX_ANSWER} bytes"));
            }
            answer.extend_from_slice(&chunk);
        }
        Ok(answer)
    }
}

/// An error with what it comes from: the first says only what was tried.
fn words(error: &dyn std::error::Error) -> String {
    let mut all = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        all = format!("{all}: {error}");
        source = error.source();
    }
    all
}
