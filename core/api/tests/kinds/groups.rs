//! Kinds of the smaller groups.

use serde_json::{Value, json};

use crate::support::{check, check_status, check_update, defaulted};

fn object(api_version: &str, kind: &str, name: &str, fields: Value) -> Value {
    let mut object = json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name}});
    for (key, value) in fields.as_object().unwrap() {
        object[key] = value.clone();
    }
    object
}

fn rbac(kind: &str, fields: Value) -> Value {
    object("rbac.authorization.k8s.io/v1", kind, "r", fields)
}

#[test]
fn roles_are_checked() {
    let cases: &[(&str, Value, &[&str])] = &[
        ("Role", json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}), &[]),
        (
            "Role",
            json!({"verbs": [], "nonResourceURLs": ["/healthz"]}),
            &[
                "rules[0].verbs: Required value: verbs must contain at least one value",
                "rules[0].nonResourceURLs: Invalid value: [\"/healthz\"]: namespaced rules cannot apply to non-resource URLs",
            ],
        ),
        (
            "ClusterRole",
            json!({"verbs": ["get"], "nonResourceURLs": ["/x"], "resources": ["pods"]}),
            &[
                "rules[0].nonResourceURLs: Invalid value: [\"/x\"]: rules cannot apply to both regular resources and non-resource URLs",
            ],
        ),
        (
            "ClusterRole",
            json!({"verbs": ["get"]}),
            &[
                "rules[0].apiGroups: Required value: resource rules must supply at least one api group",
                "rules[0].resources: Required value: resource rules must supply at least one resource",
            ],
        ),
    ];
    for (kind, rule, expected) in cases {
        let name = format!("{}s.rbac.authorization.k8s.io", kind.to_lowercase());
        check(&name, rbac(kind, json!({"rules": [rule]})), expected);
    }
}

#[test]
fn bindings_are_filled_in_and_checked() {
    let binding = |role: &str, subject: Value| {
        rbac(
            "ClusterRoleBinding",
            json!({"roleRef": {"kind": "ClusterRole", "name": role}, "subjects": [subject]}),
        )
    };
    let name = "clusterrolebindings.rbac.authorization.k8s.io";
    let jane = json!({"kind": "User", "name": "jane"});
    let value = defaulted(name, binding("admin", jane.clone())).to_value().unwrap();
    assert_eq!(value["roleRef"]["apiGroup"], "rbac.authorization.k8s.io");
    assert_eq!(value["subjects"][0]["apiGroup"], "rbac.authorization.k8s.io");
    check(
        name,
        binding("admin", json!({"kind": "ServiceAccount", "name": "bot"})),
        &["subjects[0].namespace: Required value"],
    );
    check(
        name,
        binding("a/b", json!({"kind": "Robot", "name": "x"})),
        &[
            "roleRef.name: Invalid value: \"a/b\": may not contain '/'",
            "subjects[0].kind: Unsupported value: \"Robot\": supported values: \"ServiceAccount\", \"User\", \"Group\"",
        ],
    );
    check_update(
        name,
        binding("admin", jane.clone()),
        binding("view", jane),
        &[
            "roleRef: Invalid value: {\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":\"ClusterRole\",\"name\":\"view\"}: cannot change roleRef",
        ],
    );
}

