//! Quality of service classes of pods.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;

use crate::quantity::Quantity;

/// Every container has limits of cpu and memory, and requests just these.
pub const GUARANTEED: &str = "Guaranteed";
/// Some container requests or is limited to some cpu or memory.
pub const BURSTABLE: &str = "Burstable";
/// No container says anything of cpu and memory.
pub const BEST_EFFORT: &str = "BestEffort";

/// The resources that make the class.
const COUNTED: [&str; 2] = ["cpu", "memory"];

/// The class of a pod. Resources of the pod as a whole take the place of its containers'.
///
/// See <https://kubernetes.io/docs/concepts/workloads/pods/pod-qos/>.
pub fn class(spec: &PodSpec) -> &'static str {
    if let Some(resources) = spec.resources.as_ref().filter(|resources| says_anything(resources)) {
        return of(std::iter::once(Some(resources)));
    }
    let init = spec.init_containers.iter().flatten();
    of(spec.containers.iter().chain(init).map(|container| container.resources.as_ref()))
}

fn says_anything(resources: &ResourceRequirements) -> bool {
    let lists = [&resources.requests, &resources.limits];
    lists.into_iter().flatten().any(|list| {
        list.keys().any(|name| COUNTED.contains(&&**name) || name.starts_with("hugepages-"))
    })
}

fn of<'a>(all: impl Iterator<Item = Option<&'a ResourceRequirements>>) -> &'static str {
    let mut guaranteed = true;
    let mut best_effort = true;
    for resources in all {
        for name in COUNTED {
            let (request, limit) = resources.map_or((None, None), |resources| {
                (amount(resources.requests.as_ref(), name), amount(resources.limits.as_ref(), name))
            });
            best_effort &= request.is_none() && limit.is_none();
            // Summed up over the containers as upstream does it, the answer is the same: no
            // request may be above its limit.
            guaranteed &= limit.is_some() && request == limit;
        }
    }
    match (best_effort, guaranteed) {
        (true, _) => BEST_EFFORT,
        (false, true) => GUARANTEED,
        (false, false) => BURSTABLE,
    }
}

/// The amount of a resource, `None` if absent or zero.
fn amount(list: Option<&BTreeMap<String, Text>>, name: &str) -> Option<Quantity> {
    let quantity = Quantity::parse(&list?.get(name)?.0).ok()?;
    (!quantity.is_zero()).then_some(quantity)
}
