//! The request pipeline through its in-process client, on a memory store.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say so and end")]

use std::time::Duration;

use futures::{FutureExt as _, StreamExt as _};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Binding, ConfigMap, Namespace, ObjectReference, Pod};
use k8s_openapi::api::rbac::v1::ClusterRole;
use pinnace_api::patch::Patch;
use pinnace_api::{ApiError, Catalog, Codec, Draft, DynamicObject, Key, Kind, Reason, Resource};
use pinnace_client::{
    Api, Client, DeleteOptions, DynamicApi, ListOptions, Preconditions, PropagationPolicy,
    VersionMatch, WatchEvent, WriteOptions,
};
use pinnace_env::Env;
use pinnace_server::{Server, User};
use pinnace_store::{Expect, Limits, Store, Transaction};
use serde_json::{Value, json};

async fn client() -> Client {
    let server = Server::builder(Store::memory(), Catalog::builtin(), Env::simulated(1)).build();
    let client = server.client(User::host());
    client
        .of::<Namespace>()
        .unwrap()
        .create(from(json!({"metadata": {"name": "default"}})))
        .await
        .unwrap();
    client
}

fn from<K: Kind>(value: Value) -> K {
    serde_json::from_value(value).unwrap()
}

fn key(name: &str) -> Key {
    Key::new("default", name)
}

fn config_map(name: &str) -> ConfigMap {
    from(json!({"metadata": {"name": name, "namespace": "default"}, "data": {"a": "1"}}))
}

fn pod(name: &str) -> Pod {
    from(json!({
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"containers": [{"name": "c", "image": "i"}]}
    }))
}

fn deployment(name: &str) -> Deployment {
    from(json!({
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "c", "image": "i"}]}
            }
        }
    }))
}

fn reason<T: std::fmt::Debug>(result: Result<T, ApiError>) -> (Reason, String) {
    let error = result.unwrap_err();
    (error.reason(), error.message().to_owned())
}

fn check_error<T: std::fmt::Debug>(result: Result<T, ApiError>, expected: Reason, part: &str) {
    let (reason, message) = reason(result);
    assert_eq!(reason, expected, "{message}");
    assert!(message.contains(part), "{message:?} does not contain {part:?}");
}

#[tokio::test]
async fn create_fills_in_what_the_server_knows() {
    let client = client().await;
    let created = client.of::<Deployment>().unwrap().create(deployment("web")).await.unwrap();
    let meta = &created.metadata;
    assert_eq!(meta.generation, Some(1));
    assert_eq!(meta.uid.as_ref().unwrap().len(), 36);
    assert!(meta.creation_timestamp.is_some());
    assert_eq!(meta.resource_version, Some(created.object().revision().to_string()));
    assert_eq!(created.spec.as_ref().unwrap().replicas, Some(1));
}

#[tokio::test]
async fn create_refuses_what_upstream_refuses() {
    let client = client().await;
    let maps = client.of::<ConfigMap>().unwrap();
    maps.create(config_map("a")).await.unwrap();
    check_error(
        maps.create(config_map("a")).await,
        Reason::AlreadyExists,
        "configmaps \"a\" already exists",
    );
    check_error(
        maps.create(from(json!({"metadata": {"namespace": "default"}}))).await,
        Reason::Invalid,
        "name or generateName is required",
    );
    check_error(
        maps.create(from(json!({"metadata": {"name": "a", "namespace": "gone"}}))).await,
        Reason::NotFound,
        "namespaces \"gone\" not found",
    );
    check_error(
        maps.create(config_map("No_Name")).await,
        Reason::Invalid,
        "ConfigMap \"No_Name\" is invalid: metadata.name",
    );
}

#[tokio::test]
async fn generate_name_makes_a_free_name() {
    let client = client().await;
    let maps = client.of::<ConfigMap>().unwrap();
    for _ in 0..3 {
        let made = maps
            .create(from(json!({"metadata": {"generateName": "web-", "namespace": "default"}})))
            .await
            .unwrap();
        assert_eq!(made.object().name().len(), "web-".len() + 5);
    }
    assert_eq!(maps.list(Some("default"), ListOptions::default()).await.unwrap().items.len(), 3);
}

