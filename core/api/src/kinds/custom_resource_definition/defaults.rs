//! Defaults within schemas must be what the schema asks for.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaProps;
use serde_json::Value;

use super::{values, walk};
use crate::field::{ErrorList, Path};
use crate::kinds::check::Json;
use crate::structural::Node;

const METADATA: [&str; 3] = ["metadata", "apiVersion", "kind"];

/// Checks all defaults of a schema; those of maps' values are forbidden elsewhere.
pub(super) fn validate(schema: &JSONSchemaProps, path: &Path<'_>, errors: &mut ErrorList) {
    within(schema, true, false, path, errors);
}

fn within(
    schema: &JSONSchemaProps,
    embeds: bool,
    in_metadata: bool,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    if let Some(default) = &schema.default {
        let at = path.child("default");
        if !in_metadata && has_unknown(&default.0, schema, embeds) {
            errors.invalid(&at, Json(&default.0), "must not have unknown fields");
        }
        Node::of(schema).check(&default.0, None, &at, errors);
    }
    if let Some(items) = walk::items(schema) {
        within(items, is_embedded(items), in_metadata, &path.child("items"), errors);
    }
    let at = path.child("properties");
    for (name, property) in schema.properties.iter().flatten() {
        let in_metadata = in_metadata || (embeds && METADATA.contains(&name.as_str()));
        within(property, is_embedded(property), in_metadata, &at.key(name), errors);
    }
}

fn is_embedded(schema: &JSONSchemaProps) -> bool {
    schema.x_kubernetes_embedded_resource == Some(true)
}

/// Whether a value has fields that its schema does not know.
fn has_unknown(value: &Value, schema: &JSONSchemaProps, embeds: bool) -> bool {
    if schema.x_kubernetes_preserve_unknown_fields == Some(true) {
        return false;
    }
    match value {
        Value::Object(fields) => fields.iter().any(|(name, value)| {
            if embeds && METADATA.contains(&name.as_str()) {
                return false;
            }
            let property = schema.properties.as_ref().and_then(|all| all.get(name));
            match property.or_else(|| walk::additional(schema)) {
                Some(property) => has_unknown(value, property, is_embedded(property)),
                None => !values::takes_any_key(schema),
            }
        }),
        Value::Array(list) => walk::items(schema).is_some_and(|items| {
            list.iter().any(|value| has_unknown(value, items, is_embedded(items)))
        }),
        _ => false,
    }
}
