//! CustomResourceDefinitions: kinds that clients add.
//!
//! Upstream checks them in an older form, where what all versions have in common stands once: a
//! schema that is the same in all versions is `spec.validation`, not
//! `spec.versions[0].schema`. Paths in errors follow that form ([`versions::Shared`]).

mod approval;
mod conversion;
mod costs;
mod defaults;
mod json_path;
mod names;
mod rules;
mod schema;
mod spec;
mod structural;
mod typed;
mod values;
mod versions;
mod walk;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceConversion, CustomResourceDefinition, CustomResourceDefinitionStatus,
};

use super::check::{Json, immutable, text};
use super::{is_blank, next_generation, webhook_client};
use crate::Strategy;
use crate::field::{ErrorList, Path};

/// Keeps a definition until its objects are gone.
pub const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";

/// Kinds that clients add.
pub(super) struct CustomResourceDefinitionStrategy;

impl Strategy for CustomResourceDefinitionStrategy {
    type Kind = CustomResourceDefinition;

    fn default(&self, definition: &mut CustomResourceDefinition) {
        let names = &mut definition.spec.names;
        if is_blank(&names.singular) {
            names.singular = Some(names.kind.to_lowercase());
        }
        if is_blank(&names.list_kind) && !names.kind.is_empty() {
            names.list_kind = Some(format!("{}List", names.kind));
        }
        let none = || CustomResourceConversion { strategy: "None".to_owned(), webhook: None };
        let conversion = definition.spec.conversion.get_or_insert_with(none);
        let client = conversion.webhook.as_mut().and_then(|webhook| webhook.client_config.as_mut());
        if let Some(service) = client.and_then(|client| client.service.as_mut()) {
            service.port.get_or_insert(webhook_client::PORT);
        }
        note_storage(definition);
    }

    fn prepare_for_create(&self, definition: &mut CustomResourceDefinition) {
        definition.metadata.generation = Some(1);
        definition.status = Some(CustomResourceDefinitionStatus::default());
        note_storage(definition);
    }

    fn validate(&self, definition: &CustomResourceDefinition, errors: &mut ErrorList) {
        let name = text(&definition.metadata.name);
        if name != format!("{}.{}", definition.spec.names.plural, definition.spec.group) {
            let why = "must be spec.names.plural+\".\"+spec.group";
            errors.invalid(&Path::root("metadata").child("name"), name, why);
        }
        validate(definition, true, errors);
        approval::validate(definition, None, errors);
        validate_preserving(definition, None, errors);
    }

    fn prepare_for_update(
        &self,
        new: &mut CustomResourceDefinition,
        old: &CustomResourceDefinition,
    ) {
        new.status.clone_from(&old.status);
        let changed = new.spec != old.spec;
        next_generation(&mut new.metadata, &old.metadata, changed);
        note_storage(new);
    }

    fn validate_update(
        &self,
        new: &CustomResourceDefinition,
        old: &CustomResourceDefinition,
        errors: &mut ErrorList,
    ) {
        let before = old.spec.conversion.as_ref().and_then(|all| all.webhook.as_ref());
        let one_known = before.is_none_or(|webhook| {
            let versions = &webhook.conversion_review_versions;
            versions.is_empty() || webhook_client::has_known_version(versions)
        });
        validate_spec(new, one_known, errors);
        let path = Path::root("spec");
        let at = path.child("names");
        if is_established(old) {
            immutable(errors, &path.child("scope"), &new.spec.scope, &old.spec.scope);
            immutable(errors, &at.child("kind"), &new.spec.names.kind, &old.spec.names.kind);
        }
        immutable(errors, &path.child("group"), &new.spec.group, &old.spec.group);
        immutable(errors, &at.child("plural"), &new.spec.names.plural, &old.spec.names.plural);
        validate_status(new, errors);
        approval::validate(new, Some(old), errors);
        validate_preserving(new, Some(old), errors);
    }

    fn begin_deletion(&self, definition: &mut CustomResourceDefinition) {
        let finalizers = definition.metadata.finalizers.get_or_insert_default();
        if !finalizers.iter().any(|one| one == CLEANUP) {
            finalizers.push(CLEANUP.to_owned());
        }
    }

    fn prepare_for_status_update(
        &self,
        new: &mut CustomResourceDefinition,
        old: &CustomResourceDefinition,
    ) {
        new.spec = old.spec.clone();
    }

