//! What all kinds with a pod template share: defaults and validation of a `PodSpec`, split by
//! concern. Errors come in upstream's order.

mod affinity;
mod annotations;
mod claims;
mod containers;
pub(super) mod defaults;
mod downward;
mod env;
mod mounts;
mod network;
mod paths;
mod ports;
mod probes;
mod projected;
pub(super) mod resource_totals;
mod resources;
mod security;
mod spread;
mod template;
pub(super) mod tolerations;
mod volume_claims;
mod volume_defaults;
mod volume_disks;
mod volume_sources;
mod volumes;
mod warnings;
mod windows;

use k8s_openapi::api::core::v1::{PodResourceClaim, PodSpec, SecurityContext};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

pub(super) use affinity::validate_node_selector;
pub(super) use annotations::{validate_pod_annotation_update, validate_pod_annotations};
pub(super) use annotations::{validate_pod_only, validate_profiles_agree};
pub(super) use ports::PROTOCOLS;
pub(crate) use resources::is_extended;
pub(super) use resources::{canonical_list, validate_overhead, validate_quantity};
pub(super) use template::{
    selects, validate_daemon_template, validate_replicated_template, validate_set_template,
    validate_template,
};
pub(super) use volume_claims::validate_spec as validate_claim;
use volumes::Volumes;
pub(super) use warnings::pod_warnings;

use super::check::{complain, required_choice, text};
use super::names::rules;
use super::{metadata, names};
use crate::field::{ErrorList, Path};

/// What the checks of containers need to know of the pod around them.
struct Context<'a> {
    volumes: Volumes<'a>,
    claims: &'a [PodResourceClaim],
    grace_period: Option<i64>,
    restart_policy: &'a str,
    host_users: bool,
    os: &'a str,
}

/// Checks a pod spec. `pod` is the metadata of the pod that it is the spec of; `None` in a
/// template.
pub(super) fn validate_pod_spec(
    spec: &PodSpec,
    pod: Option<&ObjectMeta>,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    if spec.termination_grace_period_seconds.is_none() {
        errors.required(&path.child("terminationGracePeriodSeconds"), "");
    }
    let context = Context {
        volumes: volumes::validate(spec, pod, &path.child("volumes"), errors),
        claims: spec.resource_claims.as_deref().unwrap_or_default(),
        grace_period: spec.termination_grace_period_seconds,
        restart_policy: text(&spec.restart_policy),
        host_users: spec.host_users != Some(false),
        os: spec.os.as_ref().map_or("", |os| &os.name),
    };
    claims::validate(context.claims, &path.child("resourceClaims"), errors);
    containers::validate(spec, &context, path, errors);
    resources::validate_pod_level(spec, &path.child("resources"), errors);
    network::validate_host_ports(spec, pod.is_some(), path, errors);
    let policies = ["Always", "OnFailure", "Never"];
    required_choice(errors, &path.child("restartPolicy"), &spec.restart_policy, &policies);
    let policies = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
    required_choice(errors, &path.child("dnsPolicy"), &spec.dns_policy, &policies);
    let selector = spec.node_selector.iter().flatten();
    metadata::labels(selector, &path.child("nodeSelector"), errors);
    security::validate_pod(spec, path, errors);
    if let Some(affinity) = &spec.affinity {
        affinity::validate(affinity, &path.child("affinity"), errors);
    }
    network::validate_dns(spec, &path.child("dnsConfig"), errors);
    validate_gates(spec, path, errors);
    let constraints = spec.topology_spread_constraints.as_deref().unwrap_or_default();
    spread::validate(constraints, &path.child("topologySpreadConstraints"), errors);
    windows::validate_host_process(spec, path, errors);
    security::validate_host_users(spec, path, errors);
    validate_names(spec, path, errors);
    let tolerations = spec.tolerations.as_deref().unwrap_or_default();
    tolerations::validate(tolerations, &path.child("tolerations"), errors);
    network::validate_host_aliases(spec, &path.child("hostAliases"), errors);
    validate_classes(spec, path, errors);
    windows::validate_os(spec, path, errors);
}

fn validate_gates(spec: &PodSpec, path: &Path<'_>, errors: &mut ErrorList) {
    let gates = path.child("readinessGates");
    for (index, gate) in spec.readiness_gates.iter().flatten().enumerate() {
        let at = gates.index(index);
        let condition = &gate.condition_type;
        complain(errors, &at.child("conditionType"), condition, rules::qualified_name(condition));
    }
    let gates = path.child("schedulingGates");
    let mut seen = super::check::Seen::new();
    for (index, gate) in spec.scheduling_gates.iter().flatten().enumerate() {
        complain(errors, &gates.index(index), &gate.name, rules::qualified_name(&gate.name));
        if !seen.insert(gate.name.as_str()) {
            errors.duplicate(&gates.index(index), &gate.name);
        }
    }
}

fn validate_names(spec: &PodSpec, path: &Path<'_>, errors: &mut ErrorList) {
    type Rule = fn(&str) -> Vec<String>;
    let names: [(&str, &Option<String>, Rule); 2] = [
        ("serviceAccountName", &spec.service_account_name, rules::dns_subdomain),
        ("nodeName", &spec.node_name, rules::dns_subdomain),
    ];
    for (field, value, rule) in names {
        check_name(field, value, rule, path, errors);
    }
    if let Some(seconds) = spec.active_deadline_seconds {
        let range = rules::in_range(seconds, 1, i32::MAX.into());
        complain(errors, &path.child("activeDeadlineSeconds"), seconds, range);
    }
    check_name("hostname", &spec.hostname, rules::dns_label, path, errors);
    check_name("subdomain", &spec.subdomain, rules::dns_label, path, errors);
    network::validate_hostname_override(spec, path, errors);
}

fn check_name(
    field: &str,
    value: &Option<String>,
    rule: fn(&str) -> Vec<String>,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    let value = text(value);
    if !value.is_empty() {
        complain(errors, &path.child(field), value, rule(value));
    }
}

fn validate_classes(spec: &PodSpec, path: &Path<'_>, errors: &mut ErrorList) {
    let name = &spec.priority_class_name;
    check_name("priorityClassName", name, rules::dns_subdomain, path, errors);
    if let Some(name) = &spec.runtime_class_name
        && let Err(why) = names::dns_subdomain(name)
    {
        errors.invalid(&path.child("runtimeClassName"), name, &why);
    }
    if spec.preemption_policy.is_some() {
        let policies = ["PreemptLowerPriority", "Never"];
        required_choice(
            errors,
            &path.child("preemptionPolicy"),
            &spec.preemption_policy,
            &policies,
        );
    }
    if let Some(overhead) = &spec.overhead {
        resources::validate_overhead(overhead, &path.child("overhead"), errors);
    }
}

/// The field and index of every container, its name and security context, in the order in which
/// upstream visits them.
fn all_security_contexts(
    spec: &PodSpec,
) -> impl Iterator<Item = (&'static str, usize, &str, Option<&SecurityContext>)> {
    let init = spec.init_containers.iter().flatten().enumerate().map(|(index, one)| {
        ("initContainers", index, one.name.as_str(), one.security_context.as_ref())
    });
    let main = spec.containers.iter().enumerate().map(|(index, one)| {
        ("containers", index, one.name.as_str(), one.security_context.as_ref())
    });
    let ephemeral = spec.ephemeral_containers.iter().flatten().enumerate().map(|(index, one)| {
        ("ephemeralContainers", index, one.name.as_str(), one.security_context.as_ref())
    });
    init.chain(main).chain(ephemeral)
}
