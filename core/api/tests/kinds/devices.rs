//! Devices and claims for them.

use serde_json::{Value, json};

use crate::support::{check, check_status, check_update, defaulted, with};

const API: &str = "resource.k8s.io/v1";
const CLAIMS: &str = "resourceclaims.resource.k8s.io";
const SLICES: &str = "resourceslices.resource.k8s.io";

fn claim() -> Value {
    json!({
        "apiVersion": API, "kind": "ResourceClaim", "metadata": {"name": "gpu", "namespace": "default"},
        "spec": {"devices": {"requests": [{"name": "one", "exactly": {"deviceClassName": "gpu.example.com"}}]}},
    })
}

fn slice() -> Value {
    json!({
        "apiVersion": API, "kind": "ResourceSlice", "metadata": {"name": "n-gpu"},
        "spec": {
            "driver": "gpu.example.com", "nodeName": "n",
            "pool": {"name": "n", "generation": 1, "resourceSliceCount": 1},
            "devices": [{"name": "gpu-0", "attributes": {"model": {"string": "a"}}, "capacity": {"memory": {"value": "8Gi"}}}],
        },
    })
}

#[test]
fn claims_are_filled_in_and_checked() {
    let value = defaulted(CLAIMS, claim()).to_value().unwrap();
    let exactly = &value["spec"]["devices"]["requests"][0]["exactly"];
    assert_eq!((&exactly["allocationMode"], &exactly["count"]), (&json!("ExactCount"), &json!(1)));
    let at = "/spec/devices/requests/0/exactly";
    let cases: &[(&str, Value, &[&str])] = &[
        ("/metadata/name", json!("gpu"), &[]),
        (
            at,
            Value::Null,
            &[
                "spec.devices.requests[0]: Required value: exactly one of `exactly` or `firstAvailable` is required",
            ],
        ),
        (
            at,
            json!({"deviceClassName": "", "allocationMode": "All", "count": 2}),
            &[
                "spec.devices.requests[0].exactly.deviceClassName: Required value",
                "spec.devices.requests[0].exactly.count: Invalid value: 2: must not be specified when allocationMode is 'All'",
            ],
        ),
        (
            at,
            json!({"deviceClassName": "a", "selectors": [{"cel": {"expression": "device.attributes['gpu.example.com'].model == 'a'"}}]}),
            &[],
        ),
        (
            at,
            json!({"deviceClassName": "a", "selectors": [{"cel": {"expression": "dev.driver == 'a'"}}, {}]}),
            &[
                "spec.devices.requests[0].exactly.selectors[0].cel.expression: Invalid value: \"dev.driver == 'a'\": compilation failed: ERROR: <input>:1:1: undeclared reference to 'dev' (in container '')\n | dev.driver == 'a'\n | ^",
                "spec.devices.requests[0].exactly.selectors[1].cel: Required value",
            ],
        ),
        (
            at,
            json!({"deviceClassName": "a", "tolerations": [{"key": "k", "operator": "Exists", "value": "v", "effect": "Never"}]}),
            &[
                "spec.devices.requests[0].exactly.tolerations[0].value: Invalid value: \"v\": must be empty for operator `Exists`",
                "spec.devices.requests[0].exactly.tolerations[0].effect: Unsupported value: \"Never\": supported values: \"NoExecute\", \"NoSchedule\", \"None\"",
            ],
        ),
        (
            "/spec/devices/constraints",
            json!([{"requests": ["two"], "matchAttribute": "model"}]),
            &[
                "spec.devices.constraints[0].requests[0]: Invalid value: \"two\": must be the name of a request in the claim or the name of a request and a subrequest separated by '/'",
                "spec.devices.constraints[0].matchAttribute: Invalid value: \"model\": a fully qualified name must be a domain and a name separated by a slash",
            ],
        ),
        (
            "/spec/devices/config",
            json!([{"opaque": {"driver": "gpu.example.com", "parameters": [1]}}]),
            &[
                "spec.devices.config[0].opaque.parameters: Invalid value: \"<value omitted>\": must be a valid JSON object",
            ],
        ),
    ];
    for (pointer, value, expected) in cases {
        check(CLAIMS, with(claim(), pointer, value.clone()), expected);
    }
    let changed = with(claim(), "/spec/devices/requests/0/name", json!("two"));
    let mut errors = crate::support::update(CLAIMS, claim(), changed).0.into_iter();
    let first = errors.next().unwrap();
    assert_eq!((first.field.as_str(), errors.next()), ("spec", None));
    assert!(first.body.ends_with("field is immutable"));
}

