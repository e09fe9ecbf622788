//! Lists that are sets or maps hold nothing twice.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::{ListType, Node};
use crate::field::{ErrorList, Path};
use crate::kinds::check::Json;

/// Checks that the items of a list can be told apart.
pub(super) fn check(
    list: &ListType,
    items: Option<&Node>,
    all: &[Value],
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    let mut seen = HashSet::new();
    match list {
        ListType::Set => {
            for (index, item) in all.iter().enumerate() {
                if !seen.insert(canonical(item)) {
                    errors.duplicate(&path.index(index), Json(item));
                }
            }
        }
        ListType::Map(keys) => {
            for (index, item) in all.iter().enumerate() {
                let Some(fields) = item.as_object() else { continue };
                let of = |key: &str| {
                    let default = items.and_then(|items| items.field(key)?.default.as_deref());
                    fields.get(key).or(default)
                };
                let key: Map<String, Value> = keys
                    .iter()
                    .filter_map(|key| Some((key.to_string(), of(key)?.clone())))
                    .collect();
                let key = Value::Object(key);
                if !seen.insert(canonical(&key)) {
                    errors.duplicate(&path.index(index), Json(&key));
                }
            }
        }
        ListType::Unsaid | ListType::Atomic => {}
    }
}

/// The item of another version of a list that has the keys of this one.
pub(super) fn counterpart<'a>(
    list: &ListType,
    old: &'a [Value],
    item: &Value,
) -> Option<&'a Value> {
    let ListType::Map(keys) = list else { return None };
    old.iter().find(|one| keys.iter().all(|key| one.get(&**key) == item.get(&**key)))
}

/// Whether a value stands twice in a list.
pub(super) fn has_twice(all: &[Value]) -> bool {
    let mut seen = HashSet::new();
    !all.iter().all(|item| seen.insert(canonical(item)))
}

/// The same text for the same value.
fn canonical(value: &Value) -> String {
    match value {
        // `1` and `1.0` are one number.
        Value::Number(number) if number.as_i64().is_none() => match number.as_f64() {
            Some(whole) if whole.fract() == 0.0 && whole.abs() < 9e15 => format!("{whole:.0}"),
            _ => number.to_string(),
        },
        Value::Array(all) => {
            let all: Vec<String> = all.iter().map(canonical).collect();
            format!("[{}]", all.join(","))
        }
        Value::Object(fields) => {
            let mut all: Vec<String> = fields
                .iter()
                .map(|(name, value)| format!("{name:?}:{}", canonical(value)))
                .collect();
            all.sort_unstable();
            format!("{{{}}}", all.join(","))
        }
        other => other.to_string(),
    }
}
