//! What signs in the cluster of the tests.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use pinnace_controllers::{CertificateAuthority, CertificateRequest, Credentials, SecretTokens};
use pinnace_server::Server;

/// The certificate of the authority.
pub(crate) const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\n";

/// How a request begins; its common name and organization follow.
pub(crate) const REQUEST: &str = "-----BEGIN CERTIFICATE REQUEST-----\n";

/// An authority whose certificates say what they are for, and the tokens of a server.
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

    fn read(&self, request: &str) -> Result<CertificateRequest, String> {
        let text = request.strip_prefix(REQUEST).ok_or("no request")?;
        let mut parts = text.trim().split('/');
        let mut next = || parts.next().unwrap_or_default().to_owned();
        Ok(CertificateRequest {
            common_name: next(),
            organizations: vec![next()],
            ..CertificateRequest::default()
        })
    }

    fn sign(&self, request: &str, usages: &[String], until: Timestamp) -> Result<String, String> {
        let text = request.strip_prefix(REQUEST).ok_or("no request")?;
        Ok(format!("{CERTIFICATE}{} for {} until {until}", text.trim(), usages.join(", ")))
    }
}

struct Tokens(Server);

impl SecretTokens for Tokens {
    fn token(&self, account: &ServiceAccount, secret: &Secret) -> pinnace_api::Result<String> {
        self.0.secret_token(account, secret)
    }
}
