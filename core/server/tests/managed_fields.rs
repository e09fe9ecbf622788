//! Who owns which field, as every write keeps it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say so and end")]

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod};
use pinnace_api::patch::Patch;
use pinnace_api::{Catalog, Codec, Draft, DynamicObject, Key, Object, Subresource};
use pinnace_client::{Client, DynamicApi, Target, Transport as _, WriteOptions};
use pinnace_env::Env;
use pinnace_server::{InProcess, Server, User};
use pinnace_store::Store;
use serde_json::{Value, json};

struct Fixture {
    client: Client,
    transport: InProcess,
}

impl Fixture {
    async fn new() -> Self {
        let env = Env::simulated(1);
        let server = Server::builder(Store::memory(), Catalog::builtin(), env).build();
        let client = server.client(User::host());
        let namespace = serde_json::from_value(json!({"metadata": {"name": "default"}})).unwrap();
        client.of::<Namespace>().unwrap().create(namespace).await.unwrap();
        Self { client, transport: InProcess::new(server, User::host()) }
    }

    fn maps(&self) -> DynamicApi {
        self.client.of::<ConfigMap>().unwrap().dynamic().clone()
    }

    async fn create(&self, kind: &str, manager: &str, mut object: Value) -> Object {
        object["metadata"]["namespace"] = "default".into();
        let api = self.client.named(kind).unwrap();
        let draft = Draft::from_value(api.resource().codec, object).unwrap();
        api.create(draft, by(manager)).await.unwrap()
    }
}

fn by(manager: &str) -> WriteOptions {
    WriteOptions { field_manager: Some(manager.to_owned()), ..WriteOptions::default() }
}

fn key() -> Key {
    Key::new("default", "a")
}

/// `manager operation subresource fields`, a line each.
fn owners(object: &Object) -> Vec<String> {
    let line = |entry: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry| {
        format!(
            "{} {} {} {}",
            entry.manager.as_deref().unwrap_or_default(),
            entry.operation.as_deref().unwrap_or_default(),
            entry.subresource.as_deref().unwrap_or("-"),
            entry.fields_v1.as_ref().unwrap().0
        )
    };
    object.managed_fields().iter().map(line).collect()
}

fn merge(patch: Value) -> Patch {
    Patch::Merge(patch)
}

