use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use pinnace_api::{ApiError, Result};
use pinnace_client::Client;
use pinnace_env::Env;
use tokio::sync::watch;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;

use super::{NodeApplication, Purpose};
use crate::pki;

/// How long it is waited after a failure: at first, and at most.
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(120);
/// The part of its time after which a certificate is renewed, as upstream between 0.7 and 0.9.
const RENEW_FROM: f64 = 0.7;
const RENEW_SPREAD: f64 = 2.0 / 7.0;

/// The certificate that a node serves with: none until the cluster has signed one.
#[derive(Default)]
pub(super) struct ServingCertificate(watch::Sender<Option<Arc<CertifiedKey>>>);

/// Who asks for it.
pub(super) struct Applicant {
    pub(super) client: Client,
    pub(super) env: Env,
    pub(super) node: String,
    pub(super) addresses: Vec<IpAddr>,
}

impl ResolvesServerCert for ServingCertificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.borrow().clone()
    }
}

impl fmt::Debug for ServingCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServingCertificate")
    }
}

impl ServingCertificate {
    /// Where it is shown.
    pub(super) fn shown(&self) -> watch::Receiver<Option<Arc<CertifiedKey>>> {
        self.0.subscribe()
    }

    /// Has one signed, and another before that ends, for ever.
    pub(super) async fn keep(&self, applicant: &Applicant) {
        let mut retry = RETRY_FIRST;
        loop {
            match applicant.certificate().await {
                Ok((certificate, lasts)) => {
                    self.0.send_replace(Some(certificate));
                    retry = RETRY_FIRST;
                    let renewal = lasts.mul_f64(RENEW_FROM);
                    tokio::time::sleep(applicant.env.random().jitter(renewal, RENEW_SPREAD)).await;
                }
                Err(error) => {
                    tracing::warn!(node = applicant.node, %error, "no serving certificate");
                    tokio::time::sleep(retry).await;
                    retry = (retry * 2).min(RETRY_MAX);
                }
            }
        }
    }
}

impl Applicant {
    /// A new key with a certificate, and how long that lasts.
    async fn certificate(&self) -> Result<(Arc<CertifiedKey>, Duration)> {
        let names = self.addresses.iter().map(IpAddr::to_string).chain([self.node.clone()]);
        let application = NodeApplication::new(&self.node, Purpose::Serving, names.collect());
        let application = application.map_err(ApiError::internal)?;
        let pem = application.certificate(&self.client).await?;
        let chain = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>();
        let key = PrivatePkcs8KeyDer::from(application.key().serialize_der());
        let (key, provider) = (PrivateKeyDer::Pkcs8(key), aws_lc_rs::default_provider());
        let certified = chain.map_err(ApiError::internal).and_then(|chain| {
            CertifiedKey::from_der(chain, key, &provider).map_err(ApiError::internal)
        })?;
        let end = pki::end(&pem).unwrap_or(0);
        let lasts = u64::try_from(end.saturating_sub(self.env.now().as_second())).unwrap_or(0);
        Ok((Arc::new(certified), Duration::from_secs(lasts).max(RETRY_MAX)))
    }
}
