//! Kinds in versions in which they are not stored.

use pinnace_api::field::ErrorList;
use pinnace_api::{Catalog, Codec, Draft};
use serde_json::{Value, json};

/// An autoscaler of `autoscaling/v2`, as `autoscaling/v1` shows it, and back.
fn there_and_back(rest: Value) -> (Value, Value) {
    let mut stored = rest;
    stored["apiVersion"] = json!("autoscaling/v2");
    stored["kind"] = json!("HorizontalPodAutoscaler");
    let catalog = Catalog::builtin();
    let find = |version| catalog.by_path("autoscaling", version, "horizontalpodautoscalers");
    let (new, old) = (find("v2").unwrap(), find("v1").unwrap());
    let draft = Draft::from_value(new.codec, stored).unwrap();
    let served = old.draft_to_served(&draft).unwrap().into_owned();
    let shown = served.to_value().unwrap();
    let back = old.to_stored(served).unwrap();
    assert_eq!(old.table(), new.table());
    (shown, back.to_value().unwrap())
}

fn spec(metrics: Value) -> Value {
    let target = json!({"kind": "Deployment", "name": "web"});
    json!({"maxReplicas": 5, "minReplicas": 1, "scaleTargetRef": target, "metrics": metrics})
}

#[test]
fn an_autoscaler_by_cpu_needs_no_annotations_in_v1() {
    let cpu = json!({
        "type": "Resource",
        "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}},
    });
    let stored = json!({"metadata": {"name": "a"}, "spec": spec(json!([cpu]))});
    let (shown, back) = there_and_back(stored.clone());
    assert_eq!(shown["spec"]["targetCPUUtilizationPercentage"], 60);
    assert_eq!(shown["metadata"], json!({"name": "a"}));
    assert_eq!(back["spec"], stored["spec"]);
}

#[test]
fn what_v1_has_no_field_for_travels_in_annotations() {
    let metrics = json!([
        {"type": "Pods", "pods": {
            "metric": {"name": "requests", "selector": {"matchLabels": {"a": "b"}}},
            "target": {"type": "AverageValue", "averageValue": "10"}}},
        {"type": "Object", "object": {
            "describedObject": {"kind": "Ingress", "name": "i", "apiVersion": "networking.k8s.io/v1"},
            "metric": {"name": "hits"}, "target": {"type": "Value", "value": "2k"}}},
        {"type": "Object", "object": {
            "describedObject": {"kind": "Ingress", "name": "i"},
            "metric": {"name": "hits"}, "target": {"type": "AverageValue", "averageValue": "2"}}},
        {"type": "External", "external": {
            "metric": {"name": "queue"}, "target": {"type": "AverageValue", "averageValue": "30"}}},
        {"type": "Resource", "resource": {
            "name": "memory", "target": {"type": "AverageValue", "averageValue": "1Gi"}}},
        {"type": "ContainerResource", "containerResource": {
            "container": "main", "name": "cpu",
            "target": {"type": "Utilization", "averageUtilization": 40}}},
        {"type": "Resource", "resource": {
            "name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}}},
    ]);
    let mut stored = json!({
        "metadata": {"name": "a", "annotations": {"kept": "yes"}},
        "spec": spec(metrics),
        "status": {
            "currentReplicas": 2, "desiredReplicas": 3,
            "conditions": [{"type": "AbleToScale", "status": "True", "reason": "Ready"}],
            "currentMetrics": [
                {"type": "Resource", "resource": {
                    "name": "cpu", "current": {"averageUtilization": 55, "averageValue": "110m"}}},
                {"type": "Pods", "pods": {
                    "metric": {"name": "requests"}, "current": {"averageValue": "9"}}},
            ],
        },
    });
    stored["spec"]["behavior"] = json!({
        "scaleDown": {
            "policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}],
            "selectPolicy": "Min", "stabilizationWindowSeconds": 30, "tolerance": "50m",
        },
    });
    let (shown, back) = there_and_back(stored.clone());
    for part in ["metadata", "spec", "status"] {
        assert_eq!(back[part], stored[part], "{part}");
    }
    assert_eq!(shown["status"]["currentCPUUtilizationPercentage"], 55);
    let note = |name: &str| -> Value {
        let name = format!("autoscaling.alpha.kubernetes.io/{name}");
        serde_json::from_str(shown["metadata"]["annotations"][name].as_str().unwrap()).unwrap()
    };
    assert_eq!(note("metrics").as_array().unwrap().len(), 6, "all but the share of CPU");
    assert_eq!(
        note("metrics")[0],
        json!({"type": "Pods", "pods": {
            "metricName": "requests", "targetAverageValue": "10",
            "selector": {"matchLabels": {"a": "b"}}}})
    );
    assert_eq!(note("behavior")["ScaleDown"]["Policies"][0]["PeriodSeconds"], 60);
    assert_eq!(note("current-metrics")[0]["resource"]["currentAverageUtilization"], 55);
    assert_eq!(note("conditions")[0]["type"], "AbleToScale");
}

#[test]
fn annotations_that_cannot_be_read_say_nothing() {
    let catalog = Catalog::builtin();
    let old = catalog.by_path("autoscaling", "v1", "horizontalpodautoscalers").unwrap();
    let served = json!({
        "apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "a", "annotations": {
            "autoscaling.alpha.kubernetes.io/metrics": "[{", "kept": "yes"}},
        "spec": {"maxReplicas": 5, "scaleTargetRef": {"kind": "Deployment", "name": "web"}},
    });
    let mut stored = old.to_stored(Draft::from_value(old.codec, served).unwrap()).unwrap();
    old.strategy.default(&mut stored);
    let stored = stored.to_value().unwrap();
    assert_eq!(stored["metadata"]["annotations"], json!({"kept": "yes"}));
    assert_eq!(stored["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"], 80);
}

