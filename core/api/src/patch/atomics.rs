//! What a document would replace as a whole.

use serde_json::Value;

use crate::schema::{ListKind, Type, TypeRef};

/// The paths of lists, maps and structs in a document that are one value each for server-side apply,
/// such as `.spec.nodeSelector`.
pub fn atomic_parts(ty: TypeRef<'_>, document: &Value) -> Vec<String> {
    let mut found = Vec::new();
    find(ty, document, "", &mut found);
    found
}

fn find(ty: TypeRef<'_>, value: &Value, path: &str, found: &mut Vec<String>) {
    match (ty.shape(), value) {
        (Type::Object(object), Value::Object(fields)) => {
            if object.is_atomic() {
                found.push(path.to_owned());
            }
            for (name, value) in fields {
                // Values of a map are nobody's structs: upstream looks at fields alone.
                if let (Some(_), Some(inner)) = (ty.declared(name), ty.field(name)) {
                    find(inner, value, &format!("{path}.{name}"), found);
                }
            }
        }
        (Type::List(list), Value::Array(items)) => {
            if list.kind == ListKind::Atomic {
                found.push(path.to_owned());
            }
            let Some(inner) = ty.item() else { return };
            for (index, item) in items.iter().enumerate() {
                find(inner, item, &format!("{path}[{index}]"), found);
            }
        }
        (Type::Opaque, Value::Object(_) | Value::Array(_)) | (Type::Any, Value::Array(_)) => {
            found.push(path.to_owned());
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::schema::Schema;

    #[test]
    fn what_is_one_value_is_found() {
        let pod = Schema::builtin().type_of("", "v1", "Pod").unwrap();
        let rows = [
            (json!({"metadata": {"labels": {"a": "b"}}, "spec": {"hostname": "a"}}), vec![]),
            (json!({"spec": {"nodeSelector": {"a": "b"}}}), vec![".spec.nodeSelector"]),
            (json!({"spec": {"tolerations": []}}), vec![".spec.tolerations"]),
            (
                json!({"spec": {"containers": [{"name": "a"}, {"name": "b", "args": ["x"]}]}}),
                vec![".spec.containers[1].args"],
            ),
        ];
        for (document, expected) in rows {
            assert_eq!(atomic_parts(pod, &document), expected, "{document}");
        }
    }
}
