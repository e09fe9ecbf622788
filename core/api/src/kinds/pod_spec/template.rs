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

/// Checks the template of a StatefulSet: what its selector selects, labels and annotations. The
/// claims that a StatefulSet adds are missing among its volumes, so the rest is left to the pods.
pub(in crate::kinds) fn validate_set_template(
    template: &PodTemplateSpec,
    selector: &LabelSelector,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    selects(selector, template, path, errors);
    let none = (ObjectMeta::default(), PodSpec::default());
    let meta = template.metadata.as_ref().unwrap_or(&none.0);
    let spec = template.spec.as_ref().unwrap_or(&none.1);
    metadata::labels(meta.labels.iter().flatten(), &path.child("labels"), errors);
    let annotations = path.child("annotations");
    metadata::annotations(meta.annotations.iter().flatten(), &annotations, errors);
    validate_pod_annotations(meta, spec, &annotations, errors);
    let at = path.child("spec");
    always_restarts(spec, &at, errors);
    if spec.active_deadline_seconds.is_some() {
        let why = "activeDeadlineSeconds in StatefulSet is not Supported";
        errors.forbidden(&at.child("activeDeadlineSeconds"), why);
    }
}

/// Checks the template of pods of which there is one on each node.
pub(in crate::kinds) fn validate_daemon_template(
    template: &PodTemplateSpec,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    validate_template(template, path, errors);
    let Some(spec) = &template.spec else { return };
    let at = path.child("spec");
    always_restarts(spec, &at, errors);
    if spec.active_deadline_seconds.is_some() {
        let why = "activeDeadlineSeconds in DaemonSet is not Supported";
        errors.forbidden(&at.child("activeDeadlineSeconds"), why);
    }
}

/// Checks that a selector selects the pods of a template.
pub(in crate::kinds) fn selects(
    selector: &LabelSelector,
    template: &PodTemplateSpec,
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
}

fn always_restarts(spec: &PodSpec, path: &Path<'_>, errors: &mut ErrorList) {
    let policy = text(&spec.restart_policy);
    if policy != "Always" {
        errors.not_supported(&path.child("restartPolicy"), policy, &["Always"]);
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
    selects(selector, template, path, errors);
    validate_template(template, path, errors);
    let Some(spec) = &template.spec else { return };
    let at = path.child("spec");
    always_restarts(spec, &at, errors);
    if spec.active_deadline_seconds.is_some() {
        let why = "activeDeadlineSeconds in ReplicaSet is not Supported";
        errors.forbidden(&at.child("activeDeadlineSeconds"), why);
    }
}
