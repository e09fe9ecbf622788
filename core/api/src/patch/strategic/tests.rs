use serde_json::{Value, json};

use super::strategic_merge;
use crate::schema::{Schema, TypeRef};

fn kind(group: &str, kind: &str) -> TypeRef<'static> {
    Schema::builtin().type_of(group, "v1", kind).unwrap()
}

#[track_caller]
fn check(document: Value, patch: Value, expected: Value) {
    let spec = |spec: Value| json!({"spec": spec});
    let patched = strategic_merge(kind("", "Pod"), spec(document), spec(patch)).unwrap();
    assert_eq!(patched, spec(expected));
}

#[track_caller]
fn refused(document: Value, patch: Value, code: u16, message: &str) {
    let spec = |spec: Value| json!({"spec": spec});
    let error = strategic_merge(kind("", "Pod"), spec(document), spec(patch)).unwrap_err();
    assert_eq!((error.code(), error.message()), (code, message));
}

#[test]
fn lists_are_merged_by_their_key() {
    check(
        json!({"containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "1"}]}),
        json!({"containers": [{"name": "b", "image": "2"}, {"name": "c", "image": "3"}]}),
        json!({"containers": [
            {"name": "a", "image": "1"}, {"name": "b", "image": "2"}, {"name": "c", "image": "3"},
        ]}),
    );
}

#[test]
fn lists_without_a_key_are_replaced() {
    check(
        json!({"containers": [{"name": "a", "args": ["x", "y"]}]}),
        json!({"containers": [{"name": "a", "args": ["z"]}]}),
        json!({"containers": [{"name": "a", "args": ["z"]}]}),
    );
}

#[test]
fn null_removes_and_maps_are_merged() {
    check(
        json!({"nodeName": "n", "nodeSelector": {"a": "1", "b": "2"}}),
        json!({"nodeName": null, "nodeSelector": {"b": null, "c": "3"}, "hostname": null}),
        json!({"nodeSelector": {"a": "1", "c": "3"}}),
    );
}

#[test]
fn items_and_maps_can_be_deleted_and_replaced() {
    let containers = json!({"containers": [{"name": "a"}, {"name": "b"}]});
    check(
        containers.clone(),
        json!({"containers": [{"name": "a", "$patch": "delete"}, {"name": "c"}]}),
        json!({"containers": [{"name": "c"}, {"name": "b"}]}),
    );
    check(
        containers,
        json!({"containers": [{"name": "c"}, {"$patch": "replace"}]}),
        json!({"containers": [{"name": "c"}]}),
    );
    check(
        json!({"securityContext": {"runAsUser": 1, "fsGroup": 2}, "nodeSelector": {"a": "1"}}),
        json!({
            "securityContext": {"$patch": "replace", "runAsUser": 3},
            "nodeSelector": {"$patch": "delete"},
        }),
        json!({"securityContext": {"runAsUser": 3}, "nodeSelector": {}}),
    );
}

#[test]
fn one_item_can_be_replaced() {
    check(
        json!({"containers": [{"name": "a", "image": "1", "tty": true}]}),
        json!({"containers": [{"name": "a", "env": [{"name": "x", "value": "1"}], "image": "2"}]}),
        json!({"containers": [
            {"name": "a", "env": [{"name": "x", "value": "1"}], "image": "2", "tty": true},
        ]}),
    );
}

#[test]
fn retained_keys_clear_the_others() {
    check(
        json!({"volumes": [{"name": "v", "emptyDir": {}}]}),
        json!({"volumes": [
            {"name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/"}},
        ]}),
        json!({"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}),
    );
    let strategy = strategic_merge(
        kind("apps", "Deployment"),
        json!({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}}),
        json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}),
    );
    assert_eq!(strategy.unwrap(), json!({"spec": {"strategy": {"type": "Recreate"}}}));
    refused(
        json!({"volumes": [{"name": "v"}]}),
        json!({"volumes": [{"name": "v", "$retainKeys": ["name"], "emptyDir": {}}]}),
        400,
        "invalid patch format of retainKeys",
    );
}

