//! Kinds that definitions add, from the names they get to the end of their objects.

use crate::harness::Cluster;
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use pinnace_api::custom::definition::is_true;
use pinnace_api::patch::Patch;
use pinnace_api::{Draft, DynamicObject, Key, Reason};
use pinnace_client::{DynamicApi, ListOptions, PropagationPolicy, WriteOptions};
use serde_json::{Value, json};

fn definition(plural: &str, kind: &str) -> Value {
    json!({
        "metadata": {"name": format!("{plural}.example.com")},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"plural": plural, "kind": kind},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {
                "openAPIV3Schema": {"type": "object", "properties": {"spec": {
                    "type": "object", "properties": {"size": {"type": "integer", "maximum": 9}}}}},
            }}],
        },
    })
}

fn object(name: &str, finalizers: &[&str]) -> Draft {
    let value = json!({
        "apiVersion": "example.com/v1", "kind": "Shirt",
        "metadata": {"name": name, "namespace": "default", "finalizers": finalizers},
        "spec": {"size": 3},
    });
    Draft::new(serde_json::from_value::<DynamicObject>(value).unwrap())
}

fn condition(definition: &CustomResourceDefinition, name: &str) -> String {
    let status = definition.status.as_ref().unwrap();
    let found = status.conditions.iter().flatten().find(|one| one.type_ == name);
    found.map(|one| format!("{} {}", one.status, one.reason.as_deref().unwrap_or(""))).unwrap()
}

fn shirts(cluster: &Cluster) -> DynamicApi {
    let kind = cluster.client.catalog().by_kind("example.com/v1", "Shirt").unwrap();
    cluster.client.resource(kind)
}

async fn established(cluster: &Cluster, name: &str) {
    let is = |found: Option<&CustomResourceDefinition>| {
        found.is_some_and(|found| is_true(found, "Established"))
    };
    cluster.until(name, is).await;
}

