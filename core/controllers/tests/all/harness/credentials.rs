//! What signs in the cluster of the tests.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use pinnace_controllers::{CertificateAuthority, Credentials, SecretTokens};
use pinnace_server::Server;

/// The certificate of the authority.
pub(crate) const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\n";

/// An authority that shows its certificate, and the tokens of a server.
pub(super) fn credentials(server: &Server) -> Credentials {
    Credentials {
        authority: Some(Arc::new(Authority)),
        tokens: Some(Arc::new(Tokens(server.clone()))),
    }
}

struct Authority;

impl CertificateAuthority for Authority {
    fn certificate(&self) -> &str {
        CERTIFICATE
    }
}

struct Tokens(Server);

impl SecretTokens for Tokens {
    fn token(&self, account: &ServiceAccount, secret: &Secret) -> pinnace_api::Result<String> {
        self.0.secret_token(account, secret)
    }
}
