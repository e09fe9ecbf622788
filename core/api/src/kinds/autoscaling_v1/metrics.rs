//! Metrics as the annotations have them: in `autoscaling/v1`'s own form, where what is wanted of a
//! metric stands beside its name.

use k8s_openapi::api::autoscaling::v2;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde::{Deserialize, Serialize};

use super::CPU;
use crate::quantity;

/// What is wanted of a metric.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Metric {
    #[serde(rename = "type")]
    kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    object: Option<Object>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pods: Option<Pods>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<Resource>,
    #[serde(skip_serializing_if = "Option::is_none")]
    container_resource: Option<Resource>,
    #[serde(skip_serializing_if = "Option::is_none")]
    external: Option<External>,
}

/// How a metric was found to be.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct MetricReading {
    #[serde(rename = "type")]
    kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    object: Option<ObjectReading>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pods: Option<PodsReading>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<ResourceReading>,
    #[serde(skip_serializing_if = "Option::is_none")]
    container_resource: Option<ResourceReading>,
    #[serde(skip_serializing_if = "Option::is_none")]
    external: Option<ExternalReading>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Object {
    target: v2::CrossVersionObjectReference,
    metric_name: String,
    target_value: Option<Quantity>,
    selector: Option<LabelSelector>,
    #[serde(skip_serializing_if = "Option::is_none")]
    average_value: Option<Quantity>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ObjectReading {
    target: v2::CrossVersionObjectReference,
    metric_name: String,
    current_value: Option<Quantity>,
    selector: Option<LabelSelector>,
    #[serde(skip_serializing_if = "Option::is_none")]
    average_value: Option<Quantity>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Pods {
    metric_name: String,
    target_average_value: Option<Quantity>,
    selector: Option<LabelSelector>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PodsReading {
    metric_name: String,
    current_average_value: Option<Quantity>,
    selector: Option<LabelSelector>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Resource {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_average_utilization: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_average_value: Option<Quantity>,
    #[serde(skip_serializing_if = "String::is_empty")]
    container: String,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ResourceReading {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    current_average_utilization: Option<i32>,
    current_average_value: Option<Quantity>,
    #[serde(skip_serializing_if = "String::is_empty")]
    container: String,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct External {
    metric_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    metric_selector: Option<LabelSelector>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_value: Option<Quantity>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_average_value: Option<Quantity>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ExternalReading {
    metric_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    metric_selector: Option<LabelSelector>,
    current_value: Option<Quantity>,
    #[serde(skip_serializing_if = "Option::is_none")]
    current_average_value: Option<Quantity>,
}

/// That pods use this many percent of the CPU they ask for.
pub(super) fn of_cpu(percent: i32) -> v2::MetricSpec {
    v2::MetricSpec {
        type_: "Resource".to_owned(),
        resource: Some(v2::ResourceMetricSource {
            name: CPU.to_owned(),
            target: target("Utilization", None, None, Some(percent)),
        }),
        ..Default::default()
    }
}

/// That pods were found to use this many percent of the CPU they ask for.
pub(super) fn reading_of_cpu(percent: i32) -> v2::MetricStatus {
    v2::MetricStatus {
        type_: "Resource".to_owned(),
        resource: Some(v2::ResourceMetricStatus {
            name: CPU.to_owned(),
            current: reading(None, None, Some(percent)),
        }),
        ..Default::default()
    }
}

impl From<&v2::MetricSpec> for Metric {
    fn from(from: &v2::MetricSpec) -> Self {
        let resource = |name: &str, target: &v2::MetricTarget, container: &str| Resource {
            name: name.to_owned(),
            target_average_utilization: target.average_utilization,
            target_average_value: target.average_value.clone(),
            container: container.to_owned(),
        };
        Self {
            kind: from.type_.clone(),
            object: from.object.as_ref().map(|source| Object {
                target: source.described_object.clone(),
                metric_name: source.metric.name.clone(),
                target_value: or_zero(&source.target.value),
                selector: source.metric.selector.clone(),
                average_value: source.target.average_value.clone(),
            }),
            pods: from.pods.as_ref().map(|source| Pods {
                metric_name: source.metric.name.clone(),
                target_average_value: or_zero(&source.target.average_value),
                selector: source.metric.selector.clone(),
            }),
            resource: from.resource.as_ref().map(|from| resource(&from.name, &from.target, "")),
            container_resource: from
                .container_resource
                .as_ref()
                .map(|from| resource(&from.name, &from.target, &from.container)),
            external: from.external.as_ref().map(|source| External {
                metric_name: source.metric.name.clone(),
                metric_selector: source.metric.selector.clone(),
                target_value: source.target.value.clone(),
                target_average_value: source.target.average_value.clone(),
            }),
        }
    }
}

impl From<Metric> for v2::MetricSpec {
    fn from(from: Metric) -> Self {
        let usage = |from: &Resource| {
            let share = from.target_average_utilization;
            let kind = if share.is_some() { "Utilization" } else { "AverageValue" };
            target(kind, None, from.target_average_value.clone(), share)
        };
        Self {
            type_: from.kind,
            object: from.object.map(|source| v2::ObjectMetricSource {
                described_object: source.target,
                metric: identifier(source.metric_name, source.selector),
                target: value_or_average(source.target_value, source.average_value),
            }),
            pods: from.pods.map(|source| v2::PodsMetricSource {
                metric: identifier(source.metric_name, source.selector),
                target: target("AverageValue", None, source.target_average_value, None),
            }),
            resource: from.resource.map(|source| v2::ResourceMetricSource {
                target: usage(&source),
                name: source.name,
            }),
            container_resource: from.container_resource.map(|source| {
                v2::ContainerResourceMetricSource {
                    target: usage(&source),
                    name: source.name,
                    container: source.container,
                }
            }),
            external: from.external.map(|source| v2::ExternalMetricSource {
                metric: identifier(source.metric_name, source.metric_selector),
                target: value_or_average(source.target_value, source.target_average_value),
            }),
        }
    }
}

impl From<&v2::MetricStatus> for MetricReading {
    fn from(from: &v2::MetricStatus) -> Self {
        let resource =
            |name: &str, current: &v2::MetricValueStatus, container: &str| ResourceReading {
                name: name.to_owned(),
                current_average_utilization: current.average_utilization,
                current_average_value: or_zero(&current.average_value),
                container: container.to_owned(),
            };
        Self {
            kind: from.type_.clone(),
            object: from.object.as_ref().map(|source| ObjectReading {
                target: source.described_object.clone(),
                metric_name: source.metric.name.clone(),
                current_value: or_zero(&source.current.value),
                selector: source.metric.selector.clone(),
                average_value: source.current.average_value.clone(),
            }),
            pods: from.pods.as_ref().map(|source| PodsReading {
                metric_name: source.metric.name.clone(),
                current_average_value: or_zero(&source.current.average_value),
                selector: source.metric.selector.clone(),
            }),
            resource: from.resource.as_ref().map(|from| resource(&from.name, &from.current, "")),
            container_resource: from
                .container_resource
                .as_ref()
                .map(|from| resource(&from.name, &from.current, &from.container)),
            external: from.external.as_ref().map(|source| ExternalReading {
                metric_name: source.metric.name.clone(),
                metric_selector: source.metric.selector.clone(),
                current_value: or_zero(&source.current.value),
                current_average_value: source.current.average_value.clone(),
            }),
        }
    }
}

impl From<MetricReading> for v2::MetricStatus {
    fn from(from: MetricReading) -> Self {
        Self {
            type_: from.kind,
            object: from.object.map(|source| v2::ObjectMetricStatus {
                described_object: source.target,
                metric: identifier(source.metric_name, source.selector),
                current: reading(source.current_value, source.average_value, None),
            }),
            pods: from.pods.map(|source| v2::PodsMetricStatus {
                metric: identifier(source.metric_name, source.selector),
                current: reading(None, source.current_average_value, None),
            }),
            resource: from.resource.map(|source| v2::ResourceMetricStatus {
                name: source.name,
                current: reading(
                    None,
                    source.current_average_value,
                    source.current_average_utilization,
                ),
            }),
            container_resource: from.container_resource.map(|source| {
                v2::ContainerResourceMetricStatus {
                    name: source.name,
                    container: source.container,
                    current: reading(
                        None,
                        source.current_average_value,
                        source.current_average_utilization,
                    ),
                }
            }),
            external: from.external.map(|source| v2::ExternalMetricStatus {
                metric: identifier(source.metric_name, source.metric_selector),
                current: reading(source.current_value, source.current_average_value, None),
            }),
        }
    }
}

fn identifier(name: String, selector: Option<LabelSelector>) -> v2::MetricIdentifier {
    v2::MetricIdentifier { name, selector }
}

/// A value must be said in this form even where the average is wanted: zero then, which wants
/// nothing and would not be valid as a target.
fn value_or_average(value: Option<Quantity>, average: Option<Quantity>) -> v2::MetricTarget {
    let is_zero =
        |value: &Quantity| quantity::Quantity::parse(&value.0).is_ok_and(|value| value.is_zero());
    match average {
        None => target("Value", value, None, None),
        average => target("AverageValue", value.filter(|value| !is_zero(value)), average, None),
    }
}

fn target(
    kind: &str,
    value: Option<Quantity>,
    average_value: Option<Quantity>,
    average_utilization: Option<i32>,
) -> v2::MetricTarget {
    v2::MetricTarget { type_: kind.to_owned(), value, average_value, average_utilization }
}

fn reading(
    value: Option<Quantity>,
    average_value: Option<Quantity>,
    average_utilization: Option<i32>,
) -> v2::MetricValueStatus {
    v2::MetricValueStatus { value, average_value, average_utilization }
}

fn or_zero(value: &Option<Quantity>) -> Option<Quantity> {
    Some(value.clone().unwrap_or_else(|| Quantity("0".to_owned())))
}
