//! Tokens by which new nodes introduce themselves: they sign `cluster-info`, and go when they end.

use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use pinnace_client::PropagationPolicy;
use serde_json::{Value, json};

use crate::harness::Cluster;

const INFO: &str = "kube-public/cluster-info";

async fn token(cluster: &Cluster, id: &str, more: Value) {
    let mut data = json!({"token-id": id, "token-secret": "0123456789abcdef",
                          "usage-bootstrap-signing": "true"});
    for (name, value) in more.as_object().unwrap() {
        data[name] = value.clone();
    }
    let meta = json!({"name": format!("bootstrap-token-{id}"), "namespace": "kube-system"});
    let secret =
        json!({"metadata": meta, "type": "bootstrap.kubernetes.io/token", "stringData": data});
    cluster.make::<Secret>(secret).await;
}

async fn signed_by(cluster: &Cluster) -> Vec<String> {
    cluster.pass(5).await;
    let data = cluster.get::<ConfigMap>(INFO).await.data.clone().unwrap();
    data.keys().filter_map(|name| name.strip_prefix("jws-kubeconfig-")).map(str::to_owned).collect()
}

#[tokio::test(start_paused = true)]
async fn tokens_sign_cluster_info_as_long_as_they_last() {
    let cluster = Cluster::start().await;
    for name in ["kube-system", "kube-public"] {
        cluster.make::<Namespace>(json!({"metadata": {"name": name}})).await;
    }
    let end = cluster.env.now().checked_add(jiff::SignedDuration::from_hours(1)).unwrap();
    token(&cluster, "aaaaaa", json!({})).await;
    token(&cluster, "bbbbbb", json!({"expiration": end.to_string()})).await;
    token(&cluster, "cccccc", json!({"usage-bootstrap-signing": "false"})).await;
    let info = json!({"metadata": {"name": "cluster-info", "namespace": "kube-public"},
                      "data": {"kubeconfig": "{}"}});
    cluster.make::<ConfigMap>(info).await;
    assert_eq!(signed_by(&cluster).await, ["aaaaaa", "bbbbbb"]);
    let data = cluster.get::<ConfigMap>(INFO).await.data.clone().unwrap();
    // With what is signed put back it is a token that others can check.
    let (header, signature) = data["jws-kubeconfig-aaaaaa"].split_once("..").unwrap();
    let whole = format!("{header}.e30.{signature}");
    let key = DecodingKey::from_secret(b"aaaaaa.0123456789abcdef");
    let mut checks = Validation::new(Algorithm::HS256);
    checks.required_spec_claims.clear();
    checks.validate_exp = false;
    let read = jsonwebtoken::decode::<Value>(&whole, &key, &checks).unwrap();
    assert_eq!((read.claims, read.header.kid.as_deref()), (json!({}), Some("aaaaaa")));
    cluster.pass(2 * 60 * 60).await;
    cluster.gone::<Secret>("kube-system/bootstrap-token-bbbbbb").await;
    assert_eq!(signed_by(&cluster).await, ["aaaaaa"]);
    let name = "kube-system/bootstrap-token-aaaaaa";
    cluster.delete::<Secret>(name, PropagationPolicy::Background).await;
    assert!(signed_by(&cluster).await.is_empty());
    cluster.stop().await;
}
