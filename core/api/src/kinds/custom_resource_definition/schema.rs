use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool, JSONSchemaPropsOrStringArray,
};

use super::costs::Costs;
use super::versions::list;
use super::{defaults, rules, structural, walk};
use crate::expressions::elements;
use crate::field::{ErrorList, Path};
use crate::kinds::check::{Json, text};
use crate::structural::Node;

const TYPES: [&str; 6] = ["array", "boolean", "integer", "number", "object", "string"];
const METADATA: [&str; 3] = ["metadata", "kind", "apiVersion"];
/// What may stand at the root where the status is written by itself.
const AT_ROOT: &str = "only [Description Type Format Title Maximum ExclusiveMaximum Minimum \
    ExclusiveMinimum MaxLength MinLength Pattern MaxItems MinItems UniqueItems MultipleOf Required \
    Items Properties ExternalDocs Example XPreserveUnknownFields XValidations] fields are allowed \
    at the root of the schema if the status subresource is enabled";

/// How deep schemas may be nested in each other: twice as deep is what JSON is read with, for each of
/// these levels takes up to two there.
const LEVELS_MAX: usize = 56;

/// Checks a version's schema; `path` is where its `openAPIV3Schema` stands.
pub(super) fn validate(
    schema: &JSONSchemaProps,
    has_status: bool,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    let mut found = ErrorList::default();
    let root = path.child("openAPIV3Schema");
    if walk::is_deeper(schema, LEVELS_MAX) {
        let why = format!("schemas may not be nested more than {LEVELS_MAX} levels deep");
        return errors.forbidden(&root, &why);
    }
    if has_status {
        validate_root(schema, path, &mut found);
    }
    if schema.nullable == Some(true) {
        found.forbidden(
            &path.child("openAPIV3Schema.nullable"),
            "nullable cannot be true at the root",
        );
    }
    let unreadable = structural::unreadable(schema);
    let before = found.iter().len();
    if unreadable.is_none() {
        structural::validate(schema, &root, &mut found);
        if found.iter().len() == before {
            defaults::validate(schema, &root, &mut found);
        }
    }
    let compiles = unreadable.is_none() && found.iter().len() == before;
    let context = Context {
        is_root: true,
        in_metadata: false,
        no_defaults: None,
        uncorrelated: None,
        compiles,
        times: 1,
    };
    let mut checked = check(schema, &context, &root);
    checked.costs.say(&root, &mut checked.rules);
    found.append(checked.schema);
    found.append(checked.rules);
    if let Some(why) = unreadable.filter(|_| found.is_empty()) {
        found.invalid(&root, "", &why);
    }
    errors.append(found);
}

fn validate_root(schema: &JSONSchemaProps, path: &Path<'_>, errors: &mut ErrorList) {
    let type_ = text(&schema.type_);
    if !type_.is_empty() && type_ != "object" {
        let why = "only \"object\" is allowed as the type at the root of the schema if the status \
                   subresource is enabled";
        return errors.invalid(&path.child("openAPIV3Schema.type"), type_, why);
    }
    let others = [
        schema.id.is_some(),
        schema.schema.is_some(),
        schema.ref_path.is_some(),
        schema.nullable == Some(true),
        schema.default.is_some(),
        !list(&schema.enum_).is_empty(),
        schema.max_properties.is_some(),
        schema.min_properties.is_some(),
        !list(&schema.all_of).is_empty(),
        !list(&schema.one_of).is_empty(),
        !list(&schema.any_of).is_empty(),
        schema.not.is_some(),
        schema.additional_properties.is_some(),
        schema.pattern_properties.is_some(),
        schema.dependencies.is_some(),
        schema.additional_items.is_some(),
        schema.definitions.is_some(),
        schema.x_kubernetes_embedded_resource == Some(true),
        schema.x_kubernetes_int_or_string == Some(true),
        !list(&schema.x_kubernetes_list_map_keys).is_empty(),
        schema.x_kubernetes_list_type.is_some(),
        schema.x_kubernetes_map_type.is_some(),
    ];
    if others.contains(&true) {
        errors.invalid(&path.child("openAPIV3Schema"), Json(schema), AT_ROOT);
    }
}

