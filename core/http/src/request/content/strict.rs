//! Reads JSON as any reader does, noting the fields that are there twice.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// How many duplicates are told.
const MAX: usize = 100;

/// A value and the fields in it that are there twice.
pub(super) fn read(json: &[u8]) -> serde_json::Result<(Value, Vec<String>)> {
    let mut reader = Reader { path: String::new(), found: Vec::new() };
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let value = Node(&mut reader).deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok((value, reader.found))
}

struct Reader {
    path: String,
    found: Vec<String>,
}

struct Node<'a>(&'a mut Reader);

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
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
            let item = items.next_element_seed(Node(self.0))?;
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
            if map.contains_key(&name) && self.0.found.len() < MAX {
                let found = format!("duplicate field \"{}\"", self.0.path);
                if !self.0.found.contains(&found) {
                    self.0.found.push(found);
                }
            }
            let value = fields.next_value_seed(Node(self.0))?;
            self.0.path.truncate(length);
            map.insert(name, value);
        }
        Ok(map.into())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn duplicates_are_told_with_their_path_and_the_last_one_counts() {
        let text = br#"{"a": 1, "s": {"l": [{"x": 1.5}, {"x": null, "x": [true]}]}, "a": -2}"#;
        let (value, found) = read(text).unwrap();
        assert_eq!(value, json!({"a": -2, "s": {"l": [{"x": 1.5}, {"x": [true]}]}}));
        assert_eq!(found, ["duplicate field \"s.l[1].x\"", "duplicate field \"a\""]);
        assert!(read(b"{} {}").is_err());
        assert!(read("[".repeat(200).as_bytes()).is_err(), "depth is bounded");
    }
}