#[test]
fn lists_of_single_values_are_merged_and_deleted_from() {
    let service = |finalizers: Value| json!({"metadata": {"finalizers": finalizers}});
    let patched = |patch: Value| {
        let patch = json!({"metadata": patch});
        strategic_merge(kind("", "Service"), service(json!(["a", "b", "c"])), patch).unwrap()
    };
    assert_eq!(patched(json!({"finalizers": ["d", "a"]})), service(json!(["d", "a", "b", "c"])),);
    assert_eq!(
        patched(json!({"$deleteFromPrimitiveList/finalizers": ["b"]})),
        service(json!(["a", "c"])),
    );
    assert_eq!(
        patched(json!({
            "$deleteFromPrimitiveList/finalizers": ["b"],
            "$setElementOrder/finalizers": ["d", "a", "c"],
            "finalizers": ["d"],
        })),
        service(json!(["d", "a", "c"])),
    );
}

#[test]
fn the_order_of_items_can_be_set() {
    check(
        json!({"containers": [{"name": "a"}, {"name": "server"}, {"name": "b"}]}),
        json!({
            "$setElementOrder/containers": [{"name": "c"}, {"name": "b"}, {"name": "a"}],
            "containers": [{"name": "c"}, {"name": "a", "image": "2"}],
        }),
        json!({"containers": [
            {"name": "c"}, {"name": "server"}, {"name": "b"}, {"name": "a", "image": "2"},
        ]}),
    );
    check(
        json!({"containers": [{"name": "a"}, {"name": "b"}]}),
        json!({"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}),
        json!({"containers": [{"name": "b"}, {"name": "a"}]}),
    );
    check(
        json!({}),
        json!({"$setElementOrder/containers": [{"name": "b"}], "containers": [{"name": "b"}]}),
        json!({"containers": [{"name": "b"}]}),
    );
}

#[test]
fn directives_do_not_get_into_the_object() {
    check(
        json!({}),
        json!({
            "volumes": [{"name": "v", "$retainKeys": ["name"]}, {"name": "w", "$patch": "delete"}],
            "securityContext": {"$patch": "delete"},
            "affinity": {"nodeAffinity": null, "$setElementOrder/x": [], "podAffinity": {}},
        }),
        json!({"volumes": [{"name": "v"}], "affinity": {"podAffinity": {}}}),
    );
}

#[test]
fn what_does_not_fit_is_refused_in_upstream_words() {
    let containers = || json!({"containers": [{"name": "a"}]});
    refused(
        containers(),
        json!({"containers": [{"image": "x"}]}),
        422,
        "map: map[image:x] does not contain declared merge key: name",
    );
    refused(
        containers(),
        json!({"containers": [{"name": "a", "$patch": "merge"}]}),
        422,
        "merging lists cannot yet be specified in the patch",
    );
    refused(
        json!({"securityContext": {}}),
        json!({"securityContext": {"$patch": "unknown", "a": 1}}),
        422,
        "unknown patch type: unknown in map: map[a:1]",
    );
    refused(
        containers(),
        json!({"$setElementOrder/containers": 1}),
        400,
        "invalid patch format of setElementOrder list",
    );
    refused(
        containers(),
        json!({"$deleteFromPrimitiveList": []}),
        400,
        "invalid patch format of primitive list",
    );
    refused(
        containers(),
        json!({"$setElementOrder/containers": [{"name": "b"}], "containers": [{"name": "a"}]}),
        422,
        "The order in patch list:\n[map[name:a]]\n doesn't match $setElementOrder list:\n\
         [map[name:b]]\n",
    );
    refused(
        json!({"foo": {}}),
        json!({"foo": {}}),
        422,
        "unable to find api field in struct PodSpec for the json field \"foo\"",
    );
    assert_eq!(strategic_merge(kind("", "Pod"), json!({}), json!([])).unwrap_err().code(), 400);
}
