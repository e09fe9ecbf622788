use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};

use super::check::{NEGATIVE, complain, text};
use super::names::rules;
use crate::Strategy;
use crate::field::{ErrorList, Path};

/// Leases.
pub(super) struct LeaseStrategy;

impl Strategy for LeaseStrategy {
    type Kind = Lease;

    fn validate(&self, lease: &Lease, errors: &mut ErrorList) {
        if let Some(spec) = &lease.spec {
            validate_spec(spec, &Path::root("spec"), errors);
        }
    }
}

fn validate_spec(spec: &LeaseSpec, path: &Path<'_>, errors: &mut ErrorList) {
    if let Some(seconds) = spec.lease_duration_seconds
        && seconds <= 0
    {
        errors.invalid(&path.child("leaseDurationSeconds"), seconds, "must be greater than 0");
    }
    if let Some(count) = spec.lease_transitions
        && count < 0
    {
        errors.invalid(&path.child("leaseTransitions"), count, NEGATIVE);
    }
    if let Some(strategy) = spec.strategy.as_deref() {
        // Twice the name: so says upstream.
        let at = path.child("strategy");
        let at = at.child("strategy");
        if strategy.contains('/') {
            complain(errors, &at, strategy, rules::qualified_name(strategy));
        } else if strategy != "OldestEmulationVersion" {
            errors.not_supported(&at, strategy, &["OldestEmulationVersion"]);
        }
    }
    if !text(&spec.preferred_holder).is_empty() && text(&spec.strategy).is_empty() {
        let why = "may only be specified if `strategy` is defined";
        errors.forbidden(&path.child("preferredHolder"), why);
    }
}
