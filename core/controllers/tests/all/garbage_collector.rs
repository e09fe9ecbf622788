//! What happens to the dependents of an object that is deleted.

use crate::harness::Cluster;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Node};
use k8s_openapi::api::scheduling::v1::PriorityClass;
use pinnace_api::Catalog;
use pinnace_api::belongings::CERTIFICATES;
use pinnace_client::PropagationPolicy::{Background, Foreground, Orphan};
use serde_json::{Value, json};

/// A reference to a ConfigMap of the namespace `default`.
async fn owner(cluster: &Cluster, name: &str) -> Value {
    let uid = cluster.get::<ConfigMap>(&format!("default/{name}")).await.object().uid().to_owned();
    json!({"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": uid, "blockOwnerDeletion": true})
}

/// Creates a ConfigMap with owners in the namespace `default`.
async fn map(cluster: &Cluster, name: &str, owners: &[&str]) {
    let mut references = Vec::new();
    for name in owners {
        references.push(owner(cluster, name).await);
    }
    cluster
        .make::<ConfigMap>(json!({"metadata": {"name": name, "namespace": "default",
        "ownerReferences": references}}))
        .await;
}

/// What there is beside what every namespace has.
async fn names(cluster: &Cluster) -> Vec<String> {
    let maps = cluster.all::<ConfigMap>().await;
    let names = maps.iter().map(|map| map.object().name().to_owned());
    names.filter(|name| name != CERTIFICATES).collect()
}

fn owners_of(map: &ConfigMap) -> Vec<&str> {
    map.metadata.owner_references.iter().flatten().map(|owner| owner.name.as_str()).collect()
}

/// A family of three generations.
async fn family() -> Cluster {
    let cluster = Cluster::start().await;
    map(&cluster, "a", &[]).await;
    map(&cluster, "b", &["a"]).await;
    map(&cluster, "c", &["b"]).await;
    cluster.pass(1).await;
    cluster
}

