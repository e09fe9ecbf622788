//! Patches: ways to say what is to change about an object. All are functions from trees of JSON to
//! trees of JSON; the request pipeline decodes and validates what comes out.
//!
//! [`json`] and [`merge`] know nothing of types. [`strategic_merge`] finds in the
//! [`Schema`](crate::schema::Schema) how a list is merged. [`apply`] is server-side apply, and
//! [`track_update`] keeps `managedFields` for all other writes.

mod apply;
mod atomics;
mod json;
mod strategic;

pub use apply::{FieldManager, MAX_UPDATE_MANAGERS, apply, track_update};
pub use atomics::atomic_parts;
pub use json::{MAX_COPIED_BYTES, MAX_DEPTH, MAX_OPERATIONS, json, merge};
pub use strategic::strategic_merge;

/// A patch of one of the four types that Kubernetes knows.
#[derive(Clone, Debug, PartialEq)]
pub enum Patch {
    /// RFC 6902, a list of operations.
    Json(serde_json::Value),
    /// RFC 7386, a partial object.
    Merge(serde_json::Value),
    /// A partial object whose lists are merged by key.
    StrategicMerge(serde_json::Value),
    /// What one manager wants of an object: server-side apply.
    Apply(serde_json::Value),
}

impl Patch {
    /// The media type by which a request says what kind of patch it carries.
    pub fn media_type(&self) -> &'static str {
        match self {
            Self::Json(_) => "application/json-patch+json",
            Self::Merge(_) => "application/merge-patch+json",
            Self::StrategicMerge(_) => "application/strategic-merge-patch+json",
            Self::Apply(_) => "application/apply-patch+yaml",
        }
    }

    /// Whether it may read or change `metadata.managedFields`. A patch that does not can be applied
    /// to an object without them.
    pub fn touches_managed_fields(&self) -> bool {
        match self {
            Self::Json(operations) => operations.as_array().is_none_or(|operations| {
                let pointers = |operation: &serde_json::Value| {
                    ["path", "from"].into_iter().any(|end| {
                        let pointer = operation.get(end).and_then(serde_json::Value::as_str);
                        pointer.is_some_and(|pointer| {
                            matches!(pointer, "" | "/metadata")
                                || pointer.starts_with("/metadata/managedFields")
                        })
                    })
                };
                operations.iter().any(pointers)
            }),
            Self::Merge(change) | Self::StrategicMerge(change) => {
                let metadata = change.get("metadata");
                metadata.is_some_and(|metadata| {
                    metadata.get("managedFields").is_some() || metadata.get("$patch").is_some()
                })
            }
            Self::Apply(_) => false,
        }
    }
}
