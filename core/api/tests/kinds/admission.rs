//! Webhooks and policies.

use serde_json::{Value, json};

use crate::support::{check, check_update, defaulted, with};

const API: &str = "admissionregistration.k8s.io/v1";

fn webhooks() -> Value {
    json!({
        "apiVersion": API, "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "hooks"},
        "webhooks": [{
            "name": "a.b.example", "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "clientConfig": {"service": {"name": "hook", "namespace": "default"}},
            "rules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}],
        }],
    })
}

#[test]
fn webhooks_are_filled_in_as_upstream_fills_them_in() {
    let name = "mutatingwebhookconfigurations.admissionregistration.k8s.io";
    let value = with(webhooks(), "/kind", json!("MutatingWebhookConfiguration"));
    let hook = defaulted(name, value).to_value().unwrap()["webhooks"][0].clone();
    assert_eq!(hook["failurePolicy"], "Fail");
    assert_eq!(hook["matchPolicy"], "Equivalent");
    assert_eq!(hook["reinvocationPolicy"], "Never");
    assert_eq!(hook["timeoutSeconds"], 10);
    assert_eq!(hook["namespaceSelector"], json!({}));
    assert_eq!(hook["rules"][0]["scope"], "*");
    assert_eq!(hook["clientConfig"]["service"]["port"], 443);
}

#[test]
fn webhooks_are_checked() {
    let name = "validatingwebhookconfigurations.admissionregistration.k8s.io";
    let cases: &[(&str, Value, &[&str])] = &[
        ("/metadata/name", json!("hooks"), &[]),
        (
            "/webhooks/0/name",
            json!("a.b"),
            &[
                "webhooks[0].name: Invalid value: \"a.b\": should be a domain with at least three segments separated by dots",
            ],
        ),
        (
            "/webhooks/0/sideEffects",
            json!("Some"),
            &[
                "webhooks[0].sideEffects: Unsupported value: \"Some\": supported values: \"None\", \"NoneOnDryRun\"",
            ],
        ),
        (
            "/webhooks/0/timeoutSeconds",
            json!(31),
            &[
                "webhooks[0].timeoutSeconds: Invalid value: 31: the timeout value must be between 1 and 30 seconds",
            ],
        ),
        (
            "/webhooks/0/admissionReviewVersions",
            json!(["v2"]),
            &[
                "webhooks[0].admissionReviewVersions: Invalid value: [\"v2\"]: must include at least one of v1, v1beta1",
            ],
        ),
        (
            "/webhooks/0/clientConfig",
            json!({"url": "http://u:p@hook.example/a?b=c#d"}),
            &[
                "webhooks[0].clientConfig.url: Invalid value: \"http\": 'https' is the only allowed URL scheme; desired format: https://host[/path]",
                "webhooks[0].clientConfig.url: Invalid value: \"u:p\": user information is not permitted in the URL",
                "webhooks[0].clientConfig.url: Invalid value: \"d\": fragments are not permitted in the URL",
                "webhooks[0].clientConfig.url: Invalid value: \"b=c\": query parameters are not permitted in the URL",
            ],
        ),
        (
            "/webhooks/0/clientConfig/url",
            json!("https://hook.example"),
            &[
                "webhooks[0].clientConfig: Required value: exactly one of url or service is required",
            ],
        ),
        (
            "/webhooks/0/clientConfig/service/path",
            json!("/a//b"),
            &[
                "webhooks[0].clientConfig.service.path: Invalid value: \"/a//b\": segment[1] may not be empty",
            ],
        ),
        (
            "/webhooks/0/rules/0/resources",
            json!(["*", "pods", "*/*"]),
            &[
                "webhooks[0].rules[0].resources: Invalid value: [\"*\",\"pods\",\"*/*\"]: if '*/*' is present, must not specify other resources",
                "webhooks[0].rules[0].resources: Invalid value: [\"*\",\"pods\",\"*/*\"]: if '*' is present, must not specify other resources without subresources",
            ],
        ),
        (
            "/webhooks/0/rules/0/operations",
            json!(["*", "GET"]),
            &[
                "webhooks[0].rules[0].operations: Invalid value: [\"*\",\"GET\"]: if '*' is present, must not specify other operations",
                "webhooks[0].rules[0].operations[1]: Unsupported value: \"GET\": supported values: \"*\", \"CONNECT\", \"CREATE\", \"DELETE\", \"UPDATE\"",
            ],
        ),
        (
            "/webhooks/0/matchConditions",
            json!([
                {"name": "a", "expression": "request.name != 'x'"},
                {"name": "a", "expression": "object.metadata.name == 'y'"},
                {"name": "b", "expression": "params.x == 1"},
            ]),
            &[
                "webhooks[0].matchConditions[1].name: Duplicate value: \"a\"",
                "webhooks[0].matchConditions[2].expression: Invalid value: \"params.x == 1\": compilation failed: ERROR: <input>:1:1: undeclared reference to 'params' (in container '')\n | params.x == 1\n | ^",
            ],
        ),
    ];
    for (pointer, value, expected) in cases {
        check(name, with(webhooks(), pointer, value.clone()), expected);
    }
}

