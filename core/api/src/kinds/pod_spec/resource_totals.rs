//! What the containers of a pod need together.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;

use super::containers::is_sidecar;
use super::resources::{is_huge_page, is_pod_level, may_overcommit};
use crate::quantity::Quantity;

type Totals<'a> = BTreeMap<&'a str, Quantity>;
type Part = fn(&ResourceRequirements) -> Option<&BTreeMap<String, Text>>;

/// What the containers request together.
pub(super) fn requests(spec: &PodSpec) -> Totals<'_> {
    totals(spec, |resources| resources.requests.as_ref())
}

/// What the containers are limited to together.
fn limits(spec: &PodSpec) -> Totals<'_> {
    totals(spec, |resources| resources.limits.as_ref())
}

/// Containers and sidecars run side by side; each init container runs beside the sidecars before
/// it, and alone otherwise.
fn totals(spec: &PodSpec, part: Part) -> Totals<'_> {
    let mut all = Totals::new();
    for container in &spec.containers {
        add(&mut all, container, part);
    }
    let mut sidecars = Totals::new();
    let mut most = Totals::new();
    for container in spec.init_containers.iter().flatten() {
        let mut now = sidecars.clone();
        add(&mut now, container, part);
        if is_sidecar(container) {
            add(&mut all, container, part);
            sidecars.clone_from(&now);
        }
        raise(&mut most, &now);
    }
    raise(&mut all, &most);
    all
}

fn add<'a>(totals: &mut Totals<'a>, container: &'a Container, part: Part) {
    for (name, text) in container.resources.as_ref().and_then(part).into_iter().flatten() {
        *totals.entry(name).or_default() += Quantity::parse(&text.0).unwrap_or_default();
    }
}

fn raise<'a>(totals: &mut Totals<'a>, least: &Totals<'a>) {
    for (name, amount) in least {
        let total = totals.entry(name).or_insert(*amount);
        *total = (*total).max(*amount);
    }
}

/// Fills in what a pod that says something of its resources as a whole leaves open, from what its
/// containers say.
pub(in crate::kinds) fn default_pod_level(spec: &mut PodSpec) {
    let Some(resources) = &spec.resources else { return };
    let has = |list: &Option<BTreeMap<String, Text>>| {
        list.iter().flatten().any(|(name, _)| is_pod_level(name))
    };
    let (had_limits, had_requests) = (has(&resources.limits), has(&resources.requests));
    if !had_limits && !had_requests {
        return;
    }
    let mut limits_to_be = resources.limits.clone().unwrap_or_default();
    let mut requests_to_be = resources.requests.clone().unwrap_or_default();
    let all_limits = limits(spec);
    for (name, amount) in &all_limits {
        if is_huge_page(name) && !requests_to_be.contains_key(*name) {
            limits_to_be.entry((*name).to_owned()).or_insert_with(|| Text(amount.to_string()));
        }
    }
    if !limits_to_be.is_empty() {
        for (name, amount) in requests(spec) {
            if is_pod_level(name) && may_overcommit(name) {
                requests_to_be.entry(name.to_owned()).or_insert_with(|| Text(amount.to_string()));
            }
        }
        for (name, limit) in limits_to_be.iter().filter(|(name, _)| is_pod_level(name)) {
            requests_to_be.entry(name.clone()).or_insert_with(|| limit.clone());
        }
    }
    if limits_to_be.is_empty() && had_requests {
        for (name, amount) in &all_limits {
            if is_pod_level(name) && may_overcommit(name) && every_container_limits(spec, name) {
                limits_to_be.insert((*name).to_owned(), Text(amount.to_string()));
            }
        }
    }
    if let Some(resources) = &mut spec.resources {
        resources.limits = Some(limits_to_be).filter(|list| !list.is_empty());
        resources.requests = Some(requests_to_be).filter(|list| !list.is_empty());
    }
}

fn every_container_limits(spec: &PodSpec, name: &str) -> bool {
    let limits = |container: &Container| {
        let limits = container.resources.as_ref().and_then(|resources| resources.limits.as_ref());
        limits.is_some_and(|limits| limits.contains_key(name))
    };
    spec.containers.iter().chain(spec.init_containers.iter().flatten()).all(limits)
}
