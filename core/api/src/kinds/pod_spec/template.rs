use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{PodSpec, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};

use super::{validate_pod_annotations, validate_pod_spec, validate_profiles_agree};
use crate::field::{ErrorList, Path};
use crate::kinds::check::{Json, text};
use crate::kinds::{label_selector, metadata};

/// Checks the template of pods.
pub(in crate::kinds) fn validate_template(
    template: &PodTemplateSpec,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    let none = (ObjectMeta::default(), PodSpec::default());
    let meta = template.metadata.as_ref().unwrap_or(&none.0);
    let spec = template.spec.as_ref().unwrap_or(&none.1);
    metadata::labels(meta.labels.iter().flatten(), &path.child("labels"), errors);
    let annotations = path.child("annotations");
    metadata::annotations(meta.annotations.iter().flatten(), &annotations, errors);
    validate_pod_annotations(meta, spec, &annotations, errors);
    let at = path.child("spec");
    validate_pod_spec(spec, None, &at, errors);
    validate_profiles_agree(meta, spec, &at, errors);
    if spec.ephemeral_containers.iter().flatten().next().is_some() {
        let why = "ephemeral containers not allowed in pod template";
        errors.forbidden(&at.child("ephemeralContainers"), why);
    }
}

/// Checks the template of pods of which a number is kept: what a selector selects, and always
/// restarts.
pub(in crate::kinds) fn validate_replicated_template(
    template: &PodTemplateSpec,
    selector: &LabelSelector,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    let labels = template.metadata.as_ref().and_then(|meta| meta.labels.as_ref());
    if label_selector::matches(selector, labels) == Some(false) {
        let empty = BTreeMap::new();
        let why = "`selector` does not match template `labels`";
        let meta = path.child("metadata");
        errors.invalid(&meta.child("labels"), Json(labels.unwrap_or(&empty)), why);
    }
    validate_template(template, path, errors);
    let Some(spec) = &template.spec else { return };
    let at = path.child("spec");
    let policy = text(&spec.restart_policy);
    if policy != "Always" {
        errors.not_supported(&at.child("restartPolicy"), policy, &["Always"]);
    }
    if spec.active_deadline_seconds.is_some() {
        let why = "activeDeadlineSeconds in ReplicaSet is not Supported";
        errors.forbidden(&at.child("activeDeadlineSeconds"), why);
    }
}
