use bytes::Bytes;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ListMeta;
use serde_json::{Value, json};

use super::*;
use crate::{Codec, Object};

fn encoded(value: &Value) -> Vec<u8> {
    let (version, kind) = (&value["apiVersion"], &value["kind"]);
    encode(version.as_str().unwrap(), kind.as_str().unwrap(), value.to_string().as_bytes()).unwrap()
}

#[track_caller]
fn round_trips(value: Value) {
    assert_eq!(decode(&encoded(&value), None).unwrap(), value);
}

#[test]
fn a_small_object_has_these_bytes() {
    let json =
        br#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"m"},"data":{"k":"v"}}"#;
    let expected: &[u8] =
        b"k8s\0\x0a\x0f\x0a\x02v1\x12\x09ConfigMap\x12\x0d\x0a\x03\x0a\x01m\x12\x06\x0a\x01k\x12\x01v";
    assert_eq!(encode("v1", "ConfigMap", json).unwrap(), expected);
    let value: Value = serde_json::from_slice(json).unwrap();
    assert_eq!(decode(expected, None).unwrap(), value);
}

#[test]
fn zeros_that_go_always_sends_are_left_out_as_in_json() {
    // Name set, generateName and namespace empty, creationTimestamp without bytes.
    let body: &[u8] = b"\x0a\x09\x0a\x01m\x12\x00\x1a\x00\x42\x00\x12\x04\x0a\x00\x12\x00";
    let read = decode(&envelope("v1", "ConfigMap", body), None).unwrap();
    assert_eq!(
        read,
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": {"": ""}})
    );
}

#[test]
fn every_special_type_comes_back() {
    round_trips(json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": "p", "creationTimestamp": "2026-01-02T03:04:05Z",
            "managedFields": [{"fieldsV1": {"f:spec": {}}, "time": "1969-12-31T23:59:59Z"}],
        },
        "spec": {
            "volumes": [{"name": "v", "emptyDir": {"sizeLimit": "1Gi"}}],
            "containers": [{
                "name": "c", "resources": {"limits": {"cpu": "500m"}},
                "livenessProbe": {"httpGet": {"port": "http"}, "periodSeconds": 3},
                "readinessProbe": {"tcpSocket": {"port": 80}},
                "env": [{"name": "e", "valueFrom": {"configMapKeyRef": {"name": "m", "key": "k"}}}],
            }],
            "priority": -5, "terminationGracePeriodSeconds": 0,
        },
    }));
    round_trips(json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {},
        "spec": {"renewTime": "2026-01-02T03:04:05.000006Z"},
    }));
    round_trips(json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {}, "data": {"a": "AAEC/w=="}
    }));
    round_trips(json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "metadata": {}, "spec": {},
        "status": {"user": {"username": "u", "extra": {"scopes": ["a", "b"]}}},
    }));
}

#[test]
fn schemas_of_custom_kinds_come_back() {
    let schema = json!({
        "type": "object", "x-kubernetes-preserve-unknown-fields": true, "$ref": "r",
        "default": {"a": [1, null]}, "enum": ["a", 1, null], "maximum": 1.5,
        "additionalProperties": false,
        "properties": {
            "list": {"items": {"type": "string"}},
            "pair": {"items": [{"type": "string"}, {"type": "integer"}]},
            "open": {"additionalProperties": {"type": "string"}},
        },
        "dependencies": {"a": ["b"], "c": {"type": "object"}},
    });
    let version = json!({
        "name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}
    });
    let names = json!({"plural": "xs", "kind": "X"});
    round_trips(json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {},
        "spec": {"group": "g", "names": names, "scope": "Cluster", "versions": [version]},
    }));
}

#[test]
fn options_and_errors_belong_to_every_group() {
    round_trips(json!({
        "apiVersion": "apps/v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0,
        "preconditions": {"uid": "u"},
    }));
    round_trips(json!({
        "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure", "code": 404,
        "details": {"causes": [{"reason": "r", "message": "m", "field": "f"}]},
    }));
    assert!(!supports("example.com/v1", "Shop"));
    assert_eq!(
        encode("example.com/v1", "Shop", b"{}").unwrap_err().reason(),
        Reason::NotAcceptable
    );
}

