use std::collections::BTreeMap;
use std::fmt::{self, Write};

use k8s_openapi::api::core::v1::{PodResourceClaim, PodSpec, ResourceClaim, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;

use super::resource_totals;
use crate::field::{Bare, ErrorList, Path};
use crate::kinds::check::{NEGATIVE, Seen, complain, text};
use crate::kinds::names::rules;
use crate::quantity::Quantity;

/// The resources of a container that have no prefix.
const OF_CONTAINERS: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];
/// All other resources without a prefix.
const STANDARD: [&str; 17] = [
    "configmaps",
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "persistentvolumeclaims",
    "pods",
    "replicationcontrollers",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
    "requests.storage",
    "resourcequotas",
    "secrets",
    "services",
    "services.loadbalancers",
    "services.nodeports",
    "storage",
];
/// Resources that are counted in whole things.
const WHOLE: [&str; 9] = [
    "configmaps",
    "persistentvolumeclaims",
    "pods",
    "replicationcontrollers",
    "resourcequotas",
    "secrets",
    "services",
    "services.loadbalancers",
    "services.nodeports",
];

type List = BTreeMap<String, Text>;

/// Writes quantities as upstream keeps them: the shortest form, and nothing finer than
/// thousandths.
pub(in crate::kinds) fn canonical_list(list: &mut List) {
    for text in list.values_mut() {
        let Ok(mut quantity) = Quantity::parse(&text.0) else { continue };
        let millis = quantity.millis();
        if millis.unsigned_abs() < i64::MAX as u64 {
            quantity = Quantity::from_millis(millis).with_format(quantity.format());
        }
        let mut same = SameText { rest: &text.0 };
        if write!(same, "{quantity}").is_err() || !same.rest.is_empty() {
            text.0 = quantity.to_string();
        }
    }
}

/// Compares what is written with a text, so that nothing need be kept.
struct SameText<'a> {
    rest: &'a str,
}

impl Write for SameText<'_> {
    fn write_str(&mut self, written: &str) -> fmt::Result {
        self.rest = self.rest.strip_prefix(written).ok_or(fmt::Error)?;
        Ok(())
    }
}

/// Checks what a container requests and is limited to.
pub(super) fn validate_container(
    requirements: &ResourceRequirements,
    claims: &[PodResourceClaim],
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    validate(requirements, validate_container_name, path, errors);
    validate_claims(requirements, claims, &path.child("claims"), errors);
}

/// Checks what a pod costs beyond its containers.
pub(in crate::kinds) fn validate_overhead(
    overhead: &List,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    let requirements =
        ResourceRequirements { limits: Some(overhead.clone()), ..Default::default() };
    validate(&requirements, validate_container_name, path, errors);
}

/// Checks what a pod as a whole requests and is limited to.
pub(super) fn validate_pod_level(spec: &PodSpec, path: &Path<'_>, errors: &mut ErrorList) {
    let Some(requirements) = &spec.resources else { return };
    if requirements.claims.is_some() {
        let why = "claims cannot be set for Resources at pod-level";
        errors.forbidden(&path.child("claims"), why);
    }
    validate(requirements, validate_pod_name, path, errors);
    let at = path.child("requests");
    for (name, sum) in resource_totals::requests(spec) {
        let own = amount(requirements.requests.as_ref(), name).unwrap_or_default();
        if sum > own {
            let why =
                format!("must be greater than or equal to aggregate container requests of {sum}");
            errors.invalid(&at.key(name), own.to_string(), &why);
        }
    }
    let at = path.child("containers");
    for (index, container) in spec.containers.iter().enumerate() {
        let limits = container.resources.as_ref().and_then(|resources| resources.limits.as_ref());
        for name in limits.into_iter().flatten().map(|(name, _)| name) {
            let most = amount(requirements.limits.as_ref(), name);
            let own = amount(limits, name);
            if let (Some(own), Some(most)) = (own, most)
                && own > most
            {
                let why = format!("must be less than or equal to pod limits of {most}");
                let at = at.index(index);
                errors.invalid(&at.key(name).child("limits"), own.to_string(), &why);
            }
        }
    }
}

fn amount(list: Option<&List>, name: &str) -> Option<Quantity> {
    list.and_then(|list| list.get(name)).and_then(|text| Quantity::parse(&text.0).ok())
}

