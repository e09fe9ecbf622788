use k8s_openapi::jiff::Timestamp;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::schema::Schema;

fn deployment() -> TypeRef<'static> {
    Schema::builtin().type_of("apps", "v1", "Deployment").unwrap()
}

fn at(second: i64) -> Time {
    Time(Timestamp::from_second(second).unwrap())
}

fn by(name: &str) -> FieldManager<'_> {
    let (api_version, subresource) = ("apps/v1", "");
    FieldManager { name, api_version, subresource, time: at(1), reset_fields: &[] }
}

/// A Deployment of this spec.
fn of(spec: Value) -> Value {
    let (api_version, kind) = ("apps/v1", "Deployment");
    json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "d"}, "spec": spec})
}

fn with_containers(containers: Value) -> Value {
    of(json!({"template": {"spec": {"containers": containers}}}))
}

/// An object and its book, as a server would keep them.
#[derive(Clone, Debug, PartialEq)]
struct Kept {
    object: Value,
    managed: Vec<ManagedFieldsEntry>,
}

impl Kept {
    fn nothing() -> Self {
        Self { object: json!({}), managed: Vec::new() }
    }

    fn try_apply(&self, name: &str, applied: &Value, force: bool) -> Result<Self> {
        let by = by(name);
        let (object, managed) =
            apply(deployment(), &self.object, applied, &self.managed, &by, force)?;
        Ok(Self { object, managed })
    }

    fn apply(&self, name: &str, applied: Value) -> Self {
        self.try_apply(name, &applied, false).unwrap()
    }

    fn update(&self, name: &str, object: Value) -> Self {
        let live = (&self.object, &self.managed[..]);
        let managed = track_update(deployment(), Some(live), &object, None, &by(name));
        Self { object, managed }
    }

    fn spec(&self) -> &Value {
        &self.object["spec"]
    }

    fn owned(&self, name: &str) -> Value {
        let entry = self.managed.iter().find(|entry| entry.manager.as_deref() == Some(name));
        entry.map_or(Value::Null, |entry| entry.fields_v1.clone().unwrap().0)
    }
}

#[test]
fn what_is_applied_is_set_and_owned() {
    let kept = Kept::nothing().apply(
        "a",
        of(json!({"replicas": 2, "template": {"spec": {
            "containers": [{"name": "c", "ports": [{"containerPort": 80}]}],
        }}})),
    );
    assert_eq!(kept.spec()["replicas"], 2);
    let port = "k:{\"containerPort\":80,\"protocol\":\"TCP\"}";
    assert_eq!(
        kept.owned("a"),
        json!({"f:spec": {"f:replicas": {}, "f:template": {"f:spec": {"f:containers": {
            "k:{\"name\":\"c\"}": {
                ".": {}, "f:name": {}, "f:ports": {port: {".": {}, "f:containerPort": {}}},
            },
        }}}}})
    );
    let entry = &kept.managed[0];
    assert_eq!(entry.operation.as_deref(), Some("Apply"));
    assert_eq!(entry.time, Some(at(1)));
}

#[test]
fn what_another_owns_differently_is_a_conflict() {
    let kept = Kept::nothing().apply("x", of(json!({"replicas": 2, "paused": true})));
    let error = kept.try_apply("y", &of(json!({"replicas": 3})), false).unwrap_err();
    assert_eq!(error.code(), 409);
    assert_eq!(
        error.message(),
        "Apply failed with 1 conflict: conflict with \"x\": .spec.replicas"
    );
    let cause = &error.details().unwrap().causes.as_ref().unwrap()[0];
    assert_eq!(cause.reason.as_deref(), Some("FieldManagerConflict"));
    assert_eq!(cause.message.as_deref(), Some("conflict with \"x\""));
    assert_eq!(cause.field.as_deref(), Some(".spec.replicas"));
    let forced = kept.try_apply("y", &of(json!({"replicas": 3})), true).unwrap();
    assert_eq!(forced.spec()["replicas"], 3);
    assert_eq!(forced.owned("x"), json!({"f:spec": {"f:paused": {}}}));
    assert_eq!(forced.owned("y"), json!({"f:spec": {"f:replicas": {}}}));
}

#[test]
fn several_conflicts_are_told_by_manager() {
    let kept = Kept::nothing()
        .apply("x", with_containers(json!([{"name": "c", "image": "1"}])))
        .apply("y", of(json!({"paused": true})));
    let kept = kept.update("z", {
        let mut object = kept.object.clone();
        object["spec"]["replicas"] = json!(1);
        object
    });
    let mut other = with_containers(json!([{"name": "c", "image": "2"}]));
    other["spec"]["paused"] = json!(false);
    other["spec"]["replicas"] = json!(2);
    let error = kept.try_apply("w", &other, false).unwrap_err();
    assert_eq!(
        error.message(),
        "Apply failed with 3 conflicts: conflicts with \"x\":\n\
         - .spec.template.spec.containers[name=\"c\"].image\n\
         conflicts with \"y\":\n\
         - .spec.paused\n\
         conflicts with \"z\" using apps/v1:\n\
         - .spec.replicas"
    );
}

