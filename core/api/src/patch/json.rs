use std::io;

use json_patch::{PatchErrorKind, PatchOperation};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Status, StatusCause, StatusDetails};
use serde_json::Value;

use crate::{ApiError, Reason, Result};

/// How many operations a JSON patch may have, as upstream.
pub const MAX_OPERATIONS: usize = 10_000;
/// How many bytes the copy operations of a JSON patch may add together, as upstream.
pub const MAX_COPIED_BYTES: usize = 3 * 1024 * 1024;
/// How deep a document may be that comes out of a JSON patch: what is deeper could be written but
/// not read again.
pub const MAX_DEPTH: usize = 100;
/// How deep a document may become between two looks at it, so that walking it needs little stack.
const LOOK_AT_DEPTH: usize = 500;
/// What JSON as it is read may have at most.
const READ_DEPTH: usize = 128;

/// Applies a JSON patch (RFC 6902).
///
/// # Errors
/// `BadRequest` when it is no JSON patch, `RequestEntityTooLarge` when it has too many operations,
/// `Invalid` when an operation does not apply, with the reason as cause.
pub fn json(mut document: Value, patch: &Value) -> Result<Value> {
    if let Value::Array(operations) = patch
        && operations.len() > MAX_OPERATIONS
    {
        let message = format!(
            "Request entity is too large: The allowed maximum operations in a JSON patch is \
             {MAX_OPERATIONS}, got {}",
            operations.len()
        );
        return Err(ApiError::new(Reason::RequestEntityTooLarge, message));
    }
    let patch: json_patch::Patch = serde::Deserialize::deserialize(patch)
        .map_err(|error| ApiError::bad_request(format!("error decoding patch: {error}")))?;
    let mut bounds = Bounds { copied: 0, deepest: READ_DEPTH };
    for operation in patch.0 {
        bounds.allow(&document, &operation)?;
        if is_test_for_nothing(&document, &operation) {
            continue;
        }
        json_patch::patch_unsafe(&mut document, std::slice::from_ref(&operation)).map_err(
            |error| {
                let path = operation.path();
                rejected(match error.kind {
                    PatchErrorKind::TestFailed => format!("testing value {path} failed"),
                    PatchErrorKind::InvalidFromPointer => {
                        format!("operation at {path}: there is nothing at its \"from\"")
                    }
                    _ => format!("operation at {path} does not apply: there is no such path"),
                })
            },
        )?;
    }
    bounds.check(&document)?;
    Ok(document)
}

/// Applies a merge patch (RFC 7386).
///
/// # Errors
/// `BadRequest` when it is not an object.
pub fn merge(mut document: Value, patch: &Value) -> Result<Value> {
    if !patch.is_object() {
        return Err(ApiError::bad_request("Invalid JSON Patch"));
    }
    json_patch::merge(&mut document, patch);
    Ok(document)
}

/// What upstream answers to a patch that does not apply; it keeps the reason to itself.
fn rejected(reason: String) -> ApiError {
    let cause = StatusCause { field: Some("patch".into()), message: Some(reason), reason: None };
    ApiError::from_status(Status {
        code: Some(422),
        reason: Some("Invalid".into()),
        message: Some("the server rejected our request due to an error in our request".into()),
        details: Some(StatusDetails { causes: Some(vec![cause]), ..Default::default() }),
        ..Default::default()
    })
}

/// As upstream: what is not there is as good as null to a test.
fn is_test_for_nothing(document: &Value, operation: &PatchOperation) -> bool {
    matches!(operation, PatchOperation::Test(test)
        if test.value.is_null() && document.pointer(test.path.as_str()).is_none())
}

struct Bounds {
    copied: usize,
    /// At least as deep as the document.
    deepest: usize,
}

impl Bounds {
    fn allow(&mut self, document: &Value, operation: &PatchOperation) -> Result<()> {
        let below = operation.path().count();
        match operation {
            PatchOperation::Copy(copy) => {
                self.copied += document.pointer(copy.from.as_str()).map_or(0, size);
                if self.copied > MAX_COPIED_BYTES {
                    return Err(rejected(format!(
                        "Unable to complete the copy, the accumulated size increase of copy is \
                         {}, exceeding the limit {MAX_COPIED_BYTES}",
                        self.copied
                    )));
                }
                self.deepest += below;
            }
            PatchOperation::Move(_) => self.deepest += below,
            PatchOperation::Add(_) | PatchOperation::Replace(_) => {
                self.deepest = self.deepest.max(below + READ_DEPTH);
            }
            PatchOperation::Remove(_) | PatchOperation::Test(_) => {}
        }
        if below > MAX_DEPTH {
            return Err(too_deep());
        }
        if self.deepest > LOOK_AT_DEPTH {
            self.check(document)?;
            // The operation itself has not happened yet.
            self.deepest = 2 * MAX_DEPTH;
        }
        Ok(())
    }