#[tokio::test]
async fn a_generated_name_that_is_taken_is_made_anew() {
    let client_of = |env: Env| {
        let server = Server::builder(Store::memory(), Catalog::builtin(), env).build();
        server.client(User::host()).of::<ClusterRole>().unwrap()
    };
    let role = |meta: Value| from(json!({"metadata": meta, "rules": []}));
    for taken in [7, 8] {
        // What the server will think of, when both draw from one seed: uids, and then the names.
        let (env, twin) = (Env::simulated(1), Env::simulated(1));
        let client = client_of(env);
        for _ in 0..=taken {
            twin.random().uid();
        }
        for _ in 0..taken {
            let name = format!("r-{}", twin.random().suffix(5));
            client.create(role(json!({"name": name}))).await.unwrap();
        }
        let made = client.create(role(json!({"generateName": "r-"}))).await;
        if taken < 8 {
            assert_eq!(made.unwrap().object().name(), format!("r-{}", twin.random().suffix(5)));
        } else {
            let why = "the server was not able to generate a unique name for the object";
            check_error(made, Reason::AlreadyExists, why);
        }
    }
}

#[tokio::test]
async fn an_update_with_an_old_version_is_a_conflict() {
    let client = client().await;
    let maps = client.of::<ConfigMap>().unwrap();
    let first = maps.create(config_map("a")).await.unwrap();
    let mut change = first.to_owned();
    change.data.as_mut().unwrap().insert("a".into(), "2".into());
    maps.update(change.clone()).await.unwrap();
    check_error(
        maps.update(change.clone()).await,
        Reason::Conflict,
        "the object has been modified",
    );
    change.metadata.resource_version = None;
    change.data.as_mut().unwrap().insert("a".into(), "3".into());
    assert_eq!(maps.update(change).await.unwrap().data.as_ref().unwrap()["a"], "3");
}

#[tokio::test]
async fn an_update_that_changes_nothing_is_not_written() {
    let client = client().await;
    let maps = client.of::<ConfigMap>().unwrap();
    let first = maps.create(config_map("a")).await.unwrap();
    let second = maps.update(first.to_owned()).await.unwrap();
    assert!(first.object().same(second.object()));
}

#[tokio::test]
async fn spec_and_status_are_written_apart() {
    let client = client().await;
    let deployments = client.of::<Deployment>().unwrap();
    let made = deployments.create(deployment("web")).await.unwrap();
    let mut change = made.to_owned();
    change.spec.as_mut().unwrap().replicas = Some(7);
    change.status = Some(from_value(json!({"replicas": 3})));
    let status = deployments.update_status(change.clone()).await.unwrap();
    assert_eq!(status.spec.as_ref().unwrap().replicas, Some(1));
    assert_eq!(status.status.as_ref().unwrap().replicas, Some(3));
    assert_eq!(status.metadata.generation, Some(1));
    change.metadata.resource_version = None;
    change.status = None;
    let spec = deployments.update(change).await.unwrap();
    assert_eq!(spec.spec.as_ref().unwrap().replicas, Some(7));
    assert_eq!(spec.status.as_ref().unwrap().replicas, Some(3));
    assert_eq!(spec.metadata.generation, Some(2));
}

fn from_value<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

#[tokio::test]
async fn patches_of_each_type_change_an_object() {
    let client = client().await;
    let deployments = client.of::<Deployment>().unwrap();
    deployments.create(deployment("web")).await.unwrap();
    let patches = [
        Patch::Merge(json!({"spec": {"replicas": 2}})),
        Patch::Json(json!([{"op": "replace", "path": "/spec/replicas", "value": 3}])),
        Patch::StrategicMerge(json!({"spec": {"replicas": 4, "template": {"spec": {"containers": [
            {"name": "side", "image": "s"}
        ]}}}})),
    ];
    for (patch, replicas) in patches.into_iter().zip(2..) {
        let patched = deployments.patch(&key("web"), patch).await.unwrap();
        assert_eq!(patched.spec.as_ref().unwrap().replicas, Some(replicas));
    }
    let containers = deployments.get(&key("web")).await.unwrap();
    let containers = &containers.spec.as_ref().unwrap().template.spec.as_ref().unwrap().containers;
    assert_eq!(containers.len(), 2, "a strategic merge adds to the list");
}

