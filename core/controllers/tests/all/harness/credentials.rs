//! What signs in the cluster of the tests.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use pinnace_controllers::{CertificateAuthority, CertificateRequest, Credentials, SecretTokens};
use pinnace_server::Server;
use rcgen::{CertificateParams, DnType, KeyPair};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::pem::parse_x509_pem;
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::AttributeTypeAndValue;

/// The certificate of the authority.
pub(crate) const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\n";

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
        let (common_name, organization) = subject(request)?;
        let organizations = vec![organization];
        Ok(CertificateRequest { common_name, organizations, ..CertificateRequest::default() })
    }

    fn sign(&self, request: &str, usages: &[String], until: Timestamp) -> Result<String, String> {
        let (name, organization) = subject(request)?;
        let usages = usages.join(", ");
        Ok(format!("{CERTIFICATE}{name}/{organization} for {usages} until {until}"))
    }
}

/// A request for a certificate, in PEM.
pub(crate) fn request(name: &str, organization: &str) -> String {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.distinguished_name.push(DnType::OrganizationName, organization);
    params.serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap()
}

fn subject(request: &str) -> Result<(String, String), String> {
    let (_, block) = parse_x509_pem(request.as_bytes()).map_err(|error| error.to_string())?;
    let (_, request) =
        X509CertificationRequest::from_der(&block.contents).map_err(|error| error.to_string())?;
    let subject = &request.certification_request_info.subject;
    let text = |part: Option<&AttributeTypeAndValue<'_>>| {
        part.and_then(|part| part.as_str().ok()).unwrap_or_default().to_owned()
    };
    Ok((text(subject.iter_common_name().next()), text(subject.iter_organization().next())))
}

struct Tokens(Server);

impl SecretTokens for Tokens {
    fn token(&self, account: &ServiceAccount, secret: &Secret) -> pinnace_api::Result<String> {
        self.0.secret_token(account, secret)
    }
}