#[tokio::test(start_paused = true)]
async fn dependents_follow_their_owner() {
    let cluster = family().await;
    map(&cluster, "other", &[]).await;
    cluster.delete::<ConfigMap>("default/a", Background).await;
    cluster.pass(1).await;
    assert_eq!(names(&cluster).await, ["other"]);
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn in_the_foreground_an_owner_goes_after_its_dependents() {
    let cluster = family().await;
    cluster
        .edit::<ConfigMap>("default/c", |map| {
            map.metadata.finalizers = Some(vec!["example.com/hold".into()]);
        })
        .await;
    cluster.delete::<ConfigMap>("default/a", Foreground).await;
    cluster.pass(1).await;
    assert_eq!(names(&cluster).await, ["a", "b", "c"]);
    for name in ["a", "b", "c"] {
        assert!(cluster.get::<ConfigMap>(&format!("default/{name}")).await.object().is_deleting());
    }
    cluster.edit::<ConfigMap>("default/c", |map| map.metadata.finalizers = None).await;
    cluster.pass(1).await;
    assert!(names(&cluster).await.is_empty());
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn orphans_stay_without_their_owner() {
    let cluster = family().await;
    cluster.delete::<ConfigMap>("default/a", Orphan).await;
    cluster.pass(1).await;
    assert_eq!(names(&cluster).await, ["b", "c"]);
    assert!(owners_of(&*cluster.get("default/b").await).is_empty());
    assert_eq!(owners_of(&*cluster.get("default/c").await), ["b"]);
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_orphan_made_right_before_the_deletion_stays_too() {
    let cluster = Cluster::start().await;
    cluster.pass(1).await;
    map(&cluster, "a", &[]).await;
    map(&cluster, "b", &["a"]).await;
    cluster.delete::<ConfigMap>("default/a", Orphan).await;
    cluster.pass(1).await;
    assert_eq!(names(&cluster).await, ["b"]);
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn with_an_owner_left_only_the_reference_goes() {
    for policy in [Background, Foreground] {
        let cluster = Cluster::start().await;
        map(&cluster, "a", &[]).await;
        map(&cluster, "b", &[]).await;
        map(&cluster, "child", &["a", "b"]).await;
        cluster.pass(1).await;
        cluster.delete::<ConfigMap>("default/a", policy).await;
        cluster.pass(1).await;
        assert_eq!(names(&cluster).await, ["b", "child"]);
        assert_eq!(owners_of(&*cluster.get("default/child").await), ["b"]);
        cluster.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_circle_goes_as_a_whole() {
    for policy in [Background, Foreground] {
        let cluster = family().await;
        let last = owner(&cluster, "c").await;
        cluster
            .edit::<ConfigMap>("default/a", |map| {
                map.metadata.owner_references = serde_json::from_value(json!([last])).unwrap();
            })
            .await;
        cluster.pass(1).await;
        cluster.delete::<ConfigMap>("default/a", policy).await;
        cluster.pass(5).await;
        assert!(names(&cluster).await.is_empty(), "{policy:?}");
        cluster.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_dependent_that_comes_after_its_owner_has_gone_goes_too() {
    let cluster = Cluster::start().await;
    map(&cluster, "a", &[]).await;
    let gone = owner(&cluster, "a").await;
    cluster.delete::<ConfigMap>("default/a", Background).await;
    map(&cluster, "a", &[]).await;
    cluster
        .make::<ConfigMap>(json!({"metadata": {"name": "late", "namespace": "default",
        "ownerReferences": [gone]}}))
        .await;
    cluster.pass(1).await;
    assert_eq!(names(&cluster).await, ["a"]);
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_owner_in_another_namespace_is_none() {
    let cluster = Cluster::start().await;
    map(&cluster, "a", &[]).await;
    cluster.pass(1).await;
    let owner = owner(&cluster, "a").await;
    cluster.make::<Namespace>(json!({"metadata": {"name": "far"}})).await;
    cluster
        .make::<ConfigMap>(json!({"metadata": {"name": "b", "namespace": "far",
        "ownerReferences": [owner]}}))
        .await;
    cluster.pass(1).await;
    assert_eq!(names(&cluster).await, ["a"]);
    let uid = owner["uid"].as_str().unwrap();
    assert_eq!(
        cluster.events("OwnerRefInvalidNamespace").await,
        [format!(
            "ownerRef [v1/ConfigMap, namespace: far, name: a, uid: {uid}] does not exist in namespace \"far\""
        )]
    );
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_cluster_wide_object_with_an_owner_in_a_namespace_stays() {
    let cluster = Cluster::start().await;
    map(&cluster, "a", &[]).await;
    let owner = owner(&cluster, "a").await;
    cluster.make::<Node>(json!({"metadata": {"name": "n", "ownerReferences": [owner]}})).await;
    cluster.pass(1).await;
    cluster.delete::<ConfigMap>("default/a", Foreground).await;
    cluster.pass(1).await;
    assert!(names(&cluster).await.is_empty());
    assert!(!cluster.get::<Node>("n").await.object().is_deleting());
    assert_eq!(cluster.events("OwnerRefInvalidNamespace").await.len(), 1);
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_joins_later_can_own() {
    let catalog = Catalog::builtin();
    catalog.unregister("scheduling.k8s.io", "priorityclasses");
    let cluster = Cluster::serving(catalog.clone()).await;
    cluster.pass(1).await;
    let mut kinds = pinnace_api::kinds::all().into_iter();
    catalog.register(kinds.find(|kind| kind.kind == "PriorityClass").unwrap());
    let class =
        cluster.make::<PriorityClass>(json!({"metadata": {"name": "high"}, "value": 1})).await;
    cluster
        .make::<ConfigMap>(json!({"metadata": {"name": "a", "namespace": "default",
        "ownerReferences": [{"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass",
            "name": "high", "uid": class.object().uid()}]}}))
        .await;
    cluster.pass(1).await;
    assert_eq!(names(&cluster).await, ["a"]);
    cluster.delete::<PriorityClass>("high", Background).await;
    cluster.pass(1).await;
    assert!(names(&cluster).await.is_empty());
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_thousand_dependents_go_in_no_time() {
    let cluster = Cluster::start().await;
    map(&cluster, "a", &[]).await;
    let owner = owner(&cluster, "a").await;
    for number in 0..1000 {
        cluster
            .make::<ConfigMap>(json!({"metadata": {"name": format!("b{number}"),
            "namespace": "default", "ownerReferences": [owner]}}))
            .await;
    }
    cluster.pass(1).await;
    cluster.delete::<ConfigMap>("default/a", Foreground).await;
    cluster.pass(1).await;
    assert!(names(&cluster).await.is_empty());
    cluster.stop().await;
}