/// What is wrong with a schema and with its rules. Rules are looked at only where the schema is
/// right: else they would be said to refer to what the schema only failed to say.
#[derive(Default)]
pub(super) struct Found {
    pub(super) schema: ErrorList,
    pub(super) rules: ErrorList,
    pub(super) costs: Costs,
}

/// Where in a schema one stands.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    is_root: bool,
    in_metadata: bool,
    /// Why there may be no defaults, where there may be none.
    no_defaults: Option<&'a str>,
    /// The part above that can't be found again in another version of an object.
    pub(super) uncorrelated: Option<Path<'a>>,
    /// Whether rules are compiled.
    pub(super) compiles: bool,
    /// How often a value may stand here in one object.
    pub(super) times: u64,
}

impl Context<'_> {
    /// Whether a schema that stands here is of an object with a kind of its own.
    pub(super) fn is_object(&self, schema: &JSONSchemaProps) -> bool {
        self.is_root || schema.x_kubernetes_embedded_resource == Some(true)
    }

    /// Within a list or a map of a schema.
    fn each_of(mut self, schema: &JSONSchemaProps) -> Self {
        if self.compiles {
            self.times = self.times.saturating_mul(elements(&Node::shape_of(schema)));
        }
        self
    }

    fn inner(mut self) -> Self {
        self.is_root = false;
        self
    }

    fn uncompiled(self) -> Self {
        Self { compiles: false, ..self.inner() }
    }
}

fn check(schema: &JSONSchemaProps, context: &Context<'_>, path: &Path<'_>) -> Found {
    let mut found = Found::default();
    validate_form(schema, context, path, &mut found.schema);
    check_children(schema, context, path, &mut found);
    validate_extensions(schema, path, &mut found.schema);
    rules::validate(schema, context, path, &mut found);
    found
}

impl Found {
    fn within(&mut self, schema: &JSONSchemaProps, context: &Context<'_>, path: &Path<'_>) {
        let Self { schema, rules, costs } = check(schema, context, path);
        self.schema.append(schema);
        self.rules.append(rules);
        self.costs.append(costs);
    }
}

fn check_children(
    schema: &JSONSchemaProps,
    context: &Context<'_>,
    path: &Path<'_>,
    found: &mut Found,
) {
    let embeds = schema.x_kubernetes_embedded_resource == Some(true);
    if let Some(values) = walk::additional(schema) {
        let mut inner = context.inner().each_of(schema);
        if context.in_metadata {
            inner.no_defaults = Some("inside additionalProperties applying to object metadata");
        }
        found.within(values, &inner, &path.child("additionalProperties"));
    }
    let at = path.child("properties");
    let is_atomic = schema.x_kubernetes_map_type.as_deref() == Some("atomic");
    for (name, property) in schema.properties.iter().flatten() {
        let mut inner = context.inner();
        if is_atomic {
            inner.uncorrelated.get_or_insert(*path);
        }
        let reason = format!("in top-level {name}");
        if (context.is_root || embeds) && METADATA.contains(&name.as_str()) {
            inner.in_metadata = true;
            if context.is_root {
                inner.no_defaults = Some(&reason);
            }
        }
        found.within(property, &inner, &at.key(name));
    }
    let nested = context.uncompiled();
    if let Some(not) = &schema.not {
        found.within(not, &nested, &path.child("not"));
    }
    let lists = [("allOf", &schema.all_of), ("oneOf", &schema.one_of), ("anyOf", &schema.any_of)];
    for (field, all) in lists {
        let at = path.child(field);
        for (index, one) in list(all).iter().enumerate() {
            found.within(one, &nested, &at.index(index));
        }
    }
    let at = path.child("definitions");
    for (name, one) in schema.definitions.iter().flatten() {
        found.within(one, &nested, &at.key(name));
    }
    let mut inner = context.inner();
    if schema.items.is_some() {
        inner = inner.each_of(schema);
    }
    if schema.x_kubernetes_list_type.as_deref() != Some("map") {
        inner.uncorrelated.get_or_insert(*path);
    }
    let at = path.child("items");
    match &schema.items {
        Some(JSONSchemaPropsOrArray::Schema(items)) => found.within(items, &inner, &at),
        Some(JSONSchemaPropsOrArray::Schemas(all)) => {
            for (index, one) in all.iter().enumerate() {
                found.within(one, &inner, &at.index(index));
            }
        }
        None => {}
    }
    let at = path.child("dependencies");
    for (name, one) in schema.dependencies.iter().flatten() {
        if let JSONSchemaPropsOrStringArray::Schema(one) = one {
            found.within(one, &nested, &at.key(name));
        }
    }
}

