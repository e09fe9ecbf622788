use k8s_openapi::api::admissionregistration::v1::{
    MutatingAdmissionPolicy, MutatingAdmissionPolicyBinding, MutatingAdmissionPolicyBindingSpec,
    MutatingAdmissionPolicySpec, Mutation, NamedRuleWithOperations,
};

use super::conditions::{self, validate_expression};
use super::validating_policy::validate_policy_name;
use super::{REINVOCATION_POLICIES, params, rules, validating_spec};
use crate::Strategy;
use crate::expressions::{Scope, Yields, objects_of_mutations, variables_of_request};
use crate::field::{ErrorList, Path};
use crate::kinds::check::{required_choice, text};
use crate::kinds::{fill, next_generation};

/// What can be changed while it is done: a deletion has no new object.
const OPERATIONS: [&str; 4] = ["*", "CONNECT", "CREATE", "UPDATE"];
const PATCH_TYPES: [&str; 2] = ["ApplyConfiguration", "JSONPatch"];

/// Policies that change what is written, in CEL.
pub(in crate::kinds) struct MutatingAdmissionPolicyStrategy;

impl Strategy for MutatingAdmissionPolicyStrategy {
    type Kind = MutatingAdmissionPolicy;

    fn default(&self, policy: &mut MutatingAdmissionPolicy) {
        let Some(spec) = &mut policy.spec else { return };
        fill(&mut spec.failure_policy, "Fail");
        spec.match_constraints.iter_mut().for_each(rules::default_match);
    }

    fn prepare_for_create(&self, policy: &mut MutatingAdmissionPolicy) {
        policy.metadata.generation = Some(1);
    }

    fn validate(&self, policy: &MutatingAdmissionPolicy, errors: &mut ErrorList) {
        validate(policy, true, errors);
    }

    fn prepare_for_update(&self, new: &mut MutatingAdmissionPolicy, old: &MutatingAdmissionPolicy) {
        let changed = new.spec != old.spec;
        next_generation(&mut new.metadata, &old.metadata, changed);
    }

    fn validate_update(
        &self,
        new: &MutatingAdmissionPolicy,
        old: &MutatingAdmissionPolicy,
        errors: &mut ErrorList,
    ) {
        let of = |policy: &MutatingAdmissionPolicy| {
            policy
                .spec
                .as_ref()
                .map(|spec| (spec.param_kind.clone(), rules::list(&spec.match_conditions).to_vec()))
        };
        validate(new, of(new) != of(old), errors);
    }
}

fn validate(policy: &MutatingAdmissionPolicy, with_conditions: bool, errors: &mut ErrorList) {
    let none = MutatingAdmissionPolicySpec::default();
    let spec = policy.spec.as_ref().unwrap_or(&none);
    let path = Path::root("spec");
    validating_spec::validate_head(
        &spec.failure_policy,
        spec.param_kind.as_ref(),
        spec.match_constraints.as_ref(),
        &path,
        errors,
    );
    if let Some(resources) = &spec.match_constraints {
        let at = path.child("matchConstraints");
        let at = at.child("resourceRules");
        validate_operations(rules::list(&resources.resource_rules), &at, errors);
    }
    let has_params = spec.param_kind.is_some();
    if with_conditions {
        let all = rules::list(&spec.match_conditions);
        conditions::validate(all, has_params, &path.child("matchConditions"), errors);
    }
    let variables = rules::list(&spec.variables);
    let at = path.child("variables");
    let composed = conditions::validate_variables(variables, has_params, &at, errors);
    let at = path.child("mutations");
    let mutations = rules::list(&spec.mutations);
    if mutations.is_empty() {
        errors.required(&at, "mutations must contain at least one item");
    }
    let known = variables_of_request(has_params, true);
    let scope = Scope {
        variables: &known,
        composed: Some(&composed),
        objects: Some(&objects_of_mutations),
    };
    for (index, mutation) in mutations.iter().enumerate() {
        validate_mutation(mutation, scope, &at.index(index), errors);
    }
    let at = path.child("reinvocationPolicy");
    required_choice(errors, &at, &spec.reinvocation_policy, &REINVOCATION_POLICIES);
}

fn validate_operations(rules: &[NamedRuleWithOperations], path: &Path<'_>, errors: &mut ErrorList) {
    let at = path.child("operations");
    for operation in rules.iter().flat_map(|rule| rule.operations.iter().flatten()) {
        if !OPERATIONS.contains(&operation.as_str()) {
            errors.not_supported(&at, operation, &OPERATIONS);
        }
    }
}

fn validate_mutation(
    mutation: &Mutation,
    scope: Scope<'_, 'static>,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    let forms = [
        (
            "ApplyConfiguration",
            "applyConfiguration",
            mutation.apply_configuration.as_ref().map(|form| text(&form.expression)),
            Yields::Object,
        ),
        (
            "JSONPatch",
            "jsonPatch",
            mutation.json_patch.as_ref().map(|form| text(&form.expression)),
            Yields::Patches,
        ),
    ];
    let wanted = mutation.patch_type.as_str();
    if wanted.is_empty() {
        errors.required(&path.child("patchType"), "");
    } else if !PATCH_TYPES.contains(&wanted) {
        errors.not_supported(&path.child("patchType"), wanted, &PATCH_TYPES);
    }
    for (patch_type, field, expression, yields) in forms {
        let at = path.child(field);
        match expression {
            Some(expression) if wanted == patch_type => {
                let at = at.child("expression");
                if expression.trim().is_empty() {
                    errors.required(&at, "");
                } else {
                    validate_expression(expression, scope, yields, &at, errors);
                }
            }
            None if wanted == patch_type => {
                errors.required(&at, &format!("must be specified when patchType is {wanted}"));
            }
            Some(_) if PATCH_TYPES.contains(&wanted) => {
                let why = format!("must not be specified when patchType is {wanted}");
                errors.invalid(&at, format!("{{{field}}}"), &why);
            }
            _ => {}
        }
    }
}

/// Where a mutating policy applies, with which parameters.
pub(in crate::kinds) struct MutatingAdmissionPolicyBindingStrategy;

impl Strategy for MutatingAdmissionPolicyBindingStrategy {
    type Kind = MutatingAdmissionPolicyBinding;

    fn default(&self, binding: &mut MutatingAdmissionPolicyBinding) {
        let resources = binding.spec.iter_mut().flat_map(|spec| &mut spec.match_resources);
        resources.for_each(rules::default_match);
    }

    fn prepare_for_create(&self, binding: &mut MutatingAdmissionPolicyBinding) {
        binding.metadata.generation = Some(1);
    }

    fn validate(&self, binding: &MutatingAdmissionPolicyBinding, errors: &mut ErrorList) {
        let none = MutatingAdmissionPolicyBindingSpec::default();
        let spec = binding.spec.as_ref().unwrap_or(&none);
        let path = Path::root("spec");
        validate_policy_name(text(&spec.policy_name), &path.child("policyName"), errors);
        if let Some(param) = &spec.param_ref {
            params::validate_ref(param, &path.child("paramRef"), errors);
        }
        if let Some(resources) = &spec.match_resources {
            let at = path.child("matchResources");
            rules::validate_match(resources, &at, errors);
            let at = at.child("resourceRules");
            validate_operations(rules::list(&resources.resource_rules), &at, errors);
        }
    }

    fn prepare_for_update(
        &self,
        new: &mut MutatingAdmissionPolicyBinding,
        old: &MutatingAdmissionPolicyBinding,
    ) {
        let changed = new.spec != old.spec;
        next_generation(&mut new.metadata, &old.metadata, changed);
    }
}
