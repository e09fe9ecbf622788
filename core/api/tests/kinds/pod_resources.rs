use pinnace_api::kinds::qos;
use serde_json::{Value, json};

use crate::support::{check, defaulted, pod, with};

#[track_caller]
fn check_resources(resources: Value, expected: &[&str]) {
    check("pods", with(pod(), "/spec/containers/0/resources", resources), expected);
}

#[test]
fn requests_stay_within_limits() {
    check_resources(
        json!({"requests": {"cpu": "2"}, "limits": {"cpu": "1500m"}}),
        &["spec.containers[0].resources.requests: Invalid value: \"2\": must be less than or \
           equal to cpu limit of 1500m"],
    );
    check_resources(
        json!({"requests": {"example.com/gpu": "1"}, "limits": {"example.com/gpu": "2"}}),
        &["spec.containers[0].resources.requests: Invalid value: \"1\": must be equal to \
           example.com/gpu limit of 2"],
    );
    check_resources(
        json!({"requests": {"example.com/gpu": "1"}}),
        &["spec.containers[0].resources.limits: Required value: Limit must be set for non \
           overcommitable resources"],
    );
}

#[test]
fn amounts_must_be_amounts() {
    check_resources(
        json!({"requests": {"cpu": "-1", "memory": "much"}}),
        &[
            "spec.containers[0].resources.requests[cpu]: Invalid value: \"-1\": must be greater \
             than or equal to 0",
            "spec.containers[0].resources.requests[memory]: Invalid value: \"much\": quantities \
             must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ],
    );
    check_resources(
        json!({"limits": {"example.com/gpu": "500m"}}),
        &[
            "spec.containers[0].resources.limits[example.com/gpu]: Invalid value: \"500m\": must \
             be an integer",
            "spec.containers[0].resources.requests[example.com/gpu]: Invalid value: \"500m\": \
             must be an integer",
        ],
    );
    check_resources(
        json!({"limits": {"hugepages-2Mi": "3Mi", "cpu": "1"}, "requests": {"cpu": "1"}}),
        &[
            "spec.containers[0].resources.limits[hugepages-2Mi]: Invalid value: \"3Mi\": 3Mi is \
             not positive integer multiple of hugepages-2Mi",
            "spec.containers[0].resources.requests[hugepages-2Mi]: Invalid value: \"3Mi\": 3Mi is \
             not positive integer multiple of hugepages-2Mi",
        ],
    );
}

#[test]
fn resources_must_have_known_or_qualified_names() {
    check_resources(
        json!({"requests": {"disk": "1"}}),
        &[
            "spec.containers[0].resources.requests[disk]: Invalid value: \"disk\": must be a \
             standard resource type or fully qualified",
            "spec.containers[0].resources.requests[disk]: Invalid value: \"disk\": must be a \
             standard resource for containers",
        ],
    );
    check_resources(
        json!({"requests": {"hugepages-2Mi": "2Mi"}, "limits": {"hugepages-2Mi": "2Mi"}}),
        &["spec.containers[0].resources: Forbidden: HugePages require cpu or memory"],
    );
    check_resources(
        json!({"claims": [{"name": "gpu"}]}),
        &["spec.containers[0].resources.claims[0]: Not found: \"gpu\": must be one of the names \
           in pod.spec.resourceClaims which is empty"],
    );
}

#[test]
fn a_pod_as_a_whole_has_at_least_what_its_containers_request() {
    let own = with(
        pod(),
        "/spec/containers/0/resources",
        json!({"requests": {"cpu": "2"}, "limits": {"cpu": "4"}}),
    );
    check(
        "pods",
        with(
            own.clone(),
            "/spec/resources",
            json!({"requests": {"cpu": "1"}, "limits": {"cpu": "3"}}),
        ),
        &[
            "spec.resources.requests[cpu]: Invalid value: \"1\": must be greater than or equal to \
             aggregate container requests of 2",
            "spec.resources.containers[0][cpu].limits: Invalid value: \"4\": must be less than or \
             equal to pod limits of 3",
        ],
    );
    let filled = with(own, "/spec/resources", json!({"limits": {"cpu": "5", "memory": "1Gi"}}));
    assert_eq!(
        defaulted("pods", filled).to_value().unwrap()["spec"]["resources"],
        json!({
            "limits": {"cpu": "5", "memory": "1Gi"},
            "requests": {"cpu": "2", "memory": "1Gi"},
        })
    );
}

#[test]
fn the_class_of_a_pod_follows_from_what_it_asks_for() {
    let class = |spec: Value| qos::class(&serde_json::from_value(spec).unwrap());
    let container = |resources: Value| json!({"name": "a", "resources": resources});
    let full = json!({
        "requests": {"cpu": "1000m", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "1024Mi"}
    });
    let some = json!({"requests": {"cpu": "1"}});
    let cases = [
        (json!({"containers": [container(full.clone())]}), qos::GUARANTEED),
        (json!({"containers": [container(full.clone()), container(json!({}))]}), qos::BURSTABLE),
        (
            json!({
                "containers": [container(full.clone())], "initContainers": [container(some.clone())]
            }),
            qos::BURSTABLE,
        ),
        (json!({"containers": [container(json!({}))]}), qos::BEST_EFFORT),
        (json!({"containers": [container(some)], "resources": full}), qos::GUARANTEED),
    ];
    for (spec, expected) in cases {
        assert_eq!(class(spec.clone()), expected, "{spec}");
    }
}
