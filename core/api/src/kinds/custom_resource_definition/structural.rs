//! Structural schemas: what an object is made of is said outside of what is asked of its values.
//! See <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema>.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use regex::Regex;

use super::versions::list;
use super::walk;
use crate::field::{ErrorList, Path};
use crate::kinds::check::text;

/// Where a schema stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Item,
    Field,
}

/// Checks that a schema is structural.
pub(super) fn validate(schema: &JSONSchemaProps, path: &Path<'_>, errors: &mut ErrorList) {
    let mut found = ErrorList::default();
    invariants(schema, Level::Root, path, &mut found);
    complete_values(schema, Some(schema), path, path, &mut found);
    found.sort();
    errors.append(found);
}

/// Why a schema can't be read as a structural one at all, if it can't.
pub(super) fn unreadable(schema: &JSONSchemaProps) -> Option<String> {
    let mut why = None;
    walk::any(schema, &mut |part| {
        let names = [
            (!text(&part.id).is_empty(), "id"),
            (!text(&part.schema).is_empty(), "schema"),
            (!text(&part.ref_path).is_empty(), "$ref"),
            (has_entries(&part.pattern_properties), "patternProperties"),
            (has_entries(&part.dependencies), "dependencies"),
            (part.additional_items.is_some(), "additionalItems"),
            (has_entries(&part.definitions), "definitions"),
        ];
        why = names
            .into_iter()
            .find(|(there, _)| *there)
            .map(|(_, name)| format!("OpenAPIV3Schema '{name}' is not supported"));
        if why.is_none() && matches!(part.items, Some(JSONSchemaPropsOrArray::Schemas(_))) {
            why = Some("OpenAPIV3Schema 'items' must be a schema, but is an array".to_owned());
        }
        if why.is_none() && part.x_kubernetes_preserve_unknown_fields == Some(false) {
            let what = "internal error: 'x-kubernetes-preserve-unknown-fields' must be true or \
                        undefined";
            why = Some(what.to_owned());
        }
        why.is_some()
    });
    why
}

fn has_entries<V>(map: &Option<std::collections::BTreeMap<String, V>>) -> bool {
    map.as_ref().is_some_and(|map| !map.is_empty())
}

fn invariants(schema: &JSONSchemaProps, level: Level, path: &Path<'_>, errors: &mut ErrorList) {
    let type_ = text(&schema.type_);
    let items = walk::items(schema);
    if type_ == "array" && items.is_none() {
        errors.required(&path.child("items"), "must be specified");
    }
    if let Some(items) = items {
        invariants(items, Level::Item, &path.child("items"), errors);
    }
    let properties = path.child("properties");
    for (name, property) in schema.properties.iter().flatten() {
        invariants(property, Level::Field, &properties.key(name), errors);
    }
    if let Some(additional) = &schema.additional_properties {
        let at = path.child("additionalProperties");
        if level == Level::Root {
            errors.forbidden(&at, "must not be used at the root");
        }
        if let JSONSchemaPropsOrBool::Schema(values) = additional {
            invariants(values, Level::Field, &at, errors);
        }
    }
    extensions(schema, path, errors);
    let list = list(&schema.all_of);
    let skip_first = list.first().is_some_and(is_int_or_string);
    values(schema, is_int_or_string(schema), skip_first, level, path, errors);
    embedded_type(schema, level, path, errors);
    let has_metadata = level == Level::Root || embeds(schema);
    for name in ["kind", "apiVersion"].into_iter().filter(|_| has_metadata) {
        let Some(property) = property(schema, name) else { continue };
        if text(&property.type_) != "string" {
            let at = properties.key(name);
            errors.invalid(&at.child("type"), text(&property.type_), "must be string");
        }
    }
    if let Some(metadata) = property(schema, "metadata") {
        metadata_invariants(metadata, has_metadata, level, &properties.key("metadata"), errors);
    }
    let is_empty = schema.properties.as_ref().is_none_or(|all| all.is_empty());
    if embeds(schema) && !preserves(schema) && is_empty {
        let why = "must not be empty if x-kubernetes-embedded-resource is true without \
                   x-kubernetes-preserve-unknown-fields";
        errors.required(&properties, why);
    }
}

fn embeds(schema: &JSONSchemaProps) -> bool {
    schema.x_kubernetes_embedded_resource == Some(true)
}

