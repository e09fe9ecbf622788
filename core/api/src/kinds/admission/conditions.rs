//! Conditions in CEL that requests must meet.

use k8s_openapi::api::admissionregistration::v1::{MatchCondition, Variable};

use crate::expressions::{
    Declared, Scope, Ty, Yields, compile, is_identifier, variables_of_request,
};
use crate::field::{ErrorList, Path};
use crate::kinds::check::complain;
use crate::kinds::names::rules;

/// Most conditions of a webhook or a policy.
const MAX: usize = 64;

/// Compiles an expression and notes what is wrong with it; what is left of it is its type.
pub(super) fn validate_expression(
    text: &str,
    scope: Scope<'_, 'static>,
    yields: Yields,
    path: &Path<'_>,
    errors: &mut ErrorList,
) -> Option<Ty<'static>> {
    match compile(text, scope, yields) {
        Ok((_, ty)) => Some(ty),
        Err(why) => {
            errors.invalid(path, text, &why);
            None
        }
    }
}

/// Checks conditions for which a webhook or a policy is asked.
pub(super) fn validate(
    conditions: &[MatchCondition],
    params: bool,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    if conditions.len() > MAX {
        errors.too_many(path, conditions.len(), MAX);
    }
    let variables = variables_of_request(params, true);
    let scope = Scope { variables: &variables, ..Scope::default() };
    for (index, condition) in conditions.iter().enumerate() {
        let path = path.index(index);
        let at = path.child("expression");
        match condition.expression.trim() {
            "" => errors.required(&at, ""),
            text => {
                validate_expression(text, scope, Yields::Bool, &at, errors);
            }
        }
        let at = path.child("name");
        let name = &condition.name;
        if name.is_empty() {
            errors.required(&at, "");
            continue;
        }
        complain(errors, &at, name, rules::qualified_name(name));
        if conditions[..index].iter().any(|other| other.name == *name) {
            errors.duplicate(&at, name);
        }
    }
}

/// Checks the variables of a policy, each of which may refer to those before it; how they are
/// declared for what comes after.
pub(super) fn validate_variables<'p>(
    all: &'p [Variable],
    params: bool,
    path: &Path<'_>,
    errors: &mut ErrorList,
) -> Vec<Declared<'p, 'static>> {
    let known = variables_of_request(params, true);
    let mut before: Vec<Declared<'p, 'static>> = Vec::new();
    for (index, variable) in all.iter().enumerate() {
        let path = path.index(index);
        let at = path.child("name");
        if variable.name.trim().is_empty() {
            errors.required(&at, "name is not specified");
        } else if !is_identifier(&variable.name) {
            errors.invalid(&at, &variable.name, "name is not a valid CEL identifier");
        }
        let at = path.child("expression");
        let mut ty = None;
        if variable.expression.trim().is_empty() {
            errors.required(&at, "expression is not specified");
        } else {
            let scope = Scope { variables: &known, composed: Some(&before), ..Scope::default() };
            ty = validate_expression(&variable.expression, scope, Yields::Anything, &at, errors);
        }
        let ty = ty.map_or(Ty::Dyn, |ty| ty.of_variable());
        before.push(Declared { name: &variable.name, ty });
    }
    before
}
