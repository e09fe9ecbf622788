//! Conditions of the general form, `metav1.Condition`, as several kinds have them in their status.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::check::{complain, non_negative};
use super::names::rules;
use crate::field::{ErrorList, Path};
use crate::kind::conditions::is_none;

/// Most bytes of a reason and of a message.
const REASON_MAX: usize = 1024;
const MESSAGE_MAX: usize = 32 * 1024;
const STATUSES: [&str; 3] = ["False", "True", "Unknown"];
const REASON: &str = "a condition reason must start with alphabetic character, optionally followed \
    by a string of alphanumeric characters or '_,:', and must end with an alphanumeric character \
    or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName',  or 'ReasonA,ReasonB',  or \
    'ReasonA:ReasonB', regex used for validation is '[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?')";

/// Checks all conditions.
pub(super) fn validate(all: &[Condition], path: &Path<'_>, errors: &mut ErrorList) {
    for (index, condition) in all.iter().enumerate() {
        let at = path.index(index);
        let kind = &condition.type_;
        if all[..index].iter().any(|other| other.type_ == *kind) {
            errors.duplicate(&at.child("type"), kind);
        }
        validate_one(condition, &at, errors);
    }
}

fn validate_one(condition: &Condition, path: &Path<'_>, errors: &mut ErrorList) {
    let kind = &condition.type_;
    complain(errors, &path.child("type"), kind, rules::qualified_name(kind));
    if !STATUSES.contains(&condition.status.as_str()) {
        errors.not_supported(&path.child("status"), &condition.status, &STATUSES);
    }
    let generation = condition.observed_generation.unwrap_or(0);
    non_negative(errors, &path.child("observedGeneration"), generation);
    if is_none(&condition.last_transition_time) {
        errors.required(&path.child("lastTransitionTime"), "");
    }
    let at = path.child("reason");
    let reason = &condition.reason;
    if reason.is_empty() {
        errors.required(&at, "");
    } else {
        if !is_reason(reason) {
            errors.invalid(&at, reason, REASON);
        }
        if reason.len() > REASON_MAX {
            errors.too_long(&at, REASON_MAX);
        }
    }
    if condition.message.len() > MESSAGE_MAX {
        errors.too_long(&path.child("message"), MESSAGE_MAX);
    }
}

fn is_reason(text: &str) -> bool {
    let bytes = text.as_bytes();
    let inner = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b',' | b':');
    bytes.first().is_some_and(u8::is_ascii_alphabetic)
        && bytes.iter().all(inner)
        && bytes.last().is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
}
