use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::{Authority, ClientIdentity};

/// A kubeconfig for one cluster and one user, which kubectl, helm and all others read.
///
/// It holds a private key: whoever reads it is that user.
pub fn kubeconfig(
    server: &str,
    authority: &Authority,
    user: &str,
    identity: &ClientIdentity,
) -> String {
    kubeconfig_for(server, authority.certificate_pem(), user, identity)
}

/// As [`kubeconfig`], where only the certificate of the authority is at hand, in PEM.
pub fn kubeconfig_for(
    server: &str,
    authority: &str,
    user: &str,
    identity: &ClientIdentity,
) -> String {
    let encode = |pem: &str| STANDARD.encode(pem);
    let document = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{
            "name": "pinnace",
            "cluster": {
                "server": server,
                "certificate-authority-data": encode(authority),
            },
        }],
        "users": [{
            "name": user,
            "user": {
                "client-certificate-data": encode(&identity.certificate_pem),
                "client-key-data": encode(&identity.key_pem),
            },
        }],
        "contexts": [{
            "name": "pinnace",
            "context": {"cluster": "pinnace", "user": user, "namespace": "default"},
        }],
        "current-context": "pinnace",
    });
    crate::encoding::yaml::to_string(&document)
}
