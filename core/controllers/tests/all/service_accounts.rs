//! The account and the certificate that every namespace has.

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, Secret, ServiceAccount};
use pinnace_client::PropagationPolicy;
use serde_json::json;

use crate::harness::{self, Cluster};

#[tokio::test(start_paused = true)]
async fn a_namespace_is_made_with_its_account_and_the_certificate() {
    let cluster = Cluster::start().await;
    cluster.make::<Namespace>(json!({"metadata": {"name": "a"}})).await;
    // No time passes: a pod may follow at once.
    let pod = json!({"metadata": {"name": "p", "namespace": "a"},
                     "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let pod = cluster.make::<Pod>(pod).await;
    assert_eq!(pod.spec.as_ref().unwrap().service_account_name.as_deref(), Some("default"));
    cluster.get::<ServiceAccount>("a/default").await;
    let map = cluster.get::<ConfigMap>("a/kube-root-ca.crt").await;
    assert_eq!(map.data.as_ref().unwrap()["ca.crt"], harness::CERTIFICATE);
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_lost_or_changed_comes_back() {
    let cluster = Cluster::start().await;
    cluster.until::<ServiceAccount>("default/default", |found| found.is_some()).await;
    let first = cluster.get::<ServiceAccount>("default/default").await.metadata.uid.clone();
    cluster.delete::<ServiceAccount>("default/default", PropagationPolicy::Background).await;
    cluster
        .until::<ServiceAccount>("default/default", |found| {
            found.is_some_and(|found| found.metadata.uid != first)
        })
        .await;
    cluster.until::<ConfigMap>("default/kube-root-ca.crt", |found| found.is_some()).await;
    cluster.edit::<ConfigMap>("default/kube-root-ca.crt", |map| map.data = None).await;
    cluster
        .until::<ConfigMap>("default/kube-root-ca.crt", |found| {
            found.is_some_and(|found| found.data.is_some())
        })
        .await;
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_namespace_that_goes_is_left_alone() {
    let cluster = Cluster::start().await;
    cluster.make::<Namespace>(json!({"metadata": {"name": "a"}})).await;
    cluster.until::<ServiceAccount>("a/default", |found| found.is_some()).await;
    cluster.delete::<Namespace>("a", PropagationPolicy::Background).await;
    cluster.gone::<Namespace>("a").await;
    assert!(cluster.find::<ServiceAccount>("a/default").await.is_none());
    cluster.stop().await;
}

const TOKEN: &str = "kubernetes.io/service-account-token";

fn token_of(account: &str) -> serde_json::Value {
    json!({"metadata": {"name": "t", "namespace": "default",
                        "annotations": {"kubernetes.io/service-account.name": account}},
           "type": TOKEN})
}

#[tokio::test(start_paused = true)]
async fn a_secret_for_a_token_is_filled_and_goes_with_its_account() {
    let cluster = Cluster::start().await;
    let robot = json!({"metadata": {"name": "robot", "namespace": "default"}});
    let robot = cluster.make::<ServiceAccount>(robot).await;
    cluster.make::<Secret>(token_of("robot")).await;
    cluster
        .until::<Secret>("default/t", |secret| {
            let data = secret.and_then(|secret| secret.data.as_ref());
            data.is_some_and(|data| data.contains_key("token"))
        })
        .await;
    let secret = cluster.get::<Secret>("default/t").await;
    let data = secret.data.clone().unwrap();
    assert_eq!(data["ca.crt"].0, harness::CERTIFICATE.as_bytes());
    assert_eq!(data["namespace"].0, b"default");
    let uid = &secret.metadata.annotations.as_ref().unwrap()["kubernetes.io/service-account.uid"];
    assert_eq!(Some(uid), robot.metadata.uid.as_ref());
    let token = String::from_utf8(data["token"].0.clone()).unwrap();
    assert_eq!(cluster.user_of(&token), Ok("system:serviceaccount:default:robot".to_owned()));
    // A token that was taken out comes back, another one that was put in does not count.
    cluster.edit::<Secret>("default/t", |secret| secret.data = None).await;
    let error = "service account token does not match server's copy";
    assert_eq!(cluster.user_of(&token), Err(error.to_owned()));
    cluster.delete::<ServiceAccount>("default/robot", PropagationPolicy::Background).await;
    cluster.gone::<Secret>("default/t").await;
    let error = "service account token has been invalidated";
    assert_eq!(cluster.user_of(&token), Err(error.to_owned()));
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_secret_for_the_token_of_nobody_goes() {
    let cluster = Cluster::start().await;
    cluster.make::<Secret>(token_of("nobody")).await;
    cluster.gone::<Secret>("default/t").await;
    cluster.stop().await;
}