#[tokio::test]
async fn each_writer_owns_what_it_has_changed() {
    let fixture = Fixture::new().await;
    let maps = fixture.maps();
    let made = fixture
        .create(
            "configmap",
            "ann",
            json!({"metadata": {"name": "a"}, "data": {"x": "1", "y": "1"}}),
        )
        .await;
    assert_eq!(owners(&made), [r#"ann Update - {"f:data":{".":{},"f:x":{},"f:y":{}}}"#]);

    let patch = merge(json!({"data": {"x": "2", "z": "1"}}));
    let changed = maps.patch(&key(), patch, by("bob")).await.unwrap();
    assert_eq!(
        owners(&changed),
        [
            r#"ann Update - {"f:data":{".":{},"f:y":{}}}"#,
            r#"bob Update - {"f:data":{"f:x":{},"f:z":{}}}"#
        ]
    );

    let same = merge(json!({"data": {"x": "2"}}));
    let unchanged = maps.patch(&key(), same, by("cat")).await.unwrap();
    assert_eq!(unchanged.revision(), changed.revision());
    assert_eq!(owners(&unchanged), owners(&changed));

    let gone = merge(json!({"data": {"z": null, "x": null}}));
    let removed = maps.patch(&key(), gone, by("cat")).await.unwrap();
    assert_eq!(owners(&removed), [r#"ann Update - {"f:data":{".":{},"f:y":{}}}"#]);
}

#[tokio::test]
async fn the_json_form_says_it_and_a_stored_object_remembers() {
    let fixture = Fixture::new().await;
    let object = json!({"metadata": {"name": "a"}, "data": {"x": "1"}});
    let made = fixture.create("configmap", "ann", object).await;
    let document: Value = serde_json::from_slice(&made.json()).unwrap();
    assert_eq!(document["metadata"]["managedFields"][0]["manager"], "ann");
    assert_eq!(made.to_value().unwrap(), document);
    let stored = Object::from_stored(Codec::of::<ConfigMap>(), made.json(), made.revision());
    assert_eq!(stored.managed_fields(), made.managed_fields());
    assert!(stored.meta().managed_fields.is_none());
    let dynamic = Object::from_stored(Codec::of::<DynamicObject>(), made.json(), 1);
    dynamic.get::<DynamicObject>().unwrap();
    assert_eq!(dynamic.managed_fields(), made.managed_fields());
}

#[tokio::test]
async fn what_admission_fills_in_is_nobodys_and_defaults_are_the_creators() {
    let fixture = Fixture::new().await;
    let pod = json!({
        "metadata": {"name": "a"},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
        "status": {"phase": "Running"}
    });
    let made = fixture.create("pod", "ann", pod).await;
    let owned = &owners(&made)[0];
    assert!(
        owned.contains("f:restartPolicy") && owned.contains(r#"k:{\"name\":\"c\"}"#),
        "{owned}"
    );
    assert!(!owned.contains("f:tolerations") && !owned.contains("f:status"), "{owned}");
}

#[tokio::test]
async fn parts_of_an_object_have_managers_of_their_own() {
    let fixture = Fixture::new().await;
    let made = fixture
        .create(
            "deployment",
            "ann",
            json!({"metadata": {"name": "a"}, "spec": {
                "selector": {"matchLabels": {"app": "a"}},
                "template": {
                    "metadata": {"labels": {"app": "a"}},
                    "spec": {"containers": [{"name": "c", "image": "i"}]}
                }
            }}),
        )
        .await;
    let api = fixture.client.of::<Deployment>().unwrap();
    let status = merge(json!({"status": {"replicas": 1}, "spec": {"replicas": 9}}));
    let api = api.dynamic();
    let changed = api.patch_status(&made.key(), status, by("ann")).await.unwrap();
    assert_eq!(owners(&changed)[1], r#"ann Update status {"f:status":{"f:replicas":{}}}"#);

    let target = Target::part(api.resource().clone(), key(), Subresource::Scale);
    let scale = merge(json!({"spec": {"replicas": 3}}));
    fixture.transport.patch(target, scale, by("cat")).await.unwrap();
    let scaled = api.get(&key()).await.unwrap();
    let owners = owners(&scaled);
    assert!(owners.contains(&r#"cat Update scale {"f:spec":{"f:replicas":{}}}"#.to_owned()));
    assert!(!owners[0].contains("f:replicas"), "{owners:?}");
}

#[tokio::test]
async fn a_scale_is_applied_and_conflicts_with_who_has_the_replicas() {
    let fixture = Fixture::new().await;
    let spec = json!({
        "selector": {"matchLabels": {"app": "a"}},
        "template": {
            "metadata": {"labels": {"app": "a"}},
            "spec": {"containers": [{"name": "c", "image": "i"}]}
        }
    });
    let object = json!({"metadata": {"name": "a"}, "spec": spec});
    fixture.create("deployment", "ann", object).await;
    let api = fixture.client.of::<Deployment>().unwrap();
    let target = Target::part(api.dynamic().resource().clone(), key(), Subresource::Scale);
    let apply = async |manager: &str, replicas: i32, force: bool| {
        let scale = Patch::Apply(json!({
            "apiVersion": "autoscaling/v1", "kind": "Scale",
            "metadata": {"name": "a", "namespace": "default"}, "spec": {"replicas": replicas},
        }));
        let options = WriteOptions { force, ..by(manager) };
        fixture.transport.patch(target.clone(), scale, options).await
    };
    apply("bob", 3, true).await.unwrap();
    let scaled = api.dynamic().get(&key()).await.unwrap();
    assert_eq!(api.get(&key()).await.unwrap().spec.as_ref().unwrap().replicas, Some(3));
    let entry = r#"bob Apply scale {"f:spec":{"f:replicas":{}}}"#.to_owned();
    assert!(owners(&scaled).contains(&entry), "{:?}", owners(&scaled));
    let refused = apply("cat", 4, false).await.unwrap_err();
    assert_eq!(refused.code(), 409, "{refused}");
    assert!(
        refused.message().contains("conflict with \"bob\" with subresource \"scale\""),
        "{refused}"
    );
    apply("cat", 4, true).await.unwrap();
    let scaled = api.dynamic().get(&key()).await.unwrap();
    assert!(owners(&scaled).iter().all(|line| !line.starts_with("bob")), "{:?}", owners(&scaled));
    assert_eq!(api.get(&key()).await.unwrap().spec.as_ref().unwrap().replicas, Some(4));
}

#[tokio::test]
async fn an_applier_conflicts_with_who_has_updated() {
    let fixture = Fixture::new().await;
    let object = json!({"metadata": {"name": "a"}, "data": {"x": "1"}});
    fixture.create("configmap", "ann", object).await;
    let applied = |value: &str| {
        Patch::Apply(json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "a", "namespace": "default"}, "data": {"x": value}
        }))
    };
    let maps = fixture.maps();
    let error = maps.patch(&key(), applied("2"), by("bob")).await.unwrap_err();
    assert_eq!(
        error.message(),
        "Apply failed with 1 conflict: conflict with \"ann\" using v1: .data.x"
    );
    let shared = maps.patch(&key(), applied("1"), by("bob")).await.unwrap();
    assert_eq!(owners(&shared).len(), 2, "who applies what is there shares it");
    let forced = WriteOptions { force: true, ..by("bob") };
    let taken = maps.patch(&key(), applied("2"), forced).await.unwrap();
    assert_eq!(
        owners(&taken),
        [r#"bob Apply - {"f:data":{"f:x":{}}}"#, r#"ann Update - {"f:data":{}}"#]
    );
}

#[tokio::test]
async fn an_empty_list_or_entry_resets_what_is_owned() {
    for reset in [json!([]), json!([{}])] {
        let fixture = Fixture::new().await;
        let object = json!({"metadata": {"name": "a"}, "data": {"x": "1"}});
        fixture.create("configmap", "ann", object).await;
        let maps = fixture.maps();
        let patch = merge(json!({"metadata": {"managedFields": reset}}));
        let empty = maps.patch(&key(), patch, by("ann")).await.unwrap();
        assert_eq!(empty.managed_fields(), []);
        let patch = merge(json!({"data": {"x": "2"}}));
        let after = maps.patch(&key(), patch, by("ann")).await.unwrap();
        assert_eq!(after.managed_fields(), [], "a write does not open the book anew");
    }
}

#[tokio::test]
async fn the_oldest_of_many_managers_are_taken_together() {
    let fixture = Fixture::new().await;
    let object = json!({"metadata": {"name": "a"}, "data": {"x": "1"}});
    let mut last = fixture.create("configmap", "m0", object).await;
    for index in 1..30 {
        let patch = merge(json!({"data": {format!("k{index}"): "1"}}));
        last = fixture.maps().patch(&key(), patch, by(&format!("m{index}"))).await.unwrap();
    }
    let owners = owners(&last);
    assert_eq!(owners.len(), 10, "{owners:#?}");
    assert!(owners.iter().any(|line| line.starts_with("ancient-changes Update - ")));
}

/// Prints what a creation costs: `cargo test -p pinnace-server --release --test managed_fields --
/// --ignored --nocapture`.
#[tokio::test]
#[ignore = "a measurement, to be run by hand"]
async fn what_creations_cost() {
    const COUNT: u32 = 20_000;
    let fixture = Fixture::new().await;
    let documents = [
        (
            "pod",
            json!({"spec": {"containers": [{"name": "c", "image": "i", "env": [
                {"name": "A", "value": "1"}, {"name": "B", "value": "2"}
            ]}]}}),
        ),
        ("configmap", json!({"data": {"x": "1", "y": "2"}})),
    ];
    for (kind, mut document) in documents {
        document["metadata"] = json!({"namespace": "default"});
        let api = fixture.client.named(kind).unwrap();
        let one = Draft::from_value(api.resource().codec, document).unwrap();
        let started = pinnace_env::Stopwatch::start();
        for index in 0..COUNT {
            let mut draft = one.clone();
            draft.meta_mut().name = Some(format!("n{index}"));
            api.create(draft, WriteOptions::default()).await.unwrap();
        }
        eprintln!("{kind}: {:?} each", started.elapsed() / COUNT);
    }
    let pods = fixture.client.of::<Pod>().unwrap();
    assert_eq!(pods.get(&Key::new("default", "n0")).await.unwrap().object().name(), "n0");
}
