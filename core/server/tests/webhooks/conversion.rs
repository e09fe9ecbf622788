//! Custom kinds whose versions are converted by a webhook.

use futures::StreamExt as _;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use pinnace_api::patch::Patch;
use pinnace_api::{Draft, DynamicObject, Key, Object, Result, custom};
use pinnace_client::{DeleteOptions, DynamicApi, ListOptions, WatchEvent, WriteOptions};
use serde_json::{Value, json};

use crate::support::{World, check_error, ok, patched};

fn definition(storage: &str) -> CustomResourceDefinition {
    let version = |name: &str, spec: Value| {
        let field = if name == "v1" { ".spec.host" } else { ".spec.hostPort" };
        let selectable = json!([{"jsonPath": field}]);
        json!({
            "name": name, "served": true, "storage": name == storage,
            "selectableFields": selectable,
            "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object", "properties": spec}}}},
        })
    };
    let port = json!({"type": "integer", "default": 80, "maximum": 99});
    serde_json::from_value(json!({
        "metadata": {"name": "sites.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced", "names": {"plural": "sites", "kind": "Site"},
            "versions": [
                version("v1", json!({"host": {"type": "string"}, "port": port})),
                version("v1beta1", json!({"hostPort": {"type": "string"}})),
            ],
            "conversion": {"strategy": "Webhook", "webhook": {
                "clientConfig": {"url": "https://c/convert"}, "conversionReviewVersions": ["v1"]}},
        },
    })).unwrap()
}

/// Sites of both versions, stored as `v1beta1`.
async fn sites() -> (World, DynamicApi, DynamicApi) {
    let world = World::new().await;
    store_as(&world, "v1beta1");
    serve(&world, |object| object);
    let api = |version: &str| {
        let kind =
            world.client.catalog().by_kind(&format!("example.com/{version}"), "Site").unwrap();
        world.client.resource(kind)
    };
    let (v1, beta) = (api("v1"), api("v1beta1"));
    (world, v1, beta)
}

fn store_as(world: &World, storage: &str) {
    let kinds = custom::resources(&definition(storage)).unwrap();
    world.client.catalog().replace("example.com", "sites", kinds);
}

/// Converts what is asked for, and spoils it.
fn serve(world: &World, spoil: impl Fn(Value) -> Value + Send + Sync + 'static) {
    answer(world, move |request| {
        let objects = request["objects"].as_array().unwrap().iter();
        let objects: Vec<Value> =
            objects.map(|object| spoil(convert(object, &request["desiredAPIVersion"]))).collect();
        json!({"uid": request["uid"], "result": {"status": "Success"}, "convertedObjects": objects})
    });
}

fn answer(world: &World, respond: impl Fn(&Value) -> Value + Send + Sync + 'static) {
    world.serve("c", move |review| {
        let response = respond(&review["request"]);
        let answer = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview", "response": response});
        Box::pin(std::future::ready(ok(&answer)))
    });
}

fn convert(object: &Value, to: &Value) -> Value {
    let mut converted = object.clone();
    converted["apiVersion"] = to.clone();
    converted["spec"] = if to == "example.com/v1" {
        let (host, port) = object["spec"]["hostPort"].as_str().unwrap().split_once(':').unwrap();
        json!({"host": host, "port": port.parse::<u16>().unwrap(), "unknown": 1})
    } else {
        json!({"hostPort": format!("{}:{}", object["spec"]["host"].as_str().unwrap(), object["spec"]["port"])})
    };
    converted
}

async fn make(api: &DynamicApi, name: &str, spec: Value) -> Result<Object> {
    let object = json!({"apiVersion": api.resource().api_version(), "kind": "Site",
        "metadata": {"name": name, "namespace": "default"}, "spec": spec});
    let draft = Draft::new(serde_json::from_value::<DynamicObject>(object).unwrap());
    api.create(draft, WriteOptions::default()).await
}

fn key(name: &str) -> Key {
    Key::new("default", name)
}

fn spec(object: &Object) -> Value {
    object.to_value().unwrap()["spec"].clone()
}

