//! Rules in CEL within schemas.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, ValidationRule,
};

use super::schema::{Context, Found};
use super::versions::list;
use super::{json_path, typed};
use crate::expressions::{Declared, Expression, Scope, Ty, Yields, compile};
use crate::field::{ErrorList, Path};
use crate::kinds::check::{Json, text};
use crate::structural::{Node, VARIABLES};

const REASONS: [&str; 4] =
    ["FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"];

/// Checks the rules of a schema.
pub(super) fn validate(
    schema: &JSONSchemaProps,
    context: &Context<'_>,
    path: &Path<'_>,
    found: &mut Found,
) {
    let rules = list(&schema.x_kubernetes_validations);
    let at = path.child("x-kubernetes-validations");
    for (index, rule) in rules.iter().enumerate() {
        validate_form(rule, schema, &at.index(index), &mut found.schema);
    }
    if !context.compiles || !found.schema.is_empty() {
        return;
    }
    if rules.is_empty() {
        return;
    }
    let shape = Node::shape_of(schema);
    for (index, rule) in rules.iter().enumerate() {
        validate_expressions(rule, schema, (context, &shape), &at.index(index), found);
    }
}

fn validate_form(
    rule: &ValidationRule,
    schema: &JSONSchemaProps,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    let breaks = |text: &str| text.contains(['\n', '\r']);
    let message = text(&rule.message);
    let at = path.child("message");
    if rule.rule.trim().is_empty() {
        errors.required(&path.child("rule"), "rule is not specified");
    } else if !message.is_empty() && message.trim().is_empty() {
        errors.invalid(&at, message, "message must be non-empty if specified");
    } else if breaks(message.trim()) {
        errors.invalid(&at, message, "message must not contain line breaks");
    } else if breaks(rule.rule.trim()) && message.is_empty() {
        errors.required(&at, "message must be specified if rule contains line breaks");
    }
    let expression = text(&rule.message_expression);
    if !expression.is_empty() && expression.trim().is_empty() {
        let why = "messageExpression must be non-empty if specified";
        errors.required(&path.child("messageExpression"), why);
    }
    if let Some(reason) = rule.reason.as_deref().filter(|reason| !REASONS.contains(reason)) {
        errors.not_supported(&path.child("reason"), reason, &REASONS);
    }
    let field = text(&rule.field_path);
    if field.is_empty() {
        return;
    }
    let at = path.child("fieldPath");
    if field.trim().is_empty() {
        errors.invalid(&at, field, "fieldPath must be non-empty if specified");
    }
    if breaks(field) {
        errors.invalid(&at, field, "fieldPath must not contain line breaks");
    }
    if json_path::resolve(field, schema, true).is_err() {
        errors.invalid(&at, field, "fieldPath must be a valid path");
    }
}

fn validate_expressions(
    rule: &ValidationRule,
    schema: &JSONSchemaProps,
    (context, shape): (&Context<'_>, &Node),
    path: &Path<'_>,
    found: &mut Found,
) {
    let Found { rules: errors, costs, .. } = found;
    let cost = |compiled: &Expression| compiled.most(shape).saturating_mul(context.times);
    let this = typed::of(schema, context.is_object(schema)).unwrap_or(Ty::Dyn);
    let before = match rule.optional_old_self {
        Some(true) => Ty::optional(this.clone()),
        _ => this.clone(),
    };
    let [name, old_name] = VARIABLES;
    let variables = [Declared { name, ty: this }, Declared { name: old_name, ty: before }];
    let scope = Scope { variables: &variables, ..Scope::default() };
    let at = path.child("rule");
    match compile(&rule.rule, scope, Yields::RuleBool) {
        Err(why) => errors.invalid(&at, Json(rule), &why),
        Ok((compiled, _)) => {
            costs.add("rule", cost(&compiled), &at, errors);
            let uses_old = compiled.uses("oldSelf");
            if let Some(above) = context.uncorrelated.filter(|_| uses_old) {
                let why = format!(
                    "oldSelf cannot be used on the uncorrelatable portion of the schema within \
                     {above}"
                );
                errors.invalid(&at, &rule.rule, &why);
            }
            if let Some(given) = rule.optional_old_self.filter(|_| !uses_old) {
                let why = "may not be set if oldSelf is not used in rule";
                errors.invalid(&path.child("optionalOldSelf"), given, why);
            }
        }
    }
    let expression = text(&rule.message_expression);
    if expression.is_empty() {
        return;
    }
    let at = path.child("messageExpression");
    match compile(expression, scope, Yields::RuleText) {
        Err(why) => {
            let why = why.replacen("compilation failed", "messageExpression compilation failed", 1);
            errors.invalid(&at, Json(rule), &why);
        }
        Ok((compiled, _)) => costs.add("messageExpression", cost(&compiled), &at, errors),
    }
}
