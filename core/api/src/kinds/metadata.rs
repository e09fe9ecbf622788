//! Validation of `metadata`, the same for all kinds.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use super::check::{Json, complain, immutable, non_negative, text};
use super::names::rules;
use crate::field::{ErrorList, Path};

/// Most bytes of all annotations together, keys included.
pub const ANNOTATIONS_MAX: usize = 256 * 1024;
/// Most bytes of the name of a field manager.
const FIELD_MANAGER_MAX: usize = 128;
/// Most bytes of the name of a subresource in `managedFields`.
const SUBRESOURCE_MAX: usize = 256;
/// Finalizers that need no prefix.
const STANDARD_FINALIZERS: [&str; 3] = ["kubernetes", "orphan", "foregroundDeletion"];

/// Takes over what a write of the status does not change where it leaves metadata alone.
pub(crate) fn keep_for_status(new: &mut ObjectMeta, old: &ObjectMeta) {
    new.labels.clone_from(&old.labels);
    new.annotations.clone_from(&old.annotations);
    new.finalizers.clone_from(&old.finalizers);
    new.owner_references.clone_from(&old.owner_references);
}

/// Takes out owners that are there twice; gives their uids.
pub fn merge_owners(meta: &mut ObjectMeta) -> Vec<String> {
    let Some(owners) = &mut meta.owner_references else { return Vec::new() };
    let mut twice = Vec::new();
    let mut kept: Vec<OwnerReference> = Vec::with_capacity(owners.len());
    for owner in std::mem::take(owners) {
        if kept.contains(&owner) {
            twice.push(owner.uid);
        } else {
            kept.push(owner);
        }
    }
    *owners = kept;
    twice
}

/// Checks the metadata of a new object, all but the form of `name` and `generateName`, which
/// depends on the kind.
pub fn validate_meta(meta: &ObjectMeta, namespaced: bool, path: &Path<'_>, errors: &mut ErrorList) {
    if text(&meta.name).is_empty() {
        errors.required(&path.child("name"), "name or generateName is required");
    }
    let namespace = text(&meta.namespace);
    let at = path.child("namespace");
    match (namespaced, namespace.is_empty()) {
        (true, true) => errors.required(&at, ""),
        (true, false) => complain(errors, &at, namespace, rules::dns_label(namespace)),
        (false, true) => {}
        (false, false) => errors.forbidden(&at, "not allowed on this type"),
    }
    non_negative(errors, &path.child("generation"), meta.generation.unwrap_or(0));
    common(meta, path, errors);
}

/// Checks the metadata of an update against that of the stored object.
pub fn validate_meta_update(
    new: &ObjectMeta,
    old: &ObjectMeta,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    if old.deletion_timestamp.is_some() {
        no_new_finalizers(new, old, path, errors);
    }
    if text(&new.resource_version).is_empty() {
        errors.invalid(&path.child("resourceVersion"), "", "must be specified for an update");
    }
    let generation = new.generation.unwrap_or(0);
    if generation < old.generation.unwrap_or(0) {
        errors.invalid(&path.child("generation"), generation, "must not be decremented");
    }
    let texts = [
        ("name", &new.name, &old.name),
        ("namespace", &new.namespace, &old.namespace),
        ("uid", &new.uid, &old.uid),
    ];
    for (name, new, old) in texts {
        immutable(errors, &path.child(name), &text(new), &text(old));
    }
    immutable(
        errors,
        &path.child("creationTimestamp"),
        &new.creation_timestamp,
        &old.creation_timestamp,
    );
    immutable(
        errors,
        &path.child("deletionTimestamp"),
        &new.deletion_timestamp,
        &old.deletion_timestamp,
    );
    immutable(
        errors,
        &path.child("deletionGracePeriodSeconds"),
        &new.deletion_grace_period_seconds,
        &old.deletion_grace_period_seconds,
    );
    common(new, path, errors);
}

fn common(meta: &ObjectMeta, path: &Path<'_>, errors: &mut ErrorList) {
    labels(meta.labels.iter().flatten(), &path.child("labels"), errors);
    annotations(meta.annotations.iter().flatten(), &path.child("annotations"), errors);
    owner_references(meta, &path.child("ownerReferences"), errors);
    finalizers(meta, &path.child("finalizers"), errors);
    managed_fields(meta, &path.child("managedFields"), errors);
}

/// Checks labels, or whatever else has the form of labels.
pub(crate) fn labels<'a>(
    labels: impl Iterator<Item = (&'a String, &'a String)>,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    for (key, value) in labels {
        complain(errors, path, key, rules::qualified_name(key));
        complain(errors, path, value, rules::label_value(value));
    }
}

/// Checks annotations: the form of their keys and the size of all.
pub(crate) fn annotations<'a>(
    annotations: impl Iterator<Item = (&'a String, &'a String)>,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    let mut size = 0;
    for (key, value) in annotations {
        complain(errors, path, key, rules::annotation_key(key));
        size += key.len() + value.len();
    }
    if size > ANNOTATIONS_MAX {
        errors.too_long(path, ANNOTATIONS_MAX);
    }
}

