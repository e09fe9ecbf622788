//! Namespaces that are deleted.

use crate::harness::{Cluster, condition, key};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod};
use pinnace_client::DeleteOptions;
use pinnace_client::PropagationPolicy::Background;
use serde_json::json;

async fn shop() -> Cluster {
    let cluster = Cluster::start().await;
    cluster.make::<Namespace>(json!({"metadata": {"name": "shop"}})).await;
    cluster.make::<ConfigMap>(json!({"metadata": {"name": "a", "namespace": "shop"}})).await;
    cluster
}

#[tokio::test(start_paused = true)]
async fn a_namespace_goes_with_what_it_holds() {
    let cluster = shop().await;
    cluster.make::<ConfigMap>(json!({"metadata": {"name": "other", "namespace": "default"}})).await;
    cluster.delete::<Namespace>("shop", Background).await;
    cluster.pass(1).await;
    assert!(cluster.find::<Namespace>("shop").await.is_none());
    assert!(cluster.find::<ConfigMap>("shop/a").await.is_none());
    assert!(cluster.find::<ConfigMap>("default/other").await.is_some());
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn pods_go_first_and_the_rest_as_soon_as_they_have() {
    let cluster = shop().await;
    cluster.node("n").await;
    cluster
        .make::<Pod>(json!({"metadata": {"name": "p", "namespace": "shop"},
        "spec": {"nodeName": "n", "containers": [{"name": "c", "image": "i"}]}}))
        .await;
    cluster.delete::<Namespace>("shop", Background).await;
    cluster.pass(1).await;
    let shop = cluster.get::<Namespace>("shop").await;
    assert_eq!(
        condition(&*shop, "NamespaceContentRemaining"),
        "True SomeResourcesRemain Some resources are remaining: pods. has 1 resource instances"
    );
    assert_eq!(
        condition(&*shop, "NamespaceDeletionContentFailure"),
        "False ContentDeleted All content successfully deleted, may be waiting on finalization"
    );
    assert!(!cluster.get::<ConfigMap>("shop/a").await.object().is_deleting());
    assert!(cluster.get::<Pod>("shop/p").await.object().is_deleting());
    let now = DeleteOptions { grace_period_seconds: Some(0), ..DeleteOptions::default() };
    cluster.api::<Pod>().delete(&key("shop/p"), now).await.unwrap();
    cluster.pass(1).await;
    assert!(cluster.find::<Namespace>("shop").await.is_none());
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_finalizer_holds_a_namespace_and_is_named() {
    let cluster = shop().await;
    cluster
        .edit::<ConfigMap>("shop/a", |map| {
            map.metadata.finalizers = Some(vec!["example.com/hold".into()]);
        })
        .await;
    cluster.delete::<Namespace>("shop", Background).await;
    cluster.pass(60).await;
    let shop = cluster.get::<Namespace>("shop").await;
    assert_eq!(
        condition(&*shop, "NamespaceFinalizersRemaining"),
        "True SomeFinalizersRemain Some content in the namespace has finalizers remaining: \
         example.com/hold in 1 resource instances"
    );
    cluster.edit::<ConfigMap>("shop/a", |map| map.metadata.finalizers = None).await;
    cluster.pass(1).await;
    assert!(cluster.find::<Namespace>("shop").await.is_none());
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_thousand_objects_go_with_their_namespace() {
    let cluster = shop().await;
    for number in 0..1000 {
        let name = format!("b{number}");
        cluster.make::<ConfigMap>(json!({"metadata": {"name": name, "namespace": "shop"}})).await;
    }
    cluster.delete::<Namespace>("shop", Background).await;
    cluster.pass(1).await;
    assert!(cluster.find::<Namespace>("shop").await.is_none());
    let maps = cluster.all::<ConfigMap>().await;
    assert!(maps.iter().all(|map| map.object().namespace() != "shop"));
    cluster.stop().await;
}