#[tokio::test(start_paused = true)]
async fn budgets_ask_the_scale_of_kinds_that_have_one() {
    let cluster = Cluster::start().await;
    for (plural, kind, scale) in [("shirts", "Shirt", true), ("socks", "Sock", false)] {
        let mut definition = definition(plural, kind);
        if scale {
            definition["spec"]["versions"][0]["subresources"] = json!({
                "scale": {"specReplicasPath": ".spec.size", "statusReplicasPath": ".status.size"}});
        }
        cluster.make::<CustomResourceDefinition>(definition).await;
        established(&cluster, &format!("{plural}.example.com")).await;
    }
    let owner = shirts(&cluster).create(object("a", &[]), WriteOptions::default()).await.unwrap();
    let of = |kind: &str| {
        let uid = owner.uid();
        json!({"apiVersion": "example.com/v1", "kind": kind, "name": "a", "uid": uid, "controller": true})
    };
    for (name, kind) in [("shirt", "Shirt"), ("sock", "Sock")] {
        let labels = json!({"app": name});
        let meta = json!({"name": name, "namespace": "default", "labels": labels,
            "ownerReferences": [of(kind)]});
        let spec = json!({"containers": [{"name": "c", "image": "i"}]});
        cluster.make::<Pod>(json!({"metadata": meta, "spec": spec})).await;
        cluster
            .make::<PodDisruptionBudget>(json!({
                "metadata": {"name": name, "namespace": "default"},
                "spec": {"maxUnavailable": 1, "selector": {"matchLabels": labels}},
            }))
            .await;
    }
    cluster.pass(1).await;
    let shirt = cluster.get::<PodDisruptionBudget>("default/shirt").await;
    let status = shirt.status.as_ref().unwrap();
    assert_eq!((status.expected_pods, status.desired_healthy), (Some(3), Some(2)));
    let told = cluster.events("CalculateExpectedPodCountFailed").await;
    let why = "Failed to calculate the number of expected pods: socks.example.com does not implement \
               the scale subresource";
    assert_eq!(told, [why]);
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_namespace_goes_with_its_custom_objects_when_they_are_let_go() {
    let cluster = Cluster::start().await;
    cluster.make::<CustomResourceDefinition>(definition("shirts", "Shirt")).await;
    established(&cluster, "shirts.example.com").await;
    cluster.make::<Namespace>(json!({"metadata": {"name": "shop"}})).await;
    let in_shop = |name: &str, finalizers: &[&str]| {
        let mut draft = object(name, finalizers);
        draft.meta_mut().namespace = Some("shop".to_owned());
        draft
    };
    let api = shirts(&cluster);
    api.create(in_shop("free", &[]), WriteOptions::default()).await.unwrap();
    api.create(in_shop("held", &["example.com/hold"]), WriteOptions::default()).await.unwrap();
    api.create(object("elsewhere", &[]), WriteOptions::default()).await.unwrap();
    cluster.delete::<Namespace>("shop", PropagationPolicy::Background).await;
    cluster.pass(30).await;
    let shop = cluster.get::<Namespace>("shop").await;
    assert_eq!(
        crate::harness::condition(&*shop, "NamespaceContentRemaining"),
        "True SomeResourcesRemain Some resources are remaining: shirts.example.com has 1 resource \
         instances"
    );
    let free = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    api.patch(&Key::new("shop", "held"), free, WriteOptions::default()).await.unwrap();
    cluster.gone::<Namespace>("shop").await;
    let left = api.list(None, ListOptions::default()).await.unwrap().items;
    assert_eq!(left.iter().map(|one| one.name()).collect::<Vec<_>>(), ["elsewhere"]);
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_definition_goes_when_its_objects_have_gone() {
    let cluster = Cluster::start().await;
    cluster.make::<CustomResourceDefinition>(definition("shirts", "Shirt")).await;
    established(&cluster, "shirts.example.com").await;
    let api = shirts(&cluster);
    api.create(object("free", &[]), WriteOptions::default()).await.unwrap();
    api.create(object("held", &["example.com/hold"]), WriteOptions::default()).await.unwrap();
    let name = "shirts.example.com";
    let watched = api.watch(None, ListOptions::default()).await.unwrap();
    cluster.delete::<CustomResourceDefinition>(name, PropagationPolicy::Background).await;
    cluster.pass(2).await;
    let found = cluster.get::<CustomResourceDefinition>(name).await;
    assert_eq!(condition(&found, "Terminating"), "True InstanceDeletionInProgress");
    let refused = api.create(object("late", &[]), WriteOptions::default()).await.unwrap_err();
    assert_eq!(refused.reason(), Reason::MethodNotAllowed, "{refused}");
    let left = api.list(None, ListOptions::default()).await.unwrap().items;
    assert_eq!(left.len(), 1);
    let free = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    api.patch(&Key::new("default", "held"), free, WriteOptions::default()).await.unwrap();
    cluster.gone::<CustomResourceDefinition>(name).await;
    cluster.pass(1).await;
    assert!(cluster.client.catalog().by_kind("example.com/v1", "Shirt").is_err());
    // Both were there, one went, the other was marked, let go and went.
    assert_eq!(watched.collect::<Vec<_>>().await.len(), 5);
    // A new one of that name begins without objects.
    cluster.make::<CustomResourceDefinition>(definition("shirts", "Shirt")).await;
    established(&cluster, name).await;
    let key = Key::new("default", "free");
    assert!(shirts(&cluster).find(&key).await.unwrap().is_none());
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_name_goes_to_the_next_when_it_comes_free() {
    let cluster = Cluster::start().await;
    cluster.make::<CustomResourceDefinition>(definition("shirts", "Shirt")).await;
    established(&cluster, "shirts.example.com").await;
    cluster.make::<CustomResourceDefinition>(definition("tops", "Shirt")).await;
    cluster.pass(1).await;
    let waits = cluster.get::<CustomResourceDefinition>("tops.example.com").await;
    assert_eq!(condition(&waits, "NamesAccepted"), "False ListKindConflict");
    assert_eq!(condition(&waits, "Established"), "False NotAccepted");
    let first = "shirts.example.com";
    cluster.delete::<CustomResourceDefinition>(first, PropagationPolicy::Background).await;
    established(&cluster, "tops.example.com").await;
    assert_eq!(shirts(&cluster).resource().plural, "tops");
    cluster.stop().await;
}