/// Checks against the parts of JSON Schema that definitions may use.
fn validate_form(
    schema: &JSONSchemaProps,
    context: &Context<'_>,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    let type_ = text(&schema.type_);
    if !type_.is_empty() && !TYPES.contains(&type_) {
        errors.not_supported(&path.child("type"), type_, &TYPES);
    }
    if schema.default.is_some()
        && let Some(reason) = context.no_defaults
    {
        errors.forbidden(&path.child("default"), &format!("must not be set {reason}"));
    }
    let has_many =
        matches!(&schema.items, Some(JSONSchemaPropsOrArray::Schemas(all)) if !all.is_empty());
    let has = |map: Option<usize>| map.is_some_and(|length| length > 0);
    let embeds = schema.x_kubernetes_embedded_resource == Some(true);
    let forbidden = [
        (!text(&schema.id).is_empty(), "id", "id is not supported"),
        (schema.additional_items.is_some(), "additionalItems", "additionalItems is not supported"),
        (
            has(schema.pattern_properties.as_ref().map(|map| map.len())),
            "patternProperties",
            "patternProperties is not supported",
        ),
        (
            has(schema.definitions.as_ref().map(|map| map.len())),
            "definitions",
            "definitions is not supported",
        ),
        (schema.dependencies.is_some(), "dependencies", "dependencies is not supported"),
        (schema.ref_path.is_some(), "$ref", "$ref is not supported"),
        (type_ == "null", "type", "type cannot be set to null, use nullable as an alternative"),
        (has_many, "items", "items must be a schema object and not an array"),
        (
            context.in_metadata && embeds,
            "x-kubernetes-embedded-resource",
            "must not be used inside of resource meta",
        ),
        (
            schema.unique_items == Some(true),
            "uniqueItems",
            "uniqueItems cannot be set to true since the runtime complexity becomes quadratic",
        ),
        (
            has(schema.properties.as_ref().map(|map| map.len()))
                && schema
                    .additional_properties
                    .as_ref()
                    .is_some_and(|additional| *additional != JSONSchemaPropsOrBool::Bool(true)),
            "additionalProperties",
            "additionalProperties and properties are mutual exclusive",
        ),
    ];
    for (_, field, why) in forbidden.into_iter().filter(|(there, ..)| *there) {
        errors.forbidden(&path.child(field), why);
    }
}

fn validate_extensions(schema: &JSONSchemaProps, path: &Path<'_>, errors: &mut ErrorList) {
    if schema.x_kubernetes_preserve_unknown_fields == Some(false) {
        let at = path.child("x-kubernetes-preserve-unknown-fields");
        errors.invalid(&at, false, "must be true or undefined");
    }
    let needs = [
        (
            &schema.x_kubernetes_map_type,
            "x-kubernetes-map-type",
            "object",
            &["atomic", "granular"][..],
        ),
        (
            &schema.x_kubernetes_list_type,
            "x-kubernetes-list-type",
            "array",
            &["atomic", "set", "map"],
        ),
    ];
    for (given, field, wanted, known) in needs {
        let Some(given) = given else { continue };
        let type_ = text(&schema.type_);
        let why = format!("must be {wanted} if {field} is specified");
        match type_ {
            "" => errors.required(&path.child("type"), &why),
            type_ if type_ != wanted => errors.invalid(&path.child("type"), type_, &why),
            _ => {}
        }
        if field == "x-kubernetes-list-type" && type_ == wanted && given == "set" {
            validate_set(schema, path, errors);
        }
        if !known.contains(&given.as_str()) {
            errors.not_supported(&path.child(field), given, known);
        }
    }
    validate_map_list(schema, path, errors);
    validate_keyed(schema, path, errors);
}

