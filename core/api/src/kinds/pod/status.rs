use k8s_openapi::api::core::v1::{
    Container, ContainerStatus, Pod, PodSpec, PodStatus, ResourceStatus,
};

use crate::field::{ErrorList, Path};
use crate::kinds::check::{IMMUTABLE, Json, Seen, complain, ip, is_dual_stack, text};
use crate::kinds::names::rules;
use crate::kinds::pod_spec;

/// Conditions whose names have no form to check.
const SYSTEM_CONDITIONS: [&str; 3] = ["PodScheduled", "Ready", "Initialized"];

/// Takes over what an update of the status may not change, and what it may only raise.
pub(super) fn prepare(new: &mut Pod, old: &Pod) {
    new.spec.clone_from(&old.spec);
    new.metadata.owner_references.clone_from(&old.metadata.owner_references);
    new.metadata.deletion_timestamp.clone_from(&old.metadata.deletion_timestamp);
    let (Some(status), Some(old)) = (&mut new.status, &old.status) else { return };
    if text(&status.qos_class).is_empty() {
        status.qos_class.clone_from(&old.qos_class);
    }
    if status.observed_generation.unwrap_or(0) == 0 {
        status.observed_generation = old.observed_generation;
    }
    for condition in status.conditions.iter_mut().flatten() {
        if condition.observed_generation.unwrap_or(0) == 0 {
            let mut before = old.conditions.iter().flatten();
            let before = before.find(|before| before.type_ == condition.type_);
            condition.observed_generation = before.and_then(|before| before.observed_generation);
        }
    }
}

/// Checks an update of the status.
pub(super) fn validate(new: &Pod, old: &Pod, errors: &mut ErrorList) {
    let none = (PodSpec::default(), PodStatus::default(), PodStatus::default());
    let spec = old.spec.as_ref().unwrap_or(&none.0);
    let status = new.status.as_ref().unwrap_or(&none.1);
    let old_status = old.status.as_ref().unwrap_or(&none.2);
    let meta = Path::root("metadata");
    let at = meta.child("annotations");
    pod_spec::validate_pod_annotation_update(&new.metadata, &old.metadata, &at, errors);
    pod_spec::validate_pod_annotations(&new.metadata, spec, &at, errors);
    let list = meta.child("conditions");
    for (index, condition) in status.conditions.iter().flatten().enumerate() {
        let name = condition.type_.as_str();
        if !SYSTEM_CONDITIONS.contains(&name) {
            complain(errors, &list.index(index).child("Type"), name, rules::qualified_name(name));
        }
    }
    let path = Path::root("status");
    let nominated = text(&status.nominated_node_name);
    if !nominated.is_empty() && nominated != text(&old_status.nominated_node_name) {
        let at = path.child("nominatedNodeName");
        complain(errors, &at, nominated, rules::dns_subdomain(nominated));
    }
    if text(&status.qos_class) != text(&old_status.qos_class) {
        errors.invalid(&path.child("qosClass"), text(&status.qos_class), IMMUTABLE);
    }
    validate_transitions(status, old_status, spec, &path, errors);
    validate_claims(status, spec, &path.child("resourceClaimStatuses"), errors);
    validate_addresses(status, &path, errors);
    let ephemeral = status.ephemeral_container_statuses.as_deref().unwrap_or_default();
    let lists = [
        ("containerStatuses", &status.container_statuses),
        ("initContainerStatuses", &status.init_container_statuses),
        ("ephemeralContainerStatuses", &status.ephemeral_container_statuses),
    ];
    let windows = spec.os.as_ref().is_some_and(|os| os.name == "windows");
    for (field, list) in lists {
        validate_users(list.as_deref().unwrap_or_default(), windows, &path.child(field), errors);
    }
    let init = spec.init_containers.as_deref().unwrap_or_default();
    for ((field, list), containers) in lists.into_iter().zip([spec.containers.as_slice(), init]) {
        let statuses = list.as_deref().unwrap_or_default();
        validate_allocated(statuses, containers, &path.child(field), errors);
    }
    let list = path.child("ephemeralContainerStatuses");
    for (index, status) in ephemeral.iter().enumerate() {
        if status.allocated_resources_status.iter().flatten().next().is_some() {
            let at = list.index(index);
            let why = "must not be specified in container status";
            errors.forbidden(&at.child("allocatedResourcesStatus"), why);
        }
    }
}

/// A container that has ended for good does not come back.
fn validate_transitions(
    new: &PodStatus,
    old: &PodStatus,
    spec: &PodSpec,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    let policy = text(&spec.restart_policy);
    let of_container = |containers: &[Container], name: &str| -> Option<bool> {
        let container = containers.iter().find(|container| container.name == name)?;
        let own = container.restart_policy.is_some() || container.restart_policy_rules.is_some();
        Some(own)
    };
    let init = spec.init_containers.as_deref().unwrap_or_default();
    let lists = [
        ("containerStatuses", &new.container_statuses, &old.container_statuses, policy),
        (
            "initContainerStatuses",
            &new.init_container_statuses,
            &old.init_container_statuses,
            policy,
        ),
        (
            "ephemeralContainerStatuses",
            &new.ephemeral_container_statuses,
            &old.ephemeral_container_statuses,
            "Never",
        ),
    ];
    for (field, new, old, policy) in lists {
        if policy == "Always" {
            continue;
        }
        let list = path.child(field);
        for (index, old) in old.iter().flatten().enumerate() {
            let Some(end) = old.state.as_ref().and_then(|state| state.terminated.as_ref()) else {
                continue;
            };
            let containers = if field == "initContainerStatuses" { init } else { &spec.containers };
            let restarts = end.exit_code != 0 && policy == "OnFailure"
                || of_container(containers, &old.name) == Some(true);
            let back = |new: &ContainerStatus| {
                new.name == old.name
                    && new.state.as_ref().is_none_or(|state| state.terminated.is_none())
            };
            if !restarts && new.iter().flatten().any(back) {
                let why = "may not be transitioned to non-terminated state";
                errors.forbidden(&list.index(index).child("state"), why);
            }
        }
    }
}

