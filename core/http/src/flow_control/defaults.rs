//! The schemas and levels that every cluster has, as upstream makes them.

use k8s_openapi::api::flowcontrol::v1::{FlowSchema, PriorityLevelConfiguration};
use serde_json::{Value, json};

/// Marks what is kept as it is here until somebody says otherwise.
pub(super) const AUTO_UPDATE: &str = "apf.kubernetes.io/autoupdate-spec";
/// The names of those without which nothing would be served.
pub(super) const MANDATORY: [&str; 2] = ["exempt", "catch-all"];

/// Name, shares, percentage to lend, and for those that queue: queues, size of a hand, length.
type Level = (&'static str, i32, i32, Option<(i32, i32, i32)>);

const LEVELS: [Level; 7] = [
    ("catch-all", 5, 0, None),
    ("global-default", 20, 50, Some((128, 6, 50))),
    ("leader-election", 10, 0, Some((16, 4, 50))),
    ("node-high", 40, 25, Some((64, 6, 50))),
    ("system", 30, 33, Some((64, 6, 50))),
    ("workload-high", 40, 50, Some((128, 6, 50))),
    ("workload-low", 100, 90, Some((128, 6, 50))),
];

pub(super) fn levels() -> serde_json::Result<Vec<PriorityLevelConfiguration>> {
    let limited = LEVELS.iter().map(|(name, shares, lendable, queuing)| {
        let response = match queuing {
            None => json!({"type": "Reject"}),
            Some((queues, hand, length)) => json!({"type": "Queue", "queuing": {
                "queues": queues, "handSize": hand, "queueLengthLimit": length,
            }}),
        };
        let spec = json!({"type": "Limited", "limited": {
            "nominalConcurrencyShares": shares, "lendablePercent": lendable,
            "limitResponse": response,
        }});
        (*name, spec)
    });
    let exempt = json!({"type": "Exempt", "exempt": {
        "nominalConcurrencyShares": 0, "lendablePercent": 0,
    }});
    limited.chain([("exempt", exempt)]).map(object).collect()
}

pub(super) fn schemas() -> serde_json::Result<Vec<FlowSchema>> {
    let everybody = json!([group("system:unauthenticated"), group("system:authenticated")]);
    let system_accounts = json!([account("*")]);
    let leases = |subjects: &Value| {
        let verbs = ["get", "create", "update"];
        json!([{"subjects": subjects, "resourceRules": [
            resources(&verbs, "coordination.k8s.io", &["leases"], false),
        ]}])
    };
    let leaders = json!([user("kube-controller-manager"), user("kube-scheduler"), account("*")]);
    let nodes = json!([{"subjects": [group("system:nodes")], "resourceRules": [
        resources(&["*"], "", &["nodes", "nodes/status"], true),
        resources(&["*"], "coordination.k8s.io", &["leases"], false),
    ]}]);
    let probes = json!([{"subjects": everybody, "nonResourceRules": [
        {"verbs": ["get"], "nonResourceURLs": ["/healthz", "/readyz", "/livez"]},
    ]}]);
    let schemas = [
        ("exempt", "exempt", 1, "", all(&json!([group("system:masters")]))),
        ("probes", "exempt", 2, "", probes),
        ("system-leader-election", "leader-election", 100, "ByUser", leases(&leaders)),
        ("system-node-high", "node-high", 400, "ByUser", nodes),
        ("system-nodes", "system", 500, "ByUser", all(&json!([group("system:nodes")]))),
        (
            "kube-controller-manager",
            "workload-high",
            800,
            "ByNamespace",
            all(&json!([user("kube-controller-manager")])),
        ),
        (
            "kube-scheduler",
            "workload-high",
            800,
            "ByNamespace",
            all(&json!([user("kube-scheduler")])),
        ),
        (
            "kube-system-service-accounts",
            "workload-high",
            900,
            "ByNamespace",
            all(&system_accounts),
        ),
        (
            "service-accounts",
            "workload-low",
            9000,
            "ByUser",
            all(&json!([group("system:serviceaccounts")])),
        ),
        ("global-default", "global-default", 9900, "ByUser", all(&everybody)),
        ("catch-all", "catch-all", 10_000, "ByUser", all(&everybody)),
    ];
    let specs = schemas.map(|(name, level, precedence, by, rules)| {
        let mut spec = json!({
            "matchingPrecedence": precedence, "priorityLevelConfiguration": {"name": level},
            "rules": rules,
        });
        if !by.is_empty() {
            spec["distinguisherMethod"] = json!({"type": by});
        }
        (name, spec)
    });
    specs.into_iter().map(object).collect()
}

fn object<K: serde::de::DeserializeOwned>((name, spec): (&str, Value)) -> serde_json::Result<K> {
    let metadata = json!({"name": name, "annotations": {AUTO_UPDATE: "true"}});
    serde_json::from_value(json!({"metadata": metadata, "spec": spec}))
}

fn group(name: &str) -> Value {
    json!({"kind": "Group", "group": {"name": name}})
}

fn user(name: &str) -> Value {
    json!({"kind": "User", "user": {"name": format!("system:{name}")}})
}

fn account(name: &str) -> Value {
    let account = json!({"name": name, "namespace": "kube-system"});
    json!({"kind": "ServiceAccount", "serviceAccount": account})
}

fn resources(verbs: &[&str], group: &str, resources: &[&str], cluster: bool) -> Value {
    let mut rule = json!({
        "verbs": verbs, "apiGroups": [group], "resources": resources, "namespaces": ["*"],
    });
    if cluster {
        rule["clusterScope"] = true.into();
    }
    rule
}

/// Whatever these subjects ask.
fn all(subjects: &Value) -> Value {
    json!([{
        "subjects": subjects,
        "resourceRules": [resources(&["*"], "*", &["*"], true)],
        "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
    }])
}
