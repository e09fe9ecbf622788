use std::sync::Arc;

use k8s_openapi::api::admissionregistration::v1::{
    MutatingAdmissionPolicy, MutatingAdmissionPolicyBinding, ParamKind, ParamRef,
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding, Variable,
};
use pinnace_api::expressions::{Expression, load, names_of_request};

use super::conditions::{Condition, Conditions};
use crate::matching::Constraints;

/// A policy, with its expressions compiled.
pub(super) struct Policy {
    pub(super) name: String,
    /// `None` for one that matches nothing.
    pub(super) constraints: Option<Constraints>,
    pub(super) params: Option<ParamKind>,
    /// Whether what cannot be evaluated is let be.
    pub(super) ignores: bool,
    pub(super) conditions: Conditions,
    /// Variables that expressions share; an error for one that does not compile.
    pub(super) composed: Result<Vec<Expression>, String>,
    pub(super) body: Body,
}

/// What a policy does.
pub(super) enum Body {
    Validates { validations: Vec<Validation>, annotations: Vec<Annotation> },
    Mutates { mutations: Vec<Mutation>, again: bool },
}

pub(super) struct Validation {
    pub(super) rule: Condition,
    pub(super) message: Option<String>,
    pub(super) message_expression: Option<Condition>,
    pub(super) reason: Option<String>,
}

pub(super) struct Annotation {
    pub(super) key: String,
    pub(super) value: Condition,
}

pub(super) struct Mutation {
    /// Whether it is a JSON patch, and not an object to apply.
    pub(super) is_patch: bool,
    pub(super) expression: Condition,
}

/// What binds a policy.
pub(super) struct Binding {
    pub(super) name: String,
    pub(super) policy: String,
    pub(super) param: Option<ParamRef>,
    /// `None` for one that matches all that the policy does.
    pub(super) constraints: Option<Constraints>,
    pub(super) actions: Vec<String>,
}

/// A policy with what binds it.
#[derive(Clone)]
pub(super) struct Bound {
    pub(super) policy: Arc<Policy>,
    pub(super) bindings: Vec<Arc<Binding>>,
}

fn composed(variables: &[Variable], has_params: bool) -> Result<Vec<Expression>, String> {
    let known = names_of_request(has_params, true);
    let names: Vec<&str> = variables.iter().map(|variable| variable.name.as_str()).collect();
    let each = variables.iter().enumerate();
    each.map(|(at, variable)| {
        load(&variable.expression, &known, names.get(..at).unwrap_or_default())
    })
    .collect()
}

impl Policy {
    pub(super) fn validating(policy: &ValidatingAdmissionPolicy) -> Option<Self> {
        let spec = policy.spec.as_ref()?;
        let has_params = spec.param_kind.is_some();
        let variables = spec.variables.as_deref().unwrap_or_default();
        let names: Vec<&str> = variables.iter().map(|variable| variable.name.as_str()).collect();
        let known = names_of_request(has_params, true);
        let condition = |text: &str| Condition::new(text, &known, &names);
        let validations = spec.validations.iter().flatten().map(|one| Validation {
            rule: condition(&one.expression),
            message: one.message.clone(),
            message_expression: one
                .message_expression
                .as_ref()
                .filter(|text| !text.is_empty())
                .map(|text| condition(text)),
            reason: one.reason.clone(),
        });
        let annotations = spec.audit_annotations.iter().flatten().map(|one| Annotation {
            key: one.key.clone(),
            value: condition(&one.value_expression),
        });
        let (validations, annotations) = (validations.collect(), annotations.collect());
        Some(Self {
            name: policy.metadata.name.clone().unwrap_or_default(),
            constraints: spec.match_constraints.as_ref().map(Constraints::of),
            params: spec.param_kind.clone(),
            ignores: spec.failure_policy.as_deref() == Some("Ignore"),
            conditions: Conditions::of(spec.match_conditions.as_deref(), has_params),
            composed: composed(variables, has_params),
            body: Body::Validates { validations, annotations },
        })
    }

    pub(super) fn mutating(policy: &MutatingAdmissionPolicy) -> Option<Self> {
        let spec = policy.spec.as_ref()?;
        let has_params = spec.param_kind.is_some();
        let variables = spec.variables.as_deref().unwrap_or_default();
        let names: Vec<&str> = variables.iter().map(|variable| variable.name.as_str()).collect();
        let known = names_of_request(has_params, true);
        let condition = |text: &str| Condition::new(text, &known, &names);
        let mutations = spec.mutations.iter().flatten().filter_map(|one| {
            let is_patch = one.patch_type == "JSONPatch";
            let text = match is_patch {
                true => one.json_patch.as_ref()?.expression.as_deref()?,
                false => one.apply_configuration.as_ref()?.expression.as_deref()?,
            };
            Some(Mutation { is_patch, expression: condition(text) })
        });
        let again = spec.reinvocation_policy.as_deref() == Some("IfNeeded");
        let mutations = mutations.collect();
        Some(Self {
            name: policy.metadata.name.clone().unwrap_or_default(),
            constraints: spec.match_constraints.as_ref().map(Constraints::of),
            params: spec.param_kind.clone(),
            ignores: spec.failure_policy.as_deref() == Some("Ignore"),
            conditions: Conditions::of(spec.match_conditions.as_deref(), has_params),
            composed: composed(variables, has_params),
            body: Body::Mutates { mutations, again },
        })
    }
}

impl Binding {
    pub(super) fn validating(binding: &ValidatingAdmissionPolicyBinding) -> Option<Self> {
        let spec = &binding.spec;
        Some(Self {
            name: binding.metadata.name.clone().unwrap_or_default(),
            policy: spec.policy_name.clone(),
            param: spec.param_ref.clone(),
            constraints: spec.match_resources.as_ref().map(Constraints::of),
            actions: spec.validation_actions.clone(),
        })
    }

    pub(super) fn mutating(binding: &MutatingAdmissionPolicyBinding) -> Option<Self> {
        let spec = binding.spec.as_ref()?;
        Some(Self {
            name: binding.metadata.name.clone().unwrap_or_default(),
            policy: spec.policy_name.clone()?,
            param: spec.param_ref.clone(),
            constraints: spec.match_resources.as_ref().map(Constraints::of),
            actions: Vec::new(),
        })
    }
}
