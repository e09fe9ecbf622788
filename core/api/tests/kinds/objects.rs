//! The smaller kinds.

use pinnace_api::kinds;
use serde_json::{Value, json};

use crate::support::{check, check_status, check_update, defaulted, resource, update, with};

fn object(api_version: &str, kind: &str, rest: Value) -> Value {
    let mut object = rest;
    object["apiVersion"] = json!(api_version);
    object["kind"] = json!(kind);
    if object.get("metadata").is_none() {
        object["metadata"] = json!({"name": "a", "namespace": "default"});
    }
    object
}

fn core(kind: &str, rest: Value) -> Value {
    object("v1", kind, rest)
}

#[test]
fn a_namespace_is_active_labelled_and_held() {
    let namespace = core("Namespace", json!({"metadata": {"name": "a"}}));
    let mut draft = defaulted("namespaces", namespace.clone());
    resource("namespaces").strategy.prepare_for_create(&mut draft);
    assert_eq!(
        draft.to_value().unwrap(),
        json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": "a", "labels": {"kubernetes.io/metadata.name": "a"}},
            "spec": {"finalizers": ["kubernetes"]},
            "status": {"phase": "Active"},
        })
    );
    assert!(resource("namespaces").strategy.validate_name("a.b").is_err());
    check(
        "namespaces",
        with(namespace.clone(), "/spec", json!({"finalizers": ["x"]})),
        &["spec.finalizers: Invalid value: \"x\": name is neither a standard finalizer name nor \
           is it fully qualified"],
    );
    check_status(
        "namespaces",
        namespace.clone(),
        with(namespace, "/status", json!({"phase": "Terminating"})),
        &["status.Phase: Invalid value: \"Terminating\": may only be 'Active' if \
           `deletionTimestamp` is empty"],
    );
}

#[test]
fn nodes_are_filled_in_and_checked() {
    let node = |rest: Value| with(core("Node", rest), "/metadata", json!({"name": "n"}));
    let full = node(json!({
        "spec": {"podCIDR": "10.0.0.0/24", "unschedulable": false},
        "status": {"capacity": {"cpu": "4000m", "memory": "8388608Ki"}},
    }));
    let value = defaulted("nodes", full).to_value().unwrap();
    assert_eq!(value["spec"], json!({"podCIDR": "10.0.0.0/24", "podCIDRs": ["10.0.0.0/24"]}));
    assert_eq!(value["status"]["allocatable"], json!({"cpu": "4", "memory": "8Gi"}));
    check(
        "nodes",
        node(json!({"spec": {
            "taints": [{"key": "a", "effect": "NoSchedule"}, {"key": "a", "effect": "NoSchedule"},
                       {"key": "b", "effect": ""}],
            "podCIDRs": ["10.0.0.0/24", "10.0.1.0/24"],
        }})),
        &[
            "metadata.taints[1]: Duplicate value: {\"effect\":\"NoSchedule\",\"key\":\"a\"}: \
             taints must be unique by key and effect pair",
            "metadata.taints[2].effect: Required value",
            "spec.podCIDRs: Invalid value: [\"10.0.0.0/24\",\"10.0.1.0/24\"]: may specify no more \
             than one CIDR for each IP family",
        ],
    );
    check(
        "nodes",
        node(json!({"status": {"capacity": {"cpu": "-1", "pods": "1500m"}}})),
        &[
            "status.capacity.cpu: Invalid value: \"-1\": must be greater than or equal to 0",
            "status.capacity.pods: Invalid value: \"1500m\": must be an integer",
            "status.allocatable.cpu: Invalid value: \"-1\": must be greater than or equal to 0",
            "status.allocatable.pods: Invalid value: \"1500m\": must be an integer",
        ],
    );
    check_update(
        "nodes",
        node(json!({"spec": {"podCIDR": "10.0.0.0/24", "providerID": "a"}})),
        node(json!({"spec": {"podCIDR": "10.0.1.0/24", "providerID": "b", "externalID": "c"}})),
        &[
            "spec.podCIDRs: Forbidden: node updates may not change podCIDR except from \"\" to \
             valid",
            "spec.providerID: Forbidden: node updates may not change providerID except from \"\" \
             to valid",
            "spec.externalID: Forbidden: may not be updated",
        ],
    );
    let address = json!({"type": "InternalIP", "address": "10.0.0.1"});
    check_status(
        "nodes",
        node(json!({})),
        node(json!({"status": {"addresses": [address, address]}})),
        &["status.addresses[1]: Duplicate value: {\"address\":\"10.0.0.1\",\
           \"type\":\"InternalIP\"}"],
    );
}

#[test]
fn config_maps_are_checked() {
    let map = |rest: Value| core("ConfigMap", rest);
    check("configmaps", map(json!({"data": {"a.b-c_D": ""}})), &[]);
    check(
        "configmaps",
        map(json!({"data": {"a b": "", "c": ""}, "binaryData": {"c": ""}})),
        &[
            "data[a b]: Invalid value: \"a b\": a valid config key must consist of alphanumeric \
             characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex \
             used for validation is '[-._a-zA-Z0-9]+')",
            "data[c]: Invalid value: \"c\": duplicate of key present in binaryData",
        ],
    );
    check(
        "configmaps",
        map(json!({"data": {"a": "x".repeat(1024 * 1024 + 1)}})),
        &[": Too long: may not be more than 1048576 bytes"],
    );
    check_update(
        "configmaps",
        map(json!({"immutable": true, "data": {"a": "b"}})),
        map(json!({"data": {"a": "c"}})),
        &[
            "immutable: Forbidden: field is immutable when `immutable` is set",
            "data: Forbidden: field is immutable when `immutable` is set",
        ],
    );
}

