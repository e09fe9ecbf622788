//! Cluster roles that gather the rules of others.

use std::marker::PhantomData;

use crate::harness::Cluster;
use k8s_openapi::api::rbac::v1::ClusterRole;
use pinnace_api::{Catalog, Kind, Resource, Strategy};
use serde_json::{Value, json};

/// The kind without rules of its own.
struct Plain<K>(PhantomData<K>);

impl<K: Kind> Strategy for Plain<K> {
    type Kind = K;
}

async fn cluster() -> Cluster {
    let catalog = Catalog::builtin();
    if catalog.of::<ClusterRole>().is_err() {
        catalog.register(Resource::builtin("clusterrole", Plain::<ClusterRole>(PhantomData)));
    }
    Cluster::serving(catalog).await
}

fn role(name: &str, label: &str, verb: &str) -> Value {
    json!({
        "metadata": {"name": name, "labels": {label: "true"}},
        "rules": [{"verbs": [verb], "apiGroups": [""], "resources": ["pods"]}],
    })
}

fn gathering(name: &str, label: &str, own: &str) -> Value {
    json!({
        "metadata": {"name": name, "labels": {own: "true"}},
        "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {label: "true"}}]},
    })
}

async fn verbs(cluster: &Cluster, name: &str) -> Vec<String> {
    let role = cluster.get::<ClusterRole>(name).await;
    role.rules.iter().flatten().flat_map(|rule| rule.verbs.clone()).collect()
}

#[tokio::test(start_paused = true)]
async fn rules_follow_what_is_selected_through_every_stage() {
    let cluster = cluster().await;
    cluster.make::<ClusterRole>(gathering("view", "to-view", "to-edit")).await;
    cluster.make::<ClusterRole>(gathering("edit", "to-edit", "to-edit")).await;
    cluster.make::<ClusterRole>(role("b", "to-view", "get")).await;
    cluster.make::<ClusterRole>(role("a", "to-edit", "delete")).await;
    cluster.pass(1).await;
    assert_eq!(verbs(&cluster, "view").await, ["get"]);
    assert_eq!(verbs(&cluster, "edit").await, ["delete", "get"], "not its own, each once");
    cluster.edit::<ClusterRole>("b", |role| role.metadata.labels = None).await;
    cluster.pass(1).await;
    assert!(verbs(&cluster, "view").await.is_empty());
    assert_eq!(verbs(&cluster, "edit").await, ["delete"]);
    let revision = cluster.get::<ClusterRole>("edit").await.metadata.resource_version.clone();
    cluster.pass(600).await;
    let later = cluster.get::<ClusterRole>("edit").await.metadata.resource_version.clone();
    assert_eq!(later, revision, "left alone once it is right");
    cluster.stop().await;
}
