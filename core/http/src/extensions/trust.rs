use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use rustls_platform_verifier::Verifier;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::client::{WebPkiServerVerifier, verify_server_name};
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::server::ParsedCertificate;
use tokio_rustls::rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};
use x509_parser::parse_x509_certificate;

use crate::ClientIdentity;
use crate::streams::Anybody;

/// Most bundles for which a configuration is kept.
const MAX_KEPT: usize = 200;
const PROTOCOL: &[u8] = b"http/1.1";

/// A bundle of certificates in PEM; `None` for those that the machine trusts.
type Bundled = Option<Arc<[u8]>>;

/// Who is believed to be who they say, by the certificates that vouch for them.
#[derive(Default)]
pub(crate) struct Trust {
    configs: Mutex<HashMap<Bundled, Arc<ClientConfig>>>,
    anybody: OnceLock<Arc<ClientConfig>>,
    /// What this side proves who it is with.
    identity: Option<Identity>,
}

struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Trust {
    /// For a side that proves who it is itself.
    ///
    /// # Errors
    /// [`crate::Error::Certificate`] for an identity that is none.
    pub(crate) fn proving(identity: Option<&ClientIdentity>) -> crate::Result<Self> {
        let Some(identity) = identity else { return Ok(Self::default()) };
        let chain = CertificateDer::pem_slice_iter(identity.certificate_pem.as_bytes());
        let chain = chain.collect::<Result<Vec<_>, _>>().map_err(crate::Error::certificate)?;
        let key = PrivateKeyDer::from_pem_slice(identity.key_pem.as_bytes());
        let key = key.map_err(crate::Error::certificate)?;
        Ok(Self { identity: Some(Identity { chain, key }), ..Self::default() })
    }

    /// What to connect with where nobody looks at certificates.
    ///
    /// # Errors
    /// What is wrong with this side's own.
    pub(crate) fn anybody(&self) -> Result<Arc<ClientConfig>, String> {
        if let Some(config) = self.anybody.get() {
            return Ok(config.clone());
        }
        let verifier = Arc::new(Anybody::new(Arc::new(aws_lc_rs::default_provider())));
        let config = Arc::new(self.with(verifier)?);
        Ok(self.anybody.get_or_init(|| config).clone())
    }

    /// What to connect with where one of these certificates has to have signed, or one that the
    /// machine trusts.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(crate) fn config(&self, bundle: Option<&Arc<[u8]>>) -> Result<Arc<ClientConfig>, String> {
        let key = bundle.cloned();
        if let Some(config) = self.configs.lock().get(&key) {
            return Ok(config.clone());
        }
        let config = Arc::new(self.with(verifier(bundle.map(|bundle| &**bundle))?)?);
        let mut kept = self.configs.lock();
        if kept.len() >= MAX_KEPT {
            kept.clear();
        }
        kept.insert(key, config.clone());
        Ok(config)
    }

    fn with(&self, verifier: Arc<dyn ServerCertVerifier>) -> Result<ClientConfig, String> {
        let text = |error: Error| format!("tls: {error}");
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(text)?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some(Identity { chain, key }) => {
                builder.with_client_auth_cert(chain.clone(), key.clone_key()).map_err(text)?
            }
        };
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        Ok(config)
    }
}

fn verifier(bundle: Option<&[u8]>) -> Result<Arc<dyn ServerCertVerifier>, String> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    Ok(match bundle {
        Some(bundle) => Arc::new(Bundle::new(bundle, provider)?),
        None => Arc::new(Verifier::new(provider).map_err(|error| format!("tls: {error}"))?),
    })
}

/// Takes what a bundle has signed, and what is in it. Many a webhook has a single certificate, which
/// is both; webpki refuses such a one where it says that it may sign, and Go does not.
#[derive(Debug)]
struct Bundle {
    certificates: Vec<CertificateDer<'static>>,
    chains: Arc<WebPkiServerVerifier>,
}

impl Bundle {
    fn new(pem: &[u8], provider: Arc<CryptoProvider>) -> Result<Self, String> {
        let none = || "unable to load root certificates: unable to parse bytes as PEM block";
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem).flatten().collect();
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(certificates.iter().cloned());
        let chains = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
        let chains = chains.build().map_err(|_| none().to_owned())?;
        Ok(Self { certificates, chains })
    }
}

impl ServerCertVerifier for Bundle {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.chains.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        let Err(error) = verified else { return verified };
        if !self.certificates.iter().any(|known| known == end_entity) || !lasts(end_entity, now) {
            return Err(error);
        }
        verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chains.supported_verify_schemes()
    }
}

fn lasts(certificate: &CertificateDer<'_>, now: UnixTime) -> bool {
    let Ok((_, parsed)) = parse_x509_certificate(certificate) else { return false };
    let validity = parsed.validity();
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    validity.not_before.timestamp() <= now && now <= validity.not_after.timestamp()
}
