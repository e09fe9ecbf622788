use k8s_openapi::api::core::v1::{
    Affinity, NodeAffinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm,
    PodAffinityTerm, WeightedPodAffinityTerm,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use crate::field::{ErrorList, Path};
use crate::kinds::check::complain;
use crate::kinds::label_selector;
use crate::kinds::names::rules;

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";
const NO_OPERATOR: &str = "not a valid selector operator";

/// Checks where a pod wants to run.
pub(super) fn validate(affinity: &Affinity, path: &Path<'_>, errors: &mut ErrorList) {
    if let Some(node) = &affinity.node_affinity {
        validate_node(node, &path.child("nodeAffinity"), errors);
    }
    if let Some(pods) = &affinity.pod_affinity {
        let path = path.child("podAffinity");
        let required = pods.required_during_scheduling_ignored_during_execution.as_deref();
        validate_terms(required, &path.child(REQUIRED), errors);
        let preferred = pods.preferred_during_scheduling_ignored_during_execution.as_deref();
        validate_weighted(preferred, &path.child(PREFERRED), errors);
    }
    if let Some(pods) = &affinity.pod_anti_affinity {
        let path = path.child("podAntiAffinity");
        let required = pods.required_during_scheduling_ignored_during_execution.as_deref();
        validate_terms(required, &path.child(REQUIRED), errors);
        let preferred = pods.preferred_during_scheduling_ignored_during_execution.as_deref();
        validate_weighted(preferred, &path.child(PREFERRED), errors);
    }
}

fn validate_node(node: &NodeAffinity, path: &Path<'_>, errors: &mut ErrorList) {
    if let Some(required) = &node.required_during_scheduling_ignored_during_execution {
        validate_node_selector(required, &path.child(REQUIRED), errors);
    }
    let list = path.child(PREFERRED);
    let preferred = node.preferred_during_scheduling_ignored_during_execution.as_deref();
    for (index, term) in preferred.unwrap_or_default().iter().enumerate() {
        let path = list.index(index);
        weight(term.weight, &path, errors);
        validate_node_selector_term(&term.preference, false, &path.child("preference"), errors);
    }
}

/// Checks which nodes are meant.
pub(in crate::kinds) fn validate_node_selector(
    selector: &NodeSelector,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    let list = path.child("nodeSelectorTerms");
    if selector.node_selector_terms.is_empty() {
        errors.required(&list, "must have at least one node selector term");
    }
    for (index, term) in selector.node_selector_terms.iter().enumerate() {
        validate_node_selector_term(term, true, &list.index(index), errors);
    }
}

fn weight(weight: i32, path: &Path<'_>, errors: &mut ErrorList) {
    if !(1..=100).contains(&weight) {
        errors.invalid(&path.child("weight"), weight, "must be in the range 1-100");
    }
}

/// Checks what a node must be. Values that no label can have are let through where they do no
/// harm, as ever.
fn validate_node_selector_term(
    term: &NodeSelectorTerm,
    strict: bool,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    let list = path.child("matchExpressions");
    for (index, requirement) in term.match_expressions.iter().flatten().enumerate() {
        validate_labels(requirement, strict, &list.index(index), errors);
    }
    let list = path.child("matchFields");
    for (index, requirement) in term.match_fields.iter().flatten().enumerate() {
        validate_fields(requirement, &list.index(index), errors);
    }
}

fn validate_labels(
    requirement: &NodeSelectorRequirement,
    strict: bool,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    let values = requirement.values.as_deref().unwrap_or_default();
    let at = path.child("values");
    match &requirement.operator[..] {
        "In" | "NotIn" if values.is_empty() => {
            errors.required(&at, "must be specified when `operator` is 'In' or 'NotIn'");
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            let why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
            errors.forbidden(&at, why);
        }
        "Gt" | "Lt" if values.len() != 1 => {
            let why = "must be specified single value when `operator` is 'Lt' or 'Gt'";
            errors.required(&at, why);
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
        other => errors.invalid(&path.child("operator"), other, NO_OPERATOR),
    }
    let key = &requirement.key;
    complain(errors, &path.child("key"), key, rules::qualified_name(key));
    for (index, value) in values.iter().enumerate().filter(|_| strict) {
        complain(errors, &at.index(index), value, rules::label_value(value));
    }
}

fn validate_fields(requirement: &NodeSelectorRequirement, path: &Path<'_>, errors: &mut ErrorList) {
    let values = requirement.values.as_deref().unwrap_or_default();
    let at = path.child("values");
    match &requirement.operator[..] {
        "In" | "NotIn" if values.len() != 1 => {
            let why = "must be only one value when `operator` is 'In' or 'NotIn' for node field \
                       selector";
            errors.required(&at, why);
        }
        "In" | "NotIn" => {}
        other => errors.invalid(&path.child("operator"), other, NO_OPERATOR),
    }
    if requirement.key != "metadata.name" {
        let why = "not a valid field selector key";
        return errors.invalid(&path.child("key"), &requirement.key, why);
    }
    for (index, value) in values.iter().enumerate() {
        complain(errors, &at.index(index), value, rules::dns_subdomain(value));
    }
}

fn validate_terms(terms: Option<&[PodAffinityTerm]>, path: &Path<'_>, errors: &mut ErrorList) {
    for (index, term) in terms.unwrap_or_default().iter().enumerate() {
        validate_term(term, &path.index(index), errors);
    }
}

fn validate_weighted(
    terms: Option<&[WeightedPodAffinityTerm]>,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    for (index, term) in terms.unwrap_or_default().iter().enumerate() {
        let path = path.index(index);
        weight(term.weight, &path, errors);
        validate_term(&term.pod_affinity_term, &path.child("podAffinityTerm"), errors);
    }
}

fn validate_term(term: &PodAffinityTerm, path: &Path<'_>, errors: &mut ErrorList) {
    let selectors =
        [("labelSelector", &term.label_selector), ("namespaceSelector", &term.namespace_selector)];
    for (field, selector) in selectors {
        if let Some(selector) = selector {
            label_selector::validate(selector, &path.child(field), errors);
        }
    }
    for namespace in term.namespaces.iter().flatten() {
        complain(errors, &path.child("namespace"), namespace, rules::dns_label(namespace));
    }
    validate_label_keys(term, path, errors);
    let at = path.child("topologyKey");
    if term.topology_key.is_empty() {
        errors.required(&at, "can not be empty");
    }
    complain(errors, &at, &term.topology_key, rules::qualified_name(&term.topology_key));
}

fn validate_label_keys(term: &PodAffinityTerm, path: &Path<'_>, errors: &mut ErrorList) {
    let matching = term.match_label_keys.as_deref().unwrap_or_default();
    let mismatching = term.mismatch_label_keys.as_deref().unwrap_or_default();
    for (field, keys) in [("matchLabelKeys", matching), ("mismatchLabelKeys", mismatching)] {
        let at = path.child(field);
        if !keys.is_empty() && term.label_selector.is_none() {
            errors.forbidden(&at, "must not be specified when labelSelector is not set");
            continue;
        }
        for (index, key) in keys.iter().enumerate() {
            complain(errors, &at.index(index), key, rules::qualified_name(key));
        }
    }
    if let Some(selector) = &term.label_selector {
        validate_keys_are_new(matching, selector, path, errors);
    }
    let at = path.child("matchLabelKeys");
    for (index, key) in matching.iter().enumerate().filter(|(_, key)| mismatching.contains(key)) {
        let why = "exists in both matchLabelKeys and mismatchLabelKeys";
        errors.invalid(&at.index(index), key, why);
    }
}

/// A key to match by may not be in the selector by itself. What came of the key has been added to
/// the selector by now, so it is an error only if it is there twice.
pub(super) fn validate_keys_are_new(
    keys: &[String],
    selector: &LabelSelector,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    let expressions = selector.match_expressions.as_deref().unwrap_or_default();
    for (position, expression) in expressions.iter().enumerate() {
        let key = &expression.key;
        let Some(index) = keys.iter().rposition(|one| one == key) else { continue };
        let labels = selector.match_labels.as_ref();
        let before = labels.is_some_and(|labels| labels.contains_key(key))
            || expressions[..position].iter().any(|earlier| earlier.key == *key);
        if before {
            let why = "exists in both matchLabelKeys and labelSelector";
            errors.invalid(&path.index(index), key, why);
        }
    }
}
