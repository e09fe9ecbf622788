use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Container, Pod};

use super::Amounts;
use crate::kinds::is_extended_resource;
use crate::pod_resources::{self, Requests, Summing};
use crate::quantity::Quantity;

const REQUESTS: &str = "requests.";
const LIMITS: &str = "limits.";
const HUGE_PAGES: &str = "hugepages-";
/// What is counted by requests and by limits; requests also under the bare name.
const COMPUTE: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];
/// What every container must speak of when a quota does. Upstream calls it a mistake that is kept.
const REQUIRED: [&str; 6] =
    ["cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"];

pub(super) fn covers(name: &str) -> bool {
    let requested = name.strip_prefix(REQUESTS);
    let compute = requested.or(name.strip_prefix(LIMITS)).unwrap_or(name);
    name == "pods"
        || COMPUTE.contains(&compute)
        || requested.unwrap_or(name).starts_with(HUGE_PAGES)
        || requested.is_some() && name.contains('/') && !name.contains("kubernetes.io/")
}

/// What a pod uses; one that has ended, or should have, only takes its place among the objects.
pub(super) fn measure(pod: &Pod, now: Timestamp, amounts: &mut Amounts) {
    if !is_live(pod, now) {
        return;
    }
    let requests = pod_resources::requests(pod, Summing { status: true, missing: &[] });
    compute(&requests, &pod_resources::limits(pod), amounts);
}

fn is_live(pod: &Pod, now: Timestamp) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    if matches!(phase, Some("Failed" | "Succeeded")) {
        return false;
    }
    let deleted = pod.metadata.deletion_timestamp.as_ref();
    let grace = pod.metadata.deletion_grace_period_seconds;
    let Some((deleted, grace)) = deleted.zip(grace) else { return true };
    now <= deleted.0.saturating_add(SignedDuration::from_secs(grace)).unwrap_or(Timestamp::MAX)
}

fn compute(requests: &Requests<'_>, limits: &Requests<'_>, amounts: &mut Amounts) {
    amounts.insert("pods".to_owned(), Quantity::from_units(1));
    for (name, request) in requests {
        let is_compute = COMPUTE.contains(name);
        if is_compute || name.starts_with(HUGE_PAGES) {
            amounts.insert((*name).to_owned(), *request);
        }
        if is_compute || name.starts_with(HUGE_PAGES) || is_extended_resource(name) {
            amounts.insert(format!("{REQUESTS}{name}"), *request);
        }
    }
    for (name, limit) in limits.iter().filter(|(name, _)| COMPUTE.contains(name)) {
        amounts.insert(format!("{LIMITS}{name}"), *limit);
    }
}

/// The resources that some containers say nothing of, with these containers.
pub(super) fn unspecified(pod: &Pod, names: &[&str]) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    if pod_resources::has_own(spec) {
        return None;
    }
    let mut missing: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for container in spec.containers.iter().chain(spec.init_containers.iter().flatten()) {
        for name in names.iter().filter(|name| REQUIRED.contains(name)) {
            if !says(container, name) {
                missing.entry(name).or_default().insert(&container.name);
            }
        }
    }
    let text = |(name, containers): (&&str, &BTreeSet<&str>)| {
        let containers: Vec<&str> = containers.iter().copied().collect();
        format!("{name} for: {}", containers.join(","))
    };
    let texts: Vec<String> = missing.iter().map(text).collect();
    (!texts.is_empty()).then(|| format!("must specify {}", texts.join("; ")))
}

fn says(container: &Container, name: &str) -> bool {
    let Some(resources) = &container.resources else { return false };
    let (list, name) = match name.strip_prefix(LIMITS) {
        Some(name) => (&resources.limits, name),
        None => (&resources.requests, name.strip_prefix(REQUESTS).unwrap_or(name)),
    };
    list.as_ref().is_some_and(|list| list.contains_key(name))
}