fn validate_claims(status: &PodStatus, spec: &PodSpec, path: &Path<'_>, errors: &mut ErrorList) {
    let mut seen = Seen::new();
    for (index, claim) in status.resource_claim_statuses.iter().flatten().enumerate() {
        let at = path.index(index);
        let at = at.child("name");
        let name = claim.name.as_str();
        if !spec.resource_claims.iter().flatten().any(|known| known.name == name) {
            let why = "must match the name of an entry in `spec.resourceClaims`";
            errors.invalid(&at, name, why);
        }
        if !seen.insert(name) {
            errors.duplicate(&at, name);
        }
        if let Some(name) = &claim.resource_claim_name {
            complain(errors, &at, name, rules::dns_subdomain(name));
        }
    }
}

fn validate_addresses(status: &PodStatus, path: &Path<'_>, errors: &mut ErrorList) {
    let pods: Vec<&str> = status.pod_ips.iter().flatten().map(|one| one.ip.as_str()).collect();
    validate_address_list(&pods, &status.pod_ips, &path.child("podIPs"), errors);
    let hosts: Vec<&str> = status.host_ips.iter().flatten().map(|one| one.ip.as_str()).collect();
    let at = path.child("hostIPs");
    if let Some(first) = hosts.first()
        && text(&status.host_ip) != *first
    {
        errors.invalid(&at.index(0).child("ip"), *first, "must be equal to `hostIP`");
    }
    validate_address_list(&hosts, &status.host_ips, &at, errors);
}

fn validate_address_list<T: serde::Serialize>(
    addresses: &[&str],
    shown: &T,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    let mut parsed = Vec::with_capacity(addresses.len());
    for (index, address) in addresses.iter().enumerate() {
        parsed.extend(ip(errors, &path.index(index), address));
    }
    if addresses.len() < 2 {
        return;
    }
    if !is_dual_stack(&parsed) || addresses.len() > 2 {
        let why = "may specify no more than one IP for each IP family";
        errors.invalid(path, Json(shown), why);
    }
    let mut seen = Seen::new();
    for (index, address) in addresses.iter().enumerate() {
        if !seen.insert(*address) {
            errors.duplicate(&path.index(index), Json(&serde_json::json!({ "ip": address })));
        }
    }
}

fn validate_users(
    statuses: &[ContainerStatus],
    windows: bool,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    for (index, status) in statuses.iter().enumerate() {
        let Some(user) = status.user.as_ref().and_then(|user| user.linux.as_ref()) else {
            continue;
        };
        let at = path.index(index);
        let at = at.child("linux");
        if windows {
            errors.forbidden(&at, "cannot be set for a windows pod");
            continue;
        }
        complain(errors, &at.child("uid"), user.uid, rules::unix_id(user.uid));
        complain(errors, &at.child("gid"), user.gid, rules::unix_id(user.gid));
        let list = at.child("supplementalGroups");
        for (index, group) in user.supplemental_groups.iter().flatten().enumerate() {
            complain(errors, &list.index(index), *group, rules::unix_id(*group));
        }
    }
}

fn validate_allocated(
    statuses: &[ContainerStatus],
    containers: &[Container],
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    for (index, status) in statuses.iter().enumerate() {
        let container = containers.iter().find(|container| container.name == status.name);
        let at = path.index(index);
        let at = at.child("allocatedResourcesStatus");
        for (index, resource) in status.allocated_resources_status.iter().flatten().enumerate() {
            let at = at.index(index);
            if let Some(container) = container {
                validate_resource_name(&resource.name, container, &at.child("name"), errors);
            }
            validate_health(resource, &at.child("resources"), errors);
        }
    }
}

fn validate_resource_name(
    name: &str,
    container: &Container,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    let resources = container.resources.as_ref();
    let (known, why) = match name.strip_prefix("claim:") {
        Some(claim) => {
            let mut claims = resources.iter().flat_map(|all| all.claims.iter().flatten());
            let (name, request) = claim.split_once('/').unwrap_or((claim, ""));
            let known = claims.any(|one| one.name == name && text(&one.request) == request);
            let why = "must match one of the container's resource claims in a format \
                       'claim:<claimName>/<request>' or 'claim:<claimName>' if request is empty";
            (known, why)
        }
        None => {
            let requests = resources.and_then(|all| all.requests.as_ref());
            let known = requests.is_some_and(|requests| requests.contains_key(name));
            (known, "must match one of the container's resource requests")
        }
    };
    if !known {
        errors.invalid(path, name, why);
    }
}

fn validate_health(resource: &ResourceStatus, path: &Path<'_>, errors: &mut ErrorList) {
    let mut seen = Seen::new();
    for (index, one) in resource.resources.iter().flatten().enumerate() {
        let at = path.index(index);
        let health = text(&one.health);
        if !matches!(health, "Healthy" | "Unhealthy" | "Unknown") {
            let known = ["Healthy", "Unhealthy", "Unknown"];
            errors.not_supported(&at.child("health"), health, &known);
        }
        if !seen.insert(one.resource_id.as_str()) {
            errors.duplicate(&at.child("resourceID"), &one.resource_id);
        }
    }
}
