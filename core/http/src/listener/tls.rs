use std::fmt;
use std::sync::Arc;

use parking_lot::RwLock;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::server::{
    ClientHello, ResolvesServerCert, ServerConfig, WebPkiClientVerifier,
};
use tokio_rustls::rustls::sign::CertifiedKey;

use crate::{Authority, Error, Result};

/// HTTP/2 over TLS, in ALPN.
pub(super) const H2: &[u8] = b"h2";

/// TLS on our side: a certificate that can be exchanged while it serves, and certificates of
/// clients, which may bring one of our authority or none.
#[derive(Clone)]
pub(crate) struct Tls {
    acceptor: TlsAcceptor,
    /// Our own authority's, to be renewed here; `None` for one that somebody else keeps.
    certificate: Option<Arc<Certificate>>,
}

struct Certificate {
    authority: Arc<Authority>,
    names: Vec<String>,
    provider: Arc<CryptoProvider>,
    current: RwLock<Arc<CertifiedKey>>,
}

impl Tls {
    pub(super) fn new(authority: Arc<Authority>, names: Vec<String>) -> Result<Self> {
        // Given to every configuration: installing one for the process is the host's business.
        let provider = Arc::new(aws_lc_rs::default_provider());
        let current = RwLock::new(certified(&authority, &names, &provider)?);
        let root = authority.certificate().clone();
        let certificate =
            Arc::new(Certificate { authority, names, provider: provider.clone(), current });
        let acceptor = acceptor(provider, root, certificate.clone())?;
        Ok(Self { acceptor, certificate: Some(certificate) })
    }

    /// TLS with a certificate that somebody else keeps, for clients of an authority.
    ///
    /// # Errors
    /// [`Error::Certificate`].
    pub(crate) fn with(
        authority: CertificateDer<'static>,
        certificate: Arc<dyn ResolvesServerCert>,
    ) -> Result<Self> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let acceptor = acceptor(provider, authority, certificate)?;
        Ok(Self { acceptor, certificate: None })
    }

    pub(super) fn acceptor(&self) -> &TlsAcceptor {
        &self.acceptor
    }

    /// Makes the certificate anew if it is about to end. Connections that are open keep theirs.
    pub(super) fn renew(&self) {
        let Some(own) = &self.certificate else { return };
        match certified(&own.authority, &own.names, &own.provider) {
            Ok(renewed) => *own.current.write() = renewed,
            Err(error) => tracing::warn!(%error, "serving certificate not renewed"),
        }
    }
}

fn acceptor(
    provider: Arc<CryptoProvider>,
    root: CertificateDer<'static>,
    certificate: Arc<dyn ResolvesServerCert>,
) -> Result<TlsAcceptor> {
    let mut roots = RootCertStore::empty();
    roots.add(root).map_err(Error::certificate)?;
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .allow_unauthenticated()
        .build()
        .map_err(Error::certificate)?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(Error::certificate)?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(certificate);
    config.alpn_protocols = vec![H2.to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn certified(
    authority: &Authority,
    names: &[String],
    provider: &CryptoProvider,
) -> Result<Arc<CertifiedKey>> {
    let identity = authority.serving(names)?;
    CertifiedKey::from_der(identity.chain, identity.key, provider)
        .map(Arc::new)
        .map_err(Error::certificate)
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.read().clone())
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Certificate")
    }
}
