//! Who may write which part of the status of a resource claim. Beside `resourceclaims/status` upstream
//! asks for two subresources that nobody can reach: `binding` for what is allocated and to whom,
//! `driver` for what a driver says of its devices
//! (<https://kubernetes.io/docs/concepts/security/hardening-guide/dynamic-resource-allocation/>).

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::resource::v1::{
    AllocatedDeviceStatus, AllocationResult, ResourceClaim, ResourceClaimStatus,
};

use crate::Caller;
use crate::field::{ErrorList, Path};

/// What stands before the verb for those who run on the node of the claim, and for anybody.
const ASSOCIATED: &str = "associated-node:";
const ARBITRARY: &str = "arbitrary-node:";

/// Checks that whoever writes the status of a claim may write what changes in it.
pub(super) fn authorize(
    caller: &dyn Caller,
    new: &ResourceClaim,
    old: &ResourceClaim,
    errors: &mut ErrorList,
) {
    let namespace = new.metadata.namespace.as_deref().unwrap_or_default();
    let none = ResourceClaimStatus::default();
    let (new, old) = (new.status.as_ref().unwrap_or(&none), old.status.as_ref().unwrap_or(&none));
    let root = Path::root("status");
    let verb = caller.verb();
    if is_bound_otherwise(new, old)
        && let Err(why) = caller.may(verb, "binding", "", "")
    {
        let fields = "status.allocation or status.reservedFor";
        errors.forbidden(&root.child("allocation"), &missing(fields, "binding", verb, &why));
    }
    // A claim that is not allocated any more has lost what was said of its devices.
    let Some(allocation) = &new.allocation else { return };
    let node = node_of(allocation);
    let is_there = node.is_some() && caller.node() == node;
    let prefixes = if is_there { &[ASSOCIATED, ARBITRARY][..] } else { &[ARBITRARY] };
    let verbs: Vec<_> = prefixes.iter().map(|prefix| format!("{prefix}{verb}")).collect();
    for driver in changed_drivers(new, old) {
        let ask = |verb: &String| caller.may(verb, "driver", namespace, driver).err();
        // One yes is enough; of several noes the first is told.
        let refusals: Option<Vec<_>> = verbs.iter().map(ask).collect();
        if let Some(why) = refusals.and_then(|all| all.into_iter().next()) {
            let verbs = format!("[{}]", verbs.join(" "));
            let why = missing("status.devices", "driver", &verbs, &why);
            errors.forbidden(&root.child("devices"), &why);
        }
    }
}

fn missing(fields: &str, part: &str, verb: &str, why: &str) -> String {
    format!(
        "changing {fields} requires resource=\"resourceclaims/{part}\", verb=\"{verb}\" permission: {why}"
    )
}

fn is_bound_otherwise(new: &ResourceClaimStatus, old: &ResourceClaimStatus) -> bool {
    let reserved = |status: &ResourceClaimStatus| status.reserved_for.clone().unwrap_or_default();
    new.allocation != old.allocation || reserved(new) != reserved(old)
}

/// The drivers of whose devices something else is said now, or nothing any more.
fn changed_drivers<'a>(
    new: &'a ResourceClaimStatus,
    old: &'a ResourceClaimStatus,
) -> BTreeSet<&'a str> {
    type Name<'a> = (&'a str, &'a str, &'a str, &'a str);
    fn by_name(status: &ResourceClaimStatus) -> BTreeMap<Name<'_>, &AllocatedDeviceStatus> {
        let mut all = BTreeMap::new();
        for one in status.devices.iter().flatten() {
            let share = one.share_id.as_deref().unwrap_or_default();
            all.insert((&*one.driver, &*one.pool, &*one.device, share), one);
        }
        all
    }
    let (new, old) = (by_name(new), by_name(old));
    let all = new.keys().chain(old.keys());
    all.filter(|name| new.get(*name) != old.get(*name)).map(|name| name.0).collect()
}

/// The one node on which the devices are.
fn node_of(allocation: &AllocationResult) -> Option<&str> {
    let [term] = &allocation.node_selector.as_ref()?.node_selector_terms[..] else { return None };
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let ([], Some([field])) = (expressions, term.match_fields.as_deref()) else { return None };
    let [node] = field.values.as_deref()? else { return None };
    (field.key == "metadata.name" && field.operator == "In").then_some(node)
}
