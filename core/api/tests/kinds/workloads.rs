use serde_json::{Value, json};

use crate::support::{
    check, check_status, check_update, defaulted, deployment, resource, update, with,
};

fn set(field: &str, value: Value) -> Value {
    with(deployment(), &format!("/spec/{field}"), value)
}

fn replica_set() -> Value {
    with(with(deployment(), "/kind", json!("ReplicaSet")), "/spec/replicas", json!(2))
}

#[test]
fn a_deployment_is_filled_in() {
    let mut spec = defaulted("deployments.apps", deployment()).to_value().unwrap()["spec"].clone();
    let template = spec["template"].take();
    assert_eq!(template["spec"]["restartPolicy"], "Always");
    assert_eq!(template["spec"]["containers"][0]["imagePullPolicy"], "Always");
    assert_eq!(template["spec"].get("enableServiceLinks"), None);
    assert_eq!(
        spec,
        json!({
            "progressDeadlineSeconds": 600,
            "replicas": 1,
            "revisionHistoryLimit": 10,
            "selector": {"matchLabels": {"app": "web"}},
            "strategy": {
                "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"},
                "type": "RollingUpdate",
            },
            "template": null,
        })
    );
}

#[test]
fn a_template_does_not_request_what_it_is_limited_to() {
    let limits = json!({"limits": {"cpu": "1"}});
    let value =
        defaulted("deployments.apps", set("template/spec/containers/0/resources", limits.clone()))
            .to_value()
            .unwrap();
    assert_eq!(value["spec"]["template"]["spec"]["containers"][0]["resources"], limits);
}

#[test]
fn deployments_are_checked() {
    let cases: &[(&str, Value, &[&str])] = &[
        (
            "replicas",
            json!(-1),
            &["spec.replicas: Invalid value: -1: must be greater than or equal to 0"],
        ),
        (
            "selector",
            json!({}),
            &["spec.selector: Invalid value: {}: empty selector is invalid for deployment"],
        ),
        (
            "template/metadata/labels",
            json!({"app": "other"}),
            &[
                "spec.template.metadata.labels: Invalid value: {\"app\":\"other\"}: `selector` does \
               not match template `labels`",
            ],
        ),
        (
            "template/spec/restartPolicy",
            json!("Never"),
            &["spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \
               \"Always\""],
        ),
        (
            "template/spec/activeDeadlineSeconds",
            json!(1),
            &["spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in \
               ReplicaSet is not Supported"],
        ),
        ("template/spec/containers", json!([]), &["spec.template.spec.containers: Required value"]),
        (
            "strategy",
            json!({"type": "Recreate", "rollingUpdate": {}}),
            &["spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` \
               is 'Recreate'"],
        ),
        (
            "strategy",
            json!({"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "0%"}}),
            &["spec.strategy.rollingUpdate.maxUnavailable: Invalid value: \"0%\": may not be 0 \
               when `maxSurge` is 0"],
        ),
        (
            "strategy",
            json!({"rollingUpdate": {"maxSurge": "a", "maxUnavailable": "101%"}}),
            &[
                "spec.strategy.rollingUpdate.maxSurge: Invalid value: \"a\": a valid percent \
                 string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', \
                 regex used for validation is '[0-9]+%')",
                "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: \"101%\": must not be \
                 greater than 100%",
            ],
        ),
        (
            "minReadySeconds",
            json!(600),
            &["spec.progressDeadlineSeconds: Invalid value: 600: must be greater than \
               minReadySeconds"],
        ),
    ];
    for (field, value, expected) in cases {
        check("deployments.apps", set(field, value.clone()), expected);
    }
}

#[test]
fn a_selector_may_not_change() {
    let new = set("selector", json!({"matchExpressions": [{"key": "app", "operator": "Exists"}]}));
    let message = "spec.selector: Invalid value: {\"matchExpressions\":[{\"key\":\"app\",\
                   \"operator\":\"Exists\"}]}: field is immutable";
    check_update("deployments.apps", deployment(), new.clone(), &[message]);
    let new = with(with(new, "/kind", json!("ReplicaSet")), "/spec/replicas", json!(2));
    check_update("replicasets.apps", replica_set(), new, &[message]);
}

#[test]
fn generation_counts_changes_that_matter_to_the_controller() {
    let generation = |new: Value| update("deployments.apps", deployment(), new).1.meta().generation;
    assert_eq!(generation(deployment()), Some(1));
    assert_eq!(generation(set("replicas", json!(3))), Some(2));
    assert_eq!(generation(with(deployment(), "/metadata/annotations", json!({"a": "b"}))), Some(2));
    assert_eq!(generation(with(deployment(), "/metadata/labels", json!({"a": "b"}))), Some(1));
}

#[test]
fn statuses_are_checked() {
    let status = |status: Value| with(deployment(), "/status", status);
    check_status(
        "deployments.apps",
        status(json!({"collisionCount": 2})),
        status(json!({
            "replicas": 1, "updatedReplicas": 2, "readyReplicas": 0, "availableReplicas": 1,
            "collisionCount": 1,
        })),
        &[
            "status.updatedReplicas: Invalid value: 2: cannot be greater than status.replicas",
            "status.availableReplicas: Invalid value: 1: cannot be greater than readyReplicas",
            "status.collisionCount: Invalid value: 1: cannot be decremented",
        ],
    );
    let status = |status: Value| with(replica_set(), "/status", status);
    check_status(
        "replicasets.apps",
        status(json!({"replicas": 0})),
        status(json!({"replicas": 1, "fullyLabeledReplicas": 2, "observedGeneration": -1})),
        &[
            "status.observedGeneration: Invalid value: -1: must be greater than or equal to 0",
            "status.fullyLabeledReplicas: Invalid value: 2: cannot be greater than status.replicas",
        ],
    );
}

#[test]
fn workloads_are_scaled_by_their_replicas() {
    for (name, value) in [("deployments.apps", deployment()), ("replicasets.apps", replica_set())] {
        let resource = resource(name);
        let mut draft = defaulted(name, value);
        resource.strategy.set_replicas(&mut draft, 7);
        let view = resource.strategy.scale(&draft.freeze()).unwrap();
        assert_eq!((view.replicas, view.status_replicas), (7, 0));
        assert!(view.selector.is_some());
    }
}

#[test]
fn replica_sets_can_be_selected_by_their_size() {
    let set = with(replica_set(), "/status", json!({"replicas": 3}));
    let object = defaulted("replicasets.apps", set).freeze();
    let resource = resource("replicasets.apps");
    assert_eq!(resource.strategy.field(&object, "status.replicas").as_deref(), Some("3"));
}

fn stateful_set() -> Value {
    let set = with(deployment(), "/kind", json!("StatefulSet"));
    with(set, "/spec/serviceName", json!("web"))
}

#[test]
fn a_stateful_set_is_filled_in() {
    let claim = json!([{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}}}}]);
    let set = with(stateful_set(), "/spec/volumeClaimTemplates", claim);
    let spec = defaulted("statefulsets.apps", set).to_value().unwrap()["spec"].clone();
    assert_eq!(spec["podManagementPolicy"], "OrderedReady");
    assert_eq!(
        spec["updateStrategy"],
        json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 0}})
    );
    assert_eq!(
        spec["persistentVolumeClaimRetentionPolicy"],
        json!({"whenDeleted": "Retain", "whenScaled": "Retain"})
    );
    // A strategy that is given is not filled in beyond what it says.
    let rolling = with(stateful_set(), "/spec/updateStrategy", json!({"type": "RollingUpdate"}));
    let rolling = defaulted("statefulsets.apps", rolling).to_value().unwrap();
    assert_eq!(rolling["spec"]["updateStrategy"], json!({"type": "RollingUpdate"}));
    let claim = &spec["volumeClaimTemplates"][0];
    assert_eq!(claim["spec"]["volumeMode"], "Filesystem");
    assert_eq!(claim["status"]["phase"], "Pending");
}