fn preserves(schema: &JSONSchemaProps) -> bool {
    schema.x_kubernetes_preserve_unknown_fields == Some(true)
}

fn property<'a>(schema: &'a JSONSchemaProps, name: &str) -> Option<&'a JSONSchemaProps> {
    schema.properties.as_ref()?.get(name)
}

fn embedded_type(schema: &JSONSchemaProps, level: Level, path: &Path<'_>, errors: &mut ErrorList) {
    let type_ = text(&schema.type_);
    let at = path.child("type");
    let is_int_or_string = schema.x_kubernetes_int_or_string == Some(true);
    if embeds(schema) && type_ != "object" {
        let why = "must be object if x-kubernetes-embedded-resource is true";
        if type_.is_empty() {
            errors.required(&at, why);
        } else {
            errors.invalid(&at, type_, why);
        }
    } else if type_.is_empty() && !is_int_or_string && !preserves(schema) {
        let why = match level {
            Level::Root => "must not be empty at the root",
            Level::Item => "must not be empty for specified array items",
            Level::Field => "must not be empty for specified object fields",
        };
        errors.required(&at, why);
    }
    if embeds(schema) && schema.additional_properties.is_some() {
        let why = "must not be used if x-kubernetes-embedded-resource is set";
        errors.forbidden(&path.child("additionalProperties"), why);
    }
    if level == Level::Root && !type_.is_empty() && type_ != "object" {
        errors.invalid(&at, type_, "must be object at the root");
    }
}

/// Metadata is always there and always the same; only names may be narrowed.
fn metadata_invariants(
    schema: &JSONSchemaProps,
    checked: bool,
    level: Level,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    if checked && text(&schema.type_) != "object" {
        errors.invalid(&path.child("type"), text(&schema.type_), "must be object");
    }
    if level != Level::Root {
        return;
    }
    let mut rest = schema.clone();
    let only_names = rest.properties.as_ref().is_some_and(|all| {
        !all.is_empty() && all.keys().all(|name| matches!(name.as_str(), "name" | "generateName"))
    });
    if only_names {
        rest.properties = None;
    }
    // What stands here besides is kept by no structural schema.
    (rest.type_, rest.default, rest.example, rest.external_docs) = (None, None, None, None);
    if !is_blank(&rest) {
        let why = "must not specify anything other than name and generateName, but metadata is \
                   implicitly specified";
        errors.forbidden(path, why);
    }
}

/// Whether a schema says nothing: what is false or empty is as good as absent.
fn is_blank(schema: &JSONSchemaProps) -> bool {
    let Ok(serde_json::Value::Object(fields)) = serde_json::to_value(schema) else { return false };
    fields.values().all(|value| match value {
        serde_json::Value::Null | serde_json::Value::Bool(false) => true,
        serde_json::Value::String(text) => text.is_empty(),
        serde_json::Value::Array(list) => list.is_empty(),
        serde_json::Value::Object(map) => map.is_empty(),
        _ => false,
    })
}

/// Whether a schema lets integers and texts through in the one way that is allowed.
fn is_int_or_string(schema: &JSONSchemaProps) -> bool {
    let only = |name: &str| JSONSchemaProps { type_: Some(name.to_owned()), ..Default::default() };
    matches!(list(&schema.any_of), [first, second]
        if *first == only("integer") && *second == only("string"))
}

fn extensions(schema: &JSONSchemaProps, path: &Path<'_>, errors: &mut ErrorList) {
    if schema.x_kubernetes_int_or_string != Some(true) {
        return;
    }
    let why = "must be false if x-kubernetes-int-or-string is true";
    if preserves(schema) {
        errors.invalid(&path.child("x-kubernetes-preserve-unknown-fields"), true, why);
    }
    if embeds(schema) {
        errors.invalid(&path.child("x-kubernetes-embedded-resource"), true, why);
    }
}

