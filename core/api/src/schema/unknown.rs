use std::fmt::Write as _;

use serde_json::Value;

use super::{Type, TypeRef};

/// How many unknown fields are told; the rest would only be noise.
const MAX: usize = 100;

/// The fields of a document that its type does not have, in upstream's words:
/// `unknown field "spec.containers[0].foo"`.
pub fn unknown_fields(ty: TypeRef<'_>, document: &Value) -> Vec<String> {
    let mut found = Vec::new();
    walk(ty, document, &mut String::new(), &mut found);
    found
}

fn walk(ty: TypeRef<'_>, value: &Value, path: &mut String, found: &mut Vec<String>) {
    let length = path.len();
    match (value, ty.shape()) {
        (Value::Object(object), Type::Object(_)) => {
            for (name, value) in object {
                if found.len() == MAX {
                    return;
                }
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(name);
                match ty.field(name) {
                    Some(ty) => walk(ty, value, path, found),
                    None => found.push(format!("unknown field \"{path}\"")),
                }
                path.truncate(length);
            }
        }
        (Value::Array(items), Type::List(_)) => {
            let Some(ty) = ty.item() else { return };
            for (index, value) in items.iter().enumerate() {
                // A string takes all.
                let _ = write!(path, "[{index}]");
                walk(ty, value, path, found);
                path.truncate(length);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::schema::{Schema, unknown_fields};

    #[track_caller]
    fn check(document: Value, expected: &[&str]) {
        let pod = Schema::builtin().type_of("", "v1", "Pod").unwrap();
        assert_eq!(unknown_fields(pod, &document), expected);
    }

    #[test]
    fn unknown_fields_are_told_with_their_path() {
        check(
            json!({"spec": {"foo": 1, "containers": [{"name": "a"}, {"imagee": "x"}]}, "x": {}}),
            &[
                "unknown field \"spec.containers[1].imagee\"",
                "unknown field \"spec.foo\"",
                "unknown field \"x\"",
            ],
        );
    }

    #[test]
    fn keys_of_maps_and_free_form_values_are_not_fields() {
        check(
            json!({
                "metadata": {
                    "labels": {"a": "b"},
                    "managedFields": [{"fieldsV1": {"f:spec": {"f:x": {}}}}],
                },
                "spec": {"nodeSelector": {"x": "y"}, "containers": [{"resources":
                    {"limits": {"example.com/gpu": 1}}}]},
            }),
            &[],
        );
    }

    #[test]
    fn values_of_a_wrong_type_are_somebody_elses_business() {
        check(json!({"spec": {"containers": {"a": 1}, "nodeName": {"x": 1}}}), &[]);
    }

    #[test]
    fn only_so_many_are_told() {
        let many: serde_json::Map<_, _> = (0..1000).map(|n| (n.to_string(), json!(n))).collect();
        let pod = Schema::builtin().type_of("", "v1", "Pod").unwrap();
        assert_eq!(unknown_fields(pod, &Value::Object(many)).len(), super::MAX);
    }
}