#[tokio::test]
async fn apply_creates_and_then_merges() {
    let client = client().await;
    let deployments = client.of::<Deployment>().unwrap();
    let manifest = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "web"}}, "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "c", "image": "i:1"}]}
        }}
    });
    let apply = async |manifest: &Value, manager: &str| {
        let options =
            WriteOptions { field_manager: Some(manager.into()), ..WriteOptions::default() };
        deployments.dynamic().patch(&key("web"), Patch::Apply(manifest.clone()), options).await
    };
    let made = apply(&manifest, "me").await.unwrap();
    assert_eq!(made.managed_fields().len(), 1);
    let again = apply(&manifest, "me").await.unwrap();
    assert_eq!(made.revision(), again.revision(), "applying the same changes nothing");

    let mut other = manifest.clone();
    other["spec"]["replicas"] = json!(5);
    check_error(apply(&other, "you").await, Reason::Conflict, "conflict with \"me\"");
    let mut less = manifest.clone();
    less["spec"].as_object_mut().unwrap().remove("replicas");
    apply(&less, "me").await.unwrap();
    let stays = deployments.get(&key("web")).await.unwrap();
    assert_eq!(stays.spec.as_ref().unwrap().replicas, Some(1), "what nobody applies is defaulted");
}

#[tokio::test]
async fn scale_reads_and_sets_replicas() {
    let client = client().await;
    let deployments = client.of::<Deployment>().unwrap();
    deployments.create(deployment("web")).await.unwrap();
    let scale = deployments.dynamic().set_replicas(&key("web"), 5).await.unwrap();
    assert_eq!(scale.spec.as_ref().unwrap().replicas, Some(5));
    assert_eq!(scale.status.as_ref().unwrap().selector.as_deref(), Some("app=web"));
    check_error(
        deployments.dynamic().set_replicas(&key("web"), -1).await,
        Reason::Invalid,
        "spec.replicas",
    );
    check_error(
        client.of::<ConfigMap>().unwrap().dynamic().scale(&key("x")).await,
        Reason::NotFound,
        "",
    );
}

#[tokio::test]
async fn a_pod_is_bound_once() {
    let client = client().await;
    let pods = client.of::<Pod>().unwrap();
    pods.create(pod("p")).await.unwrap();
    let binding = || Binding {
        target: ObjectReference {
            kind: Some("Node".into()),
            name: Some("n1".into()),
            ..Default::default()
        },
        ..Default::default()
    };
    pods.bind(&key("p"), binding()).await.unwrap();
    let bound = pods.get(&key("p")).await.unwrap();
    assert_eq!(bound.spec.as_ref().unwrap().node_name.as_deref(), Some("n1"));
    let conditions = bound.status.as_ref().unwrap().conditions.as_ref().unwrap();
    assert!(conditions.iter().any(|c| c.type_ == "PodScheduled" && c.status == "True"));
    check_error(
        pods.bind(&key("p"), binding()).await,
        Reason::Conflict,
        "already assigned to node \"n1\"",
    );
}

#[tokio::test]
async fn a_bound_pod_goes_gracefully_and_may_be_hurried() {
    let client = client().await;
    let pods = client.of::<Pod>().unwrap();
    let mut bound = pod("p");
    bound.spec.as_mut().unwrap().node_name = Some("n1".into());
    pods.create(bound).await.unwrap();
    let going = pods.delete(&key("p"), DeleteOptions::default()).await.unwrap();
    assert_eq!(going.metadata.deletion_grace_period_seconds, Some(30));
    let hurry =
        |seconds| DeleteOptions { grace_period_seconds: Some(seconds), ..Default::default() };
    assert_eq!(
        pods.delete(&key("p"), hurry(60)).await.unwrap().metadata.deletion_grace_period_seconds,
        Some(30),
        "a second deletion only shortens"
    );
    assert_eq!(
        pods.delete(&key("p"), hurry(5)).await.unwrap().metadata.deletion_grace_period_seconds,
        Some(5)
    );
    pods.delete(&key("p"), hurry(0)).await.unwrap();
    assert!(pods.find(&key("p")).await.unwrap().is_none());
}

#[tokio::test]
async fn an_unscheduled_pod_goes_at_once() {
    let client = client().await;
    let pods = client.of::<Pod>().unwrap();
    pods.create(pod("p")).await.unwrap();
    pods.delete(&key("p"), DeleteOptions::default()).await.unwrap();
    assert!(pods.find(&key("p")).await.unwrap().is_none());
}

#[tokio::test]
async fn finalizers_hold_an_object_until_the_last_is_removed() {
    let client = client().await;
    let maps = client.of::<ConfigMap>().unwrap();
    let mut map = config_map("a");
    map.metadata.finalizers = Some(vec!["example.com/hold".into()]);
    maps.create(map).await.unwrap();
    let going = maps.delete(&key("a"), DeleteOptions::default()).await.unwrap();
    assert!(going.object().is_deleting());
    maps.modify(&key("a"), |map| {
        map.metadata.finalizers = None;
        true
    })
    .await
    .unwrap();
    assert!(maps.find(&key("a")).await.unwrap().is_none());
}

