//! Which webhooks are asked, and what they are shown.

use pinnace_client::{DeleteOptions, ListOptions};
use serde_json::{Value, json};

use crate::support::{World, check_error, config_map};

const VALIDATING: &str = "validatingwebhookconfiguration";

async fn watched(webhook: Value) -> World {
    let world = World::new().await;
    world.register(VALIDATING, &[webhook]).await;
    world.respond("a", |_| json!({"allowed": true}));
    world
}

fn rule(operations: Value, groups: Value, versions: Value, resources: Value) -> Value {
    json!({"operations": operations, "apiGroups": groups, "apiVersions": versions, "resources": resources})
}

async fn check_rule(rule: Value, expected: usize) {
    let shown = rule.to_string();
    let world = watched(json!({"rules": [rule]})).await;
    world.config_map().await.unwrap();
    world.patch("configmap", "m", json!({"data": {"a": "2"}})).await.unwrap();
    world.delete("configmap", "m").await.unwrap();
    assert_eq!(world.asked().len(), expected, "{shown}");
}

#[tokio::test]
async fn rules_name_operations_groups_versions_and_resources() {
    let all = || json!(["*"]);
    check_rule(rule(all(), all(), all(), json!(["*/*"])), 3).await;
    check_rule(
        rule(json!(["CREATE", "DELETE"]), json!([""]), json!(["v1"]), json!(["configmaps"])),
        2,
    )
    .await;
    check_rule(rule(json!(["CONNECT"]), all(), all(), json!(["*/*"])), 0).await;
    check_rule(rule(all(), json!(["apps"]), all(), all()), 0).await;
    check_rule(rule(all(), all(), json!(["v2"]), all()), 0).await;
    check_rule(rule(all(), all(), all(), json!(["configmaps/status", "secrets"])), 0).await;
    let scoped = |scope: &str| {
        let mut rule = rule(all(), all(), all(), all());
        rule["scope"] = scope.into();
        rule
    };
    check_rule(scoped("Namespaced"), 3).await;
    check_rule(scoped("Cluster"), 0).await;
}

#[tokio::test]
async fn parts_are_named_behind_a_slash() {
    let world = watched(json!({"rules": [rule(json!(["*"]), json!([""]), json!(["*"]), json!(["pods/status", "*/binding"]))]})).await;
    let pod =
        json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    world.create("pod", pod).await.unwrap();
    assert!(world.asked().is_empty());
    let api = world.client.named("pod").unwrap();
    let patch = pinnace_api::patch::Patch::Merge(json!({"status": {"phase": "Running"}}));
    api.patch_status(&pinnace_api::Key::new("default", "p"), patch, Default::default())
        .await
        .unwrap();
    let asked = world.asked();
    let request = &asked[0]["request"];
    assert_eq!(
        (&request["subResource"], &request["object"]["status"]["phase"]),
        (&json!("status"), &json!("Running"))
    );
    assert_eq!(request["oldObject"]["status"]["phase"], "Pending");
}

#[tokio::test]
async fn namespaces_and_objects_are_selected_by_labels() {
    let label = |value: &str| json!({"matchLabels": {"team": value}});
    for (selectors, expected) in [
        (json!({"namespaceSelector": label("a")}), 1),
        (json!({"namespaceSelector": label("b")}), 0),
        (json!({"objectSelector": {"matchLabels": {"app": "web"}}}), 1),
        (json!({"objectSelector": {"matchLabels": {"app": "db"}}}), 0),
    ] {
        let world = watched(selectors).await;
        world.config_map().await.unwrap();
        assert_eq!(world.asked().len(), expected);
    }
    let world = watched(json!({"objectSelector": {"matchLabels": {"app": "web"}}})).await;
    world.config_map().await.unwrap();
    world.patch("configmap", "m", json!({"metadata": {"labels": {"app": "db"}}})).await.unwrap();
    world.patch("configmap", "m", json!({"data": {"a": "3"}})).await.unwrap();
    assert_eq!(world.asked().len(), 2, "what it was counts, too");
}

#[tokio::test]
async fn namespaces_are_selected_by_their_own_labels() {
    let rules = json!([rule(json!(["*"]), json!([""]), json!(["v1"]), json!(["namespaces"]))]);
    let world =
        watched(json!({"rules": rules, "namespaceSelector": {"matchLabels": {"team": "b"}}})).await;
    world.patch("namespace", "default", json!({"metadata": {"labels": {"x": "y"}}})).await.unwrap();
    assert!(world.asked().is_empty());
    world
        .create("namespace", json!({"metadata": {"name": "n", "labels": {"team": "b"}}}))
        .await
        .unwrap();
    let asked = world.asked();
    assert_eq!(
        (&asked[0]["request"]["name"], &asked[0]["request"]["namespace"]),
        (&json!("n"), &json!("n"))
    );
}