#[test]
fn events_are_stricter_in_their_own_group() {
    let strategy = Catalog::builtin().by_path("events.k8s.io", "v1", "events").unwrap();
    let strategy = &strategy.strategy;
    let core = Codec::of::<k8s_openapi::api::core::v1::Event>();
    let event = |changes: Value| {
        let mut event = json!({
            "metadata": {"name": "a.1", "namespace": "default"},
            "involvedObject": {"kind": "Pod", "namespace": "default", "name": "a"},
            "eventTime": "2026-01-01T00:00:00.000001Z", "type": "Normal", "reason": "r",
            "action": "a", "reportingComponent": "k", "reportingInstance": "n", "message": "m",
        });
        for (field, value) in changes.as_object().unwrap() {
            event[field] = value.clone();
        }
        Draft::from_value(core, event).unwrap()
    };
    let check = |changes: Value, expected: &[&str]| {
        let mut errors = ErrorList::default();
        strategy.validate(&event(changes), &mut errors);
        let texts: Vec<_> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(texts, expected);
    };
    check(json!({}), &[]);
    check(json!({"eventTime": null}), &["eventTime: Required value"]);
    check(json!({"type": "x"}), &["type: Invalid value: \"\": has invalid value: x"]);
    check(
        json!({"reportingComponent": ""}),
        &[
            "reportingController: Required value",
            "reportingController: Invalid value: \"\": name part must be non-empty",
            "reportingController: Invalid value: \"\": name part must consist of alphanumeric \
             characters, '-', '_' or '.', and must start and end with an alphanumeric character \
             (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
             '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
        ],
    );
    check(
        json!({"firstTimestamp": "2026-01-01T00:00:00Z", "count": 1, "source": {"host": "h"}}),
        &[
            "firstTimestamp: Invalid value: \"\": needs to be unset",
            "count: Invalid value: \"\": needs to be unset",
            "source: Invalid value: \"\": needs to be unset",
        ],
    );
    check(
        json!({"series": {"count": 1}}),
        &[
            "series.count: Invalid value: \"\": should be at least 2",
            "series.lastObservedTime: Required value",
        ],
    );
    let old = event(json!({})).commit(1);
    let update = |changes: Value, expected: &[&str]| {
        let mut errors = ErrorList::default();
        strategy.validate_update(&event(changes), &old, &mut errors);
        let texts: Vec<_> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(texts, expected);
    };
    let series = json!({"count": 2, "lastObservedTime": "2026-01-01T00:00:09.000000Z"});
    update(json!({"series": series}), &[]);
    // Finer than the form in which it is kept.
    update(json!({"eventTime": "2026-01-01T00:00:00.000001999Z"}), &[]);
    update(
        json!({"message": "n", "reason": "s"}),
        &[
            "reason: Invalid value: \"s\": field is immutable",
            "message: Invalid value: \"n\": field is immutable",
        ],
    );
}

#[test]
fn an_event_is_the_same_in_both_groups() {
    let stored = json!({
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": "a.1", "namespace": "default"},
        "involvedObject": {"kind": "Pod", "namespace": "default", "name": "a"},
        "reason": "Killing", "action": "Kill", "message": "Stopping", "type": "Normal", "count": 2,
        "reportingComponent": "kubelet", "reportingInstance": "n", "source": {"component": "kubelet"},
        "eventTime": "2026-01-01T00:00:00.000001Z", "firstTimestamp": "2026-01-01T00:00:00Z",
        "lastTimestamp": "2026-01-01T00:00:09Z", "related": {"kind": "Node", "name": "n"},
        "series": {"count": 3, "lastObservedTime": "2026-01-01T00:00:09.000000Z"},
    });
    let catalog = Catalog::builtin();
    let core = catalog.by_path("", "v1", "events").unwrap();
    let events = catalog.by_path("events.k8s.io", "v1", "events").unwrap();
    assert_eq!(events.table(), core.table());
    let draft = Draft::from_value(core.codec, stored.clone()).unwrap();
    let served = events.draft_to_served(&draft).unwrap().into_owned();
    let shown = served.to_value().unwrap();
    assert_eq!(
        (&shown["note"], &shown["regarding"]),
        (&stored["message"], &stored["involvedObject"])
    );
    assert_eq!(
        (&shown["deprecatedCount"], &shown["apiVersion"]),
        (&json!(2), &json!("events.k8s.io/v1"))
    );
    assert_eq!(events.to_stored(served).unwrap().to_value().unwrap(), stored);
    let object = draft.commit(1);
    for (field, value) in
        [("regarding.name", "a"), ("reportingController", "kubelet"), ("type", "Normal")]
    {
        assert_eq!(events.field(&object, field).as_deref(), Some(value), "{field}");
    }
}
