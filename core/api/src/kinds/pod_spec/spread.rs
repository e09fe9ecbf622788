use k8s_openapi::api::core::v1::TopologySpreadConstraint;

use super::affinity::validate_keys_are_new;
use crate::field::{ErrorList, Path};
use crate::kinds::check::{NOT_POSITIVE, choice, complain};
use crate::kinds::label_selector;
use crate::kinds::names::rules;

/// Checks how pods are to be spread.
pub(super) fn validate(
    constraints: &[TopologySpreadConstraint],
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    for (index, constraint) in constraints.iter().enumerate() {
        validate_one(constraint, &constraints[index + 1..], &path.index(index), errors);
    }
}

fn validate_one(
    constraint: &TopologySpreadConstraint,
    rest: &[TopologySpreadConstraint],
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    let action = constraint.when_unsatisfiable.as_str();
    if constraint.max_skew <= 0 {
        errors.invalid(&path.child("maxSkew"), constraint.max_skew, NOT_POSITIVE);
    }
    if constraint.topology_key.is_empty() {
        errors.required(&path.child("topologyKey"), "can not be empty");
    }
    if !matches!(action, "DoNotSchedule" | "ScheduleAnyway") {
        let actions = ["DoNotSchedule", "ScheduleAnyway"];
        errors.not_supported(&path.child("whenUnsatisfiable"), action, &actions);
    }
    let same = |other: &TopologySpreadConstraint| {
        other.topology_key == constraint.topology_key && other.when_unsatisfiable == action
    };
    if rest.iter().any(same) {
        let shown = format!("{{{}, {action}}}", constraint.topology_key);
        errors.duplicate(&path.child("{topologyKey, whenUnsatisfiable}"), shown);
    }
    if let Some(domains) = constraint.min_domains {
        let at = path.child("minDomains");
        if domains <= 0 {
            errors.invalid(&at, domains, NOT_POSITIVE);
        }
        if action != "DoNotSchedule" {
            let why =
                format!("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}");
            errors.invalid(&at, domains, &why);
        }
    }
    let policies = [
        ("nodeAffinityPolicy", &constraint.node_affinity_policy),
        ("nodeTaintsPolicy", &constraint.node_taints_policy),
    ];
    for (field, policy) in policies {
        choice(errors, &path.child(field), policy, &["Honor", "Ignore"]);
    }
    validate_label_keys(constraint, &path.child("matchLabelKeys"), errors);
    if let Some(selector) = &constraint.label_selector {
        label_selector::validate(selector, &path.child("labelSelector"), errors);
    }
}

fn validate_label_keys(
    constraint: &TopologySpreadConstraint,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    let keys = constraint.match_label_keys.as_deref().unwrap_or_default();
    if keys.is_empty() {
        return;
    }
    if constraint.label_selector.is_none() {
        errors.forbidden(path, "must not be specified when labelSelector is not set");
    }
    for (index, key) in keys.iter().enumerate() {
        complain(errors, &path.index(index), key, rules::qualified_name(key));
    }
    if let Some(selector) = &constraint.label_selector {
        validate_keys_are_new(keys, selector, path, errors);
    }
}