#[tokio::test]
async fn propagation_policies_become_finalizers() {
    let client = client().await;
    let deployments = client.of::<Deployment>().unwrap();
    for (policy, finalizer) in [
        (PropagationPolicy::Foreground, Some("foregroundDeletion")),
        (PropagationPolicy::Orphan, Some("orphan")),
        (PropagationPolicy::Background, None),
    ] {
        deployments.create(deployment("web")).await.unwrap();
        let options = DeleteOptions { propagation: Some(policy), ..Default::default() };
        deployments.delete(&key("web"), options).await.unwrap();
        let left = deployments.find(&key("web")).await.unwrap();
        let finalizers = left.as_ref().and_then(|left| left.metadata.finalizers.clone());
        assert_eq!(finalizers.unwrap_or_default().first().map(String::as_str), finalizer);
        if left.is_some() {
            deployments
                .modify(&key("web"), |web| {
                    web.metadata.finalizers = None;
                    true
                })
                .await
                .unwrap();
        }
    }
}

#[tokio::test]
async fn what_a_deletion_leaves_open_is_up_to_the_kind() {
    let client = client().await;
    let template = json!({
        "metadata": {"labels": {"app": "x"}},
        "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]},
    });
    let event = json!({"involvedObject": {"namespace": "default"}});
    let always = json!({
        "metadata": {"labels": {"app": "x"}},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    });
    let controller = json!({"spec": {"selector": {"app": "x"}, "template": always}});
    let foreground = Some(PropagationPolicy::Foreground);
    let background = Some(PropagationPolicy::Background);
    let set = json!({"spec": {"selector": {"matchLabels": {"app": "x"}}, "template": always}});
    for (kind, body, policy, finalizer) in [
        ("jobs", json!({"spec": {"template": template}}), None, Some("orphan")),
        ("jobs", json!({"spec": {"template": template}}), background, None),
        ("replicationcontrollers", controller.clone(), None, Some("orphan")),
        ("replicationcontrollers", controller, foreground, Some("foregroundDeletion")),
        ("replicasets.apps", set, None, None),
        ("events", event, foreground, None),
    ] {
        let api = client.named(kind).unwrap();
        let mut body = body;
        let name = format!("x{}", finalizer.unwrap_or_default().len());
        body["metadata"] = json!({"name": name.to_lowercase(), "namespace": "default"});
        let draft = Draft::from_value(api.resource().codec, body).unwrap();
        let key = api.create(draft, WriteOptions::default()).await.unwrap().key();
        let options = DeleteOptions { propagation: policy, ..DeleteOptions::default() };
        api.delete(&key, options).await.unwrap();
        let left = api.find(&key).await.unwrap();
        let finalizers = left.and_then(|left| left.meta().finalizers.clone()).unwrap_or_default();
        assert_eq!(finalizers.first().map(String::as_str), finalizer, "{kind} {policy:?}");
    }
}

/// Every kind that is stored, updated and built in, with an object of it in the store that has
/// nothing but metadata.
async fn bare_objects() -> (Client, Vec<DynamicApi>) {
    let store = Store::memory();
    let catalog = Catalog::builtin();
    let mut transaction = Transaction::new();
    let namespace = json!({"metadata": {"name": "default"}, "status": {"phase": "Active"}});
    let namespace = Draft::from_value(Codec::of::<Namespace>(), namespace).unwrap();
    transaction.put(&"namespaces".into(), Key::cluster("default"), Expect::Absent, namespace);
    let mut kinds = Vec::new();
    for resource in catalog.all() {
        if !resource.is_stored() || !resource.verbs.0.contains(&"update") {
            continue;
        }
        let key = bare_key(&resource);
        let draft = Draft::from_value(resource.codec, bare(&resource, json!({}))).unwrap();
        transaction.put(resource.table(), key, Expect::Absent, draft);
        kinds.push(resource);
    }
    store.commit(transaction).await.unwrap();
    let server = Server::builder(store, catalog, Env::simulated(1)).build();
    let client = server.client(User::host());
    let apis = kinds.into_iter().map(|kind| client.resource(kind)).collect();
    (client, apis)
}

fn bare_key(resource: &Resource) -> Key {
    if resource.is_namespaced() { Key::new("default", "x") } else { Key::cluster("x") }
}

fn bare(resource: &Resource, metadata: Value) -> Value {
    let mut metadata = metadata;
    metadata["name"] = json!("x");
    if resource.is_namespaced() {
        metadata["namespace"] = json!("default");
    }
    json!({"apiVersion": resource.api_version(), "kind": resource.kind, "metadata": metadata})
}