type NameRule = fn(&str, &Path<'_>, &mut ErrorList);

fn validate(
    requirements: &ResourceRequirements,
    name_rule: NameRule,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    let limits = requirements.limits.as_ref();
    let requests = requirements.requests.as_ref();
    let (limits_at, requests_at) = (path.child("limits"), path.child("requests"));
    for (name, text) in limits.into_iter().flatten() {
        let at = limits_at.key(name);
        name_rule(name, &at, errors);
        validate_amount(name, text, &at, errors);
    }
    for (name, text) in requests.into_iter().flatten() {
        let at = requests_at.key(name);
        name_rule(name, &at, errors);
        let request = validate_amount(name, text, &at, errors);
        match limits.and_then(|limits| limits.get(name)) {
            // The usual case: limits that became requests.
            Some(limit) if limit == text => {}
            Some(limit) => {
                if let (Some(request), Ok(limit)) = (request, Quantity::parse(&limit.0)) {
                    validate_within(name, request, limit, &requests_at, errors);
                }
            }
            None if !may_overcommit(name) => {
                let why = "Limit must be set for non overcommitable resources";
                errors.required(&limits_at, why);
            }
            None => {}
        }
    }
    let names = || limits.into_iter().chain(requests).flat_map(|list| list.keys());
    let has = |is: fn(&str) -> bool| names().any(|name| is(name));
    if has(is_huge_page) && !has(|name| matches!(name, "cpu" | "memory")) {
        errors.forbidden(path, "HugePages require cpu or memory");
    }
}

fn validate_within(
    name: &str,
    request: Quantity,
    limit: Quantity,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    let relation = if request != limit && !may_overcommit(name) {
        "equal to"
    } else if request > limit {
        "less than or equal to"
    } else {
        return;
    };
    let why = format!("must be {relation} {name} limit of {limit}");
    errors.invalid(path, request.to_string(), &why);
}

/// Checks an amount and reads it.
fn validate_amount(
    name: &str,
    text: &Text,
    path: &Path<'_>,
    errors: &mut ErrorList,
) -> Option<Quantity> {
    let quantity = validate_quantity(name, text, path, errors)?;
    if let Some(page) = name.strip_prefix("hugepages-") {
        let page = Quantity::parse(page).ok().filter(|page| page.millis() % 1000 == 0);
        let page = page.map_or(0, Quantity::value);
        if page <= 0 || quantity.value() % page != 0 {
            let why = format!("{quantity} is not positive integer multiple of {name}");
            errors.invalid(path, quantity.to_string(), &why);
        }
    }
    Some(quantity)
}

/// Checks a quantity of a resource and reads it.
pub(in crate::kinds) fn validate_quantity(
    name: &str,
    text: &Text,
    path: &Path<'_>,
    errors: &mut ErrorList,
) -> Option<Quantity> {
    let quantity = match Quantity::parse(&text.0) {
        Ok(quantity) => quantity,
        Err(why) => {
            errors.invalid(path, &text.0, &why.to_string());
            return None;
        }
    };
    if quantity.is_negative() {
        errors.invalid(path, quantity.to_string(), NEGATIVE);
    }
    let whole = WHOLE.contains(&name) || name.contains('/') && is_extended(name);
    if whole && quantity.millis() % 1000 != 0 {
        errors.invalid(path, quantity.to_string(), "must be an integer");
    }
    Some(quantity)
}

fn validate_name(name: &str, path: &Path<'_>, errors: &mut ErrorList) -> bool {
    let complaints = rules::qualified_name(name);
    if !complaints.is_empty() {
        complain(errors, path, name, complaints);
        return false;
    }
    let standard = OF_CONTAINERS.contains(&name)
        || STANDARD.contains(&name)
        || is_huge_page(name)
        || name.starts_with("requests.hugepages-");
    if !name.contains('/') && !standard {
        errors.invalid(path, name, "must be a standard resource type or fully qualified");
        return false;
    }
    true
}

fn validate_container_name(name: &str, path: &Path<'_>, errors: &mut ErrorList) {
    if OF_CONTAINERS.contains(&name) {
        return;
    }
    validate_name(name, path, errors);
    if !name.contains('/') {
        if !is_huge_page(name) {
            errors.invalid(path, name, "must be a standard resource for containers");
        }
    } else if !is_native(name) && !is_extended(name) {
        errors.invalid(path, name, "doesn't follow extended resource name standard");
    }
}

fn validate_pod_name(name: &str, path: &Path<'_>, errors: &mut ErrorList) {
    if validate_name(name, path, errors) && !is_pod_level(name) {
        errors.not_supported(path, name, &["cpu", "hugepages-", "memory"]);
    }
}

/// Whether a pod as a whole may have a resource.
pub(super) fn is_pod_level(name: &str) -> bool {
    matches!(name, "cpu" | "memory") || is_huge_page(name)
}

pub(super) fn is_huge_page(name: &str) -> bool {
    name.starts_with("hugepages-")
}

fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

/// Whether a resource comes from a device plugin. Its quota, `requests.` and the name, must have a
/// name too.
pub(crate) fn is_extended(name: &str) -> bool {
    !is_native(name)
        && !name.starts_with("requests.")
        && rules::qualified_name(&format!("requests.{name}")).is_empty()
}

/// Whether more of a resource may be asked for than there is.
pub(super) fn may_overcommit(name: &str) -> bool {
    is_native(name) && !is_huge_page(name)
}

fn validate_claims(
    requirements: &ResourceRequirements,
    of_pod: &[PodResourceClaim],
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    let mut seen = Seen::new();
    for (index, claim) in requirements.claims.iter().flatten().enumerate() {
        let path = path.index(index);
        let ResourceClaim { name, request } = claim;
        let request = text(request);
        if name.is_empty() {
            errors.required(&path, "");
            continue;
        }
        if !request.is_empty() {
            complain(errors, &path.child("request"), request, rules::dns_label(request));
        }
        // A claim as a whole overlaps with each of its requests.
        let earlier = requirements.claims.iter().flatten().take(index);
        let overlaps = seen.contains(&(name.as_str(), ""))
            || request.is_empty() && earlier.into_iter().any(|other| other.name == *name);
        if overlaps {
            errors.duplicate(&path, name);
        } else if !seen.insert((name.as_str(), request)) {
            errors.duplicate(&path, format!("{name}/{request}"));
        }
        if !of_pod.iter().any(|claim| claim.name == *name) {
            let names: Vec<_> = of_pod.iter().map(|claim| claim.name.as_str()).collect();
            let which = match &names[..] {
                [] => " which is empty".to_owned(),
                names => format!(": {}", names.join(", ")),
            };
            let shown =
                format!("{name:?}: must be one of the names in pod.spec.resourceClaims{which}");
            errors.not_found(&path, Bare(shown));
        }
    }
}
