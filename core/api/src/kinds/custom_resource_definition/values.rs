//! Values against schemas, as upstream's OpenAPI validator words what it finds.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrBool,
};
use regex::Regex;
use serde_json::Value;

use super::versions::list;
use super::walk;
use crate::field::{ErrorList, Path};
use crate::kinds::check::{Json, text};

const FORMATS: [&str; 31] = [
    "bsonobjectid",
    "uri",
    "email",
    "hostname",
    "ipv4",
    "ipv6",
    "cidr",
    "mac",
    "uuid",
    "uuid3",
    "uuid4",
    "uuid5",
    "isbn",
    "isbn10",
    "isbn13",
    "creditcard",
    "ssn",
    "hexcolor",
    "rgbcolor",
    "byte",
    "password",
    "date",
    "duration",
    "datetime",
    "int32",
    "int64",
    "float",
    "double",
    "binary",
    "k8sshortname",
    "k8slongname",
];

/// Whether a format means something; an absent one needs to mean nothing.
pub(super) fn is_known_format(format: &str) -> bool {
    format.is_empty() || FORMATS.contains(&format.replace('-', "").as_str())
}

/// Whether a map may have keys that its schema does not name.
pub(super) fn takes_any_key(schema: &JSONSchemaProps) -> bool {
    matches!(
        schema.additional_properties,
        Some(JSONSchemaPropsOrBool::Bool(true) | JSONSchemaPropsOrBool::Schema(_))
    )
}

/// Checks a value against a schema.
pub(super) fn validate(
    value: &Value,
    schema: &JSONSchemaProps,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    if value.is_null() && schema.nullable == Some(true) {
        return;
    }
    if !is_of_type(value, schema) {
        let wanted = text(&schema.type_);
        let wanted =
            if schema.x_kubernetes_int_or_string == Some(true) { "integer,string" } else { wanted };
        let why = format!("{path} in body must be of type {wanted}: {:?}", name_of(value));
        return errors.invalid(path, Json(value), &why);
    }
    let choices = list(&schema.enum_);
    if !choices.is_empty() && !choices.iter().any(|choice| choice.0 == *value) {
        let shown: Vec<String> = choices.iter().map(|choice| shown(&choice.0)).collect();
        let shown: Vec<&str> = shown.iter().map(String::as_str).collect();
        errors.not_supported(path, Json(value), &shown);
    }
    match value {
        Value::String(value) => validate_text(value, schema, path, errors),
        Value::Number(_) => validate_number(value, schema, path, errors),
        Value::Array(list) => validate_list(list, schema, path, errors),
        Value::Object(_) => validate_object(value, schema, path, errors),
        Value::Null | Value::Bool(_) => {}
    }
    validate_combined(value, schema, path, errors);
}

fn is_of_type(value: &Value, schema: &JSONSchemaProps) -> bool {
    if schema.x_kubernetes_int_or_string == Some(true) {
        return value.is_string() || is_whole(value);
    }
    match text(&schema.type_) {
        "array" => value.is_array(),
        "boolean" => value.is_boolean(),
        "integer" => is_whole(value),
        "number" => value.is_number(),
        "object" => value.is_object(),
        "string" => value.is_string(),
        _ => true,
    }
}

fn is_whole(value: &Value) -> bool {
    value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|number| number.fract() == 0.0)
}

fn name_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) if is_whole(value) => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn validate_text(value: &str, schema: &JSONSchemaProps, path: &Path<'_>, errors: &mut ErrorList) {
    let length = i64::try_from(value.chars().count()).unwrap_or(i64::MAX);
    if let Some(max) = schema.max_length.filter(|max| length > *max) {
        errors.invalid(path, value, &format!("{path} in body should be at most {max} chars long"));
    }
    if let Some(min) = schema.min_length.filter(|min| length < *min) {
        errors.invalid(path, value, &format!("{path} in body should be at least {min} chars long"));
    }
    let pattern = text(&schema.pattern);
    if !pattern.is_empty() && Regex::new(pattern).is_ok_and(|regex| !regex.is_match(value)) {
        errors.invalid(path, value, &format!("{path} in body should match '{pattern}'"));
    }
}

