//! Volumes, their classes, and what namespaces may use.

use serde_json::{Value, json};

use crate::support::{check, check_update, defaulted, with};

fn object(api_version: &str, kind: &str, fields: Value) -> Value {
    let meta = json!({"name": "o", "namespace": "default"});
    let mut object = json!({"apiVersion": api_version, "kind": kind, "metadata": meta});
    for (key, value) in fields.as_object().unwrap() {
        object[key] = value.clone();
    }
    object
}

fn claim() -> Value {
    object(
        "v1",
        "PersistentVolumeClaim",
        json!({"spec": {
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}
        }}),
    )
}

#[test]
fn claims_are_checked_and_hardly_change() {
    let name = "persistentvolumeclaims";
    check(name, claim(), &[]);
    check(
        name,
        with(claim(), "/spec/accessModes", json!([])),
        &["spec.accessModes: Required value: at least 1 access mode is required"],
    );
    let immutable = "spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";
    let larger = |claim| with(claim, "/spec/resources/requests/storage", json!("2Gi"));
    check_update(name, claim(), larger(claim()), &[immutable]);
    check_update(name, claim(), with(claim(), "/spec/volumeName", json!("pv-1")), &[]);
    check_update(name, claim(), with(claim(), "/spec/volumeMode", json!("Block")), &[immutable]);
}

