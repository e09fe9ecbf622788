//! Signing what others ask for.

use jiff::Timestamp;
use rcgen::{
    CertificateParams, CertificateSigningRequestParams, ExtendedKeyUsagePurpose, IsCa,
    KeyUsagePurpose, SerialNumber,
};
use sha2::{Digest as _, Sha256};
use tokio_rustls::rustls::pki_types::CertificateSigningRequestDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer as _;

use super::{Authority, files, lasting_until, names};
use crate::{Error, Result};

/// What a certificate is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestedCertificate {
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

impl RequestedCertificate {
    /// Reads a request in PEM.
    ///
    /// # Errors
    /// [`Error::Certificate`] for what is no request.
    pub fn read(pem: &str) -> Result<Self> {
        let der = der(pem)?;
        let (_, request) = X509CertificationRequest::from_der(&der).map_err(Error::certificate)?;
        let subject = &request.certification_request_info.subject;
        let text = |part: &x509_parser::x509::AttributeTypeAndValue<'_>| {
            part.as_str().map(str::to_owned).unwrap_or_default()
        };
        let mut read = Self {
            common_name: subject.iter_common_name().next().map(text).unwrap_or_default(),
            organizations: subject.iter_organization().map(text).collect(),
            ..Self::default()
        };
        for extension in request.requested_extensions().into_iter().flatten() {
            let ParsedExtension::SubjectAlternativeName(found) = extension else { continue };
            for name in &found.general_names {
                match name {
                    GeneralName::DNSName(name) => read.dns_names.push((*name).to_owned()),
                    GeneralName::RFC822Name(name) => read.emails.push((*name).to_owned()),
                    GeneralName::URI(name) => read.uris.push((*name).to_owned()),
                    GeneralName::IPAddress(bytes) => read.addresses.extend(files::address(bytes)),
                    _ => {}
                }
            }
        }
        Ok(read)
    }
}

fn der(pem: &str) -> Result<CertificateSigningRequestDer<'static>> {
    CertificateSigningRequestDer::from_pem_slice(pem.as_bytes()).map_err(Error::certificate)
}

impl Authority {
    /// A certificate in PEM for the key, the subject and the names of a request in PEM, with these
    /// usages as `spec.usages` of a CertificateSigningRequest names them, good until then.
    ///
    /// # Errors
    /// [`Error::Certificate`] for what is no request, is not signed by its key, asks for what
    /// cannot be given, or names usages that nobody knows.
    pub fn sign_request(&self, pem: &str, usages: &[String], until: Timestamp) -> Result<String> {
        let der = der(pem)?;
        let request =
            CertificateSigningRequestParams::from_der(&der).map_err(Error::certificate)?;
        let (_, parsed) = X509CertificationRequest::from_der(&der).map_err(Error::certificate)?;
        let subject = parsed.certification_request_info.subject.as_raw();
        let mut params = lasting_until(until);
        params.subject_alt_names = request.params.subject_alt_names;
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.serial_number = Some(self.serial());
        add_usages(&mut params, usages)?;
        let issuer = &self.issuer;
        let signed = params.signed_by(&request.public_key, issuer).map_err(Error::certificate)?;
        names::with_subject(signed.der(), subject, issuer.key())
    }

    fn serial(&self) -> SerialNumber {
        /// Bytes of a serial number, of which 20 are allowed.
        const BYTES: usize = 16;
        let mut bytes = Sha256::digest(self.env.random().uid())[..BYTES].to_vec();
        // A positive number that begins with no zero.
        bytes[0] = bytes[0] & 0x7f | 0x40;
        SerialNumber::from(bytes)
    }
}

