use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::{
    CertificateSigningRequest, CertificateSigningRequestSpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use pinnace_api::{ApiError, Object, Reason, Result, Typed};
use pinnace_client::Client;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

use super::NODE_USER_PREFIX;

const GROUP: &str = "system:nodes";
/// How long it is waited for a certificate, as upstream.
const PATIENCE: Duration = Duration::from_secs(15 * 60);

/// What a node wants a certificate for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To speak to the API.
    Client,
    /// To be spoken to.
    Serving,
}

impl Purpose {
    fn signer(self) -> &'static str {
        match self {
            Self::Client => "kubernetes.io/kube-apiserver-client-kubelet",
            Self::Serving => "kubernetes.io/kubelet-serving",
        }
    }

    fn usage(self) -> &'static str {
        match self {
            Self::Client => "client auth",
            Self::Serving => "server auth",
        }
    }
}

/// A node's new key, and the request for a certificate for it.
pub struct NodeApplication {
    key: KeyPair,
    request: String,
    purpose: Purpose,
}

impl NodeApplication {
    /// A key for a node, to serve at `names`, or to speak to the API, which needs none.
    ///
    /// # Errors
    /// [`Error::Certificate`](crate::Error::Certificate) for names that are none.
    pub fn new(node: &str, purpose: Purpose, names: Vec<String>) -> crate::Result<Self> {
        let certificate = crate::Error::certificate;
        let key = KeyPair::generate().map_err(certificate)?;
        let mut params = CertificateParams::new(names).map_err(certificate)?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, GROUP);
        params.distinguished_name.push(DnType::CommonName, format!("{NODE_USER_PREFIX}{node}"));
        let request = params.serialize_request(&key).and_then(|request| request.pem());
        Ok(Self { key, request: request.map_err(certificate)?, purpose })
    }

    /// The private key, in PEM.
    pub fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    pub(super) fn key(&self) -> &KeyPair {
        &self.key
    }

    /// Asks the cluster for the certificate, in PEM, and waits until it is signed.
    ///
    /// # Errors
    /// `Forbidden` when it is denied or nobody signs it in a quarter of an hour, and what the cluster
    /// answers.
    pub async fn certificate(&self, client: &Client) -> Result<String> {
        let usages = ["digital signature", self.purpose.usage()];
        let request = CertificateSigningRequest {
            metadata: ObjectMeta {
                generate_name: Some("csr-".to_owned()),
                ..ObjectMeta::default()
            },
            spec: CertificateSigningRequestSpec {
                request: ByteString(self.request.clone().into_bytes()),
                signer_name: self.purpose.signer().to_owned(),
                usages: Some(usages.map(str::to_owned).to_vec()),
                ..CertificateSigningRequestSpec::default()
            },
            ..CertificateSigningRequest::default()
        };
        let made = client.of::<CertificateSigningRequest>()?.create(request).await?;
        let signed = tokio::time::timeout(PATIENCE, signed(client, &made)).await;
        signed.map_err(|_| refused("nobody has signed the request"))?
    }
}

impl std::fmt::Debug for NodeApplication {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NodeApplication({:?})", self.purpose)
    }
}

/// The certificate of a request, once it is there.
async fn signed(client: &Client, made: &Typed<CertificateSigningRequest>) -> Result<String> {
    let look = |request: Option<&Object>| {
        let request = request.ok_or_else(|| refused("the request was deleted"))?;
        outcome(request.get::<CertificateSigningRequest>()?)
    };
    let api = client.of::<CertificateSigningRequest>()?;
    api.dynamic().follow(&made.object().key(), look).await
}

/// The certificate, if there is one yet.
fn outcome(request: &CertificateSigningRequest) -> Result<Option<String>> {
    let status = request.status.as_ref();
    for condition in status.iter().flat_map(|status| status.conditions.iter().flatten()) {
        if matches!(condition.type_.as_str(), "Denied" | "Failed") {
            let message = condition.message.as_deref().unwrap_or_default();
            return Err(refused(&format!("{}: {message}", condition.type_)));
        }
    }
    let certificate = status.and_then(|status| status.certificate.as_ref());
    let certificate = certificate.filter(|certificate| !certificate.0.is_empty());
    certificate.map(|pem| String::from_utf8(pem.0.clone()).map_err(ApiError::internal)).transpose()
}

fn refused(why: &str) -> ApiError {
    ApiError::new(Reason::Forbidden, format!("no certificate for the node: {why}"))
}