#[tokio::test]
async fn other_versions_of_a_kind_match_unless_exactness_is_asked_for() {
    let rules =
        || json!([rule(json!(["*"]), json!(["events.k8s.io"]), json!(["v1"]), json!(["events"]))]);
    let event = || {
        json!({"metadata": {"name": "e"}, "reason": "R", "message": "said",
        "involvedObject": {"kind": "Pod", "namespace": "default", "name": "p"}})
    };
    let world = watched(json!({"rules": rules(), "matchPolicy": "Exact"})).await;
    world.create("events.v1.", event()).await.unwrap();
    assert!(world.asked().is_empty());
    let world = watched(json!({"rules": rules()})).await;
    world.create("events.v1.", event()).await.unwrap();
    let asked = world.asked();
    let request = &asked[0]["request"];
    assert_eq!(
        request["kind"],
        json!({"group": "events.k8s.io", "version": "v1", "kind": "Event"})
    );
    assert_eq!(request["requestKind"], json!({"group": "", "version": "v1", "kind": "Event"}));
    assert_eq!(request["resource"]["group"], "events.k8s.io");
    assert_eq!(request["requestResource"]["group"], "");
    assert_eq!(request["object"]["note"], "said", "it is shown in the version it is asked for");
}

#[tokio::test]
async fn webhooks_do_not_watch_over_webhooks() {
    let all = || json!(["*"]);
    let world = watched(json!({"rules": [rule(all(), all(), all(), json!(["*/*"]))]})).await;
    world.respond("a", |_| json!({"allowed": false}));
    world.create("mutatingwebhookconfiguration", json!({"metadata": {"name": "m"}})).await.unwrap();
    world.delete("mutatingwebhookconfiguration", "m").await.unwrap();
    assert!(world.config_map().await.is_err());
    world.delete(VALIDATING, "w").await.unwrap();
    world.config_map().await.unwrap();
}

#[tokio::test]
async fn a_review_says_what_upstream_says() {
    let world = watched(json!({})).await;
    world.config_map().await.unwrap();
    let asked = world.urls();
    assert_eq!(asked, ["a/?timeout=10s"]);
    world.delete("configmap", "m").await.unwrap();
    world.config_map().await.unwrap();
    let mut review = world.asked().remove(1);
    let request = review["request"].as_object_mut().unwrap();
    assert_eq!(request.remove("uid").unwrap().as_str().unwrap().len(), 36);
    let object = request.remove("object").unwrap();
    assert_eq!((&object["kind"], &object["data"]["a"]), (&json!("ConfigMap"), &json!("1")));
    assert!(object["metadata"]["uid"].is_string());
    let kind = json!({"group": "", "version": "v1", "kind": "ConfigMap"});
    let resource = json!({"group": "", "version": "v1", "resource": "configmaps"});
    assert_eq!(
        review,
        json!({
            "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
            "request": {
                "kind": kind, "resource": resource, "requestKind": kind, "requestResource": resource,
                "name": "m", "namespace": "default", "operation": "CREATE",
                "userInfo": {"username": "jane", "groups": ["system:masters"]},
                "oldObject": null, "dryRun": false,
                "options": {"apiVersion": "meta.k8s.io/v1", "kind": "CreateOptions", "fieldValidation": "Warn"},
            }
        })
    );
}

#[tokio::test]
async fn what_is_deleted_is_shown_as_it_was() {
    let world = watched(json!({})).await;
    world.config_map().await.unwrap();
    world.asked();
    world.respond("a", |_| json!({"allowed": false, "status": {"message": "keep it"}}));
    check_error(
        world.delete("configmap", "m").await,
        400,
        "admission webhook \"a.example.com\" denied the request: keep it",
    );
    let asked = world.asked();
    let request = &asked[0]["request"];
    assert_eq!((&request["operation"], &request["object"]), (&json!("DELETE"), &Value::Null));
    assert_eq!(
        (&request["oldObject"]["data"]["a"], &request["options"]["kind"]),
        (&json!("1"), &json!("DeleteOptions"))
    );
    let api = world.client.named("configmap").unwrap();
    let all =
        api.delete_collection(Some("default"), ListOptions::default(), DeleteOptions::default());
    check_error(all.await, 400, "admission webhook \"a.example.com\" denied the request: keep it");
}

#[tokio::test]
async fn all_are_asked_at_once_and_one_that_refuses_is_enough() {
    let world = World::new().await;
    world.register(VALIDATING, &[json!({}), json!({}), json!({})]).await;
    let both = std::sync::Arc::new(tokio::sync::Barrier::new(3));
    for (host, allowed) in [("a", true), ("b", false), ("c", true)] {
        let both = both.clone();
        world.serve(host, move |review| {
            let both = both.clone();
            Box::pin(async move {
                both.wait().await;
                crate::support::ok(
                    &json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
                    "response": {"uid": review["request"]["uid"], "allowed": allowed}}),
                )
            })
        });
    }
    let created = world.create("configmap", config_map()).await;
    check_error(
        created,
        400,
        "admission webhook \"b.example.com\" denied the request without explanation",
    );
}