fn add_usages(params: &mut CertificateParams, usages: &[String]) -> Result<()> {
    use ExtendedKeyUsagePurpose as Purpose;
    for usage in usages {
        let (key, purpose) = match usage.as_str() {
            "signing" | "digital signature" => (Some(KeyUsagePurpose::DigitalSignature), None),
            "content commitment" => (Some(KeyUsagePurpose::ContentCommitment), None),
            "key encipherment" => (Some(KeyUsagePurpose::KeyEncipherment), None),
            "key agreement" => (Some(KeyUsagePurpose::KeyAgreement), None),
            "data encipherment" => (Some(KeyUsagePurpose::DataEncipherment), None),
            "cert sign" => (Some(KeyUsagePurpose::KeyCertSign), None),
            "crl sign" => (Some(KeyUsagePurpose::CrlSign), None),
            "encipher only" => (Some(KeyUsagePurpose::EncipherOnly), None),
            "decipher only" => (Some(KeyUsagePurpose::DecipherOnly), None),
            "any" => (None, Some(Purpose::Any)),
            "server auth" => (None, Some(Purpose::ServerAuth)),
            "client auth" => (None, Some(Purpose::ClientAuth)),
            "code signing" => (None, Some(Purpose::CodeSigning)),
            "email protection" | "s/mime" => (None, Some(Purpose::EmailProtection)),
            "timestamping" => (None, Some(Purpose::TimeStamping)),
            "ocsp signing" => (None, Some(Purpose::OcspSigning)),
            other => return Err(Error::certificate(format!("unrecognized usage {other:?}"))),
        };
        params.key_usages.extend(key);
        params.extended_key_usages.extend(purpose);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authentication::certificate_user;
    use pinnace_env::Env;
    use rcgen::{DnType, KeyPair};
    use tokio_rustls::rustls::pki_types::CertificateDer;

    fn user_of(pem: &str) -> (String, Vec<String>) {
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        let user = certificate_user(&der).unwrap();
        (user.name.to_string(), user.groups.to_vec())
    }

    #[test]
    fn a_user_has_all_its_groups() {
        let authority = Authority::open(None, &Env::simulated(1)).unwrap();
        let groups = ["a", "b", "c"].map(str::to_owned);
        let identity = authority.client("ann", &groups).unwrap();
        assert_eq!(user_of(&identity.certificate_pem), ("ann".to_owned(), groups.to_vec()));
    }

    #[test]
    fn a_request_is_signed_for_its_subject_and_names_and_nothing_else() {
        let env = Env::simulated(1);
        let authority = Authority::open(None, &env).unwrap();
        let mut params = CertificateParams::new(["n1.example".to_owned()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "system:node:n1");
        params.distinguished_name.push(DnType::OrganizationName, "system:nodes");
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let request = params.serialize_request(&KeyPair::generate().unwrap()).unwrap();
        let pem = request.pem().unwrap();
        let read = RequestedCertificate::read(&pem).unwrap();
        assert_eq!(
            (&*read.common_name, &read.dns_names[..]),
            ("system:node:n1", &["n1.example".to_owned()][..])
        );
        let until = env.now().checked_add(jiff::SignedDuration::from_hours(1)).unwrap();
        let usages = ["digital signature", "server auth"].map(str::to_owned);
        let signed = authority.sign_request(&pem, &usages, until).unwrap();
        let groups = vec!["system:nodes".to_owned()];
        assert_eq!(user_of(&signed), ("system:node:n1".to_owned(), groups));
        let der = CertificateDer::from_pem_slice(signed.as_bytes()).unwrap();
        let (_, certificate) = x509_parser::parse_x509_certificate(&der).unwrap();
        assert!(!certificate.is_ca(), "whatever was asked for");
        assert_eq!(certificate.validity().not_after.timestamp(), until.as_second());
        let (_, issuer) = x509_parser::parse_x509_certificate(authority.certificate()).unwrap();
        certificate.verify_signature(Some(issuer.public_key())).unwrap();
        let unknown = authority.sign_request(&pem, &["magic".to_owned()], until).unwrap_err();
        assert_eq!(unknown.to_string(), "certificate: unrecognized usage \"magic\"");
        // One that its key has not signed.
        let mut forged = request.der().to_vec();
        let last = forged.len() - 1;
        forged[last] ^= 1;
        let forged = pem::encode(&pem::Pem::new("CERTIFICATE REQUEST", forged));
        assert!(authority.sign_request(&forged, &usages, until).is_err());
        assert!(RequestedCertificate::read("nonsense").is_err());
    }
}