#[test]
fn allocations_are_checked_and_stay() {
    let result =
        json!({"request": "one", "driver": "gpu.example.com", "pool": "n", "device": "gpu-0"});
    let of = |status: Value| with(claim(), "/status", status);
    let allocated = json!({"allocation": {"devices": {"results": [result]}}});
    check_status(CLAIMS, claim(), of(allocated.clone()), &[]);
    let user = json!([{"resource": "pods", "name": "a", "uid": "1"}]);
    check_status(
        CLAIMS,
        claim(),
        of(json!({"reservedFor": user})),
        &["status.reservedFor: Forbidden: may not be specified when `allocated` is not set"],
    );
    let reported = json!([{"driver": "gpu.example.com", "pool": "n", "device": "gpu-1"}]);
    check_status(
        CLAIMS,
        claim(),
        of(with(allocated.clone(), "/devices", reported)),
        &[
            "status.devices[0]: Invalid value: \"gpu.example.com/n/gpu-1\": must be an allocated device in the claim",
        ],
    );
    let other = with(result, "/request", json!("none"));
    check_status(
        CLAIMS,
        claim(),
        of(json!({"allocation": {"devices": {"results": [other]}}})),
        &[
            "status.allocation.devices.results[0].request: Invalid value: \"none\": must be the name of a request in the claim or the name of a request and a subrequest separated by '/'",
        ],
    );
}

#[test]
fn slices_are_checked() {
    let cases: &[(&str, Value, &[&str])] = &[
        ("/metadata/name", json!("n-gpu"), &[]),
        (
            "/spec/nodeName",
            Value::Null,
            &[
                "spec: Required value: exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required",
            ],
        ),
        (
            "/spec/allNodes",
            json!(true),
            &[
                "spec: Invalid value: \"{`nodeName`, `allNodes`}\": exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required, but multiple fields are set",
            ],
        ),
        (
            "/spec/pool/resourceSliceCount",
            json!(0),
            &["spec.pool.resourceSliceCount: Invalid value: 0: must be greater than zero"],
        ),
        (
            "/spec/devices/0/attributes/model",
            json!({"string": "a", "version": "1.0"}),
            &[
                "spec.devices[0].attributes[model].version: Invalid value: \"1.0\": must be a string compatible with semver.org spec 2.0.0",
                "spec.devices[0].attributes[model]: Invalid value: {\"string\":\"a\",\"version\":\"1.0\"}: exactly one value must be specified",
            ],
        ),
        (
            "/spec/devices/0/nodeName",
            json!("n"),
            &[
                "spec.devices[0]: Invalid value: null: `nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to true in the ResourceSlice spec",
            ],
        ),
        (
            "/spec/devices/-",
            json!({"name": "gpu-0"}),
            &["spec.devices[1]: Duplicate value: \"gpu-0\""],
        ),
        (
            "/spec/devices/0/taints",
            json!([{"key": "broken", "effect": "Evict"}]),
            &[
                "spec.devices[0].taints[0].effect: Unsupported value: \"Evict\": supported values: \"NoExecute\", \"NoSchedule\", \"None\"",
            ],
        ),
        (
            "/spec/devices/0/capacity/memory/requestPolicy",
            json!({"default": "1"}),
            &[
                "spec.devices[0].capacity[memory].requestPolicy: Forbidden: allowMultipleAllocations must be true",
            ],
        ),
        (
            "/spec/devices/0",
            json!({"name": "gpu-0", "allowMultipleAllocations": true, "capacity": {"memory": {
                "value": "8", "requestPolicy": {"default": "3", "validRange": {"min": "2", "step": "2", "max": "9"}}
            }}}),
            &[
                "spec.devices[0].capacity[memory].requestPolicy.validRange.max: Invalid value: \"9\": max is larger than capacity value: 8",
                "spec.devices[0].capacity[memory].requestPolicy.validRange.step: Invalid value: \"3\": value is not a multiple of a given step (2) from (2)",
                "spec.devices[0].capacity[memory].requestPolicy.validRange.step: Invalid value: \"9\": value is not a multiple of a given step (2) from (2)",
            ],
        ),
        (
            "/spec/devices/0/bindingConditions",
            json!(["a.example/ready"]),
            &[
                "spec.devices[0].bindingFailureConditions: Invalid value: []: bindingFailureConditions are required to use bindingConditions",
            ],
        ),
    ];
    for (pointer, value, expected) in cases {
        check(SLICES, with(slice(), pointer, value.clone()), expected);
    }
    check_update(
        SLICES,
        slice(),
        with(slice(), "/spec/driver", json!("other.example.com")),
        &["spec.driver: Invalid value: \"other.example.com\": field is immutable"],
    );
    let many: Vec<Value> = (0..129).map(|index| json!({"name": format!("gpu-{index}")})).collect();
    check(
        SLICES,
        with(slice(), "/spec/devices", json!(many)),
        &["spec.devices: Too many: 129: must have at most 128 items"],
    );
}

#[test]
fn classes_are_checked() {
    let class = |spec: Value| json!({"apiVersion": API, "kind": "DeviceClass", "metadata": {"name": "gpu"}, "spec": spec});
    let name = "deviceclasses.resource.k8s.io";
    check(name, class(json!({"extendedResourceName": "example.com/gpu"})), &[]);
    check(
        name,
        class(json!({"extendedResourceName": "cpu", "config": [{}]})),
        &[
            "spec.config[0].opaque: Required value",
            "spec.extendedResourceName: Invalid value: \"cpu\": must be a valid extended resource name",
        ],
    );
}
