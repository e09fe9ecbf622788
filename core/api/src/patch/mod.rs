//! Patches: ways to say what is to change about an object.

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
