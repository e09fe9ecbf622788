use serde_json::{Value, json};

use crate::support::{check_status, check_update, pod, update, with};

const MAY_CHANGE: &str = "spec: Forbidden: pod updates may not change fields other than \
    `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,\
    `spec.tolerations` (only additions to existing tolerations),\
    `spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

fn set(field: &str, value: Value) -> Value {
    with(pod(), &format!("/spec/{field}"), value)
}

#[test]
fn images_deadlines_and_more_tolerations_may_come() {
    let new = set("containers/0/image", json!("nginx:2"));
    let new = with(new, "/spec/activeDeadlineSeconds", json!(60));
    let new = with(new, "/spec/tolerations", json!([{"operator": "Exists"}]));
    check_update("pods", pod(), new, &[]);
}

#[test]
fn nothing_else_may_change() {
    let changed = format!("{MAY_CHANGE}\nchanged: spec.hostname, spec.nodeName");
    let new = with(set("hostname", json!("other")), "/spec/nodeName", json!("node-1"));
    check_update("pods", pod(), new, &[&changed]);
    let more = json!([{"name": "main", "image": "a"}, {"name": "more", "image": "a"}]);
    check_update(
        "pods",
        pod(),
        set("containers", more),
        &["spec.containers: Forbidden: pod updates may not add or remove containers"],
    );
}

#[test]
fn leaving_out_what_says_nothing_changes_nothing() {
    let old = with(set("hostNetwork", json!(false)), "/spec/containers/0/env", json!([]));
    let (errors, new) = update("pods", old, pod());
    assert!(errors.is_empty(), "{errors:?}");
    assert_eq!(new.meta().generation, Some(1));
}

#[test]
fn generation_counts_changes_of_the_spec() {
    let (_, new) = update("pods", pod(), set("containers/0/image", json!("nginx:2")));
    assert_eq!(new.meta().generation, Some(2));
    let labelled = with(pod(), "/metadata/labels", json!({"a": "b"}));
    let (_, new) = update("pods", pod(), labelled);
    assert_eq!(new.meta().generation, Some(1));
}

#[test]
fn the_status_is_not_updated_along_with_the_rest() {
    let (_, new) = update("pods", pod(), with(pod(), "/status", json!({"phase": "Running"})));
    assert_eq!(new.to_value().unwrap()["status"]["phase"], "Pending");
}

#[test]
fn deadlines_only_come_nearer() {
    let old = || set("activeDeadlineSeconds", json!(60));
    check_update("pods", old(), set("activeDeadlineSeconds", json!(30)), &[]);
    check_update(
        "pods",
        old(),
        set("activeDeadlineSeconds", json!(90)),
        &["spec.activeDeadlineSeconds: Invalid value: 90: must be less than or equal to previous \
           value"],
    );
    check_update(
        "pods",
        old(),
        pod(),
        &["spec.activeDeadlineSeconds: Invalid value: null: must not update from a positive \
           integer to nil value"],
    );
}

#[test]
fn tolerations_stay_but_for_their_seconds() {
    let toleration = |seconds: i64| {
        json!([{"key": "a", "operator": "Exists", "effect": "NoExecute",
                "tolerationSeconds": seconds}])
    };
    let old = || set("tolerations", toleration(5));
    check_update("pods", old(), set("tolerations", toleration(9)), &[]);
    check_update(
        "pods",
        old(),
        pod(),
        &["spec.tolerations: Forbidden: existing toleration can not be modified except its \
           tolerationSeconds"],
    );
}

#[test]
fn a_negative_grace_period_may_become_the_shortest() {
    let old = || set("terminationGracePeriodSeconds", json!(-1));
    check_update("pods", old(), set("terminationGracePeriodSeconds", json!(1)), &[]);
    let changed = format!("{MAY_CHANGE}\nchanged: spec.terminationGracePeriodSeconds");
    let new = set("terminationGracePeriodSeconds", json!(2));
    check_update("pods", old(), new, &[&changed]);
}

#[test]
fn gates_only_go() {
    let gated = |names: &[&str]| {
        let gates: Vec<_> = names.iter().map(|name| json!({"name": name})).collect();
        set("schedulingGates", json!(gates))
    };
    check_update("pods", gated(&["a", "b"]), gated(&["b"]), &[]);
    check_update(
        "pods",
        gated(&["a"]),
        gated(&["a", "b"]),
        &["spec.schedulingGates[1].name: Forbidden: only deletion is allowed, but found new \
           scheduling gate 'b'"],
    );
}

