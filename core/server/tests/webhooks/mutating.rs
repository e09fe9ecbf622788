//! What webhooks make of what is written.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use k8s_openapi::api::rbac::v1::Role;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use pinnace_client::{Subresource, Target, Transport as _, WriteOptions};
use pinnace_server::rbac::{Rbac, RbacEscalation};
use pinnace_server::{InProcess, User};
use pinnace_store::Store;
use serde_json::{Value, json};

use crate::support::{World, check_error, ok, patched};

const MUTATING: &str = "mutatingwebhookconfiguration";

fn add(path: &str, value: &str) -> Value {
    patched(&json!([{"op": "add", "path": path, "value": value}]))
}

#[tokio::test]
async fn each_sees_what_those_before_it_have_made() {
    let world = World::new().await;
    world.register(MUTATING, &[json!({}), json!({})]).await;
    world.respond("a", |_| add("/data/b", "2"));
    world.respond("b", |request| {
        let seen = request["object"]["data"]["b"].as_str().unwrap_or("nothing").to_owned();
        add("/data/c", &seen)
    });
    let made = world.config_map().await.unwrap();
    assert_eq!(made["data"], json!({"a": "1", "b": "2", "c": "2"}));
    let stored = world.client.named("configmap").unwrap();
    let stored = stored.get(&pinnace_api::Key::new("default", "m")).await.unwrap();
    assert_eq!(stored.to_value().unwrap()["data"]["c"], "2");
}

