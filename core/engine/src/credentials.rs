//! What controllers sign with: the engine's authority and the server's key.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use pinnace_controllers::{CertificateAuthority, Credentials, SecretTokens};
use pinnace_http::Authority;
use pinnace_server::Server;

pub(crate) fn credentials(server: &Server, authority: Arc<Authority>) -> Credentials {
    Credentials {
        authority: Some(Arc::new(Certificates(authority))),
        tokens: Some(Arc::new(Tokens(server.clone()))),
    }
}

struct Certificates(Arc<Authority>);

impl CertificateAuthority for Certificates {
    fn certificate(&self) -> &str {
        self.0.certificate_pem()
    }
}

struct Tokens(Server);

impl SecretTokens for Tokens {
    fn token(&self, account: &ServiceAccount, secret: &Secret) -> pinnace_api::Result<String> {
        self.0.secret_token(account, secret)
    }
}
