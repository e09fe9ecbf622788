//! The way from kubectl's client-side apply to server-side apply: what its annotation says was
//! applied is no conflict for the manager `kubectl`, and the annotation is kept up to date.

use serde_json::Value;

use super::compare::Comparison;
use super::field_set::FieldSet;
use super::typed;
use crate::schema::TypeRef;

pub(super) const MANAGER: &str = "kubectl";
const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// How large all annotations of an object may be together.
const MAX_ANNOTATIONS: usize = 256 * 1024;

/// What the annotation says was applied and is still so.
pub(super) fn allowed_conflicts(
    ty: TypeRef<'_>,
    live: &Value,
    api_version: &str,
) -> Option<FieldSet> {
    let text = live["metadata"]["annotations"][ANNOTATION].as_str()?;
    let last: Value = serde_json::from_str(text).ok()?;
    if last["apiVersion"] != api_version || typed::check(ty, &last, false).is_err() {
        return None;
    }
    let differs = Comparison::of(ty, &last, live).ok()?;
    let differing = differs.changed().union(&differs.removed);
    Some(typed::field_set(ty, &last).difference(&differing))
}

/// Writes what was applied into the annotation, if the object has one.
pub(super) fn keep_last_applied(object: &mut Value, applied: &Value) {
    let Some(Value::Object(annotations)) = object.pointer_mut("/metadata/annotations") else {
        return;
    };
    if annotations.get(ANNOTATION).and_then(Value::as_str).is_none_or(str::is_empty) {
        return;
    }
    let mut applied = applied.clone();
    if let Some(Value::Object(inner)) = applied.pointer_mut("/metadata/annotations") {
        inner.remove(ANNOTATION);
    }
    annotations.insert(ANNOTATION.to_owned(), format!("{applied}\n").into());
    let size = |(name, value): (&String, &Value)| name.len() + value.as_str().map_or(0, str::len);
    if annotations.iter().map(size).sum::<usize>() > MAX_ANNOTATIONS {
        annotations.remove(ANNOTATION);
    }
}
