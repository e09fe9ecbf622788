//! Autoscalers as `autoscaling/v1` shows them: those that look at CPU alone. What they have beyond
//! travels in annotations, in the forms in which upstream writes them.

mod metrics;
mod rules;

use std::collections::BTreeMap;

use k8s_openapi::api::autoscaling::{v1, v2};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;
use serde::de::DeserializeOwned;

use self::metrics::{Metric, MetricReading};
use self::rules::Behavior;
use crate::{ApiError, Conversion, Result};

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const CURRENT_METRICS: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";
const CPU: &str = "cpu";

/// Between `autoscaling/v1` and `autoscaling/v2`.
pub(super) struct CpuAutoscalers;

impl Conversion for CpuAutoscalers {
    type Served = v1::HorizontalPodAutoscaler;
    type Stored = v2::HorizontalPodAutoscaler;

    fn to_stored(
        &self,
        served: v1::HorizontalPodAutoscaler,
    ) -> Result<v2::HorizontalPodAutoscaler> {
        let mut notes = Notes(served.metadata);
        let mut metrics: Vec<v2::MetricSpec> = notes
            .take::<Vec<Metric>>(METRICS)
            .map(|metrics| metrics.into_iter().map(Into::into).collect())
            .unwrap_or_default();
        metrics.extend(served.spec.target_cpu_utilization_percentage.map(metrics::of_cpu));
        let spec = v2::HorizontalPodAutoscalerSpec {
            behavior: notes.take::<Behavior>(BEHAVIOR).map(Into::into),
            max_replicas: served.spec.max_replicas,
            metrics: Some(metrics).filter(|metrics| !metrics.is_empty()),
            min_replicas: served.spec.min_replicas,
            scale_target_ref: reference(served.spec.scale_target_ref),
        };
        let readings = notes.take::<Vec<MetricReading>>(CURRENT_METRICS);
        let conditions = notes.take(CONDITIONS);
        let status = served.status.map(|status| v2::HorizontalPodAutoscalerStatus {
            conditions,
            current_metrics: match readings {
                Some(readings) => Some(readings.into_iter().map(Into::into).collect()),
                None => status
                    .current_cpu_utilization_percentage
                    .map(|share| vec![metrics::reading_of_cpu(share)]),
            },
            current_replicas: Some(status.current_replicas),
            desired_replicas: status.desired_replicas,
            last_scale_time: status.last_scale_time,
            observed_generation: status.observed_generation,
        });
        Ok(v2::HorizontalPodAutoscaler { metadata: notes.0, spec, status })
    }

    fn to_served(
        &self,
        stored: &v2::HorizontalPodAutoscaler,
    ) -> Result<v1::HorizontalPodAutoscaler> {
        let mut notes = Notes(stored.metadata.clone());
        let (spec, status) = (&stored.spec, stored.status.as_ref());
        let metrics = || spec.metrics.iter().flatten();
        let others: Vec<Metric> =
            metrics().filter(|metric| cpu_share(metric).is_none()).map(Into::into).collect();
        notes.put(METRICS, &others, others.is_empty())?;
        let readings = status.and_then(|status| status.current_metrics.as_deref());
        let readings = readings.unwrap_or_default();
        let written: Vec<MetricReading> = readings.iter().map(Into::into).collect();
        notes.put(CURRENT_METRICS, &written, written.is_empty())?;
        let conditions = status.and_then(|status| status.conditions.as_deref());
        let conditions = conditions.unwrap_or_default();
        notes.put(CONDITIONS, &conditions, conditions.is_empty())?;
        let behavior = spec.behavior.as_ref().map(Behavior::from);
        notes.put(BEHAVIOR, &behavior, behavior.is_none())?;
        Ok(v1::HorizontalPodAutoscaler {
            metadata: notes.0,
            spec: v1::HorizontalPodAutoscalerSpec {
                max_replicas: spec.max_replicas,
                min_replicas: spec.min_replicas,
                scale_target_ref: v1::CrossVersionObjectReference {
                    api_version: spec.scale_target_ref.api_version.clone(),
                    kind: spec.scale_target_ref.kind.clone(),
                    name: spec.scale_target_ref.name.clone(),
                },
                target_cpu_utilization_percentage: metrics().find_map(cpu_share),
            },
            status: status.map(|status| v1::HorizontalPodAutoscalerStatus {
                current_cpu_utilization_percentage: readings.iter().find_map(current_cpu_share),
                current_replicas: status.current_replicas.unwrap_or(0),
                desired_replicas: status.desired_replicas,
                last_scale_time: status.last_scale_time.clone(),
                observed_generation: status.observed_generation,
            }),
        })
    }
}

fn reference(from: v1::CrossVersionObjectReference) -> v2::CrossVersionObjectReference {
    v2::CrossVersionObjectReference {
        api_version: from.api_version,
        kind: from.kind,
        name: from.name,
    }
}

/// How much of the CPU it asks for a pod should use, if that is what the metric says.
fn cpu_share(metric: &v2::MetricSpec) -> Option<i32> {
    let source = metric.resource.as_ref().filter(|_| metric.type_ == "Resource")?;
    source.target.average_utilization.filter(|_| source.name == CPU)
}

fn current_cpu_share(reading: &v2::MetricStatus) -> Option<i32> {
    let source = reading.resource.as_ref().filter(|_| reading.type_ == "Resource")?;
    source.current.average_utilization.filter(|_| source.name == CPU)
}

/// Metadata whose annotations carry what has no field.
struct Notes(ObjectMeta);

impl Notes {
    /// Takes a note out. One that cannot be read says nothing, as upstream has it: people can write
    /// annotations, and a bad one must not make the object unreadable.
    fn take<T: DeserializeOwned>(&mut self, name: &str) -> Option<T> {
        let annotations = self.0.annotations.as_mut()?;
        let text = annotations.remove(name)?;
        if annotations.is_empty() {
            self.0.annotations = None;
        }
        serde_json::from_str(&text).ok()
    }

    /// Puts a note in, unless there is nothing to say.
    fn put(&mut self, name: &str, value: &impl Serialize, nothing: bool) -> Result<()> {
        if nothing {
            return Ok(());
        }
        let text = serde_json::to_string(value).map_err(|error| ApiError::encode(&error))?;
        let annotations = self.0.annotations.get_or_insert_with(BTreeMap::new);
        annotations.insert(name.to_owned(), text);
        Ok(())
    }
}
