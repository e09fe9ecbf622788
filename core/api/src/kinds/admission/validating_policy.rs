use k8s_openapi::api::admissionregistration::v1::{
    ExpressionWarning, ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
    ValidatingAdmissionPolicyStatus,
};

use super::validating_spec::{self, has_new_conditions};
use super::{params, rules};
use crate::Strategy;
use crate::field::{ErrorList, Path};
use crate::kinds::check::{Json, complain};
use crate::kinds::metadata::keep_for_status;
use crate::kinds::names::rules as name_rules;
use crate::kinds::{conditions, fill, next_generation};

const ACTIONS: [&str; 3] = ["Audit", "Deny", "Warn"];

/// Policies that requests must keep, in CEL.
pub(in crate::kinds) struct ValidatingAdmissionPolicyStrategy;

impl Strategy for ValidatingAdmissionPolicyStrategy {
    type Kind = ValidatingAdmissionPolicy;

    fn default(&self, policy: &mut ValidatingAdmissionPolicy) {
        let Some(spec) = &mut policy.spec else { return };
        fill(&mut spec.failure_policy, "Fail");
        spec.match_constraints.iter_mut().for_each(rules::default_match);
    }

    fn prepare_for_create(&self, policy: &mut ValidatingAdmissionPolicy) {
        policy.metadata.generation = Some(1);
        policy.status = Some(ValidatingAdmissionPolicyStatus::default());
    }

    fn validate(&self, policy: &ValidatingAdmissionPolicy, errors: &mut ErrorList) {
        validating_spec::validate(policy, true, errors);
    }

    fn prepare_for_update(
        &self,
        new: &mut ValidatingAdmissionPolicy,
        old: &ValidatingAdmissionPolicy,
    ) {
        new.status.clone_from(&old.status);
        let changed = new.spec != old.spec;
        next_generation(&mut new.metadata, &old.metadata, changed);
    }

    /// Conditions that have been let through once are let through again.
    fn validate_update(
        &self,
        new: &ValidatingAdmissionPolicy,
        old: &ValidatingAdmissionPolicy,
        errors: &mut ErrorList,
    ) {
        validating_spec::validate(new, has_new_conditions(new, old), errors);
    }

    fn prepare_for_status_update(
        &self,
        new: &mut ValidatingAdmissionPolicy,
        old: &ValidatingAdmissionPolicy,
    ) {
        new.spec.clone_from(&old.spec);
        keep_for_status(&mut new.metadata, &old.metadata);
    }

    fn validate_status_update(
        &self,
        new: &ValidatingAdmissionPolicy,
        _: &ValidatingAdmissionPolicy,
        errors: &mut ErrorList,
    ) {
        let Some(status) = &new.status else { return };
        let root = Path::root("status");
        let checking = root.child("typeChecking");
        let path = checking.child("expressionWarnings");
        let warnings =
            status.type_checking.as_ref().and_then(|all| all.expression_warnings.as_ref());
        for (index, warning) in warnings.into_iter().flatten().enumerate() {
            validate_warning(warning, &path.index(index), errors);
        }
        let conditions = status.conditions.as_deref().unwrap_or_default();
        conditions::validate(conditions, &root.child("conditions"), errors);
    }
}

fn validate_warning(warning: &ExpressionWarning, path: &Path<'_>, errors: &mut ErrorList) {
    if warning.warning.is_empty() {
        errors.required(&path.child("warning"), "");
    }
    if warning.field_ref.trim().is_empty() {
        errors.required(&path.child("fieldRef"), "");
    }
}

/// Where a policy applies, with which parameters.
pub(in crate::kinds) struct ValidatingAdmissionPolicyBindingStrategy;

impl Strategy for ValidatingAdmissionPolicyBindingStrategy {
    type Kind = ValidatingAdmissionPolicyBinding;

    fn default(&self, binding: &mut ValidatingAdmissionPolicyBinding) {
        binding.spec.match_resources.iter_mut().for_each(rules::default_match);
    }

    fn prepare_for_create(&self, binding: &mut ValidatingAdmissionPolicyBinding) {
        binding.metadata.generation = Some(1);
    }

    fn validate(&self, binding: &ValidatingAdmissionPolicyBinding, errors: &mut ErrorList) {
        let spec = &binding.spec;
        let path = Path::root("spec");
        validate_policy_name(&spec.policy_name, &path.child("policyName"), errors);
        if let Some(param) = &spec.param_ref {
            params::validate_ref(param, &path.child("paramRef"), errors);
        }
        if let Some(resources) = &spec.match_resources {
            // The path is misspelt upstream, where clients have it from.
            rules::validate_match(resources, &path.child("matchResouces"), errors);
        }
        validate_actions(&spec.validation_actions, &path.child("validationActions"), errors);
    }

    fn prepare_for_update(
        &self,
        new: &mut ValidatingAdmissionPolicyBinding,
        old: &ValidatingAdmissionPolicyBinding,
    ) {
        let changed = new.spec != old.spec;
        next_generation(&mut new.metadata, &old.metadata, changed);
    }
}

/// Checks the name of the policy that a binding is about.
pub(super) fn validate_policy_name(name: &str, path: &Path<'_>, errors: &mut ErrorList) {
    if name.is_empty() {
        errors.required(path, "");
    } else {
        complain(errors, path, name, name_rules::dns_subdomain(name));
    }
}

fn validate_actions(actions: &[String], path: &Path<'_>, errors: &mut ErrorList) {
    for (index, action) in actions.iter().enumerate() {
        if !ACTIONS.contains(&action.as_str()) {
            errors.not_supported(&path.index(index), action, &ACTIONS);
        }
        if actions[..index].contains(action) {
            errors.duplicate(&path.index(index), action);
        }
    }
    let has = |wanted: &str| actions.iter().any(|action| action == wanted);
    if has("Deny") && has("Warn") {
        let why = "must not contain both Deny and Warn (repeating the same validation failure \
                   information in the API response and headers serves no purpose)";
        errors.invalid(path, Json(&actions), why);
    }
    if actions.is_empty() {
        errors.required(path, "at least one validation action is required");
    }
}
