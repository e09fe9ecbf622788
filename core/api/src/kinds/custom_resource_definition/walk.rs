//! Schemas within schemas.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool, JSONSchemaPropsOrStringArray,
};

/// Whether a schema or one within it is as asked.
pub(super) fn any<'a>(
    schema: &'a JSONSchemaProps,
    is: &mut dyn FnMut(&'a JSONSchemaProps) -> bool,
) -> bool {
    is(schema) || children(schema).into_iter().any(|child| any(child, is))
}

/// Whether schemas are nested deeper than so many levels. Nothing here calls itself, so that it can be
/// asked before anything else is done with a schema.
pub(super) fn is_deeper(schema: &JSONSchemaProps, levels: usize) -> bool {
    let mut left = vec![(schema, 1)];
    while let Some((schema, level)) = left.pop() {
        if level > levels {
            return true;
        }
        left.extend(children(schema).into_iter().map(|child| (child, level + 1)));
    }
    false
}

/// Shows a schema and every one within it.
pub(super) fn each<'a>(schema: &'a JSONSchemaProps, show: &mut dyn FnMut(&'a JSONSchemaProps)) {
    any(schema, &mut |part| {
        show(part);
        false
    });
}

/// The schema of a list's items, if they have one in common.
pub(super) fn items(schema: &JSONSchemaProps) -> Option<&JSONSchemaProps> {
    match &schema.items {
        Some(JSONSchemaPropsOrArray::Schema(items)) => Some(items),
        _ => None,
    }
}

/// The schema of a map's values, if they have one.
pub(super) fn additional(schema: &JSONSchemaProps) -> Option<&JSONSchemaProps> {
    match &schema.additional_properties {
        Some(JSONSchemaPropsOrBool::Schema(values)) => Some(values),
        _ => None,
    }
}

fn children(schema: &JSONSchemaProps) -> Vec<&JSONSchemaProps> {
    let mut all: Vec<&JSONSchemaProps> = Vec::new();
    match &schema.items {
        Some(JSONSchemaPropsOrArray::Schema(items)) => all.push(items),
        Some(JSONSchemaPropsOrArray::Schemas(items)) => all.extend(items),
        None => {}
    }
    for list in [&schema.all_of, &schema.any_of, &schema.one_of] {
        all.extend(list.iter().flatten());
    }
    all.extend(schema.not.as_deref());
    for map in [&schema.properties, &schema.pattern_properties, &schema.definitions] {
        all.extend(map.iter().flat_map(|map| map.values()));
    }
    for one in [&schema.additional_properties, &schema.additional_items] {
        if let Some(JSONSchemaPropsOrBool::Schema(one)) = one {
            all.push(one);
        }
    }
    for one in schema.dependencies.iter().flat_map(|map| map.values()) {
        if let JSONSchemaPropsOrStringArray::Schema(one) = one {
            all.push(one);
        }
    }
    all
}