#[tokio::test]
async fn who_updates_says_which_version_where_upstream_wants_it() {
    let (_client, kinds) = bare_objects().await;
    let mut wanted = Vec::new();
    let mut made = Vec::new();
    for api in &kinds {
        let resource = api.resource();
        let body = bare(resource, json!({"labels": {"a": "b"}}));
        let draft = Draft::from_value(resource.codec, body.clone()).unwrap();
        let said = api.update(draft, WriteOptions::default()).await.err();
        let said = said.map(|error| error.message().to_owned()).unwrap_or_default();
        let name = resource.name();
        let expected =
            format!("{name} \"x\" is invalid: metadata.resourceVersion: Invalid value: ");
        if said.starts_with(&(expected + "0x0: must be specified for an update")) {
            wanted.push(name.to_string());
        }
        let mut other = body;
        other["metadata"]["name"] = json!("y");
        let draft = Draft::from_value(resource.codec, other).unwrap();
        let done = api.update(draft, WriteOptions::default()).await;
        // Some want more of a new object than this one has.
        if !done.is_err_and(|error| error.is_not_found()) {
            made.push(resource.plural.to_string());
        }
    }
    wanted.sort();
    made.sort();
    let expected = [
        "apiservices.apiregistration.k8s.io",
        "csidrivers.storage.k8s.io",
        "csinodes.storage.k8s.io",
        "csistoragecapacities.storage.k8s.io",
        "customresourcedefinitions.apiextensions.k8s.io",
        "leases.coordination.k8s.io",
        "mutatingadmissionpolicies.admissionregistration.k8s.io",
        "mutatingadmissionpolicybindings.admissionregistration.k8s.io",
        "mutatingwebhookconfigurations.admissionregistration.k8s.io",
        "poddisruptionbudgets.policy",
        "runtimeclasses.node.k8s.io",
        "validatingadmissionpolicies.admissionregistration.k8s.io",
        "validatingadmissionpolicybindings.admissionregistration.k8s.io",
        "validatingwebhookconfigurations.admissionregistration.k8s.io",
        "volumeattachments.storage.k8s.io",
    ];
    assert_eq!(wanted, expected);
    let expected = [
        "clusterrolebindings",
        "clusterroles",
        "endpoints",
        "events",
        "leases",
        "limitranges",
        "rolebindings",
        "roles",
        "runtimeclasses",
        "services",
    ];
    assert_eq!(made, expected);
}

#[tokio::test]
async fn a_write_of_the_status_changes_metadata_where_upstream_lets_it() {
    let (_client, kinds) = bare_objects().await;
    let all = ["labels", "annotations", "finalizers", "ownerReferences"];
    for api in kinds.iter().filter(|api| api.resource().subresources.status) {
        let resource = api.resource();
        let kept: &[&str] = match &*resource.plural {
            "flowschemas"
            | "prioritylevelconfigurations"
            | "resourceclaims"
            | "servicecidrs"
            | "validatingadmissionpolicies"
            | "volumeattachments"
            | "apiservices" => &all,
            "pods" => &all[3..],
            "deployments" => &all[..1],
            _ => &[],
        };
        let version = api.get(&bare_key(resource)).await.unwrap().revision().to_string();
        let owner = json!([{"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u"}]);
        let changed = json!({
            "resourceVersion": version, "labels": {"a": "b"}, "annotations": {"a": "b"},
            "finalizers": ["a.b/c"], "ownerReferences": owner,
        });
        let draft = Draft::from_value(resource.codec, bare(resource, changed)).unwrap();
        let written = api.update_status(draft, WriteOptions::default()).await;
        let written = match written {
            Ok(written) => written.to_value().unwrap(),
            Err(error) => panic!("{}: {error}", resource.name()),
        };
        for field in all {
            let is = written["metadata"].get(field).is_none();
            assert_eq!(is, kept.contains(&field), "{field} of {}", resource.name());
        }
    }
}

#[tokio::test]
async fn a_namespace_stays_until_it_is_finalized_and_takes_nothing_new() {
    let client = client().await;
    let namespaces = client.of::<Namespace>().unwrap();
    namespaces.create(from(json!({"metadata": {"name": "team"}}))).await.unwrap();
    let going = namespaces.delete(&Key::cluster("team"), DeleteOptions::default()).await.unwrap();
    assert_eq!(going.status.as_ref().unwrap().phase.as_deref(), Some("Terminating"));
    let map = from(json!({"metadata": {"name": "a", "namespace": "team"}}));
    check_error(
        client.of::<ConfigMap>().unwrap().create(map).await,
        Reason::Forbidden,
        "because it is being terminated",
    );
    let default = namespaces.delete(&Key::cluster("default"), DeleteOptions::default()).await;
    check_error(default, Reason::Forbidden, "this namespace may not be deleted");
}