#[test]
fn lists_and_watch_events_hold_the_kept_form() {
    let named = |name: &str| {
        let json = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}});
        Object::from_stored(Codec::of::<ConfigMap>(), Bytes::from(json.to_string()), 1)
    };
    let objects = [named("a"), named("b")];
    let meta = ListMeta { resource_version: Some("7".into()), ..ListMeta::default() };
    let made = list("v1", "ConfigMapList", &meta, &objects).unwrap();
    let read = decode(&made, None).unwrap();
    assert_eq!(read["metadata"], json!({"resourceVersion": "7"}));
    assert_eq!(read["items"], json!([{"metadata": {"name": "a"}}, {"metadata": {"name": "b"}}]));
    let body = objects[0].protobuf().unwrap();
    assert_eq!(body.as_ptr(), objects[0].protobuf().unwrap().as_ptr());
    let object = envelope("v1", "ConfigMap", &body);
    let frame = watch_frame("ADDED", &object);
    assert_eq!(frame[..4], u32::try_from(frame.len() - 4).unwrap().to_be_bytes());
    assert!(frame.ends_with(&object));
    assert_eq!(frame[4..11], *b"\x0a\x05ADDED");
}

#[test]
fn bad_messages_are_errors() {
    let long = {
        let value =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x".repeat(300)}});
        encoded(&value)
    };
    for end in 0..long.len() {
        // What is cut at the end of a field may still be a message; none may panic.
        let _ = decode(&long[..end], Some(("v1", "ConfigMap")));
    }
    for (bytes, why) in [
        (&b"{}"[..], "does not appear"),
        (&b"k8s\0\x0a\xff"[..], "cannot decode"),
        (&envelope("v1", "ConfigMap", b"\x08\x01"), "wrong wire type"),
        (&envelope("v1", "ConfigMap", b"\x0a\x03\x0a\x01\xff"), "not UTF-8"),
        (&envelope("v1", "Pod", b"\x0a\x7f"), "unexpected end"),
        (&envelope("v2", "Pod", b""), "no kind"),
    ] {
        let error = decode(bytes, None).unwrap_err();
        assert!(error.message().contains(why), "{error}");
    }
    let many = envelope("v1", "ConfigMap", &b"\x0a\x00".repeat(600_000));
    assert!(decode(&many, None).unwrap_err().message().contains("too much"));
    let large = vec![0; SIZE_MAX + 1];
    assert_eq!(decode(&large, None).unwrap_err().reason(), Reason::RequestEntityTooLarge);
}

#[test]
fn nesting_is_bounded() {
    let mut schema = json!({"type": "object"});
    for _ in 0..60 {
        schema = json!({"not": schema});
    }
    let make = |schema: &Value| {
        let version = json!({"schema": {"openAPIV3Schema": schema}});
        json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "spec": {"versions": [version]},
        })
    };
    round_trips(make(&schema));
    let props = table::Table::builtin().schema();
    let mut bytes = Vec::new();
    for _ in 0..200 {
        let mut outer = Vec::new();
        encode::bytes(&mut outer, 28, &bytes);
        bytes = outer;
    }
    assert!(table::Table::builtin().field(props, 28).is_some_and(|field| field.name == "not"));
    assert!(decode::body(&bytes, props).is_err());
}

#[test]
fn every_kind_of_the_catalog_has_a_form() {
    for resource in crate::Catalog::builtin().all() {
        if resource.is_computed() {
            continue;
        }
        assert!(supports(&resource.api_version(), &resource.kind), "{resource:?}");
        let listed = resource.verbs.0.contains(&"list");
        assert!(!listed || supports(&resource.api_version(), &resource.list_kind), "{resource:?}");
    }
    assert!(table::Table::builtin().kinds().count() > 100);
    let pod = Object::new(Pod::default());
    assert!(pod.protobuf().is_ok());
}