#[test]
fn conditions_that_were_let_through_are_let_through_again() {
    let name = "validatingwebhookconfigurations.admissionregistration.k8s.io";
    let conditions = json!([{"name": "a", "expression": "nothing"}]);
    let stored = with(webhooks(), "/webhooks/0/matchConditions", conditions);
    check_update(name, stored.clone(), stored, &[]);
}

fn policy(kind: &str, spec: Value) -> Value {
    json!({"apiVersion": API, "kind": kind, "metadata": {"name": "p.example"}, "spec": spec})
}

fn validating(fields: &[(&str, Value)]) -> Value {
    let rule = json!({"operations": ["*"], "apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments"]});
    let spec = json!({
        "matchConstraints": {"resourceRules": [rule]},
        "validations": [{"expression": "object.spec.replicas <= 5"}],
    });
    let policy = policy("ValidatingAdmissionPolicy", spec);
    fields.iter().fold(policy, |policy, (at, value)| with(policy, at, value.clone()))
}

#[test]
fn validating_policies_are_filled_in_and_checked() {
    let name = "validatingadmissionpolicies.admissionregistration.k8s.io";
    let spec = defaulted(name, validating(&[])).to_value().unwrap()["spec"].clone();
    assert_eq!(spec["failurePolicy"], "Fail");
    assert_eq!(spec["matchConstraints"]["matchPolicy"], "Equivalent");
    assert_eq!(spec["matchConstraints"]["resourceRules"][0]["scope"], "*");
    check(name, validating(&[]), &[]);
    let variables = json!([{"name": "limit", "expression": "params.limit"}]);
    let rule = |text: &str| json!([{"expression": text}]);
    let kind = json!({"apiVersion": "v1", "kind": "ConfigMap"});
    check(
        name,
        validating(&[
            ("/spec/paramKind", kind),
            ("/spec/variables", variables.clone()),
            (
                "/spec/validations",
                rule("object.spec.template.spec.containers.all(c, size(c.name) < variables.limit)"),
            ),
        ]),
        &[],
    );
    check(
        name,
        validating(&[
            ("/spec/variables", variables),
            ("/spec/validations", rule("variables.other")),
        ]),
        &[
            "spec.variables[0].expression: Invalid value: \"params.limit\": compilation failed: ERROR: <input>:1:1: undeclared reference to 'params' (in container '')\n | params.limit\n | ^",
            "spec.validations[0].expression: Invalid value: \"variables.other\": compilation failed: ERROR: <input>:1:10: undefined field 'other'\n | variables.other\n | .........^",
        ],
    );
    check(
        name,
        validating(&[("/spec/validations", json!([{"expression": "'text'", "reason": "Never"}]))]),
        &[
            "spec.validations[0].expression: Invalid value: \"'text'\": must evaluate to bool",
            "spec.validations[0].reason: Unsupported value: \"Never\": supported values: \"Forbidden\", \"Invalid\", \"RequestEntityTooLarge\"",
        ],
    );
    check(
        name,
        validating(&[
            ("/spec/variables", json!([{"name": "few", "expression": "3"}])),
            (
                "/spec/validations",
                json!([
                    {"expression": "variables.few.startsWith('a')"},
                    {"expression": "object.spec.paused"},
                    {"expression": "request.user == ''", "messageExpression": "1"},
                ]),
            ),
        ]),
        &[
            "spec.validations[0].expression: Invalid value: \"variables.few.startsWith('a')\": compilation failed: ERROR: <input>:1:25: found no matching overload for 'startsWith' applied to 'int.(string)'\n | variables.few.startsWith('a')\n | ........................^",
            "spec.validations[1].expression: Invalid value: \"object.spec.paused\": must evaluate to bool",
            "spec.validations[2].expression: Invalid value: \"request.user == ''\": compilation failed: ERROR: <input>:1:8: undefined field 'user'\n | request.user == ''\n | .......^",
            "spec.validations[2].messageExpression: Invalid value: \"1\": must evaluate to string",
        ],
    );
    check(
        name,
        policy("ValidatingAdmissionPolicy", json!({})),
        &[
            "spec.matchConstraints: Required value",
            "spec.validations: Required value: validations or auditAnnotations must contain at least one item",
            "spec.auditAnnotations: Required value: validations or auditAnnotations must contain at least one item",
        ],
    );
}

