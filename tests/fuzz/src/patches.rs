//! Every type of patch. An input is a document in JSON, a newline, and the patch.

use jiff::Timestamp;
use pinnace_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use pinnace_api::patch::{self, FieldManager, MAX_DEPTH};
use pinnace_api::schema::{Schema, TypeRef};
use serde_json::Value;

use crate::split;

fn pair(data: &[u8]) -> Option<(Value, Value)> {
    let (document, patch) = split(data)?;
    Some((serde_json::from_slice(document).ok()?, serde_json::from_slice(patch).ok()?))
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// The type of the document, if it is a built-in kind.
fn type_of(document: &Value) -> Option<TypeRef<'static>> {
    let version = document["apiVersion"].as_str()?;
    let (group, version) = version.split_once('/').unwrap_or(("", version));
    Schema::builtin().type_of(group, version, document["kind"].as_str()?)
}

/// RFC 6902: nothing grows beyond its bounds.
pub(crate) fn json(data: &[u8]) {
    let Some((document, patch)) = pair(data) else { return };
    if let Ok(patched) = patch::json(document, &patch) {
        assert!(depth(&patched) <= MAX_DEPTH + 1);
    }
}

/// RFC 7386: doing it twice changes nothing more.
pub(crate) fn merge(data: &[u8]) {
    let Some((document, patch)) = pair(data) else { return };
    let Ok(once) = patch::merge(document, &patch) else { return };
    assert_eq!(patch::merge(once.clone(), &patch).unwrap(), once);
}

/// Strategic merge, with all its directives.
pub(crate) fn strategic(data: &[u8]) {
    let Some((document, patch)) = pair(data) else { return };
    let Some(ty) = type_of(&document) else { return };
    if let Ok(patched) = patch::strategic_merge(ty, document, patch.clone()) {
        // Directives may add to what is there each time, but never fail on their own work.
        let _ = patch::strategic_merge(ty, patched, patch);
    }
}

/// Server-side apply: doing it twice changes nothing more, neither in the object nor in the book.
pub(crate) fn apply(data: &[u8]) {
    let Some((live, applied)) = pair(data) else { return };
    let Some(ty) = type_of(&live) else { return };
    let api_version = live["apiVersion"].as_str().unwrap_or_default();
    let by = FieldManager {
        name: "fuzz",
        api_version,
        subresource: "",
        time: Time(Timestamp::UNIX_EPOCH),
        reset_fields: &[&["status"]],
    };
    let Ok((once, book)) = patch::apply(ty, &live, &applied, &[], &by, true) else { return };
    let (twice, same) = patch::apply(ty, &once, &applied, &book, &by, false)
        .expect("a manager has no conflicts with itself");
    assert_eq!(twice, once);
    assert_eq!(same, book);
}