#[test]
fn ingresses_are_checked() {
    let ingress =
        |spec: Value| object("networking.k8s.io/v1", "Ingress", "i", json!({"spec": spec}));
    let path =
        |path: Value| ingress(json!({"rules": [{"host": "a.example", "http": {"paths": [path]}}]}));
    let backend = json!({"service": {"name": "web", "port": {"number": 80}}});
    let name = "ingresses.networking.k8s.io";
    let cases: &[(Value, &[&str])] = &[
        (path(json!({"path": "/", "pathType": "Prefix", "backend": backend})), &[]),
        (
            path(json!({"path": "a//b", "pathType": "Exact", "backend": backend})),
            &[
                "spec.rules[0].http.paths[0].path: Invalid value: \"a//b\": must be an absolute path",
                "spec.rules[0].http.paths[0].path: Invalid value: \"a//b\": must not contain '//'",
            ],
        ),
        (
            path(
                json!({"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "web"}}}),
            ),
            &[
                "spec.rules[0].http.paths[0].backend.service: Required value: port name or number is required",
            ],
        ),
        (
            ingress(json!({})),
            &["spec: Invalid value: null: either `defaultBackend` or `rules` must be specified"],
        ),
        (
            ingress(json!({"defaultBackend": backend, "rules": [{"host": "10.0.0.1"}]})),
            &[
                "spec.rules[0].host: Invalid value: \"10.0.0.1\": must be a DNS name, not an IP address",
            ],
        ),
    ];
    for (value, expected) in cases {
        check(name, value.clone(), expected);
    }
}

#[test]
fn network_policies_are_filled_in_and_checked() {
    let policy =
        |spec: Value| object("networking.k8s.io/v1", "NetworkPolicy", "p", json!({"spec": spec}));
    let name = "networkpolicies.networking.k8s.io";
    let value = policy(json!({"podSelector": {}, "egress": [{"ports": [{"port": 53}]}]}));
    let spec = defaulted(name, value).to_value().unwrap()["spec"].clone();
    assert_eq!(spec["policyTypes"], json!(["Ingress", "Egress"]));
    assert_eq!(spec["egress"][0]["ports"][0]["protocol"], "TCP");
    let block = |except: &str| {
        policy(json!({"podSelector": {}, "ingress": [{"from": [
            {"ipBlock": {"cidr": "10.0.0.0/8", "except": [except]}}
        ]}]}))
    };
    check(name, block("10.1.0.0/16"), &[]);
    check(
        name,
        block("11.0.0.0/16"),
        &[
            "spec.ingress[0].from[0].ipBlock.except[0]: Invalid value: \"11.0.0.0/16\": must be a strict subset of `cidr`: 10.0.0.0/8",
        ],
    );
    check(
        name,
        policy(json!({"podSelector": {}, "ingress": [{"from": [{}]}]})),
        &["spec.ingress[0].from[0]: Required value: must specify a peer"],
    );
}

#[test]
fn priority_levels_and_flow_schemas_are_filled_in_and_checked() {
    let of = "flowcontrol.apiserver.k8s.io";
    let api = "flowcontrol.apiserver.k8s.io/v1";
    let level =
        |spec: Value| object(api, "PriorityLevelConfiguration", "work", json!({"spec": spec}));
    let queue =
        json!({"type": "Limited", "limited": {"limitResponse": {"type": "Queue", "queuing": {}}}});
    let value = defaulted(&format!("prioritylevelconfigurations.{of}"), level(queue));
    assert_eq!(
        value.to_value().unwrap()["spec"]["limited"],
        json!({
            "nominalConcurrencyShares": 30, "lendablePercent": 0,
            "limitResponse": {"type": "Queue", "queuing": {"queues": 64, "handSize": 8, "queueLengthLimit": 50}},
        })
    );
    check(
        &format!("prioritylevelconfigurations.{of}"),
        level(json!({"type": "Exempt"})),
        &[
            "spec.type: Invalid value: \"Exempt\": type must be 'Exempt' if and only if name is 'exempt'",
        ],
    );
    let schema = |rule: Value| {
        object(
            api,
            "FlowSchema",
            "s",
            json!({"spec": {
                "priorityLevelConfiguration": {"name": "work"}, "rules": [rule]
            }}),
        )
    };
    check(
        &format!("flowschemas.{of}"),
        schema(json!({"subjects": [{"kind": "User", "group": {"name": "g"}}],
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["healthz"]}]})),
        &[
            "spec.rules[0].subjects[0].user: Required value: user is required when subject kind is 'User'",
            "spec.rules[0].subjects[0].group: Forbidden: group is forbidden when subject kind is not 'Group'",
            "spec.rules[0].nonResourceRules[0].nonResourceURLs[0]: Invalid value: \"healthz\": must start with slash",
        ],
    );
}

