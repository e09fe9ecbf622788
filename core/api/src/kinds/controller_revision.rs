use k8s_openapi::api::apps::v1::ControllerRevision;

use super::check::{immutable, non_negative};
use crate::Strategy;
use crate::field::{ErrorList, Path};

/// Revisions that controllers keep of their templates.
pub(super) struct ControllerRevisionStrategy;

impl Strategy for ControllerRevisionStrategy {
    type Kind = ControllerRevision;

    fn validate(&self, revision: &ControllerRevision, errors: &mut ErrorList) {
        let path = Path::root("data");
        match &revision.data {
            None => errors.required(&path, "data is mandatory"),
            Some(data) if data.0.is_null() => errors.required(&path, "data is mandatory"),
            Some(data) if !data.0.is_object() => {
                errors.invalid(&path, data.0.to_string(), "must be a valid JSON object");
            }
            Some(_) => {}
        }
        non_negative(errors, &Path::root("revision"), revision.revision);
    }

    fn validate_update(
        &self,
        new: &ControllerRevision,
        old: &ControllerRevision,
        errors: &mut ErrorList,
    ) {
        self.validate(new, errors);
        immutable(errors, &Path::root("data"), &new.data, &old.data);
    }
}
