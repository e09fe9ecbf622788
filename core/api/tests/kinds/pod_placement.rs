use serde_json::{Value, json};

use crate::support::{check, pod, with};

#[track_caller]
fn check_toleration(toleration: Value, expected: &[&str]) {
    check("pods", with(pod(), "/spec/tolerations", json!([toleration])), expected);
}

#[test]
fn tolerations_are_checked() {
    let at = "spec.tolerations[0]";
    check_toleration(json!({"operator": "Exists"}), &[]);
    check_toleration(json!({"key": "a", "value": "b", "effect": "NoExecute"}), &[]);
    check_toleration(
        json!({}),
        &[&format!(
            "{at}.operator: Invalid value: \"\": operator must be Exists when `key` is empty, \
             which means \"match all values and all keys\""
        )],
    );
    check_toleration(
        json!({"key": "a", "operator": "Exists", "value": "b"}),
        &[&format!(
            "{at}.operator: Invalid value: \"b\": value must be empty when `operator` is 'Exists'"
        )],
    );
    check_toleration(
        json!({"key": "a", "operator": "Like"}),
        &[&format!(
            "{at}.operator: Unsupported value: \"Like\": supported values: \"Equal\", \"Exists\""
        )],
    );
    check_toleration(
        json!({"key": "a", "effect": "NoSchedule", "tolerationSeconds": 5}),
        &[&format!(
            "{at}.effect: Invalid value: \"NoSchedule\": effect must be 'NoExecute' when \
             `tolerationSeconds` is set"
        )],
    );
    check_toleration(
        json!({"key": "a", "effect": "Never"}),
        &[&format!(
            "{at}.effect: Unsupported value: \"Never\": supported values: \"NoSchedule\", \
             \"PreferNoSchedule\", \"NoExecute\""
        )],
    );
}

#[test]
fn node_affinity_is_checked() {
    let required = "requiredDuringSchedulingIgnoredDuringExecution";
    let at = format!("spec.affinity.nodeAffinity.{required}.nodeSelectorTerms");
    let affinity = |terms: Value| {
        let affinity = json!({"nodeAffinity": {required: {"nodeSelectorTerms": terms}}});
        with(pod(), "/spec/affinity", affinity)
    };
    check(
        "pods",
        affinity(json!([])),
        &[&format!("{at}: Required value: must have at least one node selector term")],
    );
    check(
        "pods",
        affinity(json!([{
            "matchExpressions": [
                {"key": "a", "operator": "In"},
                {"key": "a", "operator": "Exists", "values": ["b"]},
                {"key": "a", "operator": "Gt", "values": []},
                {"key": "a", "operator": "Near"},
            ],
            "matchFields": [{"key": "metadata.uid", "operator": "In", "values": ["x"]}],
        }])),
        &[
            &format!(
                "{at}[0].matchExpressions[0].values: Required value: must be specified when \
                 `operator` is 'In' or 'NotIn'"
            ),
            &format!(
                "{at}[0].matchExpressions[1].values: Forbidden: may not be specified when \
                 `operator` is 'Exists' or 'DoesNotExist'"
            ),
            &format!(
                "{at}[0].matchExpressions[2].values: Required value: must be specified single \
                 value when `operator` is 'Lt' or 'Gt'"
            ),
            &format!(
                "{at}[0].matchExpressions[3].operator: Invalid value: \"Near\": not a valid \
                 selector operator"
            ),
            &format!(
                "{at}[0].matchFields[0].key: Invalid value: \"metadata.uid\": not a valid field \
                 selector key"
            ),
        ],
    );
}

#[test]
fn pod_affinity_is_checked() {
    let preferred = "preferredDuringSchedulingIgnoredDuringExecution";
    let term = json!({"weight": 101, "podAffinityTerm": {
        "topologyKey": "zone", "namespaces": ["a.b"], "matchLabelKeys": ["x"],
    }});
    check(
        "pods",
        with(pod(), "/spec/affinity", json!({"podAntiAffinity": {preferred: [term]}})),
        &[
            &format!(
                "spec.affinity.podAntiAffinity.{preferred}[0].weight: Invalid value: 101: must be \
                 in the range 1-100"
            ),
            &format!(
                "spec.affinity.podAntiAffinity.{preferred}[0].podAffinityTerm.namespace: Invalid \
                 value: \"a.b\": must not contain dots"
            ),
            &format!(
                "spec.affinity.podAntiAffinity.{preferred}[0].podAffinityTerm.matchLabelKeys: \
                 Forbidden: must not be specified when labelSelector is not set"
            ),
        ],
    );
}

#[test]
fn spreading_is_checked() {
    let one = json!({"maxSkew": 0, "topologyKey": "", "whenUnsatisfiable": "Cry", "minDomains": 1});
    check(
        "pods",
        with(pod(), "/spec/topologySpreadConstraints", json!([one])),
        &[
            "spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero",
            "spec.topologySpreadConstraints[0].topologyKey: Required value: can not be empty",
            "spec.topologySpreadConstraints[0].whenUnsatisfiable: Unsupported value: \"Cry\": \
             supported values: \"DoNotSchedule\", \"ScheduleAnyway\"",
            "spec.topologySpreadConstraints[0].minDomains: Invalid value: 1: can only use \
             minDomains if whenUnsatisfiable=DoNotSchedule, not Cry",
        ],
    );
    let one = json!({"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"});
    check(
        "pods",
        with(pod(), "/spec/topologySpreadConstraints", json!([one, one])),
        &["spec.topologySpreadConstraints[0].{topologyKey, whenUnsatisfiable}: Duplicate value: \
           \"{zone, ScheduleAnyway}\""],
    );
}

#[test]
fn a_key_to_match_by_is_not_in_the_selector_too() {
    let constraint = json!({
        "maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "web"}}, "matchLabelKeys": ["app"],
    });
    let pod = with(pod(), "/spec/topologySpreadConstraints", json!([constraint]));
    check(
        "pods",
        with(pod, "/metadata/labels", json!({"app": "web"})),
        &[
            "spec.topologySpreadConstraints[0].matchLabelKeys[0]: Invalid value: \"app\": exists in \
           both matchLabelKeys and labelSelector",
        ],
    );
}