#[test]
fn stateful_sets_are_checked() {
    let cases: &[(&str, Value, &[&str])] = &[
        ("replicas", json!(0), &[]),
        (
            "podManagementPolicy",
            json!("Any"),
            &[
                "spec.podManagementPolicy: Invalid value: \"Any\": must be 'OrderedReady' or 'Parallel'",
            ],
        ),
        (
            "updateStrategy",
            json!({"type": "OnDelete", "rollingUpdate": {"partition": 1}}),
            &[
                "spec.updateStrategy.rollingUpdate: Invalid value: {\"partition\":1}: only allowed for updateStrategy 'RollingUpdate'",
            ],
        ),
        (
            "selector",
            json!({"matchLabels": {"app": "other"}}),
            &[
                "spec.template.metadata.labels: Invalid value: {\"app\":\"web\"}: `selector` does not match template `labels`",
            ],
        ),
    ];
    let deadline = with(stateful_set(), "/spec/template/spec/activeDeadlineSeconds", json!(5));
    check(
        "statefulsets.apps",
        deadline,
        &["spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in \
           StatefulSet is not Supported"],
    );
    for (field, value, expected) in cases {
        let set = with(stateful_set(), &format!("/spec/{field}"), value.clone());
        check("statefulsets.apps", set, expected);
    }
    check_update(
        "statefulsets.apps",
        stateful_set(),
        with(stateful_set(), "/spec/serviceName", json!("other")),
        &[
            "spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden",
        ],
    );
}

#[test]
fn daemon_sets_are_checked() {
    let set = || with(deployment(), "/kind", json!("DaemonSet"));
    let rolling = |rolling: Value| json!({"type": "RollingUpdate", "rollingUpdate": rolling});
    let cases: &[(Value, &[&str])] = &[
        (rolling(json!({"maxUnavailable": "10%"})), &[]),
        (
            json!({"type": "Never"}),
            &["spec.updateStrategy: Unsupported value: {\"type\":\"Never\"}: supported values: \
               \"RollingUpdate\", \"OnDelete\""],
        ),
        (
            rolling(json!({"maxUnavailable": 0, "maxSurge": 0})),
            &[
                "spec.updateStrategy.rollingUpdate.maxUnavailable: Required value: cannot be 0 when maxSurge is 0",
            ],
        ),
        (
            rolling(json!({"maxUnavailable": 1, "maxSurge": 1})),
            &[
                "spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: 1: may not be set when maxUnavailable is non-zero",
            ],
        ),
    ];
    for (strategy, expected) in cases {
        check("daemonsets.apps", with(set(), "/spec/updateStrategy", strategy.clone()), expected);
    }
}