#[tokio::test]
async fn preconditions_and_dry_run_leave_the_object() {
    let client = client().await;
    let maps = client.of::<ConfigMap>().unwrap();
    maps.create(config_map("a")).await.unwrap();
    let other = Preconditions { uid: Some("other".into()), resource_version: None };
    let options = DeleteOptions { preconditions: Some(other), ..Default::default() };
    check_error(
        maps.delete(&key("a"), options).await,
        Reason::Conflict,
        "Precondition failed: UID",
    );
    maps.delete(&key("a"), DeleteOptions { dry_run: true, ..Default::default() }).await.unwrap();
    assert!(maps.find(&key("a")).await.unwrap().is_some());
}

#[tokio::test]
async fn lists_are_selected_and_paged_at_one_revision() {
    let client = client().await;
    let maps = client.of::<ConfigMap>().unwrap();
    for name in ["a", "b", "c", "d"] {
        let mut map = config_map(name);
        map.metadata.labels =
            Some([("half".into(), if name < "c" { "1" } else { "2" }.into())].into());
        maps.create(map).await.unwrap();
    }
    let select = ListOptions::default().labels("half=2").unwrap();
    let names: Vec<_> = maps
        .list(None, select)
        .await
        .unwrap()
        .items
        .iter()
        .map(|m| m.object().name().to_owned())
        .collect();
    assert_eq!(names, ["c", "d"]);
    let one = ListOptions::default().fields("metadata.name=b").unwrap();
    assert_eq!(maps.list(Some("default"), one).await.unwrap().items.len(), 1);
    check_error(
        maps.list(None, ListOptions::default().fields("data.a=1").unwrap()).await,
        Reason::BadRequest,
        "\"data.a\" is not a known field selector",
    );

    let page = ListOptions { limit: Some(3), ..ListOptions::default() };
    let first = maps.list(None, page.clone()).await.unwrap();
    assert_eq!((first.items.len(), first.remaining), (3, Some(1)));
    maps.delete(&key("d"), DeleteOptions::default()).await.unwrap();
    let rest = ListOptions { continue_token: first.continue_token, ..page };
    let rest = maps.list(None, rest).await.unwrap();
    assert_eq!(rest.items[0].object().name(), "d", "the second page shows the state of the first");
    assert_eq!(rest.revision, first.revision);
}

#[tokio::test]
async fn a_list_whose_version_is_gone_goes_on_with_what_is_there_now() {
    let limits = Limits { log_events: 1, ..Limits::default() };
    let catalog = Catalog::builtin();
    let server = Server::builder(Store::memory_with(limits), catalog, Env::simulated(1)).build();
    let client = server.client(User::host());
    let namespace = from::<Namespace>(json!({"metadata": {"name": "default"}}));
    client.of().unwrap().create(namespace).await.unwrap();
    let maps = client.of::<ConfigMap>().unwrap();
    for name in ["a", "b", "c"] {
        maps.create(config_map(name)).await.unwrap();
    }
    let page = ListOptions { limit: Some(1), ..ListOptions::default() };
    let first = maps.list(None, page.clone()).await.unwrap();
    for number in 0..200 {
        maps.create(config_map(&format!("d{number}"))).await.unwrap();
    }
    let rest = ListOptions { continue_token: first.continue_token, ..page.clone() };
    let gone = maps.list(None, rest).await.unwrap_err();
    assert_eq!((gone.code(), gone.reason()), (410, Reason::Expired));
    assert!(gone.message().contains("results in an inconsistent list"));
    let token = gone.to_status().metadata.continue_;
    let rest = ListOptions { continue_token: token, limit: Some(3), ..page };
    let rest = maps.list(None, rest).await.unwrap();
    let names: Vec<_> = rest.items.iter().map(|map| map.object().name().to_owned()).collect();
    assert_eq!(names, ["b", "c", "d0"]);
    let old = ListOptions::default().after(1);
    check_error(maps.watch(None, old).await.map(drop), Reason::Expired, "too old resource version");
    let (resource_version, version_match) = (Some(first.revision), Some(VersionMatch::Exact));
    let exact = ListOptions { resource_version, version_match, ..ListOptions::default() };
    let gone = "The resourceVersion for the provided list is too old.";
    check_error(maps.list(None, exact).await, Reason::Expired, gone);
}

