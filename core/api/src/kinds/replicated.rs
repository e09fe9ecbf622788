//! What all kinds that keep a number of pods share.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::check::{Json, non_negative};
use super::label_selector;
use super::names::rules;
use crate::field::{ErrorList, Path};

/// Checks the selector of a workload, which may not select everything.
pub(super) fn validate_selector(selector: &LabelSelector, path: &Path<'_>, errors: &mut ErrorList) {
    label_selector::validate(selector, path, errors);
    if label_selector::is_empty(selector) {
        errors.invalid(path, Json(selector), "empty selector is invalid for deployment");
    }
    if label_selector::matches(selector, None).is_none() {
        errors.invalid(path, Json(selector), "invalid label selector");
    }
}

/// Counts of pods in a status.
pub(super) struct Counts<'a> {
    /// All pods.
    pub(super) replicas: i32,
    /// Those that are ready.
    pub(super) ready: i32,
    /// Those that have been ready for long enough.
    pub(super) available: i32,
    /// How a message calls the count of those that are ready.
    pub(super) ready_is_called: &'a str,
    /// Other counts of some of the pods.
    pub(super) parts: &'a [(&'a str, i32)],
    /// Counts of other things.
    pub(super) others: &'a [(&'a str, i64)],
}

impl Counts<'_> {
    /// Checks that nothing is counted below zero, and no part above the whole.
    pub(super) fn validate(&self, path: &Path<'_>, errors: &mut ErrorList) {
        const WHOLE: &str = "cannot be greater than status.replicas";
        let parts = [("readyReplicas", self.ready), ("availableReplicas", self.available)];
        let parts = || self.parts.iter().copied().chain(parts);
        let all = parts().chain([("replicas", self.replicas)]);
        let all = all.map(|(field, count)| (field, count.into()));
        for (field, count) in all.chain(self.others.iter().copied()) {
            non_negative(errors, &path.child(field), count);
        }
        for (field, count) in parts().filter(|(_, count)| *count > self.replicas) {
            errors.invalid(&path.child(field), count, WHOLE);
        }
        if self.available > self.ready {
            let why = format!("cannot be greater than {}", self.ready_is_called);
            errors.invalid(&path.child("availableReplicas"), self.available, &why);
        }
    }
}

/// A number, or a share of all as a percentage.
pub(super) fn validate_share(share: &IntOrString, path: &Path<'_>, errors: &mut ErrorList) {
    match share {
        IntOrString::Int(number) => non_negative(errors, path, *number),
        IntOrString::String(percent) => {
            for why in rules::percent(percent) {
                errors.invalid(path, percent, &why);
            }
        }
    }
}

/// The number before the `%`, or the number itself; zero if it is none.
pub(super) fn number(share: &IntOrString) -> i32 {
    match share {
        IntOrString::Int(number) => *number,
        IntOrString::String(text) => {
            let digits = text.strip_suffix('%').unwrap_or(text);
            let fits = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            if fits { digits.parse().unwrap_or(i32::MAX) } else { 0 }
        }
    }
}

/// A count of collisions only grows.
pub(super) fn not_decremented(
    collisions: Option<i32>,
    before: Option<i32>,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    if before.is_some_and(|before| collisions.is_none_or(|collisions| collisions < before)) {
        let at = path.child("collisionCount");
        errors.invalid(&at, collisions.unwrap_or(0), "cannot be decremented");
    }
}