#[test]
fn mutating_policies_are_checked() {
    let name = "mutatingadmissionpolicies.admissionregistration.k8s.io";
    let of = |operation: &str, mutation: Value| {
        let rule = json!({"operations": [operation], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]});
        let spec = json!({
            "matchConstraints": {"resourceRules": [rule]}, "reinvocationPolicy": "Never",
            "mutations": [mutation],
        });
        policy("MutatingAdmissionPolicy", spec)
    };
    let apply = json!({"patchType": "ApplyConfiguration", "applyConfiguration": {
        "expression": "Object{spec: Object.spec{hostname: 'a'}}"
    }});
    let patch = json!({"patchType": "JSONPatch", "jsonPatch": {
        "expression": "[JSONPatch{op: 'add', path: '/spec/x', value: 1}]"
    }});
    check(name, of("CREATE", apply.clone()), &[]);
    check(name, of("UPDATE", patch), &[]);
    for (expression, why) in [
        ("{'spec': 1}", "must evaluate to Object"),
        (
            "Objekt{}",
            "compilation failed: ERROR: <input>:1:7: undeclared reference to 'Objekt' (in container '')\n | Objekt{}\n | ......^",
        ),
    ] {
        let mutation = json!({"patchType": "ApplyConfiguration",
            "applyConfiguration": {"expression": expression}});
        let why = format!(
            "spec.mutations[0].applyConfiguration.expression: Invalid value: {expression:?}: {why}"
        );
        check(name, of("CREATE", mutation), &[&why]);
    }
    check(
        name,
        of("DELETE", apply),
        &[
            "spec.matchConstraints.resourceRules.operations: Unsupported value: \"DELETE\": supported values: \"*\", \"CONNECT\", \"CREATE\", \"UPDATE\"",
        ],
    );
    check(
        name,
        of("CREATE", json!({"patchType": "JSONPatch", "applyConfiguration": {"expression": "x"}})),
        &[
            "spec.mutations[0].applyConfiguration: Invalid value: \"{applyConfiguration}\": must not be specified when patchType is JSONPatch",
            "spec.mutations[0].jsonPatch: Required value: must be specified when patchType is JSONPatch",
        ],
    );
}

