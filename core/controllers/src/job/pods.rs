//! Which pods a Job makes and which it deletes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::{EnvVar, EnvVarSource, ObjectFieldSelector, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use pinnace_api::{ApiError, Typed};

use super::backoff::Delay;
use super::counting::Count;
use super::indexes::{INDEX, index_of};
use super::policies::{INDEX_FAILURES, INDEX_IGNORED_FAILURES};
use super::{Jobs, TRACKING, is_indexed, size, sooner};
use crate::claim::controller_reference;
use crate::pod_control::BURST;
use crate::pods;

/// Where a container of an indexed Job finds its index.
const INDEX_VARIABLE: &str = "JOB_COMPLETION_INDEX";

impl Jobs {
    /// Makes or deletes pods until as many are active as should be. Gives the time after which
    /// more may be made, and the first failure.
    pub(super) async fn manage(
        &self,
        job: &Typed<Job>,
        spec: &JobSpec,
        count: &mut Count,
        delay: &Delay,
    ) -> (Option<Duration>, Option<ApiError>) {
        let wanted = wanted(spec, count);
        let surplus = surplus(spec, count, wanted);
        if !surplus.is_empty() {
            let error = self.control.delete(job.object(), &surplus, &self.written).await;
            let gone: BTreeSet<&str> = surplus.iter().map(|pod| pod.object().uid()).collect();
            count.active.retain(|pod| !gone.contains(pod.object().uid()));
            count.terminating += surplus.len();
            return (None, error);
        }
        let replaces_only_failed = spec.pod_replacement_policy.as_deref() == Some("Failed");
        let going = if replaces_only_failed { count.terminating } else { 0 };
        let missing = wanted.saturating_sub(count.active.len() + going);
        if missing == 0 {
            return (None, None);
        }
        if !delay.all.is_zero() {
            return (Some(delay.all), None);
        }
        let missing = missing.min(BURST);
        let (made, wait): (Vec<Pod>, _) = if is_indexed(spec) {
            let (indexes, wait) = next_indexes(spec, count, missing, delay, replaces_only_failed);
            (indexes.into_iter().map(|index| pod_of(job, Some(index), count)).collect(), wait)
        } else {
            let pods: Vec<_> = (0..missing).map(|_| pod_of(job, None, count)).collect();
            (pods, None)
        };
        let (_, error) = self.control.create(job.object(), made, &self.written).await;
        (wait, error)
    }
}

/// How many pods should be active.
fn wanted(spec: &JobSpec, count: &Count) -> usize {
    let parallelism = size(spec.parallelism);
    match spec.completions {
        // Once one has succeeded, the others may end but none is made.
        None if count.succeeded > 0 => count.active.len().min(parallelism),
        None => parallelism,
        Some(completions) => {
            let given_up = count.failed_indexes.len();
            let left = size(Some(completions)).saturating_sub(count.succeeded + given_up);
            left.min(parallelism)
        }
    }
}

/// Pods that are too many: second ones of an index first, then those that are missed least.
fn surplus(spec: &JobSpec, count: &Count, wanted: usize) -> Vec<Typed<Pod>> {
    let mut going = Vec::new();
    let mut rest: Vec<&Typed<Pod>> = Vec::new();
    let mut seen = BTreeSet::new();
    for pod in &count.active {
        let superfluous = is_indexed(spec)
            && index_of(pod).is_none_or(|index| {
                count.succeeded_indexes.contains(&index)
                    || index >= u32::try_from(spec.completions.unwrap_or(0)).unwrap_or(0)
                    || !seen.insert(index)
            });
        if superfluous {
            going.push(pod.clone());
        } else {
            rest.push(pod);
        }
    }
    let more = rest.len().saturating_sub(wanted);
    // Not bound, not running, not ready, youngest: these have done least.
    rest.sort_by_key(|pod| {
        let created = pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
        (
            !pods::node_name(pod).is_empty(),
            pods::phase(pod) == "Running",
            pods::ready_since(pod).is_some(),
            std::cmp::Reverse(created),
        )
    });
    going.extend(rest.into_iter().take(more).cloned());
    going.truncate(BURST);
    going
}

