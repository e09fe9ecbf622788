use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use pinnace_api::Result;
use pinnace_client::{Client, Informers, Recorder};
use pinnace_env::Env;

/// What every controller is made from.
#[derive(Clone, Debug)]
pub struct Context {
    /// Caches, shared by all.
    pub informers: Informers,
    /// Where Events go.
    pub recorder: Recorder,
    /// Time and chance.
    pub env: Env,
    /// What signs certificates and tokens.
    pub credentials: Credentials,
    /// Where the directories of local volumes are made; `None` where nodes are simulated, and such
    /// volumes are objects alone.
    pub volume_directory: Option<PathBuf>,
    /// Asks the servers of other groups; without it nobody looks after them.
    pub servers: Option<Arc<dyn ExtensionServers>>,
}

impl Context {
    /// The client to write through.
    pub fn client(&self) -> &Client {
        self.informers.client()
    }
}

/// What signs in the cluster's name. Without a part of it, the controllers that need it do not
/// run.
#[derive(Clone, Default)]
pub struct Credentials {
    /// Signs certificates.
    pub authority: Option<Arc<dyn CertificateAuthority>>,
    /// Signs tokens that are kept in secrets.
    pub tokens: Option<Arc<dyn SecretTokens>>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials")
    }
}

/// The authority of the cluster's certificates.
pub trait CertificateAuthority: Send + Sync + 'static {
    /// Its own certificate, in PEM.
    fn certificate(&self) -> &str;

    /// What a request in PEM asks for.
    ///
    /// # Errors
    /// Why it is no request, in words for people.
    fn read(&self, request: &str) -> Result<CertificateRequest, String>;

    /// A certificate in PEM for the key, the subject and the names of a request in PEM, with these
    /// usages (as `spec.usages` names them), good until then.
    ///
    /// # Errors
    /// Why it is not signed, in words for people.
    fn sign(&self, request: &str, usages: &[String], until: Timestamp) -> Result<String, String>;
}

/// What a certificate is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateRequest {
    /// The subject's common name.
    pub common_name: String,
    /// The subject's organizations.
    pub organizations: Vec<String>,
    /// DNS names.
    pub dns_names: Vec<String>,
    /// IP addresses.
    pub addresses: Vec<String>,
    /// Mail addresses.
    pub emails: Vec<String>,
    /// URIs.
    pub uris: Vec<String>,
}

/// Asks the servers of other groups what they serve.
#[async_trait]
pub trait ExtensionServers: fmt::Debug + Send + Sync + 'static {
    /// Whether a server serves the version of a group that it is said to serve.
    ///
    /// # Errors
    /// Why that cannot be told, or that it does not, in upstream's words.
    async fn check(&self, service: &APIService) -> Result<(), String>;

    /// Whether it is known what a server serves, by the name of its `APIService`.
    fn knows(&self, name: &str) -> bool;

    /// Forgets what a server has said: it serves that no longer.
    fn forget(&self, name: &str);
}

/// Signs tokens of service accounts that do not end and are kept in secrets.
pub trait SecretTokens: Send + Sync + 'static {
    /// The token of an account for a secret.
    ///
    /// # Errors
    /// `InternalError` when it cannot be signed.
    fn token(&self, account: &ServiceAccount, secret: &Secret) -> Result<String>;
}
