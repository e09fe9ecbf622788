//! Schemas as types of expressions.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaProps;

use super::walk;
use crate::expressions::{Fields, Ty, escaped, unescaped};
use crate::kinds::check::text;

/// The type of what rules call `self`.
const SELF: &str = "selfType";

/// The type of values of a schema, of whole objects or not; `None` for one that expressions see
/// nothing of.
pub(super) fn of(schema: &JSONSchemaProps, is_object: bool) -> Option<Ty<'_>> {
    named(schema, is_object, SELF)
}

fn named<'a>(schema: &'a JSONSchemaProps, is_object: bool, name: &str) -> Option<Ty<'a>> {
    if schema.x_kubernetes_int_or_string == Some(true) {
        return Some(Ty::Dyn);
    }
    let embeds = |inner: &JSONSchemaProps| inner.x_kubernetes_embedded_resource == Some(true);
    let inner = |inner: &'a JSONSchemaProps, part: &str| {
        named(inner, embeds(inner), &format!("{name}.{part}"))
    };
    Some(match text(&schema.type_) {
        "object" | "" if is_object => object(schema, true, name),
        "array" => Ty::list(inner(walk::items(schema)?, "@idx")?),
        "object" => match walk::additional(schema) {
            Some(values) => Ty::texts_to(inner(values, "@elem")?),
            None => object(schema, false, name),
        },
        "string" => match text(&schema.format) {
            "byte" => Ty::Bytes,
            "duration" => Ty::Duration,
            "date" | "date-time" => Ty::Time,
            _ => Ty::Text,
        },
        "boolean" => Ty::Bool,
        "number" => Ty::Double,
        "integer" => Ty::Int,
        _ => return None,
    })
}

fn object<'a>(schema: &'a JSONSchemaProps, is_object: bool, name: &str) -> Ty<'a> {
    Ty::object(Object { schema, is_object, name: name.to_owned() })
}

#[derive(Debug)]
struct Object<'a> {
    schema: &'a JSONSchemaProps,
    is_object: bool,
    name: String,
}

impl<'a> Fields<'a> for Object<'a> {
    fn name(&self) -> &str {
        &self.name
    }

    fn field(&self, name: &str) -> Option<Ty<'a>> {
        let whole = format!("{}.{name}", self.name);
        if self.is_object {
            match name {
                "apiVersion" | "kind" => return Some(Ty::Text),
                "metadata" => return Some(Ty::object(Metadata(whole))),
                _ => {}
            }
        }
        let property = unescaped(name);
        let found = self.schema.properties.as_ref()?.get(&*property)?;
        let embeds = found.x_kubernetes_embedded_resource == Some(true);
        named(found, embeds, &whole).filter(|_| escaped(&property) == name)
    }
}

/// What rules see of an object's metadata.
#[derive(Debug)]
struct Metadata(String);

impl<'a> Fields<'a> for Metadata {
    fn name(&self) -> &str {
        &self.0
    }

    fn field(&self, name: &str) -> Option<Ty<'a>> {
        matches!(name, "name" | "generateName").then_some(Ty::Text)
    }
}