#[test]
fn bindings_of_policies_are_checked() {
    let name = "validatingadmissionpolicybindings.admissionregistration.k8s.io";
    let binding = |spec: Value| policy("ValidatingAdmissionPolicyBinding", spec);
    check(name, binding(json!({"policyName": "p", "validationActions": ["Deny"]})), &[]);
    check(
        name,
        binding(json!({
            "paramRef": {"name": "a", "selector": {}, "parameterNotFoundAction": "Deny"},
            "validationActions": [],
        })),
        &[
            "spec.policyName: Required value",
            "spec.paramRef.name: Forbidden: name and selector are mutually exclusive",
            "spec.paramRef.selector: Forbidden: name and selector are mutually exclusive",
            "spec.validationActions: Required value: at least one validation action is required",
        ],
    );
}

/// Whatever is written must neither crash the engine nor keep it busy.
#[test]
fn expressions_that_are_nested_deep_are_refused_and_not_followed() {
    let name = "validatingadmissionpolicies.admissionregistration.k8s.io";
    for (open, close) in [("(", ")"), ("[", "]"), ("!", ""), ("-", ""), ("a.b(", ")")] {
        let text = format!("{}true{}", open.repeat(20_000), close.repeat(20_000));
        let rule = json!([{"expression": text}]);
        let mut errors = pinnace_api::field::ErrorList::default();
        let draft = defaulted(name, validating(&[("/spec/validations", rule)]));
        crate::support::resource(name).strategy.validate(&draft, &mut errors);
        assert!(!errors.is_empty(), "{open}");
    }
    let deep = |levels: usize| {
        let text = format!("{}true{}", "[".repeat(levels), "][0]".repeat(levels));
        validating(&[("/spec/validations", json!([{"expression": text}]))])
    };
    check(name, deep(40), &[]);
    // As deep as may be, of whatever is nested.
    let pairs =
        [("(", ")"), ("{'a': ", "}"), ("size(", ")"), ("[1].all(x, ", ")"), ("f(a.b.c(", "))")];
    for (open, close) in pairs {
        for levels in [23, 46, 47, 48, 49] {
            let text = format!("{}true{}", open.repeat(levels), close.repeat(levels));
            let rule = json!([{"expression": text}]);
            let draft = defaulted(name, validating(&[("/spec/validations", rule)]));
            let mut errors = pinnace_api::field::ErrorList::default();
            crate::support::resource(name).strategy.validate(&draft, &mut errors);
        }
    }
    let text = format!("object.items.all(x, x{} == 1)", ".a".repeat(80));
    check(name, validating(&[("/spec/validations", json!([{"expression": text}]))]), &[]);
}

#[test]
fn api_services_are_checked() {
    let name = "apiservices.apiregistration.k8s.io";
    let service = |spec: Value| {
        json!({
            "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
            "metadata": {"name": "v1.example.com"}, "spec": spec,
        })
    };
    let good = json!({"group": "example.com", "version": "v1", "groupPriorityMinimum": 100, "versionPriority": 10,
        "service": {"name": "a", "namespace": "b"}});
    check(name, service(good.clone()), &[]);
    let value = defaulted(name, service(good.clone())).to_value().unwrap();
    assert_eq!(value["spec"]["service"]["port"], 443);
    check(
        name,
        service(
            json!({"group": "example.com", "version": "v2", "groupPriorityMinimum": 0, "versionPriority": 2000,
            "insecureSkipTLSVerify": true}),
        ),
        &[
            "metadata.name: Invalid value: \"v1.example.com\": must be `spec.version+\".\"+spec.group`: \"v2.example.com\"",
            "spec.groupPriorityMinimum: Invalid value: 0: must be positive and less than 20000",
            "spec.versionPriority: Invalid value: 2000: must be positive and less than 1000",
            "spec.insecureSkipTLSVerify: Invalid value: true: local APIServices may not have insecureSkipTLSVerify",
        ],
    );
}
