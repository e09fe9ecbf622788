//! Who may write which part of the status of a resource claim. Beside `resourceclaims/status` upstream
//! asks for two subresources that nobody can reach: `binding` for what is allocated and to whom,
//! `driver` for what a driver says of its devices
//! (<https://kubernetes.io/docs/concepts/security/hardening-guide/dynamic-resource-allocation/>).

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::resource::v1::{
    AllocatedDeviceStatus, AllocationResult, ResourceClaim, ResourceClaimStatus,
};
use pinnace_api::field::{ErrorList, Path};
use pinnace_api::{ApiError, Draft, Object, Result};
use pinnace_client::{Subresource, Target};

use crate::{Attributes, Selectors, Server, User};

/// What stands before the verb for those who run on the node of the claim, and for anybody.
const ASSOCIATED: &str = "associated-node:";
const ARBITRARY: &str = "arbitrary-node:";

impl Server {
    /// Checks that whoever writes the status of a claim may write what changes in it.
    ///
    /// # Errors
    /// `Invalid`, as upstream, with what is missing.
    pub(crate) fn authorize_claim_status(
        &self,
        user: &User,
        verb: &str,
        target: &Target,
        new: &Draft,
        old: &Object,
    ) -> Result<()> {
        let new =
            new.get::<ResourceClaim>().filter(|_| target.subresource == Some(Subresource::Status));
        let Some(new) = new else { return Ok(()) };
        let old = old.get::<ResourceClaim>()?;
        let none = ResourceClaimStatus::default();
        let (new, old) =
            (new.status.as_ref().unwrap_or(&none), old.status.as_ref().unwrap_or(&none));
        let mut errors = ErrorList::default();
        let root = Path::root("status");
        if is_bound_otherwise(new, old)
            && let Err(why) = self.may_write_part(user, verb, "binding", "", "")
        {
            let fields = "status.allocation or status.reservedFor";
            let why = missing(fields, "binding", verb, &why);
            errors.forbidden(&root.child("allocation"), &why);
        }
        // A claim that is not allocated any more has lost what was said of its devices.
        if let Some(allocation) = &new.allocation {
            let node = node_of(allocation);
            let is_there = node.is_some() && user.node_of_account() == node;
            let prefixes = if is_there { &[ASSOCIATED, ARBITRARY][..] } else { &[ARBITRARY] };
            let verbs: Vec<_> = prefixes.iter().map(|prefix| format!("{prefix}{verb}")).collect();
            for driver in changed_drivers(new, old) {
                let namespace = target.key.namespace();
                let ask = |verb: &String| {
                    self.may_write_part(user, verb, "driver", namespace, driver).err()
                };
                // One yes is enough; of several noes the first is told.
                let refusals: Option<Vec<_>> = verbs.iter().map(ask).collect();
                if let Some(why) = refusals.and_then(|all| all.into_iter().next()) {
                    let verbs = format!("[{}]", verbs.join(" "));
                    let why = missing("status.devices", "driver", &verbs, &why);
                    errors.forbidden(&root.child("devices"), &why);
                }
            }
        }
        if errors.is_empty() {
            return Ok(());
        }
        Err(ApiError::invalid(&target.resource, target.key.name(), &errors))
    }

    fn may_write_part(
        &self,
        user: &User,
        verb: &str,
        subresource: &str,
        namespace: &str,
        name: &str,
    ) -> Result<()> {
        self.check(&Attributes {
            user,
            verb,
            group: "resource.k8s.io",
            resource: "resourceclaims",
            subresource,
            namespace,
            name,
            path: "",
            selectors: Selectors::default(),
        })
    }
}

fn missing(fields: &str, part: &str, verb: &str, why: &ApiError) -> String {
    format!(
        "changing {fields} requires resource=\"resourceclaims/{part}\", verb=\"{verb}\" permission: {}",
        why.message()
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