fn values(
    schema: &JSONSchemaProps,
    skip_any_of: bool,
    skip_first_any_of: bool,
    level: Level,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    let at = path.child("anyOf");
    for (index, one) in list(&schema.any_of).iter().enumerate().filter(|_| !skip_any_of) {
        nested(one, false, level, &at.index(index), errors);
    }
    let at = path.child("allOf");
    for (index, one) in list(&schema.all_of).iter().enumerate() {
        nested(one, skip_first_any_of && index == 0, level, &at.index(index), errors);
    }
    let at = path.child("oneOf");
    for (index, one) in list(&schema.one_of).iter().enumerate() {
        nested(one, false, level, &at.index(index), errors);
    }
    if let Some(not) = &schema.not {
        nested(not, false, level, &path.child("not"), errors);
    }
    let pattern = text(&schema.pattern);
    if let Err(why) = Regex::new(pattern) {
        let why = why.to_string();
        let last = why.lines().last().unwrap_or_default().trim_start_matches("error: ");
        let why = format!("must be a valid regular expression, but isn't: {last}");
        errors.invalid(&path.child("pattern"), pattern, &why);
    }
}

/// Checks what stands under `anyOf` and its like: it may say something of values, and nothing of
/// what objects are made of.
fn nested(
    schema: &JSONSchemaProps,
    skip_any_of: bool,
    level: Level,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    values(schema, skip_any_of, false, level, path, errors);
    if let Some(items) = walk::items(schema) {
        nested(items, false, level, &path.child("items"), errors);
    }
    let properties = path.child("properties");
    for (name, property) in schema.properties.iter().flatten() {
        nested(property, false, Level::Field, &properties.key(name), errors);
    }
    let (empty, undefined, no) = (
        "must be empty to be structural",
        "must be undefined to be structural",
        "must be false to be structural",
    );
    let is_true = |field: Option<bool>| field == Some(true);
    let forbidden = [
        (!text(&schema.type_).is_empty(), "type", empty),
        (schema.additional_properties.is_some(), "additionalProperties", undefined),
        (schema.default.is_some(), "default", undefined),
        (!text(&schema.title).is_empty(), "title", empty),
        (!text(&schema.description).is_empty(), "description", empty),
        (is_true(schema.nullable), "nullable", no),
        (preserves(schema), "x-kubernetes-preserve-unknown-fields", no),
        (embeds(schema), "x-kubernetes-embedded-resource", no),
        (is_true(schema.x_kubernetes_int_or_string), "x-kubernetes-int-or-string", no),
        (!list(&schema.x_kubernetes_list_map_keys).is_empty(), "x-kubernetes-list-map-keys", empty),
        (schema.x_kubernetes_list_type.is_some(), "x-kubernetes-list-type", undefined),
        (schema.x_kubernetes_map_type.is_some(), "x-kubernetes-map-type", undefined),
        (!list(&schema.x_kubernetes_validations).is_empty(), "x-kubernetes-validations", empty),
    ];
    for (_, field, why) in forbidden.into_iter().filter(|(there, ..)| *there) {
        errors.forbidden(&path.child(field), why);
    }
    if property(schema, "metadata").is_some() {
        errors.forbidden(&properties.key("metadata"), "must not be specified in a nested context");
    }
}

/// Checks that all that values are asked for in `of` is there in `whole`.
fn complete_values(
    of: &JSONSchemaProps,
    whole: Option<&JSONSchemaProps>,
    whole_path: &Path<'_>,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    if let Some(not) = &of.not {
        complete(not, whole, whole_path, &path.child("not"), errors);
    }
    let lists = [("allOf", &of.all_of), ("anyOf", &of.any_of), ("oneOf", &of.one_of)];
    for (field, all) in lists {
        let at = path.child(field);
        for (index, one) in list(all).iter().enumerate() {
            complete(one, whole, whole_path, &at.index(index), errors);
        }
    }
}

fn complete(
    of: &JSONSchemaProps,
    whole: Option<&JSONSchemaProps>,
    whole_path: &Path<'_>,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    let Some(schema) = whole else {
        return errors.required(whole_path, &format!("because it is defined in {path}"));
    };
    complete_values(of, whole, whole_path, path, errors);
    if let Some(items) = walk::items(of) {
        let (whole_path, path) = (whole_path.child("items"), path.child("items"));
        complete(items, walk::items(schema), &whole_path, &path, errors);
    }
    let (whole_path, path) = (whole_path.child("properties"), path.child("properties"));
    for (name, one) in of.properties.iter().flatten() {
        let (whole_path, path) = (whole_path.key(name), path.key(name));
        complete(one, property(schema, name), &whole_path, &path, errors);
    }
}