/// The lowest indexes without a pod, and the time after which one that waits may have one.
fn next_indexes(
    spec: &JobSpec,
    count: &Count,
    most: usize,
    delay: &Delay,
    replaces_only_failed: bool,
) -> (Vec<u32>, Option<Duration>) {
    let active: BTreeSet<u32> = count.active.iter().filter_map(|pod| index_of(pod)).collect();
    let completions = u32::try_from(spec.completions.unwrap_or(0)).unwrap_or(0);
    let mut wait = None;
    let mut next = Vec::new();
    for index in 0..completions {
        if next.len() == most {
            break;
        }
        let taken = active.contains(&index)
            || count.succeeded_indexes.contains(&index)
            || count.failed_indexes.contains(&index)
            || (replaces_only_failed && count.terminating_indexes.contains(&index));
        if taken {
            continue;
        }
        match delay.indexes.get(&index).filter(|left| !left.is_zero()) {
            Some(left) => wait = sooner(wait, Some(*left)),
            None => next.push(index),
        }
    }
    (next, wait)
}

/// A pod of the Job's template.
fn pod_of(job: &Job, index: Option<u32>, count: &Count) -> Pod {
    let spec = job.spec.as_ref();
    let template = spec.map(|spec| &spec.template);
    let meta = template.and_then(|template| template.metadata.as_ref());
    let name = job.metadata.name.as_deref().unwrap_or_default();
    let prefix = match index {
        Some(index) => format!("{name}-{index}-"),
        None => format!("{name}-"),
    };
    let mut pod = Pod {
        metadata: ObjectMeta {
            generate_name: Some(prefix),
            namespace: job.metadata.namespace.clone(),
            labels: meta.and_then(|meta| meta.labels.clone()),
            annotations: meta.and_then(|meta| meta.annotations.clone()),
            finalizers: Some(vec![TRACKING.to_owned()]),
            owner_references: Some(vec![controller_reference("batch/v1", "Job", &job.metadata)]),
            ..Default::default()
        },
        spec: template.and_then(|template| template.spec.clone()),
        status: None,
    };
    if let Some(index) = index {
        give_index(&mut pod, name, index);
        let per_index = spec.is_some_and(|spec| spec.backoff_limit_per_index.is_some());
        if per_index {
            let failures = count.failures_of_index.get(&index).copied().unwrap_or_default();
            let annotations = pod.metadata.annotations.get_or_insert_default();
            annotations.insert(INDEX_FAILURES.to_owned(), failures.counted.to_string());
            if failures.ignored > 0 {
                let ignored = failures.ignored.to_string();
                annotations.insert(INDEX_IGNORED_FAILURES.to_owned(), ignored);
            }
        }
    }
    pod
}

fn give_index(pod: &mut Pod, job: &str, index: u32) {
    let maps: [&mut BTreeMap<String, String>; 2] = [
        pod.metadata.annotations.get_or_insert_default(),
        pod.metadata.labels.get_or_insert_default(),
    ];
    for map in maps {
        map.insert(INDEX.to_owned(), index.to_string());
    }
    let Some(spec) = &mut pod.spec else { return };
    spec.hostname = Some(format!("{job}-{index}"));
    let containers = spec.init_containers.iter_mut().flatten().chain(&mut spec.containers);
    for container in containers {
        let variables = container.env.get_or_insert_default();
        if variables.iter().any(|variable| variable.name == INDEX_VARIABLE) {
            continue;
        }
        let field = ObjectFieldSelector {
            api_version: None,
            field_path: format!("metadata.labels['{INDEX}']"),
        };
        variables.push(EnvVar {
            name: INDEX_VARIABLE.to_owned(),
            value_from: Some(EnvVarSource { field_ref: Some(field), ..Default::default() }),
            ..Default::default()
        });
    }
}
