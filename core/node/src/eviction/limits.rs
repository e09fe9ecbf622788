//! Pods that have written more to the node's disk than they may.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod};
use pinnace_api::quantity::Quantity;
use pinnace_client::summary::{ContainerUse, PodUse};

use crate::pod::record;

const STORAGE: &str = "ephemeral-storage";

/// Whether a pod has any limit on what it writes.
pub(crate) fn has_any(pod: &Pod) -> bool {
    let spec = record::spec_of(pod);
    let sized = |volume: &k8s_openapi::api::core::v1::Volume| {
        volume.empty_dir.as_ref().is_some_and(|source| source.size_limit.is_some())
    };
    spec.volumes.iter().flatten().any(sized)
        || record::containers(spec).any(|one| limit(one).is_some())
        || pod_limit(pod).is_some()
}

/// Why a pod is evicted, if it has written too much.
pub(crate) fn exceeded(pod: &Pod, used: &PodUse) -> Option<String> {
    empty_dir(pod, used).or_else(|| whole(pod, used)).or_else(|| container(pod, used))
}

fn empty_dir(pod: &Pod, used: &PodUse) -> Option<String> {
    let in_volumes: BTreeMap<&str, u64> = used
        .volumes
        .iter()
        .filter_map(|volume| Some((&*volume.name, volume.fs.used_bytes?)))
        .collect();
    record::spec_of(pod).volumes.iter().flatten().find_map(|volume| {
        let limit = &volume.empty_dir.as_ref()?.size_limit.as_ref()?.0;
        let allowed = bytes(Quantity::parse(limit).ok()?).filter(|limit| *limit > 0)?;
        let name = &volume.name;
        (*in_volumes.get(name.as_str())? > allowed)
            .then(|| format!("Usage of EmptyDir volume {name:?} exceeds the limit {limit:?}. "))
    })
}

fn whole(pod: &Pod, used: &PodUse) -> Option<String> {
    let limit = pod_limit(pod)?;
    let written = used.ephemeral_storage?.used_bytes?;
    (written > bytes(limit)?).then(|| {
        format!("Pod ephemeral local storage usage exceeds the total limit of containers {limit}. ")
    })
}

fn container(pod: &Pod, used: &PodUse) -> Option<String> {
    let spec = record::spec_of(pod);
    let written = |one: &ContainerUse| {
        let parts = [one.logs, one.rootfs].into_iter().flatten();
        parts.filter_map(|fs| fs.used_bytes).fold(0, u64::saturating_add)
    };
    used.containers.iter().find_map(|one| {
        let limit = limit(spec.containers.iter().find(|known| known.name == one.name)?)?;
        (written(one) > bytes(limit)?).then(|| {
            let name = &one.name;
            let limit = limit.to_string();
            format!("Container {name} exceeded its local ephemeral storage limit {limit:?}. ")
        })
    })
}

/// The limit of a pod as a whole: the sum over its containers and sidecars, or that of an init
/// container that has more; `None` when nobody has one.
fn pod_limit(pod: &Pod) -> Option<Quantity> {
    let spec = record::spec_of(pod);
    let (sidecars, once): (Vec<_>, Vec<_>) =
        spec.init_containers.iter().flatten().partition(|one| record::is_sidecar(one));
    let all = spec.containers.iter().chain(sidecars).filter_map(limit);
    let sum = all.reduce(|a, b| a.checked_add(b).unwrap_or(a));
    once.into_iter().filter_map(limit).chain(sum).max_by_key(|limit| limit.value())
}

fn limit(container: &Container) -> Option<Quantity> {
    let limits = container.resources.as_ref()?.limits.as_ref()?;
    Quantity::parse(&limits.get(STORAGE)?.0).ok().filter(|limit| !limit.is_zero())
}

fn bytes(quantity: Quantity) -> Option<u64> {
    u64::try_from(quantity.value()).ok()
}
