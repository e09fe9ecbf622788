//! Horizontal pod autoscalers, and the scale of a workload.

use jiff::Timestamp;
use k8s_openapi::api::autoscaling::v1;
use k8s_openapi::api::autoscaling::v2::{
    HorizontalPodAutoscaler, MetricSpec, MetricStatus, MetricTarget, MetricValueStatus,
};
use serde_json::Value;

use super::age::age;
use super::text::{NONE, UNSET, quantity};
use super::typed::Entry;
use super::{AGE, Column, NAME, cells};

const AUTOSCALER: &[Column] = &[
    NAME,
    Column::text("Reference", "What is scaled"),
    Column::text("Targets", "Each metric as it is and as it should be"),
    Column::text("MinPods", "Fewest pods"),
    Column::text("MaxPods", "Most pods"),
    Column::text("Replicas", "Pods that there are"),
    AGE,
];

const SCALE: &[Column] = &[
    Column::text("Name", "Name of the object"),
    Column::integer("Desired", "Pods that are wanted"),
    Column::integer("Available", "Pods that there are"),
    AGE,
];

/// Most metrics that are shown.
const METRICS_SHOWN: usize = 2;
const UNKNOWN: &str = "<unknown>";

pub(super) fn printers() -> Vec<Entry> {
    vec![
        Entry::new(AUTOSCALER, autoscaler),
        Entry::new(AUTOSCALER, cpu_autoscaler),
        Entry::new(SCALE, scale),
    ]
}

fn autoscaler(autoscaler: &HorizontalPodAutoscaler, now: Timestamp) -> Vec<Value> {
    let spec = &autoscaler.spec;
    let status = autoscaler.status.as_ref();
    let current = status.and_then(|status| status.current_metrics.as_deref());
    let target = &spec.scale_target_ref;
    cells![
        autoscaler.metadata.name.as_deref(),
        format!("{}/{}", target.kind, target.name),
        metrics(spec.metrics.as_deref().unwrap_or_default(), current.unwrap_or_default()),
        spec.min_replicas.map_or_else(|| UNSET.to_owned(), |min| min.to_string()),
        spec.max_replicas,
        status.and_then(|status| status.current_replicas).unwrap_or(0),
        age(&autoscaler.metadata, now),
    ]
}

/// The older version, whose only metric is the use of CPU.
fn cpu_autoscaler(autoscaler: &v1::HorizontalPodAutoscaler, now: Timestamp) -> Vec<Value> {
    let spec = &autoscaler.spec;
    let status = autoscaler.status.as_ref();
    let current = status.and_then(|status| status.current_cpu_utilization_percentage);
    let current = current.map_or_else(|| UNKNOWN.to_owned(), |percent| format!("{percent}%"));
    let target = &spec.scale_target_ref;
    cells![
        autoscaler.metadata.name.as_deref(),
        format!("{}/{}", target.kind, target.name),
        spec.target_cpu_utilization_percentage
            .map_or_else(|| NONE.to_owned(), |percent| format!("cpu: {current}/{percent}%")),
        spec.min_replicas.map_or_else(|| UNSET.to_owned(), |min| min.to_string()),
        spec.max_replicas,
        status.map_or(0, |status| status.current_replicas),
        age(&autoscaler.metadata, now),
    ]
}

fn metrics(specs: &[MetricSpec], statuses: &[MetricStatus]) -> String {
    if specs.is_empty() {
        return NONE.to_owned();
    }
    let shown: Vec<_> = specs
        .iter()
        .enumerate()
        .take(METRICS_SHOWN)
        .map(|(index, spec)| metric(spec, statuses.get(index)))
        .collect();
    match specs.len() - shown.len() {
        0 => shown.join(", "),
        more => format!("{} + {more} more...", shown.join(", ")),
    }
}

fn metric(spec: &MetricSpec, status: Option<&MetricStatus>) -> String {
    let text = match &spec.type_[..] {
        "External" => spec.external.as_ref().map(|external| {
            let status = status.and_then(|status| status.external.as_ref());
            value(&external.target, status.map(|status| &status.current))
        }),
        "Object" => spec.object.as_ref().map(|object| {
            let status = status.and_then(|status| status.object.as_ref());
            value(&object.target, status.map(|status| &status.current))
        }),
        "Pods" => spec.pods.as_ref().map(|pods| {
            let status = status.and_then(|status| status.pods.as_ref());
            let current = status.map(|status| quantity(status.current.average_value.as_ref()));
            let target = quantity(pods.target.average_value.as_ref());
            format!("{}/{target}", current.as_deref().unwrap_or(UNKNOWN))
        }),
        "Resource" => spec.resource.as_ref().map(|resource| {
            let status = status.and_then(|status| status.resource.as_ref());
            usage(&resource.name, &resource.target, status.map(|status| &status.current))
        }),
        "ContainerResource" => spec.container_resource.as_ref().map(|resource| {
            let status = status.and_then(|status| status.container_resource.as_ref());
            usage(&resource.name, &resource.target, status.map(|status| &status.current))
        }),
        _ => None,
    };
    text.unwrap_or_else(|| "<unknown type>".to_owned())
}

/// A metric that may be an average over pods or a value as a whole.
fn value(target: &MetricTarget, current: Option<&MetricValueStatus>) -> String {
    match &target.average_value {
        Some(average) => {
            let current = current.and_then(|current| current.average_value.as_ref());
            let current = current.map(|current| quantity(Some(current)));
            let current = current.as_deref().unwrap_or(UNKNOWN);
            format!("{current}/{} (avg)", quantity(Some(average)))
        }
        None => {
            let current = current.map(|current| quantity(current.value.as_ref()));
            let current = current.as_deref().unwrap_or(UNKNOWN);
            format!("{current}/{}", quantity(target.value.as_ref()))
        }
    }
}

/// The use of a resource, as an amount or in percent of what is requested.
fn usage(name: &str, target: &MetricTarget, current: Option<&MetricValueStatus>) -> String {
    if let Some(average) = &target.average_value {
        let current = current.map(|current| quantity(current.average_value.as_ref()));
        let current = current.as_deref().unwrap_or(UNKNOWN);
        return format!("{name}: {current}/{}", quantity(Some(average)));
    }
    let percent = |value: Option<i32>, other: &str| {
        value.map_or_else(|| other.to_owned(), |percent| format!("{percent}%"))
    };
    let current = percent(current.and_then(|current| current.average_utilization), UNKNOWN);
    format!("{name}: {current}/{}", percent(target.average_utilization, "<auto>"))
}

fn scale(scale: &v1::Scale, now: Timestamp) -> Vec<Value> {
    cells![
        scale.metadata.name.as_deref(),
        scale.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(0),
        scale.status.as_ref().map_or(0, |status| status.replicas),
        age(&scale.metadata, now),
    ]
}
