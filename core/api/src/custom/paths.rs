//! Simple paths to fields, as definitions name them: `.spec.replicas`, `.spec['a.b']`.

use std::borrow::Cow;

use serde_json::{Map, Value};

/// The name by which a field selector knows a path: without the dot in front.
pub(super) fn name(path: &str) -> String {
    path.strip_prefix('.').unwrap_or(path).to_owned()
}

/// The steps of a path.
pub(super) fn steps(path: &str) -> Box<[Box<str>]> {
    let mut steps: Vec<Box<str>> = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        let (step, tail) = match rest.strip_prefix("['").and_then(|rest| rest.split_once("']")) {
            Some(found) => found,
            None => {
                let plain = rest.strip_prefix('.').unwrap_or(rest);
                plain.split_at(plain.find(['.', '[']).unwrap_or(plain.len()))
            }
        };
        // An odd bracket is a step of its own: it leads nowhere, and the walk ends.
        if step.is_empty() && tail.len() == rest.len() {
            break;
        }
        steps.push(step.into());
        rest = tail;
    }
    steps.into()
}

/// What is at the end of a path.
pub(super) fn get<'a>(fields: &'a Map<String, Value>, path: &[Box<str>]) -> Option<&'a Value> {
    let (first, rest) = path.split_first()?;
    rest.iter().try_fold(fields.get(&**first)?, |value, step| value.get(&**step))
}

/// Puts a value at the end of a path.
pub(super) fn set(fields: &mut Map<String, Value>, path: &[Box<str>], value: Value) {
    let Some((first, rest)) = path.split_first() else { return };
    if rest.is_empty() {
        fields.insert(first.to_string(), value);
        return;
    }
    let inner = fields.entry(first.to_string()).or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(inner) = inner {
        set(inner, rest, value);
    }
}

/// A value as selectors compare it.
pub(super) fn text(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Bool(_) | Value::Number(_) => Some(Cow::Owned(value.to_string())),
        _ => None,
    }
}