#[test]
fn who_wants_the_same_shares_ownership() {
    let kept = Kept::nothing()
        .apply("x", of(json!({"replicas": 2})))
        .apply("y", of(json!({"replicas": 2})));
    assert_eq!(kept.owned("x"), kept.owned("y"));
    let without_x = kept.apply("x", of(json!({})));
    assert_eq!(without_x.spec()["replicas"], 2);
    let without_both = without_x.apply("y", of(json!({})));
    assert_eq!(without_both.spec()["replicas"], Value::Null);
}

#[test]
fn what_is_no_longer_applied_and_owned_by_nobody_else_goes() {
    let env = |env: Value| with_containers(json!([{"name": "c", "image": "1", "env": env}]));
    let kept = Kept::nothing()
        .apply("x", env(json!([{"name": "A", "value": "1"}, {"name": "B", "value": "2"}])))
        .apply("y", with_containers(json!([{"name": "c", "tty": true}, {"name": "d"}])));
    let kept = kept.apply("x", env(json!([{"name": "B", "value": "2"}])));
    let containers = &kept.spec()["template"]["spec"]["containers"];
    assert_eq!(containers[0]["env"], json!([{"name": "B", "value": "2"}]));
    let kept = kept.apply("x", json!({"apiVersion": "apps/v1", "kind": "Deployment"}));
    let containers = &kept.spec()["template"]["spec"]["containers"];
    assert_eq!(containers, &json!([{"name": "c", "tty": true}, {"name": "d"}]));
    assert!(kept.owned("x").is_null());
}

#[test]
fn what_a_write_set_stays_when_an_applier_lets_go() {
    let kept = Kept::nothing().apply("x", of(json!({"replicas": 2, "paused": true})));
    let kept = kept.update("hpa", of(json!({"replicas": 5, "paused": true})));
    assert_eq!(kept.owned("x"), json!({"f:spec": {"f:paused": {}}}));
    assert_eq!(kept.owned("hpa"), json!({"f:spec": {"f:replicas": {}}}));
    let kept = kept.apply("x", of(json!({"paused": true})));
    assert_eq!(kept.spec()["replicas"], 5);
}

#[test]
fn sets_atomic_values_and_maps_are_merged_each_in_its_way() {
    let object = |finalizers: Value, selector: Value| {
        let mut object = of(json!({"template": {"spec": {"nodeSelector": selector}}}));
        object["metadata"]["finalizers"] = finalizers;
        object
    };
    let kept = Kept::nothing()
        .apply("x", object(json!(["a", "b"]), json!({"k": "1"})))
        .apply("y", object(json!(["c"]), json!({"k": "1"})));
    assert_eq!(kept.object["metadata"]["finalizers"], json!(["a", "b", "c"]));
    let kept = kept.apply("x", object(json!(["b"]), json!({"k": "1"})));
    assert_eq!(kept.object["metadata"]["finalizers"], json!(["b", "c"]));
    let error = kept.try_apply("y", &object(json!([]), json!({"l": "2"})), false).unwrap_err();
    assert!(error.message().ends_with(".spec.template.spec.nodeSelector"), "{error}");
}

#[test]
fn items_are_ordered_as_applied() {
    let kept = Kept::nothing().apply("x", with_containers(json!([{"name": "a"}, {"name": "b"}])));
    let kept = kept.apply("y", with_containers(json!([{"name": "sidecar"}])));
    let kept = kept.apply("x", with_containers(json!([{"name": "b"}, {"name": "a"}])));
    let containers = kept.spec()["template"]["spec"]["containers"].as_array().unwrap();
    let names: Vec<_> = containers.iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["b", "sidecar", "a"]);
}

#[test]
fn an_object_without_a_book_gets_one_when_something_is_applied() {
    let kept = Kept { object: of(json!({"replicas": 2})), managed: Vec::new() };
    let error = kept.try_apply("x", &of(json!({"replicas": 3})), false).unwrap_err();
    assert_eq!(
        error.message(),
        "Apply failed with 1 conflict: conflict with \"before-first-apply\" using apps/v1: \
         .spec.replicas"
    );
    assert!(kept.update("x", of(json!({"replicas": 4}))).managed.is_empty());
}