#[tokio::test]
async fn what_only_the_server_says_is_kept_from_webhooks_and_from_their_patches() {
    let world = World::new().await;
    world.register(MUTATING, &[json!({})]).await;
    world.respond("a", |_| {
        patched(&json!([
            {"op": "add", "path": "/metadata/uid", "value": "mine"},
            {"op": "add", "path": "/metadata/labels", "value": {"by": "a"}},
        ]))
    });
    let made = world.config_map().await.unwrap();
    assert_eq!(world.asked()[0]["request"]["object"]["metadata"].get("uid"), None);
    assert_eq!(
        (made["metadata"]["uid"].as_str().unwrap().len(), &made["metadata"]["labels"]["by"]),
        (36, &json!("a"))
    );
    assert_eq!(made["metadata"]["managedFields"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn what_a_webhook_makes_invalid_is_refused() {
    let world = World::new().await;
    world.register(MUTATING, &[json!({})]).await;
    world.respond("a", |_| add("/data/a b", "2"));
    let error = world.config_map().await.unwrap_err();
    assert_eq!(error.code(), 422);
    assert!(
        error.message().starts_with("ConfigMap \"m\" is invalid: data[a b]: Invalid value"),
        "{error}"
    );
}

#[tokio::test]
async fn who_wants_to_is_asked_again_when_others_have_changed_what_it_saw() {
    for (policy, expected) in [("IfNeeded", 3), ("Never", 2)] {
        let world = World::new().await;
        world.register(MUTATING, &[json!({"reinvocationPolicy": policy}), json!({})]).await;
        world.respond("a", |request| match request["object"]["data"].get("b") {
            None => json!({"allowed": true}),
            Some(_) => add("/data/seen", "yes"),
        });
        world.respond("b", |_| add("/data/b", "2"));
        let made = world.config_map().await.unwrap();
        assert_eq!(world.asked().len(), expected);
        assert_eq!(made["data"].get("seen").is_some(), policy == "IfNeeded");
    }
}

#[tokio::test]
async fn who_changes_something_alone_is_not_asked_again() {
    let world = World::new().await;
    world.register(MUTATING, &[json!({"reinvocationPolicy": "IfNeeded"})]).await;
    world.respond("a", |_| add("/data/b", "2"));
    world.config_map().await.unwrap();
    assert_eq!(world.asked().len(), 1);
}

#[tokio::test]
async fn webhooks_that_provoke_each_other_end() {
    let world = World::new().await;
    let again = json!({"reinvocationPolicy": "IfNeeded"});
    world.register(MUTATING, &[again.clone(), again]).await;
    for host in ["a", "b"] {
        let count = Arc::new(AtomicUsize::new(0));
        world.respond(host, move |_| {
            add("/data/last", &format!("{host}{}", count.fetch_add(1, Ordering::Relaxed)))
        });
    }
    let made = world.config_map().await.unwrap();
    assert_eq!((world.asked().len(), &made["data"]["last"]), (4, &json!("b1")));
}

#[tokio::test]
async fn rules_within_see_what_webhooks_have_made() {
    let world = World::new().await;
    let range = json!({"metadata": {"name": "l"}, "spec": {"limits": [{"type": "Container", "default": {"cpu": "1"}}]}});
    world.create("limitrange", range).await.unwrap();
    let rules = json!([{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}]);
    world.register(MUTATING, &[json!({"rules": rules})]).await;
    world.respond("a", |_| {
        patched(&json!([
            {"op": "add", "path": "/spec/containers/-", "value": {"name": "side", "image": "i"}},
            {"op": "add", "path": "/status", "value": {"phase": "Running"}},
        ]))
    });
    let pod =
        json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let made = world.create("pod", pod).await.unwrap().to_value().unwrap();
    assert_eq!(made["spec"]["containers"][1]["resources"]["limits"]["cpu"], "1");
    assert_eq!(made["spec"]["containers"][1]["imagePullPolicy"], "Always");
    assert_eq!(made["status"]["phase"], "Pending", "a new pod has no status, whoever says so");
}

#[tokio::test]
async fn there_is_nothing_to_change_about_a_deletion() {
    let world = World::new().await;
    world.config_map().await.unwrap();
    world.register(MUTATING, &[json!({"failurePolicy": "Ignore"})]).await;
    world.respond("a", |_| add("/data/b", "2"));
    check_error(
        world.delete("configmap", "m").await,
        500,
        "Internal error occurred: admission webhook \"a.example.com\" attempted to modify the object, \
         which is not supported for this operation",
    );
}

#[tokio::test]
async fn a_write_that_comes_between_has_webhooks_see_the_newer_object() {
    let world = World::new().await;
    world.config_map().await.unwrap();
    world.register(MUTATING, &[json!({})]).await;
    let other = world.client.named("secret").unwrap();
    drop(other);
    let (server, first) = (world.server.clone(), Arc::new(AtomicUsize::new(0)));
    world.serve("a", move |review| {
        let (server, first) = (server.clone(), first.clone());
        Box::pin(async move {
            if first.fetch_add(1, Ordering::Relaxed) == 0 {
                let transport = InProcess::new(server.clone(), User::host());
                let kind = server.catalog().resolve("configmap").unwrap();
                let target = Target::new(kind, pinnace_api::Key::new("default", "m"));
                let patch = pinnace_api::patch::Patch::Merge(json!({"data": {"between": "yes"}}));
                transport.patch(target, patch, WriteOptions::default()).await.unwrap();
            }
            ok(&json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
                "response": {"uid": review["request"]["uid"], "allowed": true}}))
        })
    });
    let made = world.patch("configmap", "m", json!({"data": {"b": "2"}})).await.unwrap();
    assert_eq!(made.to_value().unwrap()["data"], json!({"a": "1", "b": "2", "between": "yes"}));
    let asked = world.asked();
    assert_eq!(asked.len(), 3);
    assert_eq!(asked[2]["request"]["oldObject"]["data"]["between"], "yes");
}

#[tokio::test]
async fn a_scale_is_shown_as_a_scale() {
    let world = World::new().await;
    let deployment = json!({"metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}});
    world.create("deployment", deployment).await.unwrap();
    let rules = json!([{"operations": ["*"], "apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments/scale"]}]);
    world.register(MUTATING, &[json!({"rules": rules})]).await;
    world.respond("a", |_| {
        patched(&json!([{"op": "replace", "path": "/spec/replicas", "value": 7}]))
    });
    let transport = InProcess::new(world.server.clone(), User::host());
    let kind = world.server.catalog().resolve("deployment").unwrap();
    let target = Target::part(kind, pinnace_api::Key::new("default", "d"), Subresource::Scale);
    let patch = pinnace_api::patch::Patch::Merge(json!({"spec": {"replicas": 3}}));
    let scale = transport.patch(target, patch, WriteOptions::default()).await.unwrap();
    assert_eq!(scale.to_value().unwrap()["spec"]["replicas"], 7);
    let asked = world.asked();
    let request = &asked[0]["request"];
    assert_eq!(request["kind"], json!({"group": "autoscaling", "version": "v1", "kind": "Scale"}));
    assert_eq!(
        (&request["object"]["spec"]["replicas"], &request["oldObject"]["spec"]["replicas"]),
        (&json!(3), &json!(1))
    );
}

#[tokio::test]
async fn a_webhook_gives_nobody_rights_that_they_have_not() {
    let store = Store::memory();
    let rbac = Rbac::new(store.clone());
    let escalation = RbacEscalation::new(rbac.clone());
    let world = World::over(store, |builder| builder.authorizer(rbac).admission(escalation)).await;
    let rule = |verbs: &[&str], group: &str, resource: &str| json!({"verbs": verbs, "apiGroups": [group], "resources": [resource]});
    let group = "rbac.authorization.k8s.io";
    let rules = json!([rule(&["create"], group, "roles"), rule(&["get"], "", "pods")]);
    let role = json!({"metadata": {"name": "mine"}, "rules": rules});
    world.create("clusterrole", role).await.unwrap();
    let binding = json!({"metadata": {"name": "mine"},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "mine"},
        "subjects": [{"apiGroup": group, "kind": "User", "name": "ann"}]});
    world.create("clusterrolebinding", binding).await.unwrap();
    let ann = world.server.client(User::new("ann", []));
    let make = async |name: &str| {
        let metadata = ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some("default".to_owned()),
            ..ObjectMeta::default()
        };
        let rules = serde_json::from_value(json!([rule(&["get"], "", "pods")])).unwrap();
        ann.of::<Role>().unwrap().create(Role { metadata, rules }).await.map(drop)
    };
    make("before").await.unwrap();
    let rules = json!([{"operations": ["CREATE"], "apiGroups": [group], "apiVersions": ["v1"],
        "resources": ["roles"]}]);
    world.register(MUTATING, &[json!({"rules": rules})]).await;
    let more = rule(&["get"], "", "secrets");
    world
        .respond("a", move |_| patched(&json!([{"op": "add", "path": "/rules/-", "value": more}])));
    let error = make("after").await.unwrap_err();
    assert_eq!(error.code(), 403);
    let why = "is attempting to grant RBAC permissions not currently held:\n\
               {APIGroups:[\"\"], Resources:[\"secrets\"], Verbs:[\"get\"]}";
    assert!(error.message().ends_with(why), "{error}");
}
