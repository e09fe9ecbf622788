use k8s_openapi::api::core::v1::{EphemeralVolumeSource, PersistentVolumeClaimSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::field::{ErrorList, Path};
use crate::kinds::check::{NOT_POSITIVE, choice, complain, text};
use crate::kinds::names::rules;
use crate::kinds::{label_selector, metadata};
use crate::quantity::Quantity;

/// How a volume may be mounted.
const ACCESS_MODES: [&str; 4] =
    ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];

/// Checks the template of the claim that is made for a volume.
pub(super) fn validate(source: &EphemeralVolumeSource, path: &Path<'_>, errors: &mut ErrorList) {
    let path = path.child("volumeClaimTemplate");
    let Some(template) = &source.volume_claim_template else {
        return errors.required(&path, "");
    };
    if let Some(meta) = &template.metadata {
        validate_meta(meta, &path.child("metadata"), errors);
    }
    validate_spec(&template.spec, &path.child("spec"), errors);
}

/// Only labels and annotations are taken over, so nothing else may be set.
fn validate_meta(meta: &ObjectMeta, path: &Path<'_>, errors: &mut ErrorList) {
    let annotations = meta.annotations.iter().flatten();
    metadata::annotations(annotations, &path.child("annotations"), errors);
    metadata::labels(meta.labels.iter().flatten(), &path.child("labels"), errors);
    let set = [
        ("name", meta.name.is_some()),
        ("generateName", meta.generate_name.is_some()),
        ("namespace", meta.namespace.is_some()),
        ("selfLink", meta.self_link.is_some()),
        ("uID", meta.uid.is_some()),
        ("resourceVersion", meta.resource_version.is_some()),
        ("generation", meta.generation.is_some()),
        ("creationTimestamp", meta.creation_timestamp.is_some()),
        ("deletionTimestamp", meta.deletion_timestamp.is_some()),
        ("deletionGracePeriodSeconds", meta.deletion_grace_period_seconds.is_some()),
        ("ownerReferences", meta.owner_references.is_some()),
        ("finalizers", meta.finalizers.is_some()),
        ("managedFields", meta.managed_fields.is_some()),
    ];
    for (field, _) in set.into_iter().filter(|(_, set)| *set) {
        errors.forbidden(&path.child(field), "cannot be set");
    }
}

pub(in crate::kinds) fn validate_spec(
    spec: &PersistentVolumeClaimSpec,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    let modes = spec.access_modes.as_deref().unwrap_or_default();
    let at = path.child("accessModes");
    if modes.is_empty() {
        errors.required(&at, "at least 1 access mode is required");
    }
    if let Some(selector) = &spec.selector {
        label_selector::validate(selector, &path.child("selector"), errors);
    }
    for mode in modes {
        if !ACCESS_MODES.contains(&mode.as_str()) {
            errors.not_supported(&at, mode, &ACCESS_MODES);
        }
    }
    let alone = modes.iter().any(|mode| mode == "ReadWriteOncePod");
    let other = |mode: &&str| *mode != "ReadWriteOncePod" && ACCESS_MODES.contains(mode);
    if alone && modes.iter().any(|mode| other(&mode.as_str())) {
        errors.forbidden(&at, "may not use ReadWriteOncePod with other access modes");
    }
    let resources = path.child("resources");
    let at = resources.key("storage");
    let requests = spec.resources.as_ref().and_then(|resources| resources.requests.as_ref());
    match requests.and_then(|requests| requests.get("storage")) {
        None => errors.required(&at, ""),
        Some(storage) => match Quantity::parse(&storage.0) {
            Err(why) => errors.invalid(&at, &storage.0, &why.to_string()),
            Ok(storage) if storage.is_zero() || storage.is_negative() => {
                errors.invalid(&at, storage.to_string(), NOT_POSITIVE);
            }
            Ok(_) => {}
        },
    }
    let classes = [
        ("storageClassName", &spec.storage_class_name),
        ("volumeAttributesClassName", &spec.volume_attributes_class_name),
    ];
    for (field, class) in classes {
        let class = text(class);
        if !class.is_empty() {
            complain(errors, &path.child(field), class, rules::dns_subdomain(class));
        }
    }
    choice(errors, &path.child("volumeMode"), &spec.volume_mode, &["Block", "Filesystem"]);
    validate_source(spec, path, errors);
}

fn validate_source(spec: &PersistentVolumeClaimSpec, path: &Path<'_>, errors: &mut ErrorList) {
    let mut check = |field: &str, group: &Option<String>, kind: &str, name: &str| {
        let path = path.child(field);
        for (field, value) in [("name", name), ("kind", kind)] {
            if value.is_empty() {
                errors.required(&path.child(field), "");
            }
        }
        if text(group).is_empty() && kind != "PersistentVolumeClaim" {
            let why = "must be 'PersistentVolumeClaim' when referencing the default apiGroup";
            errors.invalid(&path, kind, why);
        }
        let group = text(group);
        if !group.is_empty() {
            complain(errors, &path.child("apiGroup"), group, rules::dns_subdomain(group));
        }
    };
    if let Some(source) = &spec.data_source {
        check("dataSource", &source.api_group, &source.kind, &source.name);
    }
    if let Some(source) = &spec.data_source_ref {
        check("dataSourceRef", &source.api_group, &source.kind, &source.name);
    }
    let (Some(source), Some(reference)) = (&spec.data_source, &spec.data_source_ref) else {
        return;
    };
    let at = path.child("dataSource").to_string();
    if !text(&reference.namespace).is_empty() {
        let why = "may not be specified when dataSourceRef.namespace is specified";
        errors.invalid(path, at, why);
    } else if (&source.api_group, &source.kind, &source.name)
        != (&reference.api_group, &reference.kind, &reference.name)
    {
        errors.invalid(path, at, "must match dataSourceRef");
    }
}
