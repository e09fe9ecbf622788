use pinnace_api::patch::{self, Patch};
use pinnace_api::schema::{Schema, TypeRef};
use pinnace_api::{ApiError, Reason, Resource, Result};
use serde_json::Value;

/// The type of a kind, by which its lists are merged; `None` for kinds without a known schema.
pub(crate) fn type_of(resource: &Resource) -> Option<TypeRef<'static>> {
    Schema::builtin().type_of(&resource.group, &resource.version, &resource.kind)
}

/// The type of the `scale` subresource.
pub(crate) fn scale_type() -> Option<TypeRef<'static>> {
    Schema::builtin().type_of("autoscaling", "v1", "Scale")
}

/// An object with a patch applied.
pub(crate) fn apply_patch(
    kind: Option<TypeRef<'_>>,
    patch: &Patch,
    object: Value,
) -> Result<Value> {
    match (patch, kind) {
        (Patch::Json(operations), _) => patch::json(object, operations),
        (Patch::Merge(change), _) => patch::merge(object, change),
        (Patch::StrategicMerge(change), Some(kind)) => {
            patch::strategic_merge(kind, object, change.clone())
        }
        (Patch::StrategicMerge(_), None) | (Patch::Apply(_), _) => Err(ApiError::new(
            Reason::UnsupportedMediaType,
            "the body of the request was in an unknown format - accepted media types include: \
             application/json-patch+json, application/merge-patch+json",
        )),
    }
}
