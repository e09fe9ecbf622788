use k8s_openapi::api::admissionregistration::v1::{
    AuditAnnotation, MatchResources, ParamKind, ValidatingAdmissionPolicy,
    ValidatingAdmissionPolicySpec, Validation,
};

use super::conditions::{self, validate_expression};
use super::{FAILURE_POLICIES, params, rules};
use crate::expressions::{Declared, Scope, Yields, variables_of_request};
use crate::field::{ErrorList, Path};
use crate::kinds::check::{Json, complain, required_choice, text};
use crate::kinds::names::rules as name_rules;

/// Most annotations of a policy.
const ANNOTATIONS_MAX: usize = 20;
/// Longest expression that gives an annotation's value, in bytes.
const ANNOTATION_MAX: usize = 5 * 1024;
/// Reasons that a policy may give for refusing a request.
const REASONS: [&str; 3] = ["Forbidden", "Invalid", "RequestEntityTooLarge"];

/// Whether conditions have changed, or what they may refer to.
pub(super) fn has_new_conditions(
    new: &ValidatingAdmissionPolicy,
    old: &ValidatingAdmissionPolicy,
) -> bool {
    let of = |policy: &ValidatingAdmissionPolicy| {
        policy
            .spec
            .as_ref()
            .map(|spec| (spec.param_kind.clone(), rules::list(&spec.match_conditions).to_vec()))
    };
    of(new) != of(old)
}

/// Checks a policy, its conditions only if asked.
pub(super) fn validate(
    policy: &ValidatingAdmissionPolicy,
    with_conditions: bool,
    errors: &mut ErrorList,
) {
    let none = ValidatingAdmissionPolicySpec::default();
    let spec = policy.spec.as_ref().unwrap_or(&none);
    let path = Path::root("spec");
    validate_head(
        &spec.failure_policy,
        spec.param_kind.as_ref(),
        spec.match_constraints.as_ref(),
        &path,
        errors,
    );
    let has_params = spec.param_kind.is_some();
    if with_conditions {
        let all = rules::list(&spec.match_conditions);
        conditions::validate(all, has_params, &path.child("matchConditions"), errors);
    }
    let variables = rules::list(&spec.variables);
    let at = path.child("variables");
    let composed = conditions::validate_variables(variables, has_params, &at, errors);
    let composed = (!composed.is_empty()).then_some(&composed[..]);
    let (validations, annotations) =
        (rules::list(&spec.validations), rules::list(&spec.audit_annotations));
    if validations.is_empty() && annotations.is_empty() {
        let why = "validations or auditAnnotations must contain at least one item";
        errors.required(&path.child("validations"), why);
        return errors.required(&path.child("auditAnnotations"), why);
    }
    let at = path.child("validations");
    for (index, validation) in validations.iter().enumerate() {
        validate_validation(validation, has_params, composed, &at.index(index), errors);
    }
    let at = path.child("auditAnnotations");
    if annotations.len() > ANNOTATIONS_MAX {
        let why = format!("must not have more than {ANNOTATIONS_MAX} auditAnnotations");
        errors.invalid(&at, Json(&annotations), &why);
    }
    let name = text(&policy.metadata.name);
    for (index, annotation) in annotations.iter().enumerate() {
        let at = at.index(index);
        validate_annotation(annotation, name, has_params, composed, &at, errors);
        if annotations[..index].iter().any(|other| other.key == annotation.key) {
            errors.duplicate(&at.child("key"), &annotation.key);
        }
    }
}

/// Checks what policies of both kinds begin with.
pub(super) fn validate_head(
    failure_policy: &Option<String>,
    param_kind: Option<&ParamKind>,
    match_constraints: Option<&MatchResources>,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    required_choice(errors, &path.child("failurePolicy"), failure_policy, &FAILURE_POLICIES);
    if let Some(kind) = param_kind {
        params::validate_kind(kind, &path.child("paramKind"), errors);
    }
    let at = path.child("matchConstraints");
    let Some(resources) = match_constraints else { return errors.required(&at, "") };
    rules::validate_match(resources, &at, errors);
    if rules::list(&resources.resource_rules).is_empty() {
        errors.required(&at.child("resourceRules"), "");
    }
}

fn validate_validation(
    validation: &Validation,
    has_params: bool,
    composed: Option<&[Declared<'_, 'static>]>,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    let at = path.child("expression");
    if validation.expression.trim().is_empty() {
        errors.required(&at, "expression is not specified");
    } else {
        let scope =
            Scope { variables: &variables_of_request(has_params, true), composed, objects: None };
        validate_expression(&validation.expression, scope, Yields::Bool, &at, errors);
    }
    let at = path.child("messageExpression");
    let expression = text(&validation.message_expression);
    if !expression.is_empty() && expression.trim().is_empty() {
        errors.invalid(&at, expression, "must be non-empty if specified");
    } else if !expression.is_empty() {
        let scope =
            Scope { variables: &variables_of_request(has_params, false), composed, objects: None };
        validate_expression(expression, scope, Yields::Text, &at, errors);
    }
    let at = path.child("message");
    let message = text(&validation.message);
    if !message.is_empty() && message.trim().is_empty() {
        errors.invalid(&at, message, "message must be non-empty if specified");
    } else if message.trim().contains(['\n', '\r']) {
        errors.invalid(&at, message, "message must not contain line breaks");
    }
    if let Some(reason) = validation.reason.as_deref().filter(|one| !REASONS.contains(one)) {
        errors.not_supported(&path.child("reason"), reason, &REASONS);
    }
}

fn validate_annotation(
    annotation: &AuditAnnotation,
    policy: &str,
    has_params: bool,
    composed: Option<&[Declared<'_, 'static>]>,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    let at = path.child("key");
    if policy.is_empty() {
        errors.invalid(&at, &annotation.key, "requires metadata.name be non-empty");
    } else {
        let qualified = format!("{policy}/{}", annotation.key);
        complain(errors, &at, qualified.as_str(), name_rules::qualified_name(&qualified));
    }
    let at = path.child("valueExpression");
    let expression = annotation.value_expression.trim();
    if expression.is_empty() {
        return errors.required(&at, "valueExpression is not specified");
    }
    if expression.len() > ANNOTATION_MAX {
        return errors.required(&at, &format!("must not exceed {ANNOTATION_MAX} bytes in length"));
    }
    let scope =
        Scope { variables: &variables_of_request(has_params, true), composed, objects: None };
    validate_expression(expression, scope, Yields::TextOrNull, &at, errors);
}