#[tokio::test]
async fn each_client_sees_its_own_version() {
    let (world, v1, beta) = sites().await;
    let made = make(&v1, "a", json!({"host": "h"})).await.unwrap();
    assert_eq!(spec(&made), json!({"host": "h", "port": 80}));
    let stored =
        world.server.store().snapshot().get("sites.example.com", &key("a")).unwrap().clone();
    assert_eq!(
        (stored.api_version().unwrap(), spec(&stored)),
        ("example.com/v1beta1", json!({"hostPort": "h:80"}))
    );
    assert_eq!(spec(&beta.get(&key("a")).await.unwrap()), json!({"hostPort": "h:80"}));
    let read = v1.get(&key("a")).await.unwrap();
    assert_eq!(
        spec(&read),
        json!({"host": "h", "port": 80}),
        "what the version does not have is dropped"
    );
    assert_eq!((read.uid(), read.revision()), (made.uid(), made.revision()));
    assert_eq!(read.managed_fields()[0].api_version.as_deref(), Some("example.com/v1"));
}

#[tokio::test]
async fn changes_are_made_checked_and_owned_in_the_version_of_the_request() {
    let (_world, v1, beta) = sites().await;
    make(&beta, "a", json!({"hostPort": "h:8"})).await.unwrap();
    let at = key("a");
    let patch = |value: Value| v1.patch(&at, Patch::Merge(value), WriteOptions::default());
    let refused = patch(json!({"spec": {"port": 100}})).await.unwrap_err();
    assert!(refused.message().contains("spec.port: Invalid value: 100"), "{refused}");
    let changed =
        patch(json!({"spec": {"port": 9}, "metadata": {"labels": {"a": "b"}}})).await.unwrap();
    assert_eq!(
        (spec(&changed), changed.meta().generation),
        (json!({"host": "h", "port": 9}), Some(2))
    );
    let stored = beta.get(&key("a")).await.unwrap();
    assert_eq!(
        (spec(&stored), &stored.labels().unwrap()["a"][..]),
        (json!({"hostPort": "h:9"}), "b")
    );
    let owned = serde_json::to_value(stored.managed_fields()).unwrap().to_string();
    assert!(owned.contains("f:port") && owned.contains("f:hostPort"), "{owned}");
    let gone = v1.delete(&key("a"), DeleteOptions::default()).await.unwrap();
    assert_eq!(spec(&gone), json!({"host": "h", "port": 9}));
}

#[tokio::test]
async fn an_apply_is_merged_in_the_version_of_the_request() {
    let (_world, v1, beta) = sites().await;
    make(&beta, "a", json!({"hostPort": "h:8"})).await.unwrap();
    let options = WriteOptions {
        field_manager: Some("me".to_owned()),
        force: true,
        ..WriteOptions::default()
    };
    let applied = json!({"apiVersion": "example.com/v1", "kind": "Site",
        "metadata": {"name": "a", "namespace": "default"}, "spec": {"port": 9}});
    let done = v1.patch(&key("a"), Patch::Apply(applied), options).await.unwrap();
    assert_eq!(spec(&done), json!({"host": "h", "port": 9}));
    assert_eq!(spec(&beta.get(&key("a")).await.unwrap()), json!({"hostPort": "h:9"}));
}

#[tokio::test]
async fn lists_are_converted_at_once_and_watches_event_by_event() {
    let (world, v1, beta) = sites().await;
    for name in ["a", "b", "c"] {
        make(&beta, name, json!({"hostPort": "h:8"})).await.unwrap();
    }
    assert!(world.asked().is_empty());
    let list = v1.list(None, ListOptions::default()).await.unwrap();
    assert_eq!(
        list.items.iter().map(spec).collect::<Vec<_>>(),
        vec![json!({"host": "h", "port": 8}); 3]
    );
    let asked = world.asked();
    assert_eq!(
        (asked.len(), &asked[0]["request"]["desiredAPIVersion"]),
        (1, &json!("example.com/v1"))
    );
    let mut watch = v1.watch(None, ListOptions::default().after(list.revision)).await.unwrap();
    make(&beta, "d", json!({"hostPort": "h:7"})).await.unwrap();
    let Some(Ok(WatchEvent::Added(seen))) = watch.next().await else { panic!("nothing was seen") };
    assert_eq!(spec(&seen), json!({"host": "h", "port": 7}));
}

