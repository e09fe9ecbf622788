//! Validation of `LabelSelector`s.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

use super::check::complain;
use super::metadata;
use super::names::rules;
use crate::field::{ErrorList, Path};

/// Checks a selector.
pub fn validate(selector: &LabelSelector, path: &Path<'_>, errors: &mut ErrorList) {
    let labels = selector.match_labels.iter().flatten();
    metadata::labels(labels, &path.child("matchLabels"), errors);
    let expressions = path.child("matchExpressions");
    for (index, requirement) in selector.match_expressions.iter().flatten().enumerate() {
        validate_requirement(requirement, &expressions.index(index), errors);
    }
}

fn validate_requirement(
    requirement: &LabelSelectorRequirement,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    let values = requirement.values.as_deref().unwrap_or_default();
    let at = path.child("values");
    match &requirement.operator[..] {
        "In" | "NotIn" => {
            if values.is_empty() {
                let why = "must be specified when `operator` is 'In' or 'NotIn'";
                errors.required(&at, why);
            }
        }
        "Exists" | "DoesNotExist" => {
            if !values.is_empty() {
                let why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
                errors.forbidden(&at, why);
            }
        }
        other => errors.invalid(&path.child("operator"), other, "not a valid selector operator"),
    }
    let key = &requirement.key;
    complain(errors, &path.child("key"), key, rules::qualified_name(key));
    for (index, value) in values.iter().enumerate() {
        complain(errors, &at.index(index), value, rules::label_value(value));
    }
}

/// Whether a selector selects everything.
pub(super) fn is_empty(selector: &LabelSelector) -> bool {
    selector.match_labels.iter().flatten().next().is_none()
        && selector.match_expressions.iter().flatten().next().is_none()
}

/// Whether a selector selects an object with these labels; `None` if it has an operator that is
/// none. Selecting through [`crate::selector::Selector`] would first copy the selector.
pub(super) fn matches(
    selector: &LabelSelector,
    labels: Option<&BTreeMap<String, String>>,
) -> Option<bool> {
    let get = |key: &str| labels.and_then(|labels| labels.get(key));
    let mut all =
        selector.match_labels.iter().flatten().all(|(key, value)| get(key) == Some(value));
    for requirement in selector.match_expressions.iter().flatten() {
        let value = get(&requirement.key);
        let listed = || {
            value.is_some_and(|value| requirement.values.iter().flatten().any(|one| one == value))
        };
        all &= match &requirement.operator[..] {
            "In" => listed(),
            "NotIn" => !listed(),
            "Exists" => value.is_some(),
            "DoesNotExist" => value.is_none(),
            _ => return None,
        };
    }
    Some(all)
}
