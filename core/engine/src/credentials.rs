//! What controllers sign with: the engine's authority and the server's key.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use pinnace_controllers::{CertificateAuthority, CertificateRequest, Credentials, SecretTokens};
use pinnace_http::{Authority, RequestedCertificate};
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

    fn read(&self, request: &str) -> Result<CertificateRequest, String> {
        let read = RequestedCertificate::read(request).map_err(|error| error.to_string())?;
        let RequestedCertificate { common_name, organizations, dns_names, addresses, emails, uris } =
            read;
        Ok(CertificateRequest { common_name, organizations, dns_names, addresses, emails, uris })
    }

    fn sign(&self, request: &str, usages: &[String], until: Timestamp) -> Result<String, String> {
        self.0.sign_request(request, usages, until).map_err(|error| error.to_string())
    }
}

struct Tokens(Server);

impl SecretTokens for Tokens {
    fn token(&self, account: &ServiceAccount, secret: &Secret) -> pinnace_api::Result<String> {
        self.0.secret_token(account, secret)
    }
}