#[test]
fn secrets_are_filled_in_and_checked() {
    let secret = |rest: Value| core("Secret", rest);
    let value = defaulted("secrets", secret(json!({"stringData": {"a": "b"}}))).to_value().unwrap();
    assert_eq!(value["type"], "Opaque");
    assert_eq!(value["data"], json!({"a": "Yg=="}));
    assert_eq!(value.get("stringData"), None);
    let cases: &[(&str, &[&str])] = &[
        (
            "kubernetes.io/service-account-token",
            &["metadata.annotations[kubernetes.io/service-account.name]: Required value"],
        ),
        ("kubernetes.io/dockercfg", &["data[.dockercfg]: Required value"]),
        (
            "kubernetes.io/basic-auth",
            &["data[username]: Required value", "data[password]: Required value"],
        ),
        ("kubernetes.io/ssh-auth", &["data[ssh-privatekey]: Required value"]),
        ("kubernetes.io/tls", &["data[tls.crt]: Required value", "data[tls.key]: Required value"]),
        ("example.com/mine", &[]),
    ];
    for (kind, expected) in cases {
        check("secrets", secret(json!({"type": kind})), expected);
    }
    let json = json!({"type": "kubernetes.io/dockerconfigjson",
                      "stringData": {".dockerconfigjson": "[]"}});
    let draft = defaulted("secrets", secret(json));
    let mut errors = Default::default();
    resource("secrets").strategy.validate(&draft, &mut errors);
    let text = errors.iter().next().unwrap().to_string();
    let begin =
        "data[.dockerconfigjson]: Invalid value: \"<secret contents redacted>\": invalid type";
    assert!(text.starts_with(begin), "{text}");
    check_update(
        "secrets",
        secret(json!({"type": "a"})),
        secret(json!({"type": "b"})),
        &["type: Invalid value: \"b\": field is immutable"],
    );
}

#[test]
fn leases_are_checked() {
    let lease = |spec: Value| object("coordination.k8s.io/v1", "Lease", json!({ "spec": spec }));
    check("leases.coordination.k8s.io", lease(json!({"leaseDurationSeconds": 40})), &[]);
    check(
        "leases.coordination.k8s.io",
        lease(json!({"leaseDurationSeconds": 0, "leaseTransitions": -1, "preferredHolder": "a"})),
        &[
            "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0",
            "spec.leaseTransitions: Invalid value: -1: must be greater than or equal to 0",
            "spec.preferredHolder: Forbidden: may only be specified if `strategy` is defined",
        ],
    );
}

#[test]
fn events_stay_with_what_they_are_about() {
    let event = |rest: Value| core("Event", rest);
    let about = |namespace: &str| json!({"kind": "Pod", "name": "web", "namespace": namespace});
    check("events", event(json!({"involvedObject": about("default")})), &[]);
    check(
        "events",
        event(json!({"involvedObject": about("other")})),
        &["involvedObject.namespace: Invalid value: \"other\": does not match event.namespace"],
    );
    check(
        "events",
        event(json!({
            "involvedObject": about("default"), "eventTime": "2026-01-01T00:00:00.000000Z",
            "reportingComponent": "example.com/me", "action": "x".repeat(129), "reason": "Why",
        })),
        &[
            "reportingInstance: Required value",
            "action: Invalid value: \"\": can have at most 128 characters",
        ],
    );
    let object = defaulted(
        "events",
        event(json!({"involvedObject": about("default"), "source": {"component": "kubelet"}})),
    )
    .freeze();
    let events = resource("events");
    assert_eq!(events.strategy.field(&object, "involvedObject.name").as_deref(), Some("web"));
    assert_eq!(events.strategy.field(&object, "source").as_deref(), Some("kubelet"));
    assert!(events.strategy.validate_name("Web.1234").is_ok());
    assert!(events.strategy.validate_name("a/b").is_err());
}

#[test]
fn priority_classes_are_filled_in_and_checked() {
    let name = "priorityclasses.scheduling.k8s.io";
    let class = |class: &str, rest: Value| {
        let mut rest = rest;
        rest["metadata"] = json!({"name": class});
        object("scheduling.k8s.io/v1", "PriorityClass", rest)
    };
    let value = defaulted(name, class("a", json!({"value": 1}))).to_value().unwrap();
    assert_eq!(value["preemptionPolicy"], "PreemptLowerPriority");
    check(
        name,
        class("a", json!({"value": 1_000_000_001})),
        &["value: Forbidden: maximum allowed value of a user defined priority is 1000000000"],
    );
    check(
        name,
        class("system-mine", json!({"value": 1})),
        &["metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for \
           system use only. error: system-mine is not a known system priority class"],
    );
    check(name, class("system-node-critical", json!({"value": 2_000_001_000})), &[]);
    check_update(
        name,
        class("a", json!({"value": 1})),
        class("a", json!({"value": 2, "preemptionPolicy": "Never"})),
        &[
            "value: Forbidden: may not be changed in an update.",
            "preemptionPolicy: Invalid value: \"Never\": field is immutable",
        ],
    );
}

#[test]
fn every_kind_can_be_left_as_it_is() {
    for resource in kinds::all().into_iter().filter(|resource| resource.is_stored()) {
        let namespaced = resource.is_namespaced();
        let meta =
            if namespaced { json!({"name": "a", "namespace": "b"}) } else { json!({"name": "a"}) };
        let value = json!({
            "apiVersion": resource.api_version(), "kind": resource.kind, "metadata": meta
        });
        let (_, once) = update(resource.name(), value.clone(), value);
        let once = once.to_value().unwrap();
        let (_, twice) = update(resource.name(), once.clone(), once.clone());
        assert_eq!(twice.to_value().unwrap(), once, "{}", resource.kind);
    }
}