fn validate_number(
    value: &Value,
    schema: &JSONSchemaProps,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    let Some(number) = value.as_f64() else { return };
    let is_set = |field: Option<bool>| field == Some(true);
    if let Some(max) = schema.maximum {
        let strict = is_set(schema.exclusive_maximum);
        if number > max || (strict && number >= max) {
            let how = if strict { "less than" } else { "less than or equal to" };
            errors.invalid(path, Json(value), &format!("{path} in body should be {how} {max}"));
        }
    }
    if let Some(min) = schema.minimum {
        let strict = is_set(schema.exclusive_minimum);
        if number < min || (strict && number <= min) {
            let how = if strict { "greater than" } else { "greater than or equal to" };
            errors.invalid(path, Json(value), &format!("{path} in body should be {how} {min}"));
        }
    }
    if let Some(factor) = schema.multiple_of.filter(|factor| *factor != 0.0)
        && (number / factor).fract() != 0.0
    {
        errors.invalid(
            path,
            Json(value),
            &format!("{path} in body should be a multiple of {factor}"),
        );
    }
}

fn validate_list(all: &[Value], schema: &JSONSchemaProps, path: &Path<'_>, errors: &mut ErrorList) {
    let length = i64::try_from(all.len()).unwrap_or(i64::MAX);
    if let Some(max) = schema.max_items.filter(|max| length > *max) {
        errors.too_many(path, all.len(), usize::try_from(max).unwrap_or(0));
    }
    if let Some(min) = schema.min_items.filter(|min| length < *min) {
        let why = format!("{path} in body should have at least {min} items");
        errors.invalid(path, length, &why);
    }
    if let Some(items) = walk::items(schema) {
        for (index, item) in all.iter().enumerate() {
            validate(item, items, &path.index(index), errors);
        }
    }
}

fn validate_object(
    value: &Value,
    schema: &JSONSchemaProps,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    let Some(fields) = value.as_object() else { return };
    let length = i64::try_from(fields.len()).unwrap_or(i64::MAX);
    if let Some(max) = schema.max_properties.filter(|max| length > *max) {
        errors.too_many(path, fields.len(), usize::try_from(max).unwrap_or(0));
    }
    if let Some(min) = schema.min_properties.filter(|min| length < *min) {
        let why = format!("{path} in body should have at least {min} properties");
        errors.invalid(path, length, &why);
    }
    for name in list(&schema.required).iter().filter(|name| !fields.contains_key(*name)) {
        errors.required(&path.child(name), "");
    }
    for (name, field) in fields {
        let property = schema.properties.as_ref().and_then(|all| all.get(name));
        match (property, walk::additional(schema)) {
            (Some(property), _) => validate(field, property, &path.child(name), errors),
            (None, Some(values)) => validate(field, values, &path.key(name), errors),
            (None, None) => {}
        }
    }
}

fn validate_combined(
    value: &Value,
    schema: &JSONSchemaProps,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    let fits = |schema: &JSONSchemaProps| {
        let mut found = ErrorList::default();
        validate(value, schema, path, &mut found);
        found.is_empty()
    };
    for schema in list(&schema.all_of) {
        validate(value, schema, path, errors);
    }
    let (any, one) = (list(&schema.any_of), list(&schema.one_of));
    if !any.is_empty() && !any.iter().any(fits) {
        errors.invalid(
            path,
            "",
            &format!("{path:} in body must validate at least one schema (anyOf)"),
        );
    }
    if !one.is_empty() && one.iter().filter(|schema| fits(schema)).count() != 1 {
        let why = format!("{path} in body must validate one and only one schema (oneOf)");
        errors.invalid(path, "", &why);
    }
    if schema.not.as_ref().is_some_and(|not| fits(not)) {
        errors.invalid(path, "", &format!("{path} in body must not validate the schema (not)"));
    }
}