#[test]
fn a_gated_pod_can_be_told_where_to_run_more_narrowly() {
    let gated = || set("schedulingGates", json!([{"name": "a"}]));
    let old = || with(gated(), "/spec/nodeSelector", json!({"zone": "a"}));
    let narrower = json!({"zone": "a", "disk": "ssd"});
    check_update("pods", old(), with(gated(), "/spec/nodeSelector", narrower), &[]);
    check_update(
        "pods",
        old(),
        with(gated(), "/spec/nodeSelector", json!({"zone": "b"})),
        &["spec.nodeSelector: Invalid value: {\"zone\":\"b\"}: only additions to \
           spec.nodeSelector are allowed (no mutations or deletions)"],
    );
    let affinity = |values: Value| {
        json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [{"matchExpressions": values}]
        }}})
    };
    let a = json!({"key": "a", "operator": "Exists"});
    let b = json!({"key": "b", "operator": "Exists"});
    let old = || with(gated(), "/spec/affinity", affinity(json!([a])));
    check_update("pods", gated(), old(), &[]);
    check_update("pods", old(), with(gated(), "/spec/affinity", affinity(json!([a, b]))), &[]);
    check_update(
        "pods",
        old(),
        with(gated(), "/spec/affinity", affinity(json!([b]))),
        &["spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.\
           nodeSelectorTerms[0]: Invalid value: {\"matchExpressions\":[{\"key\":\"b\",\
           \"operator\":\"Exists\"}]}: only additions are allowed (no mutations or deletions)"],
    );
}

#[test]
fn mirror_pods_stay_what_they_are() {
    let mirror = with(
        set("nodeName", json!("n")),
        "/metadata/annotations",
        json!({"kubernetes.io/config.mirror": "x"}),
    );
    check_update(
        "pods",
        mirror,
        set("nodeName", json!("n")),
        &[
            "metadata.annotations[kubernetes.io/config.mirror]: Forbidden: may not remove or update \
           mirror pod annotation",
        ],
    );
}

#[test]
fn a_container_that_has_ended_does_not_come_back() {
    let status = |state: Value| {
        json!({"containerStatuses": [{
            "name": "main", "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "state": state,
        }]})
    };
    let with_policy = |policy: &str, state: Value| {
        with(set("restartPolicy", json!(policy)), "/status", status(state))
    };
    let ended = |code: i32| json!({"terminated": {"exitCode": code}});
    let running = || json!({"running": {}});
    let refused = "status.containerStatuses[0].state: Forbidden: may not be transitioned to \
                   non-terminated state";
    let cases: &[(&str, i32, &[&str])] = &[
        ("Always", 1, &[]),
        ("OnFailure", 1, &[]),
        ("OnFailure", 0, &[refused]),
        ("Never", 1, &[refused]),
    ];
    for (policy, code, expected) in cases {
        let old = with_policy(policy, ended(*code));
        check_status("pods", old, with_policy(policy, running()), expected);
    }
}

#[test]
fn what_a_status_says_is_checked() {
    let status = |status: Value| with(pod(), "/status", status);
    let old = || status(json!({"qosClass": "BestEffort", "observedGeneration": 3}));
    check_status("pods", old(), status(json!({"podIPs": [{"ip": "10.0.0.1"}]})), &[]);
    check_status(
        "pods",
        old(),
        status(json!({
            "qosClass": "Guaranteed",
            "nominatedNodeName": "A",
            "hostIP": "10.0.0.2",
            "hostIPs": [{"ip": "10.0.0.1"}],
            "podIPs": [{"ip": "10.0.0.1"}, {"ip": "10.0.0.2"}],
        })),
        &[
            "status.nominatedNodeName: Invalid value: \"A\": a lowercase RFC 1123 subdomain must \
             consist of lower case alphanumeric characters, '-' or '.', and must start and end \
             with an alphanumeric character (e.g. 'example.com', regex used for validation is \
             '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
            "status.qosClass: Invalid value: \"Guaranteed\": field is immutable",
            "status.podIPs: Invalid value: [{\"ip\":\"10.0.0.1\"},{\"ip\":\"10.0.0.2\"}]: may \
             specify no more than one IP for each IP family",
            "status.hostIPs[0].ip: Invalid value: \"10.0.0.1\": must be equal to `hostIP`",
        ],
    );
}
