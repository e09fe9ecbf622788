use k8s_openapi::api::core::v1::Pod;
use pinnace_api::pod_resources::{Requests, Summing, requests};

use crate::cluster::{Amounts, ResourceNames, amount};

/// What a container that asks for no CPU is taken to ask for when nodes are scored.
pub(crate) const DEFAULT_MILLI_CPU: i64 = 100;
/// What a container that asks for no memory is taken to ask for when nodes are scored.
pub(crate) const DEFAULT_MEMORY: i64 = 200 * 1024 * 1024;

/// The amounts of the resources that pods are scheduled by.
pub(crate) fn amounts(requests: &Requests<'_>, names: &mut ResourceNames) -> Amounts {
    let mut amounts = Amounts::default();
    for (name, quantity) in requests {
        if let Some(resource) = names.accept(name) {
            amounts.set(resource, amount(resource, *quantity));
        }
    }
    amounts
}

/// Whether a pod asks for less of something than before.
pub(crate) fn asks_less(old: &Pod, new: &Pod) -> bool {
    let how = Summing { status: true, missing: &[] };
    let now = requests(new, how);
    requests(old, how)
        .iter()
        .any(|(name, before)| now.get(name).is_none_or(|quantity| quantity < before))
}