#[test]
fn volumes_are_filled_in_and_checked() {
    let volume = |source: Value| {
        let mut spec = json!({"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}});
        for (key, value) in source.as_object().unwrap() {
            spec[key] = value.clone();
        }
        object("v1", "PersistentVolume", json!({"spec": spec}))
    };
    let name = "persistentvolumes";
    let spec = defaulted(name, volume(json!({"hostPath": {"path": "/data"}}))).to_value().unwrap();
    assert_eq!(spec["spec"]["persistentVolumeReclaimPolicy"], "Retain");
    assert_eq!(spec["spec"]["volumeMode"], "Filesystem");
    let cases: &[(Value, &[&str])] = &[
        (json!({"hostPath": {"path": "/data"}}), &[]),
        (json!({}), &["spec: Required value: must specify a volume type"]),
        (
            json!({"hostPath": {"path": "/a/../b"}}),
            &["spec.hostPath.path: Invalid value: \"/a/../b\": must not contain '..'"],
        ),
        (
            json!({"local": {"path": "/data"}}),
            &["spec.nodeAffinity: Required value: Local volume requires node affinity"],
        ),
        (
            json!({"hostPath": {"path": "/a"}, "nfs": {"server": "s", "path": "/"}}),
            &["spec.nfs: Forbidden: may not specify more than 1 volume type"],
        ),
    ];
    for (source, expected) in cases {
        check(name, volume(source.clone()), expected);
    }
    check_update(
        name,
        volume(json!({"hostPath": {"path": "/a"}})),
        volume(json!({"hostPath": {"path": "/b"}})),
        &[
            "spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after creation",
        ],
    );
}

#[test]
fn classes_are_filled_in_and_checked() {
    let class = |more: Value| object("storage.k8s.io/v1", "StorageClass", more);
    let name = "storageclasses.storage.k8s.io";
    let value =
        defaulted(name, class(json!({"provisioner": "example.com/disk"}))).to_value().unwrap();
    assert_eq!(value["reclaimPolicy"], "Delete");
    assert_eq!(value["volumeBindingMode"], "Immediate");
    check(
        name,
        class(json!({"provisioner": "", "reclaimPolicy": "Recycle"})),
        &[
            "provisioner: Required value",
            "reclaimPolicy: Unsupported value: \"Recycle\": supported values: \"Delete\", \"Retain\"",
        ],
    );
    check_update(
        name,
        class(json!({"provisioner": "a.b/c"})),
        class(json!({"provisioner": "a.b/d"})),
        &["provisioner: Forbidden: updates to provisioner are forbidden."],
    );
    let driver = object("storage.k8s.io/v1", "CSIDriver", json!({"spec": {}}));
    let value = defaulted("csidrivers.storage.k8s.io", driver).to_value().unwrap();
    assert_eq!(value["spec"]["volumeLifecycleModes"], json!(["Persistent"]));
    assert_eq!(value["spec"]["fsGroupPolicy"], "ReadWriteOnceWithFSType");
}

#[test]
fn endpoint_slices_are_checked() {
    let slice = |kind: &str, address: &str, ports: Value| {
        object(
            "discovery.k8s.io/v1",
            "EndpointSlice",
            json!({
                "addressType": kind, "endpoints": [{"addresses": [address]}], "ports": ports
            }),
        )
    };
    let name = "endpointslices.discovery.k8s.io";
    check(name, slice("IPv4", "10.0.0.1", json!([{"port": 80}])), &[]);
    check(
        name,
        slice("IPv4", "::1", json!([])),
        &["endpoints[0].addresses[0]: Invalid value: \"::1\": must be a valid IPv4 address"],
    );
    check(
        name,
        slice("IPv4", "127.0.0.1", json!([{"port": 1}, {"port": 2}])),
        &[
            "endpoints[0].addresses[0]: Invalid value: \"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, ::1/128)",
            "ports[1].name: Duplicate value: \"\"",
        ],
    );
    let endpoints = object("v1", "Endpoints", json!({"subsets": [{"ports": [{"port": 80}]}]}));
    check(
        "endpoints",
        endpoints,
        &["subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`"],
    );
}

#[test]
fn limits_and_quotas_are_filled_in_and_checked() {
    let range = |item: Value| object("v1", "LimitRange", json!({"spec": {"limits": [item]}}));
    let value = defaulted("limitranges", range(json!({"type": "Container", "max": {"cpu": "1"}})));
    let item = value.to_value().unwrap()["spec"]["limits"][0].clone();
    assert_eq!(item["default"], json!({"cpu": "1"}));
    assert_eq!(item["defaultRequest"], json!({"cpu": "1"}));
    check(
        "limitranges",
        range(json!({"type": "Pod", "min": {"cpu": "2"}, "max": {"cpu": "1"}})),
        &["spec.limits[0].min[cpu]: Invalid value: \"2\": min value 2 is greater than max value 1"],
    );
    let quota = |spec: Value| object("v1", "ResourceQuota", json!({"spec": spec}));
    check("resourcequotas", quota(json!({"hard": {"pods": "5"}})), &[]);
    check(
        "resourcequotas",
        quota(json!({"scopes": ["BestEffort", "NotBestEffort"]})),
        &["spec.scopes: Invalid value: [\"BestEffort\",\"NotBestEffort\"]: conflicting scopes"],
    );
}

#[test]
fn autoscalers_are_filled_in_and_checked() {
    let autoscaler = |more: Value| {
        let mut spec = json!({"scaleTargetRef": {"kind": "Deployment", "name": "web", "apiVersion": "apps/v1"}, "maxReplicas": 3});
        for (key, value) in more.as_object().unwrap() {
            spec[key] = value.clone();
        }
        object("autoscaling/v2", "HorizontalPodAutoscaler", json!({"spec": spec}))
    };
    let name = "horizontalpodautoscalers.autoscaling";
    let spec = defaulted(name, autoscaler(json!({}))).to_value().unwrap()["spec"].clone();
    assert_eq!(spec["minReplicas"], 1);
    assert_eq!(spec["metrics"][0]["resource"]["target"]["averageUtilization"], 80);
    check(
        name,
        autoscaler(json!({"minReplicas": 5})),
        &["spec.maxReplicas: Invalid value: 3: must be greater than or equal to `minReplicas`"],
    );
    check(
        name,
        autoscaler(json!({"metrics": [{"type": "Pods"}]})),
        &[
            "spec.metrics[0].pods: Required value: must populate information for the given metric source",
        ],
    );
}

#[test]
fn replication_controllers_select_what_they_make() {
    let controller = |spec: Value| object("v1", "ReplicationController", json!({"spec": spec}));
    let template = json!({"metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let name = "replicationcontrollers";
    let value = defaulted(name, controller(json!({"template": template}))).to_value().unwrap();
    assert_eq!(value["spec"]["selector"], json!({"app": "web"}));
    assert_eq!(value["metadata"]["labels"], json!({"app": "web"}));
    check(
        name,
        controller(json!({"template": template, "selector": {"app": "other"}})),
        &[
            "spec.template.metadata.labels: Invalid value: {\"app\":\"web\"}: `selector` does not match template `labels`",
        ],
    );
}
