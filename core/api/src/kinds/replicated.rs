//! What all kinds that keep a number of pods share.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::check::{Json, non_negative};
use super::label_selector;
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
            let why = "cannot be greater than readyReplicas";
            errors.invalid(&path.child("availableReplicas"), self.available, why);
        }
    }
}