#[tokio::test]
async fn fields_are_selected_in_the_version_of_the_request() {
    let (_world, v1, beta) = sites().await;
    for (name, host) in [("a", "h:8"), ("b", "g:8"), ("c", "h:9")] {
        make(&beta, name, json!({"hostPort": host})).await.unwrap();
    }
    let on_h = || ListOptions::default().fields("spec.host=h").unwrap();
    let list = v1.list(None, ListOptions { limit: Some(1), ..on_h() }).await.unwrap();
    assert_eq!(list.items[0].name(), "a");
    let rest = ListOptions { continue_token: list.continue_token, ..on_h() };
    let rest = v1.list(None, rest).await.unwrap();
    assert_eq!(rest.items.iter().map(Object::name).collect::<Vec<_>>(), ["c"]);
    let mut watch = v1.watch(None, on_h().after(rest.revision)).await.unwrap();
    let patch = Patch::Merge(json!({"spec": {"hostPort": "h:7"}}));
    beta.patch(&key("b"), patch, WriteOptions::default()).await.unwrap();
    let Some(Ok(WatchEvent::Added(seen))) = watch.next().await else { panic!("nothing was seen") };
    assert_eq!((seen.name(), spec(&seen)), ("b", json!({"host": "h", "port": 7})));
    v1.delete_collection(None, on_h(), DeleteOptions::default()).await.unwrap();
    assert!(beta.list(None, ListOptions::default()).await.unwrap().items.is_empty());
}

#[tokio::test]
async fn what_was_stored_in_another_version_is_moved_by_writing_it() {
    let (world, v1, beta) = sites().await;
    make(&beta, "a", json!({"hostPort": "h:8"})).await.unwrap();
    store_as(&world, "v1");
    let stored = || {
        world
            .server
            .store()
            .snapshot()
            .get("sites.example.com", &key("a"))
            .unwrap()
            .api_version()
            .unwrap()
            .to_owned()
    };
    assert_eq!(spec(&v1.get(&key("a")).await.unwrap()), json!({"host": "h", "port": 8}));
    assert_eq!(stored(), "example.com/v1beta1");
    v1.patch(&key("a"), Patch::Merge(json!({})), WriteOptions::default()).await.unwrap();
    assert_eq!(stored(), "example.com/v1");
}

#[tokio::test]
async fn admission_sees_the_version_of_the_request_or_the_one_it_asks_for() {
    let (world, v1, _) = sites().await;
    let rules = json!([{"operations": ["*"], "apiGroups": ["example.com"], "apiVersions": ["v1beta1"], "resources": ["sites"]}]);
    world.register("mutatingwebhookconfiguration", &[json!({"rules": rules})]).await;
    world.respond("a", |request| {
        assert_eq!(request["object"]["spec"]["hostPort"], "h:80");
        patched(&json!([{"op": "replace", "path": "/spec/hostPort", "value": "g:81"}]))
    });
    let made = make(&v1, "a", json!({"host": "h"})).await.unwrap();
    assert_eq!(spec(&made), json!({"host": "g", "port": 81}));
}

async fn check_read(spoil: impl Fn(Value) -> Value + Send + Sync + 'static, expected: &str) {
    let (world, v1, beta) = sites().await;
    make(&beta, "a", json!({"hostPort": "h:8"})).await.unwrap();
    serve(&world, spoil);
    let prefix = "conversion webhook for example.com/v1beta1, Kind=Site";
    check_error(v1.get(&key("a")).await, 500, &format!("{prefix} {expected}"));
}

#[tokio::test]
async fn a_conversion_to_something_else_is_refused() {
    fn with(field: &'static str, value: Value) -> impl Fn(Value) -> Value {
        move |mut object| {
            *object.pointer_mut(field).unwrap() = value.clone();
            object
        }
    }
    check_read(with("/apiVersion", json!("example.com/v2")),
        "returned invalid object at index 0: invalid groupVersion (expected example.com/v1, received example.com/v2)").await;
    check_read(
        with("/kind", json!("Sight")),
        "returned invalid object at index 0: invalid kind (expected Site, received Sight)",
    )
    .await;
    check_read(
        with("/metadata/name", json!("b")),
        "returned invalid object: must have the same name: a != b",
    )
    .await;
    check_read(
        with("/metadata/namespace", json!("b")),
        "returned invalid object: must have the same namespace: default != b",
    )
    .await;
    check_read(
        with("/metadata", json!(null)),
        "returned invalid metadata: missing metadata in converted object",
    )
    .await;
}

#[tokio::test]
async fn a_conversion_changes_no_metadata_but_labels_and_annotations() {
    let (world, v1, beta) = sites().await;
    let made = make(&beta, "a", json!({"hostPort": "h:8"})).await.unwrap();
    serve(&world, |mut object| {
        object["metadata"]["finalizers"] = json!(["example.com/x"]);
        object["metadata"]["resourceVersion"] = json!("1");
        object["metadata"]["annotations"] = json!({"by": "webhook"});
        object
    });
    let read = v1.get(&key("a")).await.unwrap();
    let meta = read.meta();
    assert_eq!((&meta.finalizers, &meta.resource_version), (&None, &made.meta().resource_version));
    assert_eq!(meta.annotations.as_ref().unwrap()["by"], "webhook");
    check_read(|mut object| {
        object["metadata"]["labels"] = json!({"a b": "c"});
        object
    }, "returned invalid metadata: metadata.labels: Invalid value: \"a b\": name part must consist of \
        alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character \
        (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
        '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')").await;
}