    fn validate_status_update(
        &self,
        new: &CustomResourceDefinition,
        _: &CustomResourceDefinition,
        errors: &mut ErrorList,
    ) {
        validate_accepted_names(new, errors);
    }

    fn warnings(
        &self,
        new: &CustomResourceDefinition,
        old: Option<&CustomResourceDefinition>,
    ) -> Vec<String> {
        let before = old.map(unknown_formats).unwrap_or_default();
        let now = unknown_formats(new).into_iter().filter(|format| !before.contains(format));
        now.map(|format| format!("unrecognized format {format:?}")).collect()
    }
}

/// Formats in schemas that mean nothing, each once.
fn unknown_formats(definition: &CustomResourceDefinition) -> Vec<&str> {
    let mut formats: Vec<&str> = Vec::new();
    for schema in definition.spec.versions.iter().filter_map(versions::schema) {
        walk::each(schema, &mut |part| {
            let format = text(&part.format);
            if !values::is_known_format(format) && !formats.contains(&format) {
                formats.push(format);
            }
        });
    }
    formats
}

fn validate(definition: &CustomResourceDefinition, one_known: bool, errors: &mut ErrorList) {
    validate_spec(definition, one_known, errors);
    validate_status(definition, errors);
}

fn validate_spec(definition: &CustomResourceDefinition, one_known: bool, errors: &mut ErrorList) {
    let path = Path::root("spec");
    spec::validate(&definition.spec, &path, errors);
    if let Some(conversion) = &definition.spec.conversion {
        let preserving = definition.spec.preserve_unknown_fields == Some(true);
        let at = path.child("conversion");
        conversion::validate(conversion, preserving, one_known, &at, errors);
    }
}

fn validate_status(definition: &CustomResourceDefinition, errors: &mut ErrorList) {
    validate_accepted_names(definition, errors);
    let path = Path::root("status");
    let at = path.child("storedVersions");
    let stored = definition.status.as_ref().and_then(|status| status.stored_versions.as_deref());
    let stored = stored.unwrap_or_default();
    if stored.is_empty() {
        let why = "must have at least one stored version";
        return errors.invalid(&at, Json(&stored), why);
    }
    let versions = &definition.spec.versions;
    for version in versions.iter().filter(|version| version.storage) {
        if !stored.contains(&version.name) {
            let why = format!("must have the storage version {}", version.name);
            errors.invalid(&at, Json(&stored), &why);
        }
    }
    for (index, name) in stored.iter().enumerate() {
        if !versions.iter().any(|version| version.name == *name) {
            let why = format!(
                "missing from spec.versions; {name} was previously a storage version, and must \
                 remain in spec.versions until a storage migration ensures no data remains \
                 persisted in {name} and removes {name} from status.storedVersions"
            );
            errors.invalid(&at.index(index), name, &why);
        }
    }
}

fn validate_accepted_names(definition: &CustomResourceDefinition, errors: &mut ErrorList) {
    let accepted = definition.status.as_ref().and_then(|status| status.accepted_names.as_ref());
    if let Some(accepted) = accepted {
        names::validate(accepted, &Path::root("status").child("acceptedNames"), errors);
    }
}

/// Whether unknown fields are kept is said by schemas now, and no longer for all at once.
fn validate_preserving(
    new: &CustomResourceDefinition,
    old: Option<&CustomResourceDefinition>,
    errors: &mut ErrorList,
) {
    let preserves = |one: &CustomResourceDefinition| one.spec.preserve_unknown_fields == Some(true);
    if preserves(new) && !old.is_some_and(preserves) {
        let why = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in \
                   spec.versions[*].schema instead";
        errors.invalid(&Path::root("spec").child("preserveUnknownFields"), true, why);
    }
}

fn is_established(definition: &CustomResourceDefinition) -> bool {
    let conditions = definition.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|one| one.type_ == "Established" && one.status == "True")
}

/// Adds the version that is stored to those of which objects may lie in the store.
fn note_storage(definition: &mut CustomResourceDefinition) {
    let Some(storage) = definition.spec.versions.iter().find(|version| version.storage) else {
        return;
    };
    let status = definition.status.get_or_insert_default();
    let stored = status.stored_versions.get_or_insert_default();
    if !stored.contains(&storage.name) {
        stored.push(storage.name.clone());
    }
}
