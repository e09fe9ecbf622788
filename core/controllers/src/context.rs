use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
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
}

/// Signs tokens of service accounts that do not end and are kept in secrets.
pub trait SecretTokens: Send + Sync + 'static {
    /// The token of an account for a secret.
    ///
    /// # Errors
    /// `InternalError` when it cannot be signed.
    fn token(&self, account: &ServiceAccount, secret: &Secret) -> Result<String>;
}