#[test]
fn certificate_requests_are_checked_and_their_approval_kept() {
    let name = "certificatesigningrequests.certificates.k8s.io";
    // "-----BEGIN CERTIFICATE REQUEST-----" and a line.
    let pem = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KTQo=";
    let request = |signer: &str, status: Value| {
        object(
            "certificates.k8s.io/v1",
            "CertificateSigningRequest",
            "c",
            json!({
                "spec": {"request": pem, "signerName": signer, "usages": ["client auth"]},
                "status": status,
            }),
        )
    };
    check(name, request("kubernetes.io/kube-apiserver-client", json!({})), &[]);
    check(
        name,
        request("client", json!({})),
        &[
            "spec.signerName: Invalid value: \"client\": must be a fully qualified domain and path of the form 'example.com/signer-name'",
        ],
    );
    let approved = json!({"conditions": [{"type": "Approved", "status": "True"}]});
    let strategy = crate::support::resource(name).strategy.clone();
    let old = defaulted(name, request("example.com/a", json!({}))).commit(1);
    let mut new = defaulted(name, request("example.com/a", approved.clone()));
    strategy.prepare_for_status_update(&mut new, &old);
    assert!(new.to_value().unwrap()["status"]["conditions"].is_null(), "only by approval");
    let both = json!({"conditions": [
        {"type": "Failed", "status": "True"}, {"type": "Failed", "status": "Maybe"}
    ]});
    check_status(
        name,
        request("example.com/a", json!({})),
        request("example.com/a", both),
        &[
            "status.conditions[1].type: Duplicate value: \"Failed\"",
            "status.conditions[1].status: Unsupported value: \"Maybe\": supported values: \"True\"",
        ],
    );
}

#[test]
fn addresses_and_runtime_classes_are_checked() {
    let address = |parent: Value| {
        object(
            "networking.k8s.io/v1",
            "IPAddress",
            "10.0.0.1",
            json!({"spec": {"parentRef": parent}}),
        )
    };
    check(
        "ipaddresses.networking.k8s.io",
        address(json!({"resource": "services", "name": "a"})),
        &[],
    );
    check(
        "ipaddresses.networking.k8s.io",
        address(json!({"resource": "", "name": "a"})),
        &["spec.parentRef.resource: Required value"],
    );
    let range = |ranges: Value| {
        object("networking.k8s.io/v1", "ServiceCIDR", "r", json!({"spec": {"cidrs": ranges}}))
    };
    check(
        "servicecidrs.networking.k8s.io",
        range(json!([])),
        &["spec.cidrs: Required value: at least one CIDR required"],
    );
    let class = |handler: &str| {
        object("node.k8s.io/v1", "RuntimeClass", "gvisor", json!({"handler": handler}))
    };
    check("runtimeclasses.node.k8s.io", class("runsc"), &[]);
    check_update(
        "runtimeclasses.node.k8s.io",
        class("runsc"),
        class("runc"),
        &["handler: Invalid value: \"runc\": field is immutable"],
    );
}

#[test]
fn what_says_nothing_is_checked_too() {
    let of = "flowcontrol.apiserver.k8s.io";
    let empty = |kind: &str| object(&format!("{of}/v1"), kind, "a", json!({}));
    check(
        &format!("flowschemas.{of}"),
        empty("FlowSchema"),
        &["spec.priorityLevelConfiguration.name: Required value: must reference a priority level"],
    );
    check(
        &format!("prioritylevelconfigurations.{of}"),
        empty("PriorityLevelConfiguration"),
        &["spec.type: Unsupported value: \"\": supported values: \"Exempt\", \"Limited\""],
    );
    let status =
        json!({"conditions": [{"type": "Dangling"}, {"type": "Dangling"}, {"status": "True"}]});
    check_status(
        &format!("flowschemas.{of}"),
        empty("FlowSchema"),
        object(&format!("{of}/v1"), "FlowSchema", "a", json!({"status": status})),
        &[
            "status.conditions[1].type: Duplicate value: \"Dangling\"",
            "status.conditions[2].type: Required value: must not be empty",
        ],
    );
}

#[test]
fn a_second_family_of_addresses_may_come_to_the_first() {
    let name = "servicecidrs.networking.k8s.io";
    let range = |ranges: Value| {
        object("networking.k8s.io/v1", "ServiceCIDR", "r", json!({"spec": {"cidrs": ranges}}))
    };
    let one = range(json!(["10.0.0.0/16"]));
    check_update(name, one.clone(), range(json!(["10.0.0.0/16", "fd00::/112"])), &[]);
    check_update(
        name,
        one,
        range(json!(["10.1.0.0/16", "fd00::/112"])),
        &["spec.cidrs[0]: Invalid value: \"10.1.0.0/16\": field is immutable"],
    );
    check_update(
        name,
        range(json!(["10.0.0.0/16", "fd00::/112"])),
        range(json!(["10.0.0.0/16"])),
        &["spec.cidrs: Invalid value: [\"10.0.0.0/16\"]: field is immutable"],
    );
}
