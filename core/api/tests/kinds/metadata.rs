use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use pinnace_api::field::{ErrorList, Path};
use pinnace_api::kinds::metadata::{validate_finalizers, validate_meta, validate_meta_update};
use pinnace_api::kinds::names;
use serde_json::{Value, json};

use crate::support::{texts, with};

fn meta() -> Value {
    json!({"name": "web", "namespace": "default", "uid": "1", "resourceVersion": "1"})
}

fn read(value: Value) -> ObjectMeta {
    serde_json::from_value(value).unwrap()
}

#[track_caller]
fn check(field: &str, value: Value, expected: &[&str]) {
    let mut errors = ErrorList::default();
    let meta = read(with(meta(), &format!("/{field}"), value));
    let path = Path::root("metadata");
    validate_meta(&meta, true, &path, &mut errors);
    validate_finalizers(&meta, &path, &mut errors);
    assert_eq!(texts(&errors), expected);
}

#[track_caller]
fn check_update(old: Value, new: Value, expected: &[&str]) {
    let mut errors = ErrorList::default();
    validate_meta_update(&read(new), &read(old), &Path::root("metadata"), &mut errors);
    assert_eq!(texts(&errors), expected);
}

#[test]
fn names_and_namespaces_are_needed() {
    check(
        "name",
        Value::Null,
        &["metadata.name: Required value: name or generateName is required"],
    );
    check("namespace", Value::Null, &["metadata.namespace: Required value"]);
    let mut errors = ErrorList::default();
    validate_meta(&read(meta()), false, &Path::root("metadata"), &mut errors);
    assert_eq!(texts(&errors), ["metadata.namespace: Forbidden: not allowed on this type"]);
}

#[test]
fn labels_and_annotations_are_checked() {
    check("labels", json!({"app.kubernetes.io/name": "web", "empty": ""}), &[]);
    check(
        "labels",
        json!({"a/b/c": "x"}),
        &["metadata.labels: Invalid value: \"a/b/c\": a valid label key must consist of \
           alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric \
           character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
           '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and \
           '/' (e.g. 'example.com/MyName')"],
    );
    check(
        "labels",
        json!({"a": "-"}),
        &["metadata.labels: Invalid value: \"-\": a valid label must be an empty string or \
           consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
           alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for \
           validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"],
    );
    let long = "a".repeat(64);
    check(
        "labels",
        json!({"a": long}),
        &[&format!("metadata.labels: Invalid value: {long:?}: must be no more than 63 bytes")],
    );
    check("annotations", json!({"Example.com/A": "anything at all"}), &[]);
    check(
        "annotations",
        json!({"a": "x".repeat(256 * 1024)}),
        &["metadata.annotations: Too long: may not be more than 262144 bytes"],
    );
}

#[test]
fn owners_are_checked() {
    let owner = |name: &str| {
        json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": name, "uid": "1",
               "controller": true})
    };
    check("ownerReferences", json!([owner("a")]), &[]);
    check(
        "ownerReferences",
        json!([with(owner(""), "/apiVersion", json!(""))]),
        &[
            "metadata.ownerReferences.apiVersion: Invalid value: \"\": version must not be empty",
            "metadata.ownerReferences.name: Invalid value: \"\": must not be empty",
        ],
    );
    let mut errors = ErrorList::default();
    let meta = read(with(meta(), "/ownerReferences", json!([owner("a"), owner("b")])));
    validate_meta(&meta, true, &Path::root("metadata"), &mut errors);
    let [error] = &texts(&errors)[..] else { panic!("{errors:?}") };
    assert!(
        error.ends_with(
            ": Only one reference can have Controller set to true. Found \"true\" in references \
             for ReplicaSet/a and ReplicaSet/b"
        ),
        "{error}"
    );
}

#[test]
fn finalizers_are_checked() {
    check("finalizers", json!(["example.com/keep", "foregroundDeletion"]), &[]);
    check(
        "finalizers",
        json!(["keep"]),
        &["metadata.finalizers[0]: Invalid value: \"keep\": name is neither a standard finalizer \
           name nor is it fully qualified"],
    );
    check(
        "finalizers",
        json!(["orphan", "foregroundDeletion"]),
        &["metadata.finalizers: Invalid value: [\"orphan\",\"foregroundDeletion\"]: finalizer \
           orphan and foregroundDeletion cannot be both set"],
    );
}

#[test]
fn what_the_server_sets_may_not_change() {
    check_update(meta(), meta(), &[]);
    check_update(
        meta(),
        with(with(meta(), "/uid", json!("2")), "/creationTimestamp", json!("2026-01-01T00:00:00Z")),
        &[
            "metadata.uid: Invalid value: \"2\": field is immutable",
            "metadata.creationTimestamp: Invalid value: \"2026-01-01T00:00:00Z\": field is \
             immutable",
        ],
    );
    check_update(
        with(meta(), "/generation", json!(2)),
        with(with(meta(), "/generation", json!(1)), "/resourceVersion", Value::Null),
        &[
            "metadata.resourceVersion: Invalid value: \"\": must be specified for an update",
            "metadata.generation: Invalid value: 1: must not be decremented",
        ],
    );
    let deleting = with(meta(), "/deletionTimestamp", json!("2026-01-01T00:00:00Z"));
    check_update(
        deleting.clone(),
        with(deleting, "/finalizers", json!(["example.com/b", "example.com/a"])),
        &["metadata.finalizers: Forbidden: no new finalizers can be added if the object is being \
           deleted, found new finalizers []string{\"example.com/a\", \"example.com/b\"}"],
    );
}

#[test]
fn names_say_what_is_wrong_with_them() {
    for name in ["a", "a-b", "0", "a.b-c.0"] {
        assert_eq!(names::dns_subdomain(name), Ok(()), "{name}");
    }
    for name in ["", "-", "a-", ".a", "a..b", "A", "a_b", "ä", "a\n"] {
        assert!(names::dns_subdomain(name).is_err(), "{name}");
        assert!(names::dns_label(name).is_err(), "{name}");
        assert!(names::dns_label_1035(name).is_err(), "{name}");
    }
    assert_eq!(names::dns_label("a.b"), Err("must not contain dots".to_owned()));
    assert_eq!(
        names::dns_label(&"a".repeat(64)),
        Err("must be no more than 63 characters".to_owned())
    );
    assert!(names::dns_label_1035("0a").is_err());
    assert_eq!(names::generate_name("web-", names::dns_label), Ok(()));
    assert!(names::generate_name("Web-", names::dns_label).is_err());
    assert!(names::generate_name("-", names::dns_label).is_err());
}
