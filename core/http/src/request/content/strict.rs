//! Reads JSON as any reader does, noting the fields that are there twice, and those that a type does
//! not have, in the order in which they stand.

use std::fmt;

use pinnace_api::manifest::MAX_VALUES;
use pinnace_api::schema::{Type, TypeRef};
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// How many problems are told.
const MAX: usize = 100;

/// A value and the problems with its fields. Without a type all fields may be there, once; with one,
/// what it does not look into may be anything.
pub(super) fn read(
    json: &[u8],
    ty: Option<TypeRef<'_>>,
) -> serde_json::Result<(Value, Vec<String>)> {
    read_by(json, ty.map_or(Rules::Once, Rules::Typed))
}

/// The same for the operations of a JSON patch.
pub(super) fn read_operations(json: &[u8]) -> serde_json::Result<(Value, Vec<String>)> {
    read_by(json, Rules::Operations)
}

fn read_by(json: &[u8], rules: Rules<'_>) -> serde_json::Result<(Value, Vec<String>)> {
    let mut reader = Reader { path: String::new(), found: Vec::new(), left: MAX_VALUES };
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let value = Node(&mut reader, rules).deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok((value, reader.found))
}

struct Reader {
    path: String,
    found: Vec<String>,
    /// How many values there may still be.
    left: usize,
}

impl Reader {
    fn tell(&mut self, problem: &str) {
        let found = format!("{problem} field \"{}\"", self.path);
        if self.found.len() < MAX && !self.found.contains(&found) {
            self.found.push(found);
        }
    }
}

/// What is expected of fields.
#[derive(Clone, Copy)]
enum Rules<'a> {
    Any,
    Once,
    Typed(TypeRef<'a>),
    /// A list of operations.
    Operations,
    Operation,
}

impl<'a> Rules<'a> {
    fn of(ty: TypeRef<'a>) -> Self {
        match ty.shape() {
            Type::Object(_) | Type::List(_) => Self::Typed(ty),
            _ => Self::Any,
        }
    }

    fn item(self) -> Self {
        match self {
            Self::Typed(ty) => ty.item().map_or(Self::Any, Self::of),
            Self::Operations => Self::Operation,
            other => other,
        }
    }

    /// `None` for a field that may not be there.
    fn field(self, name: &str) -> Option<Self> {
        match self {
            Self::Typed(ty) if matches!(ty.shape(), Type::Object(_)) => {
                ty.field(name).map(Self::of)
            }
            Self::Typed(_) => Some(Self::Any),
            Self::Operation => match name {
                "op" | "path" | "from" => Some(Self::Any),
                "value" => Some(Self::Once),
                _ => None,
            },
            other => Some(other),
        }
    }
}

struct Node<'a, 't>(&'a mut Reader, Rules<'t>);

impl<'de> DeserializeSeed<'de> for Node<'_, '_> {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        let Some(left) = self.0.left.checked_sub(1) else {
            return Err(D::Error::custom(format!("more than {MAX_VALUES} values")));
        };
        self.0.left = left;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_, '_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }
    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let length = self.0.path.len();
        let mut list = Vec::new();
        loop {
            self.0.path.push_str(&format!("[{}]", list.len()));
            let item = items.next_element_seed(Node(self.0, self.1.item()))?;
            self.0.path.truncate(length);
            match item {
                Some(item) => list.push(item),
                None => return Ok(list.into()),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let length = self.0.path.len();
        let mut map = Map::new();
        while let Some(name) = fields.next_key::<String>()? {
            if length > 0 {
                self.0.path.push('.');
            }
            self.0.path.push_str(&name);
            let rules = self.1.field(&name);
            if rules.is_none() {
                self.0.tell("unknown");
            } else if !matches!(self.1, Rules::Any) && map.contains_key(&name) {
                self.0.tell("duplicate");
            }
            let value = fields.next_value_seed(Node(self.0, rules.unwrap_or(Rules::Any)))?;
            self.0.path.truncate(length);
            map.insert(name, value);
        }
        Ok(map.into())
    }
}

#[cfg(test)]
mod tests {
    use pinnace_api::schema::Schema;
    use serde_json::json;

    use super::*;

    #[test]
    fn duplicates_are_told_with_their_path_and_the_last_one_counts() {
        let text = br#"{"a": 1, "s": {"l": [{"x": 1.5}, {"x": null, "x": [true]}]}, "a": -2}"#;
        let (value, found) = read(text, None).unwrap();
        assert_eq!(value, json!({"a": -2, "s": {"l": [{"x": 1.5}, {"x": [true]}]}}));
        assert_eq!(found, ["duplicate field \"s.l[1].x\"", "duplicate field \"a\""]);
        assert!(read(b"{} {}", None).is_err());
        assert!(read("[".repeat(200).as_bytes(), None).is_err(), "depth is bounded");
        let list = |count: usize| format!("[{}0]", "0,".repeat(count - 1));
        assert!(read(list(MAX_VALUES - 1).as_bytes(), None).is_ok());
        let error = read(list(MAX_VALUES).as_bytes(), None).unwrap_err().to_string();
        assert!(error.starts_with("more than 524288 values at line 1"), "{error}");
    }

    #[test]
    fn operations_have_fields_of_their_own() {
        let text = br#"[{"op": "add", "path": "/a", "value": {"x": 1, "x": 2}, "foo": {"y": 1}},
            {"op": "test", "path": "/b", "path": "/c", "foo": 1}]"#;
        let expected = [
            "duplicate field \"[0].value.x\"",
            "unknown field \"[0].foo\"",
            "duplicate field \"[1].path\"",
            "unknown field \"[1].foo\"",
        ];
        assert_eq!(read_operations(text).unwrap().1, expected);
    }

    #[test]
    fn problems_with_a_type_are_told_as_they_stand() {
        let text = br#"{"spec": {"z": {"a": 1, "a": 2}, "nodeSelector": {"k": "1", "k": "2"}, "b": 1,
            "containers": [{"name": "a", "x": 1, "name": "b"}], "z": 3, "hostname": {"q": 1, "q": 1}},
            "spec": {}, "a": 1}"#;
        let pod = Schema::builtin().type_of("", "v1", "Pod");
        let (_, found) = read(text, pod).unwrap();
        let expected = [
            "unknown field \"spec.z\"",
            "duplicate field \"spec.nodeSelector.k\"",
            "unknown field \"spec.b\"",
            "unknown field \"spec.containers[0].x\"",
            "duplicate field \"spec.containers[0].name\"",
            "duplicate field \"spec\"",
            "unknown field \"a\"",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn only_so_many_are_told() {
        let many: Map<_, _> = (0..1000).map(|n| (n.to_string(), json!(n))).collect();
        let pod = Schema::builtin().type_of("", "v1", "Pod");
        assert_eq!(read(json!(many).to_string().as_bytes(), pod).unwrap().1.len(), MAX);
    }
}