fn owner_references(meta: &ObjectMeta, path: &Path<'_>, errors: &mut ErrorList) {
    let mut controller: Option<&OwnerReference> = None;
    for owner in meta.owner_references.iter().flatten() {
        owner_reference(owner, path, errors);
        if owner.controller != Some(true) {
            continue;
        }
        match controller {
            None => controller = Some(owner),
            Some(first) => {
                let why = format!(
                    "Only one reference can have Controller set to true. Found \"true\" in \
                     references for {}/{} and {}/{}",
                    first.kind, first.name, owner.kind, owner.name
                );
                errors.invalid(path, Json(&meta.owner_references), &why);
            }
        }
    }
}

fn owner_reference(owner: &OwnerReference, path: &Path<'_>, errors: &mut ErrorList) {
    let (group, version) = owner.api_version.split_once('/').unwrap_or(("", &owner.api_version));
    if version.is_empty() || version.contains('/') {
        let at = path.child("apiVersion");
        errors.invalid(&at, &owner.api_version, "version must not be empty");
    }
    for (name, value) in [("kind", &owner.kind), ("name", &owner.name), ("uid", &owner.uid)] {
        if value.is_empty() {
            errors.invalid(&path.child(name), value, "must not be empty");
        }
    }
    if (group, version, owner.kind.as_str()) == ("", "v1", "Event") {
        let why = "/v1, Kind=Event is disallowed from being an owner";
        errors.invalid(path, Json(owner), why);
    }
}

fn finalizers(meta: &ObjectMeta, path: &Path<'_>, errors: &mut ErrorList) {
    let Some(finalizers) = &meta.finalizers else { return };
    for name in finalizers {
        complain(errors, path, name, rules::qualified_name(name));
    }
    let has = |name: &str| finalizers.iter().any(|finalizer| finalizer == name);
    if has("orphan") && has("foregroundDeletion") {
        let why = "finalizer orphan and foregroundDeletion cannot be both set";
        errors.invalid(path, Json(finalizers), why);
    }
}

/// Checks that finalizers are known or say whose they are, which upstream asks of its own kinds
/// but not of those of extensions.
pub fn validate_finalizers(meta: &ObjectMeta, path: &Path<'_>, errors: &mut ErrorList) {
    let path = path.child("finalizers");
    for (index, name) in meta.finalizers.iter().flatten().enumerate() {
        standard_finalizer(name, &path.index(index), errors);
    }
}

/// A finalizer without a prefix must be one of those that have always been.
pub(super) fn standard_finalizer(name: &str, path: &Path<'_>, errors: &mut ErrorList) {
    if !name.contains('/') && !STANDARD_FINALIZERS.contains(&name) {
        let why = "name is neither a standard finalizer name nor is it fully qualified";
        errors.invalid(path, name, why);
    }
}

fn no_new_finalizers(new: &ObjectMeta, old: &ObjectMeta, path: &Path<'_>, errors: &mut ErrorList) {
    let stored = |name: &&String| old.finalizers.iter().flatten().any(|stored| stored == *name);
    let mut added: Vec<_> = new.finalizers.iter().flatten().filter(|name| !stored(name)).collect();
    if added.is_empty() {
        return;
    }
    added.sort();
    added.dedup();
    let names: Vec<_> = added.iter().map(|name| format!("{name:?}")).collect();
    let why = format!(
        "no new finalizers can be added if the object is being deleted, found new finalizers \
         []string{{{}}}",
        names.join(", ")
    );
    errors.forbidden(&path.child("finalizers"), &why);
}

fn managed_fields(meta: &ObjectMeta, path: &Path<'_>, errors: &mut ErrorList) {
    for (index, entry) in meta.managed_fields.iter().flatten().enumerate() {
        let path = path.index(index);
        let operation = text(&entry.operation);
        if !matches!(operation, "Apply" | "Update") {
            errors.invalid(&path.child("operation"), operation, "must be `Apply` or `Update`");
        }
        let fields_type = text(&entry.fields_type);
        if !matches!(fields_type, "" | "FieldsV1") {
            errors.invalid(&path.child("fieldsType"), fields_type, "must be `FieldsV1`");
        }
        field_manager(text(&entry.manager), &path.child("manager"), errors);
        if text(&entry.subresource).len() > SUBRESOURCE_MAX {
            errors.too_long(&path.child("subresource"), SUBRESOURCE_MAX);
        }
    }
}

/// Checks the name of a field manager, as in `managedFields` and in a request's options.
pub fn field_manager(name: &str, path: &Path<'_>, errors: &mut ErrorList) {
    if name.len() > FIELD_MANAGER_MAX {
        errors.too_long(path, FIELD_MANAGER_MAX);
    }
    for (position, character) in name.char_indices().filter(|(_, one)| one.is_control()) {
        let why =
            format!("invalid character U+{:04X} (at position {position})", u32::from(character));
        errors.invalid(path, name, &why);
    }
}