async fn check_answer(respond: impl Fn(&Value) -> Value + Send + Sync + 'static, expected: &str) {
    let (world, v1, beta) = sites().await;
    make(&beta, "a", json!({"hostPort": "h:8"})).await.unwrap();
    answer(&world, respond);
    let error = v1.get(&key("a")).await.unwrap_err();
    let uid = world.asked().pop().unwrap()["request"]["uid"].as_str().unwrap().to_owned();
    let expected = expected.replace("UID", &uid);
    let prefix = "conversion webhook for example.com/v1beta1, Kind=Site";
    check_error::<()>(Err(error), 500, &format!("{prefix} {expected}"));
}

#[tokio::test]
async fn an_answer_that_says_no_is_told_as_it_is() {
    check_answer(
        |request| json!({"uid": request["uid"], "result": {"status": "Failure", "message": "no"}}),
        "failed: no",
    )
    .await;
    check_answer(
        |request| json!({"uid": request["uid"], "result": {"status": "Failure"}}),
        "failed: response.result.status was 'Failure', not 'Success'",
    )
    .await;
}

#[tokio::test]
async fn an_answer_to_another_conversion_is_not_believed() {
    check_answer(
        |_| json!({"uid": "x", "result": {"status": "Success"}}),
        "failed: expected response.uid=\"UID\", got \"x\"",
    )
    .await;
    check_answer(|_| Value::Null, "failed: no response provided").await;
}

#[tokio::test]
async fn an_answer_with_too_few_or_too_many_objects_is_refused() {
    for count in [0, 2] {
        check_answer(move |request| json!({"uid": request["uid"], "result": {"status": "Success"},
            "convertedObjects": vec![convert(&request["objects"][0], &request["desiredAPIVersion"]); count]}),
            &format!("returned {count} objects, expected 1")).await;
    }
}

#[tokio::test]
async fn a_review_of_another_kind_is_not_believed() {
    let (world, v1, beta) = sites().await;
    make(&beta, "a", json!({"hostPort": "h:8"})).await.unwrap();
    let other = json!({"apiVersion": "v1", "kind": "Status"});
    world.serve("c", move |_| Box::pin(std::future::ready(ok(&other))));
    check_error(
        v1.get(&key("a")).await,
        500,
        "conversion webhook for example.com/v1beta1, Kind=Site failed: expected webhook response of \
         apiextensions.k8s.io/v1, Kind=ConversionReview, got v1, Kind=Status",
    );
}

#[tokio::test(start_paused = true)]
async fn a_conversion_that_hangs_is_given_up() {
    let (world, v1, beta) = sites().await;
    make(&beta, "a", json!({"hostPort": "h:8"})).await.unwrap();
    world.serve("c", |_| Box::pin(std::future::pending()));
    check_error(
        v1.get(&key("a")).await,
        500,
        "conversion webhook for example.com/v1beta1, Kind=Site failed: Post \"https://c/convert\": context deadline exceeded",
    );
    assert!(beta.get(&key("a")).await.is_ok(), "the version that is stored needs nobody");
}

/// A policy sees its parameters in the version that it names, whatever lies in the store.
#[tokio::test]
async fn policies_have_parameters_in_the_version_they_name() {
    let (world, v1, _) = sites().await;
    make(&v1, "p", json!({"host": "h", "port": 9})).await.unwrap();
    let rule = json!({"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]});
    for (version, expression) in [
        ("v1", "params.spec.host == 'h' && params.spec.port == 9"),
        ("v1beta1", "params.spec.hostPort == 'h:9'"),
    ] {
        let policy = json!({"metadata": {"name": version}, "spec": {
            "paramKind": {"apiVersion": format!("example.com/{version}"), "kind": "Site"},
            "matchConstraints": {"resourceRules": [rule]},
            "validations": [{"expression": expression}]}});
        world.create("validatingadmissionpolicy", policy).await.unwrap();
        let param = json!({"name": "p", "parameterNotFoundAction": "Deny"});
        let binding = json!({"metadata": {"name": version}, "spec": {
            "policyName": version, "paramRef": param, "validationActions": ["Deny"]}});
        world.create("validatingadmissionpolicybinding", binding).await.unwrap();
    }
    world.config_map().await.unwrap();
}