/// Items of a set are compared as a whole.
fn validate_set(schema: &JSONSchemaProps, path: &Path<'_>, errors: &mut ErrorList) {
    let Some(items) = walk::items(schema) else { return };
    let why = "must be atomic as item of a list with x-kubernetes-list-type=set";
    let list_type = &items.x_kubernetes_list_type;
    let at = path.child("items");
    match text(&items.type_) {
        "array" if list_type.as_deref().is_some_and(|given| given != "atomic") => {
            errors.invalid(&at.child("x-kubernetes-list-type"), Json(list_type), why);
        }
        "object" if items.x_kubernetes_map_type.as_deref() != Some("atomic") => {
            errors.invalid(&at.child("x-kubernetes-map-type"), Json(list_type), why);
        }
        _ => {}
    }
}

/// Items of a list that is a map are told apart by fields of theirs.
fn validate_map_list(schema: &JSONSchemaProps, path: &Path<'_>, errors: &mut ErrorList) {
    let keys = list(&schema.x_kubernetes_list_map_keys);
    let list_type = schema.x_kubernetes_list_type.as_deref();
    let type_at = path.child("x-kubernetes-list-type");
    let why = "must be map if x-kubernetes-list-map-keys is non-empty";
    match list_type {
        None if !keys.is_empty() => errors.required(&type_at, why),
        Some(other) if other != "map" && !keys.is_empty() => errors.invalid(&type_at, other, why),
        _ => {}
    }
    if list_type != Some("map") {
        return;
    }
    let keys_at = path.child("x-kubernetes-list-map-keys");
    if keys.is_empty() {
        errors.required(&keys_at, "must not be empty if x-kubernetes-list-type is map");
    }
    let at = path.child("items");
    let items = match &schema.items {
        None => {
            let why = "must have a schema if x-kubernetes-list-type is map";
            return errors.required(&at, why);
        }
        Some(JSONSchemaPropsOrArray::Schemas(_)) => {
            let why = "must only have a single schema if x-kubernetes-list-type is map";
            return errors.invalid(&at, Json(&schema.items), why);
        }
        Some(JSONSchemaPropsOrArray::Schema(items)) => items,
    };
    let type_ = text(&items.type_);
    if type_ != "object" {
        let why = "must be object if parent array's x-kubernetes-list-type is map";
        return errors.invalid(&at.child("type"), type_, why);
    }
    let properties = at.child("properties");
    for (index, key) in keys.iter().enumerate() {
        match items.properties.as_ref().and_then(|all| all.get(key)) {
            None => {
                errors.invalid(
                    &keys_at,
                    Json(&keys),
                    "entries must all be names of item properties",
                );
            }
            Some(property) if matches!(text(&property.type_), "array" | "object") => {
                let why = "must be a scalar type if parent array's x-kubernetes-list-type is map";
                errors.invalid(&properties.key(key).child("type"), type_, why);
            }
            Some(_) => {}
        }
        if keys[..index].contains(key) {
            errors.invalid(&keys_at, Json(&keys), "must not contain duplicate entries");
        }
    }
}

/// What tells items apart must be there in each.
fn validate_keyed(schema: &JSONSchemaProps, path: &Path<'_>, errors: &mut ErrorList) {
    let (Some(items), Some(list_type @ ("set" | "map"))) =
        (walk::items(schema), schema.x_kubernetes_list_type.as_deref())
    else {
        return;
    };
    let at = path.child("items");
    if items.nullable == Some(true) {
        let why = format!("cannot be nullable when x-kubernetes-list-type is {list_type}");
        errors.forbidden(&at.child("nullable"), &why);
    }
    if list_type == "set" {
        return;
    }
    let properties = at.child("properties");
    for key in list(&schema.x_kubernetes_list_map_keys) {
        let Some(property) = items.properties.as_ref().and_then(|all| all.get(key)) else {
            continue;
        };
        let at = properties.key(key);
        if !list(&items.required).contains(key) && property.default.is_none() {
            let why = "this property is in x-kubernetes-list-map-keys, so it must have a default \
                       or be a required property";
            errors.required(&at.child("default"), why);
        }
        if property.nullable == Some(true) {
            let why = "this property is in x-kubernetes-list-map-keys, so it cannot be nullable";
            errors.forbidden(&at.child("nullable"), why);
        }
    }
}