#[test]
fn kubectl_takes_over_what_its_annotation_says_it_applied() {
    let last = of(json!({"replicas": 2})).to_string();
    let mut object = of(json!({"replicas": 2, "paused": true}));
    object["metadata"]["annotations"] =
        json!({"kubectl.kubernetes.io/last-applied-configuration": last});
    let kept = Kept { object, managed: Vec::new() };
    let kept = kept.apply("kubectl", of(json!({"replicas": 3})));
    assert_eq!(kept.spec(), &json!({"replicas": 3, "paused": true}));
    let annotations = kept.object["metadata"]["annotations"].as_object().unwrap();
    let last = annotations.values().next().unwrap().as_str().unwrap();
    assert_eq!(serde_json::from_str::<Value>(last).unwrap(), of(json!({"replicas": 3})));
    let error = kept.try_apply("kubectl", &of(json!({"paused": false})), false).unwrap_err();
    assert!(error.message().contains(".spec.paused"), "{error}");
}

#[test]
fn a_new_object_is_tracked_from_the_start() {
    let managed = track_update(
        deployment(),
        None,
        &of(json!({"replicas": 1})),
        None,
        &FieldManager { subresource: "scale", ..by("") },
    );
    assert_eq!(managed.len(), 1);
    let entry = &managed[0];
    assert_eq!(entry.manager.as_deref(), Some("unknown"));
    assert_eq!(entry.operation.as_deref(), Some("Update"));
    assert_eq!(entry.api_version.as_deref(), Some("apps/v1"));
    assert_eq!(entry.subresource.as_deref(), Some("scale"));
    let fields = &entry.fields_v1.as_ref().unwrap().0;
    assert_eq!(fields, &json!({"f:spec": {".": {}, "f:replicas": {}}}));
}

#[test]
fn a_write_that_changes_nothing_leaves_the_book_alone() {
    let kept = Kept::nothing().apply("x", of(json!({"replicas": 1})));
    let written = FieldManager { time: at(9), ..by("y") };
    let live = (&kept.object, &kept.managed[..]);
    let managed = track_update(deployment(), Some(live), &kept.object, None, &written);
    assert_eq!(managed, kept.managed);
}

#[test]
fn the_book_can_be_sent_and_closed() {
    let kept = Kept::nothing().apply("x", of(json!({"replicas": 1})));
    let write = |sent: Option<&[ManagedFieldsEntry]>| {
        let live = (&kept.object, &kept.managed[..]);
        track_update(deployment(), Some(live), &kept.object, sent, &by("y"))
    };
    assert!(write(Some(&[])).is_empty());
    assert!(write(Some(&[ManagedFieldsEntry::default()])).is_empty());
    let mut sent = kept.managed.clone();
    sent[0].manager = Some("renamed".into());
    assert_eq!(write(Some(&sent)), sent);
    let broken = [ManagedFieldsEntry { operation: Some("Guess".into()), ..Default::default() }];
    assert_eq!(write(Some(&broken)), kept.managed);
}

#[test]
fn fields_that_are_reset_are_not_owned() {
    let reset = FieldManager { reset_fields: &[&["status"]], ..by("x") };
    let mut object = of(json!({"replicas": 1}));
    object["status"] = json!({"replicas": 1});
    let managed = track_update(deployment(), None, &object, None, &reset);
    let fields = &managed[0].fields_v1.as_ref().unwrap().0;
    assert_eq!(fields, &json!({"f:spec": {".": {}, "f:replicas": {}}}));
}

#[test]
fn the_oldest_writers_are_taken_together() {
    let mut kept = Kept { object: of(json!({})), managed: Vec::new() };
    kept.managed = track_update(deployment(), None, &of(json!({"paused": true})), None, &by("m"));
    for writer in 0..20 {
        let mut object = kept.object.clone();
        object["metadata"]["labels"][format!("l{writer}")] = json!("x");
        let name = format!("w{writer}");
        let written = FieldManager { time: at(10 + writer), ..by(&name) };
        let live = (&kept.object, &kept.managed[..]);
        kept.managed = track_update(deployment(), Some(live), &object, None, &written);
        kept.object = object;
    }
    assert_eq!(kept.managed.len(), MAX_UPDATE_MANAGERS);
    assert!(kept.owned("ancient-changes")["f:metadata"]["f:labels"]["f:l0"].is_object());
    assert!(kept.owned("w19").is_object());
}