    fn check(&self, document: &Value) -> Result<()> {
        if depth(document) > MAX_DEPTH { Err(too_deep()) } else { Ok(()) }
    }
}

fn too_deep() -> ApiError {
    rejected(format!("the document would be more than {MAX_DEPTH} levels deep"))
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(object) => 1 + object.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

fn size(value: &Value) -> usize {
    struct Counter(usize);
    impl io::Write for Counter {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut counter = Counter(0);
    match serde_json::to_writer(&mut counter, value) {
        Ok(()) => counter.0,
        Err(_) => usize::MAX / 2,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn patched(document: Value, patch: Value) -> Value {
        super::json(document, &patch).unwrap()
    }

    fn refusal(document: Value, patch: Value) -> (u16, String) {
        let error = super::json(document, &patch).unwrap_err();
        let causes = error.details().and_then(|details| details.causes.as_ref());
        let cause = causes.and_then(|causes| causes[0].message.clone());
        (error.code(), cause.unwrap_or_else(|| error.message().to_owned()))
    }

    #[test]
    fn operations_are_done_in_order() {
        let document = patched(
            json!({"a": [1, 2], "b": {"c": 3}}),
            json!([
                {"op": "test", "path": "/a/0", "value": 1},
                {"op": "add", "path": "/a/-", "value": 4},
                {"op": "replace", "path": "/b/c", "value": 5},
                {"op": "move", "from": "/a/0", "path": "/b/d"},
                {"op": "copy", "from": "/b", "path": "/e~1f"},
                {"op": "remove", "path": "/b"},
            ]),
        );
        assert_eq!(document, json!({"a": [2, 4], "e/f": {"c": 5, "d": 1}}));
    }

    #[test]
    fn what_is_not_there_tests_as_null() {
        let patch = json!([{"op": "test", "path": "/x/y", "value": null}]);
        assert_eq!(patched(json!({}), patch.clone()), json!({}));
        assert_eq!(refusal(json!({"x": {"y": 1}}), patch).0, 422);
    }

    #[test]
    fn what_does_not_apply_is_invalid() {
        let test = json!([{"op": "test", "path": "/a", "value": 2}]);
        assert_eq!(refusal(json!({"a": 1}), test), (422, "testing value /a failed".into()));
        assert_eq!(refusal(json!({}), json!([{"op": "remove", "path": "/a"}])).0, 422);
        let error = super::json(json!({}), &json!([{"op": "remove", "path": "/a"}])).unwrap_err();
        assert_eq!(
            error.message(),
            "the server rejected our request due to an error in our request"
        );
    }

    #[test]
    fn what_is_no_patch_is_a_bad_request() {
        assert_eq!(refusal(json!({}), json!({"op": "add"})).0, 400);
        assert_eq!(refusal(json!({}), json!([{"op": "jump", "path": "/a"}])).0, 400);
        assert_eq!(super::merge(json!({}), &json!([])).unwrap_err().code(), 400);
    }

    #[test]
    fn too_many_operations_are_refused() {
        let operations = vec![json!({"op": "test", "path": "", "value": {}}); MAX_OPERATIONS + 1];
        let (code, message) = refusal(json!({}), Value::Array(operations));
        assert_eq!(code, 413);
        assert!(message.ends_with("is 10000, got 10001"), "{message}");
    }

    #[test]
    fn a_patch_cannot_make_a_document_grow_without_bounds() {
        let doubling: Vec<_> =
            (0..100).map(|n| json!({"op": "copy", "from": "", "path": format!("/{n}")})).collect();
        let (code, message) = refusal(json!({"a": "0123456789"}), Value::Array(doubling));
        assert_eq!(code, 422);
        assert!(message.starts_with("Unable to complete the copy"), "{message}");
    }

    #[test]
    fn a_patch_cannot_make_a_document_deeper_than_it_can_be_read() {
        let deeper: Vec<_> = (0..MAX_OPERATIONS)
            .map(|n| match n % 3 {
                0 => json!({"op": "add", "path": "/new", "value": {}}),
                1 => json!({"op": "move", "from": "/old", "path": "/new/x"}),
                _ => json!({"op": "move", "from": "/new", "path": "/old"}),
            })
            .collect();
        let (code, message) = refusal(json!({"old": {}}), Value::Array(deeper));
        assert_eq!(code, 422);
        assert!(message.ends_with("levels deep"), "{message}");
    }

    #[test]
    fn a_merge_patch_sets_and_removes() {
        let merged = super::merge(
            json!({"a": {"b": 1, "c": 2}, "d": [1, 2]}),
            &json!({"a": {"b": null, "e": {"f": null, "g": 1}}, "d": [3]}),
        );
        assert_eq!(merged.unwrap(), json!({"a": {"c": 2, "e": {"g": 1}}, "d": [3]}));
    }
}
