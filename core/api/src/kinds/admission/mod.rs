//! Kinds by which requests are changed and refused: webhooks, and policies in CEL.

mod conditions;
mod mutating_policy;
mod params;
mod rules;
mod validating_policy;
mod validating_spec;
mod webhooks;

pub(super) use mutating_policy::{
    MutatingAdmissionPolicyBindingStrategy, MutatingAdmissionPolicyStrategy,
};
pub(super) use validating_policy::{
    ValidatingAdmissionPolicyBindingStrategy, ValidatingAdmissionPolicyStrategy,
};
pub(super) use webhooks::{
    MutatingWebhookConfigurationStrategy, ValidatingWebhookConfigurationStrategy,
};

/// What happens when a webhook or a policy can't be asked.
const FAILURE_POLICIES: [&str; 2] = ["Fail", "Ignore"];
/// Whether rules also match other versions of what they name.
const MATCH_POLICIES: [&str; 2] = ["Equivalent", "Exact"];
/// Whether mutations are asked again after others.
const REINVOCATION_POLICIES: [&str; 2] = ["IfNeeded", "Never"];