#[test]
fn what_does_not_fit_the_type_is_refused() {
    let refused = |spec: Value, message: &str| {
        let error = Kept::nothing().try_apply("x", &of(spec), false).unwrap_err();
        let expected = format!(
            "failed to create typed patch object (/d; apps/v1, Kind=Deployment): {message}"
        );
        assert_eq!((error.code(), error.message()), (400, &expected[..]));
    };
    refused(json!({"foo": 1}), ".spec.foo: field not declared in schema");
    refused(
        json!({"replicas": "1"}),
        ".spec.replicas: expected numeric (int or float), got string",
    );
    refused(
        json!({"template": {"spec": {"containers": [{"name": "a"}, {"name": "a"}]}}}),
        ".spec.template.spec.containers: duplicate entries for key [name=\"a\"]",
    );
    refused(
        json!({"template": {"spec": {"containers": [{"image": 1}, null]}}}),
        "errors:\n  .spec.template.spec.containers[name=\"\"].image: expected string, got &{1}\n  \
         .spec.template.spec.containers: element 1: associative list with keys may not have a \
         null element",
    );
}

#[test]
fn an_apply_of_another_version_or_with_a_book_is_refused() {
    let mut other = of(json!({}));
    other["apiVersion"] = json!("apps/v2");
    let error = Kept::nothing().try_apply("x", &other, false).unwrap_err();
    assert_eq!(
        error.message(),
        "Incorrect version specified in apply patch. Specified patch version: apps/v2, expected: \
         apps/v1"
    );
    let mut with_book = of(json!({}));
    with_book["metadata"]["managedFields"] = json!([]);
    let error = Kept::nothing().try_apply("x", &with_book, false).unwrap_err();
    assert_eq!(error.message(), "metadata.managedFields must be nil");
}

fn containers(names: &'static str) -> impl Strategy<Value = Value> {
    let container = (proptest::option::of("[12]"), proptest::option::of(any::<bool>()));
    proptest::collection::btree_map(names, container, 1..3).prop_map(|all| {
        let all = all.into_iter().map(|(name, (image, tty))| {
            let mut one = json!({"name": name});
            image.into_iter().for_each(|image| one["image"] = json!(image));
            tty.into_iter().for_each(|tty| one["tty"] = json!(tty));
            one
        });
        Value::Array(all.collect())
    })
}

/// A Deployment that sets `field` and some of the containers.
fn configuration(
    field: &'static str,
    labels: &'static str,
    names: &'static str,
) -> impl Strategy<Value = Value> {
    let labels = proptest::collection::btree_map(labels, "[12]", 1..3);
    (proptest::option::of(1..4), labels, containers(names)).prop_map(
        move |(number, labels, containers)| {
            let mut object = with_containers(containers);
            object["metadata"]["labels"] = json!(labels);
            number.into_iter().for_each(|number| object["spec"][field] = json!(number));
            object
        },
    )
}

/// Lists compared as sets: the order of items is that of who came first.
fn unordered(mut value: Value) -> Value {
    match &mut value {
        Value::Array(items) => {
            items.iter_mut().for_each(|item| *item = unordered(item.take()));
            items.sort_by_key(ToString::to_string);
        }
        Value::Object(object) => {
            object.values_mut().for_each(|value| *value = unordered(value.take()));
        }
        _ => {}
    }
    value
}

proptest! {
    #[test]
    fn applying_twice_is_applying_once(
        first in configuration("replicas", "l[xy]", "[abc]"),
        other in configuration("replicas", "l[xy]", "[abc]"),
        then in configuration("replicas", "l[xy]", "[abc]"),
    ) {
        let kept = Kept::nothing().apply("x", first).try_apply("y", &other, true).unwrap();
        let once = kept.try_apply("x", &then, true).unwrap();
        let twice = once.try_apply("x", &then, false).unwrap();
        prop_assert_eq!(&once, &twice);
    }

    #[test]
    fn managers_of_different_fields_may_come_in_any_order(
        x in configuration("replicas", "l[xy]", "[abc]"),
        y in configuration("minReadySeconds", "m[xy]", "[def]"),
    ) {
        let one = Kept::nothing().apply("x", x.clone()).apply("y", y.clone());
        let other = Kept::nothing().apply("y", y).apply("x", x);
        prop_assert_eq!(unordered(one.object), unordered(other.object));
        prop_assert_eq!(one.managed, other.managed);
    }

    #[test]
    fn who_lets_go_of_all_leaves_nothing_behind(
        x in configuration("replicas", "l[xy]", "[abc]"),
        y in configuration("minReadySeconds", "m[xy]", "[def]"),
    ) {
        let alone = Kept::nothing().apply("y", y.clone());
        let both = alone.apply("x", x);
        let left = both.apply("x", json!({"apiVersion": "apps/v1", "kind": "Deployment"}));
        prop_assert_eq!(unordered(left.object), unordered(alone.object));
        prop_assert_eq!(left.managed, alone.managed);
    }
}
