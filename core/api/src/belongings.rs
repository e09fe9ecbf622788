//! What every namespace has from its beginning: the service account `default`, and the certificate
//! by which the API is known.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// The account of pods that name none.
pub const ACCOUNT: &str = "default";
/// The ConfigMap that holds the certificate.
pub const CERTIFICATES: &str = "kube-root-ca.crt";

const FILE: &str = "ca.crt";
const DESCRIPTION: &str = "kubernetes.io/description";
/// What the annotation says, as upstream has it.
const ABOUT: &str = "Contains a CA bundle that can be used to verify the kube-apiserver when using \
                     internal endpoints such as the internal service IP or \
                     kubernetes.default.svc. No other usage is guaranteed across distributions of \
                     Kubernetes clusters.";

/// The service account `default` of a namespace.
pub fn account(namespace: &str) -> ServiceAccount {
    ServiceAccount { metadata: named(namespace, ACCOUNT), ..Default::default() }
}

/// The ConfigMap of a namespace that holds a certificate in PEM.
pub fn certificates(namespace: &str, pem: &str) -> ConfigMap {
    let mut map = ConfigMap { metadata: named(namespace, CERTIFICATES), ..Default::default() };
    mend_certificates(&mut map, pem);
    map
}

/// Brings the ConfigMap to hold a certificate; whether it did not.
pub fn mend_certificates(map: &mut ConfigMap, pem: &str) -> bool {
    let data = Some(BTreeMap::from([(FILE.to_owned(), pem.to_owned())]));
    let annotations = map.metadata.annotations.get_or_insert_default();
    let described = annotations.contains_key(DESCRIPTION);
    if described && map.data == data {
        return false;
    }
    annotations.insert(DESCRIPTION.to_owned(), ABOUT.to_owned());
    map.data = data;
    true
}

fn named(namespace: &str, name: &str) -> ObjectMeta {
    ObjectMeta {
        namespace: Some(namespace.to_owned()),
        name: Some(name.to_owned()),
        ..Default::default()
    }
}
