use pinnace_api::patch::Patch;
use pinnace_api::{ApiError, Reason, Resource, Result};
use serde_json::Value;

/// An object with a patch applied.
pub(crate) fn apply_patch(resource: &Resource, patch: &Patch, mut object: Value) -> Result<Value> {
    match patch {
        Patch::Merge(patch) => {
            json_patch::merge(&mut object, patch);
            Ok(object)
        }
        _ => Err(ApiError::new(Reason::UnsupportedMediaType, format!("{resource:?}"))),
    }
}
