use pinnace_api::field::{ErrorList, Path};
use pinnace_api::patch::{self, Patch};
use pinnace_api::schema::{Schema, TypeRef, unknown_fields};
use pinnace_api::{ApiError, Reason, Result};
use pinnace_client::{FieldValidation, WriteOptions};
use serde_json::Value;

/// The type of the `scale` subresource.
pub(crate) fn scale_type() -> Option<TypeRef<'static>> {
    Schema::builtin().type_of("autoscaling", "v1", "Scale")
}

/// An object with a patch applied. Strategic merges are for built-in kinds, whose types say how.
pub(crate) fn apply_patch(
    kind: Option<TypeRef<'_>>,
    merges_strategically: bool,
    patch: &Patch,
    object: Value,
) -> Result<Value> {
    match (patch, kind) {
        (Patch::Json(operations), _) => patch::json(object, operations),
        (Patch::Merge(change), _) => patch::merge(object, change),
        (Patch::StrategicMerge(change), Some(kind)) if merges_strategically => {
            patch::strategic_merge(kind, object, change.clone())
        }
        (Patch::StrategicMerge(_) | Patch::Apply(_), _) => Err(ApiError::new(
            Reason::UnsupportedMediaType,
            "the body of the request was in an unknown format - accepted media types include: \
             application/json-patch+json, application/merge-patch+json, \
             application/apply-patch+yaml",
        )),
    }
}

/// Deals with fields that a kind does not have, once an object has been patched: which ones a patch
/// puts there shows only in what came of it.
///
/// # Errors
/// `Invalid` under strict validation.
pub(crate) fn check_patched(
    kind: Option<TypeRef<'_>>,
    patch: &Patch,
    patched: &Value,
    options: &WriteOptions,
) -> Result<()> {
    match options.field_validation {
        FieldValidation::Ignore => return Ok(()),
        FieldValidation::Warn if !options.warnings.are_kept() => return Ok(()),
        _ => {}
    }
    let mut problems = options.problems.clone();
    problems.extend(kind.into_iter().flat_map(|kind| unknown_fields(kind, patched)));
    if problems.is_empty() {
        return Ok(());
    }
    if options.field_validation == FieldValidation::Strict {
        let mut errors = ErrorList::default();
        let why = format!("strict decoding error: {}", problems.join(", "));
        // As upstream: of a strategic merge, what was asked for.
        let shown = if let Patch::StrategicMerge(change) = patch { change } else { patched };
        errors.invalid(&Path::root("patch"), shown.to_string(), &why);
        return Err(ApiError::invalid_kind("", "", "", &errors));
    }
    problems.into_iter().for_each(|problem| options.warnings.add(problem));
    Ok(())
}