#[tokio::test(start_paused = true)]
async fn states_of_more_than_ten_minutes_ago_are_forgotten() {
    let server = Server::builder(Store::memory(), Catalog::builtin(), Env::simulated(1)).build();
    tokio::spawn(server.clone().compact());
    tokio::task::yield_now().await;
    let namespaces = server.client(User::host()).of::<Namespace>().unwrap();
    for name in ["a", "b", "c"] {
        namespaces.create(from(json!({"metadata": {"name": name}}))).await.unwrap();
    }
    let page = ListOptions { limit: Some(1), ..ListOptions::default() };
    let continue_token = namespaces.list(None, page.clone()).await.unwrap().continue_token;
    namespaces.create(from(json!({"metadata": {"name": "d"}}))).await.unwrap();
    let rest = ListOptions { continue_token, ..page };
    tokio::time::sleep(Duration::from_secs(9 * 60)).await;
    assert_eq!(namespaces.list(None, rest.clone()).await.unwrap().remaining, Some(1));
    tokio::time::sleep(Duration::from_secs(2 * 60)).await;
    let gone = namespaces.list(None, rest.clone()).await.unwrap_err();
    assert_eq!(gone.reason(), Reason::Expired);
    let continue_token = gone.to_status().metadata.continue_;
    let rest = ListOptions { continue_token, ..rest };
    assert_eq!(namespaces.list(None, rest).await.unwrap().remaining, Some(2));
    // What has happened since can be watched all the same.
    drop(namespaces.watch(None, ListOptions::default().after(2)).await.unwrap());
}

#[tokio::test]
async fn a_verb_that_a_kind_does_not_have_is_refused_within_the_process_too() {
    let client = client().await;
    let namespaces = client.of::<Namespace>().unwrap();
    let (all, how) = (ListOptions::default(), DeleteOptions::default());
    let why = "deletecollection is not supported on resources of kind \"namespaces\"";
    let refused = namespaces.dynamic().delete_collection(None, all, how).await;
    check_error(refused, Reason::MethodNotAllowed, why);
}

#[tokio::test]
async fn a_watch_tells_of_what_begins_and_ceases_to_match() {
    let client = client().await;
    let maps = client.of::<ConfigMap>().unwrap();
    let made = maps.create(config_map("a")).await.unwrap();
    let options = ListOptions::default().labels("on").unwrap().after(made.object().revision());
    let mut events = maps.watch(None, options).await.unwrap();
    for on in [true, true, false] {
        maps.modify(&key("a"), |map| {
            map.metadata.labels = on.then(|| [("on".into(), String::new())].into());
            map.data.get_or_insert_default().entry("n".into()).or_default().push('x');
            true
        })
        .await
        .unwrap();
        let event = events.next().await.unwrap().unwrap();
        match (on, event) {
            (true, WatchEvent::Added(_) | WatchEvent::Modified(_)) => {}
            // As it matched last, at the version at which it ceased to.
            (false, WatchEvent::Deleted(map)) => {
                let now = maps.get(&key("a")).await.unwrap();
                assert_eq!(map.meta().resource_version, now.metadata.resource_version);
                assert!(map.labels().is_some_and(|labels| labels.contains_key("on")));
                assert_eq!(map.get::<ConfigMap>().unwrap().data.as_ref().unwrap()["n"], "xx");
            }
            (on, event) => panic!("{on}: {event:?}"),
        }
    }
}

/// What a watch says of itself: the names it begins with, and bookmarks.
async fn beginning(client: &Client, options: ListOptions) -> Vec<String> {
    let mut events = client.of::<ConfigMap>().unwrap().watch(None, options).await.unwrap();
    let mut said = Vec::new();
    while let Some(Some(Ok(event))) = events.next().now_or_never() {
        said.push(match event {
            WatchEvent::Added(object) => object.name().to_owned(),
            WatchEvent::Bookmark(_, true) => "whole".to_owned(),
            other => format!("{other:?}"),
        });
    }
    said
}

