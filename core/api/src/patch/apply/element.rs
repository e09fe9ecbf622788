use std::cmp::Ordering;
use std::fmt;

use serde_json::Value;

use crate::schema::{ListKind, ListType, TypeRef};

/// One step of a path through an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum PathElement {
    /// A field of a struct or key of a map.
    Field(String),
    /// The item of a list that has these keys, ordered by name.
    Key(Vec<(String, Literal)>),
    /// The item of a set.
    Value(Literal),
    /// The item at a place.
    Index(i64),
}

impl PathElement {
    pub(super) fn field(name: &str) -> Self {
        Self::Field(name.to_owned())
    }

    /// What tells an item of a list from the others.
    pub(super) fn of_item(list: &ListType, ty: TypeRef<'_>, item: &Value) -> Result<Self, String> {
        let keys = match (&list.kind, item) {
            (ListKind::Map(keys), Value::Object(_)) => keys,
            (ListKind::Map(_), Value::Null) => {
                return Err("associative list with keys may not have a null element".to_owned());
            }
            (ListKind::Map(_), _) => {
                return Err("associative list with keys may not have non-map elements".to_owned());
            }
            (_, Value::Object(_)) => {
                return Err(
                    "associative list without keys has an element that's a map type".to_owned()
                );
            }
            (_, Value::Array(_)) => {
                return Err("not supported: associative list with lists as elements".to_owned());
            }
            (_, Value::Null) => {
                return Err("associative list without keys has an element that's an explicit null"
                    .to_owned());
            }
            (_, value) => return Ok(Self::Value(Literal(value.clone()))),
        };
        let mut fields: Vec<(String, Literal)> = keys
            .iter()
            .filter_map(|key| {
                let default = || ty.declared(key).and_then(|field| field.default.as_ref());
                let value = item.get(&**key).or_else(default)?;
                Some((key.to_string(), Literal(value.clone())))
            })
            .collect();
        if fields.is_empty() {
            let keys: Vec<_> = keys.iter().map(|key| format!("{key:?}")).collect();
            return Err(format!(
                "associative list with keys has an element that omits all key fields [{}] (and \
                 doesn't have default values for any key fields)",
                keys.join(" ")
            ));
        }
        fields.sort();
        Ok(Self::Key(fields))
    }
}

impl fmt::Display for PathElement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => write!(f, ".{name}"),
            Self::Key(keys) => {
                for (index, (name, value)) in keys.iter().enumerate() {
                    write!(f, "{}{name}={value}", if index == 0 { "[" } else { "," })?;
                }
                f.write_str("]")
            }
            Self::Value(value) => write!(f, "[={value}]"),
            Self::Index(index) => write!(f, "[{index}]"),
        }
    }
}

/// A path as messages show it.
pub(super) fn shown(path: &[PathElement]) -> String {
    path.iter().map(ToString::to_string).collect()
}

/// A value with an order: numbers, texts, booleans, lists, maps, null. Numbers are equal by what
/// they count, however they are written.
#[derive(Clone, Debug)]
pub(super) struct Literal(pub(super) Value);

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Value::String(text) => write!(f, "{text:?}"),
            other => write!(f, "{other}"),
        }
    }
}

impl PartialEq for Literal {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Literal {}

impl PartialOrd for Literal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Literal {
    fn cmp(&self, other: &Self) -> Ordering {
        compare(&self.0, &other.0)
    }
}

/// Whether two values are the same.
pub(super) fn same(a: &Value, b: &Value) -> bool {
    a == b || compare(a, b).is_eq()
}

fn compare(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => match (a.as_i64(), b.as_i64()) {
            (Some(a), Some(b)) => a.cmp(&b),
            _ => a.as_f64().unwrap_or(0.0).total_cmp(&b.as_f64().unwrap_or(0.0)),
        },
        (Value::String(a), Value::String(b)) => a.cmp(b),
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::Array(a), Value::Array(b)) => {
            let items = a.iter().zip(b).map(|(a, b)| compare(a, b));
            items.fold(Ordering::Equal, Ordering::then).then(a.len().cmp(&b.len()))
        }
        (Value::Object(a), Value::Object(b)) => {
            let fields = a.iter().zip(b).map(|(a, b)| a.0.cmp(b.0).then_with(|| compare(a.1, b.1)));
            fields.fold(Ordering::Equal, Ordering::then).then(a.len().cmp(&b.len()))
        }
        _ => rank(a).cmp(&rank(b)),
    }
}

fn rank(value: &Value) -> u8 {
    match value {
        Value::Number(_) => 0,
        Value::String(_) => 1,
        Value::Bool(_) => 2,
        Value::Array(_) => 3,
        Value::Object(_) => 4,
        Value::Null => 5,
    }
}
