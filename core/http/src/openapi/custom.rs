//! The schemas of definitions as clients are told them.

use serde_json::{Map, Value, json};

use super::types::Flavor;

/// What `metadata` is, as the types of Kubernetes say it.
pub(super) const METADATA: &str = "Standard object's metadata. More info: \
    https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata";

/// The fields that every object has.
pub(super) struct Usual {
    pub(super) api_version: Value,
    pub(super) kind: Value,
    pub(super) metadata: Value,
}

impl Usual {
    fn add_to(&self, schema: &mut Map<String, Value>) {
        let properties = schema.entry("properties").or_insert_with(|| json!({}));
        properties["apiVersion"] = self.api_version.clone();
        properties["kind"] = self.kind.clone();
        properties["metadata"] = self.metadata.clone();
    }
}

/// Whether objects of a schema keep fields that it does not name.
pub(super) fn preserves(schema: &Value) -> bool {
    schema["x-kubernetes-preserve-unknown-fields"] == true
}

/// Makes the schema of a kind what a document of this flavor says of it.
pub(super) fn publish(schema: &mut Value, usual: &Usual, flavor: Flavor) {
    walk(schema, usual, flavor);
    if let Some(schema) = schema.as_object_mut() {
        usual.add_to(schema);
    }
}

fn walk(schema: &mut Value, usual: &Usual, flavor: Flavor) {
    let free = preserves(schema);
    let Some(object) = schema.as_object_mut() else { return };
    if flavor == Flavor::V2 {
        simplify(object, free);
    }
    for name in ["items", "additionalProperties"] {
        if let Some(inner) = object.get_mut(name) {
            walk(inner, usual, flavor);
        }
    }
    if let Some(properties) = object.get_mut("properties").and_then(Value::as_object_mut) {
        properties.values_mut().for_each(|inner| walk(inner, usual, flavor));
    }
    let embedded = object.get("x-kubernetes-embedded-resource") == Some(&Value::Bool(true));
    if embedded && !(free && flavor == Flavor::V2) {
        usual.add_to(object);
        let required = object.entry("required").or_insert_with(|| json!([]));
        if let Some(required) = required.as_array_mut() {
            for name in ["kind", "apiVersion"] {
                if !required.iter().any(|one| one == name) {
                    required.push(name.into());
                }
            }
        }
    }
}

/// Leaves out what kubectl misreads in OpenAPI v2: a value that may be null, or may have more fields
/// than are named, has no type and no parts there.
fn simplify(schema: &mut Map<String, Value>, free: bool) {
    let nullable = schema.get("nullable") == Some(&Value::Bool(true));
    if nullable || free {
        schema.remove("items");
        schema.remove("properties");
    }
    let of_type = |name: &str| schema.get("type").is_some_and(|ty| ty == name);
    let partless = of_type("array") && !schema.contains_key("items");
    if nullable || partless || (free && of_type("object")) {
        schema.remove("type");
    }
    let may_be_null = |name: &str, schema: &Map<String, Value>| {
        let property = schema.get("properties").and_then(|all| all.get(name));
        let values = schema.get("additionalProperties").filter(|values| values.is_object());
        property.into_iter().chain(values).any(|one| one["nullable"] == true)
    };
    if let Some(Value::Array(mut required)) = schema.remove("required") {
        required.retain(|name| !name.as_str().is_some_and(|name| may_be_null(name, schema)));
        if !required.is_empty() {
            schema.insert("required".to_owned(), required.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(flavor: Flavor, mut schema: Value, expected: Value) {
        let usual = Usual { api_version: json!("a"), kind: json!("k"), metadata: json!("m") };
        walk(&mut schema, &usual, flavor);
        assert_eq!(schema, expected);
    }

    #[test]
    fn v2_says_nothing_of_what_may_be_null_or_anything() {
        let text = json!({"type": "string"});
        let free = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true,
                          "properties": {"a": text}});
        check(Flavor::V2, free.clone(), json!({"x-kubernetes-preserve-unknown-fields": true}));
        check(Flavor::V3, free.clone(), free);
        check(
            Flavor::V2,
            json!({"type": "object", "required": ["a", "b"], "properties": {
                "a": {"type": "array", "items": text, "nullable": true}, "b": text}}),
            json!({"type": "object", "required": ["b"], "properties": {
                "a": {"nullable": true}, "b": text}}),
        );
    }

    #[test]
    fn an_object_within_has_what_every_object_has() {
        let within = json!({"type": "object", "x-kubernetes-embedded-resource": true});
        let expected = json!({"type": "object", "x-kubernetes-embedded-resource": true,
            "properties": {"apiVersion": "a", "kind": "k", "metadata": "m"},
            "required": ["kind", "apiVersion"]});
        check(
            Flavor::V3,
            json!({"type": "array", "items": within}),
            json!({"type": "array", "items": expected}),
        );
    }
}