#[tokio::test(start_paused = true)]
async fn a_watch_begins_with_what_it_is_asked_for() {
    let client = client().await;
    let made = client.of::<ConfigMap>().unwrap().create(config_map("a")).await.unwrap();
    let revision = made.object().revision();
    for (initial, version, expected) in [
        (None, None, vec!["a", "whole"]),
        (None, Some(0), vec!["a", "whole"]),
        (None, Some(revision), vec![]),
        (None, Some(revision - 1), vec!["a"]),
        (Some(true), None, vec!["a", "whole"]),
        (Some(true), Some(revision), vec!["a", "whole"]),
        (Some(false), None, vec![]),
        (Some(false), Some(0), vec![]),
        (Some(false), Some(revision - 1), vec!["a"]),
    ] {
        let options = ListOptions {
            bookmarks: true,
            initial_events: initial,
            resource_version: version,
            ..ListOptions::default()
        };
        assert_eq!(beginning(&client, options).await, expected, "{initial:?} {version:?}");
    }
    assert_eq!(beginning(&client, ListOptions::default()).await, ["a"], "without bookmarks");
}

#[tokio::test(start_paused = true)]
async fn a_watch_waits_a_little_for_its_version() {
    let client = client().await;
    let maps = client.of::<ConfigMap>().unwrap();
    let revision = maps.create(config_map("a")).await.unwrap().object().revision();
    let after = |version| ListOptions::default().after(version);
    let late = maps.watch(None, after(revision + 9)).await.map(drop);
    check_error(late, Reason::Timeout, &format!("Too large resource version: {}", revision + 9));
    let options = ListOptions { initial_events: Some(true), ..after(revision + 1) };
    let mut watch = Box::pin(maps.watch(None, options));
    assert!((&mut watch).now_or_never().is_none(), "it has not happened yet");
    maps.create(config_map("b")).await.unwrap();
    let events: Vec<_> = watch.await.unwrap().take(2).collect().await;
    assert!(matches!(&events[1], Ok(WatchEvent::Added(map)) if map.name() == "b"), "{events:?}");
}

#[tokio::test(start_paused = true)]
async fn a_watch_is_told_how_far_it_is_shortly_before_its_end() {
    let client = client().await;
    let maps = client.of::<ConfigMap>().unwrap();
    let revision = maps.create(config_map("a")).await.unwrap().object().revision();
    let timeout = Some(Duration::from_secs(70));
    let options = ListOptions { bookmarks: true, timeout, ..ListOptions::default() };
    let began = tokio::time::Instant::now();
    let mut events = maps.watch(None, options.after(revision)).await.unwrap();
    for seconds in [60, 68] {
        let event = events.next().await.unwrap();
        assert!(matches!(event, Ok(WatchEvent::Bookmark(_, false))), "{event:?}");
        assert_eq!(began.elapsed().as_secs(), seconds);
    }
    let more = tokio::time::timeout(Duration::from_secs(600), events.next()).await;
    assert!(more.is_err(), "that was the last: {more:?}");
}

#[tokio::test]
async fn only_masters_may_act_until_rules_say_otherwise() {
    let server = Server::builder(Store::memory(), Catalog::builtin(), Env::simulated(1)).build();
    let jane = server.client(User::new("jane", ["dev".to_owned()]));
    let answer = jane.of::<Pod>().unwrap().list(Some("default"), ListOptions::default()).await;
    check_error(
        answer,
        Reason::Forbidden,
        "pods is forbidden: User \"jane\" cannot list resource \"pods\" in API group \"\" in the namespace \"default\"",
    );
}

#[tokio::test]
async fn a_body_of_another_kind_is_refused() {
    let client = client().await;
    let maps: Api<ConfigMap> = client.of().unwrap();
    let draft = pinnace_api::Draft::from_value(
        Codec::of::<DynamicObject>(),
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": "default"}}),
    );
    let answer = maps.dynamic().create(draft.unwrap(), WriteOptions::default()).await;
    check_error(answer, Reason::BadRequest, "does not match the expected API version");
}

#[tokio::test]
async fn a_collection_is_deleted_by_what_selects_it() {
    let client = client().await;
    let maps = client.of::<ConfigMap>().unwrap();
    for name in ["a", "b", "c"] {
        let mut map = config_map(name);
        map.metadata.labels = (name != "c").then(|| [("go".into(), String::new())].into());
        maps.create(map).await.unwrap();
    }
    let selected = ListOptions::default().labels("go").unwrap();
    let deleted =
        maps.dynamic().delete_collection(Some("default"), selected, DeleteOptions::default());
    assert_eq!(deleted.await.unwrap().items.len(), 2);
    let left = maps.list(None, ListOptions::default()).await.unwrap();
    assert_eq!(left.items.iter().map(|map| map.object().name()).collect::<Vec<_>>(), ["c"]);
}
