use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinitionSpec;

use super::versions::Shared;
use super::{names, versions, walk};
use crate::field::{ErrorList, Path};
use crate::kinds::check::{Json, complain_once, text};
use crate::kinds::names::rules;

const SCOPES: [&str; 2] = ["Cluster", "Namespaced"];

/// Checks what a definition says, all but the conversion.
pub(super) fn validate(
    spec: &CustomResourceDefinitionSpec,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    validate_group(&spec.group, &path.child("group"), errors);
    let at = path.child("scope");
    if spec.scope.is_empty() {
        errors.required(&at, "");
    } else if !SCOPES.contains(&spec.scope.as_str()) {
        errors.not_supported(&at, &spec.scope, &SCOPES);
    }
    let shared = Shared::of(&spec.versions);
    let all = path.child("versions");
    for (index, version) in spec.versions.iter().enumerate() {
        if versions::schema(version).is_none() {
            let at = all.index(index);
            let at = at.child("schema");
            errors.required(&at.child("openAPIV3Schema"), "schemas are required");
        }
    }
    let has_defaults = spec
        .versions
        .iter()
        .filter_map(versions::schema)
        .any(|schema| walk::any(schema, &mut |part| part.default.is_some()));
    if has_defaults && spec.preserve_unknown_fields == Some(true) {
        let why = "must be false in order to use defaults in the schema";
        errors.invalid(&path.child("preserveUnknownFields"), true, why);
    }
    for (index, version) in spec.versions.iter().enumerate() {
        versions::validate(version, &shared, &all.index(index), errors);
    }
    validate_together(spec, &all, errors);
    let at = path.child("names");
    let required = [
        ("plural", spec.names.plural.as_str()),
        ("singular", text(&spec.names.singular)),
        ("kind", spec.names.kind.as_str()),
        ("listKind", text(&spec.names.list_kind)),
    ];
    for (field, _) in required.into_iter().filter(|(_, name)| name.is_empty()) {
        errors.required(&at.child(field), "");
    }
    names::validate(&spec.names, &at, errors);
    shared.validate(&spec.versions, path, errors);
}

fn validate_group(group: &str, path: &Path<'_>, errors: &mut ErrorList) {
    if group.is_empty() {
        return errors.required(path, "");
    }
    let complaints = rules::dns_subdomain(group);
    if complaints.is_empty() && !group.contains('.') {
        return errors.invalid(path, group, "should be a domain with at least one dot");
    }
    complain_once(errors, path, group, &complaints);
}

fn validate_together(spec: &CustomResourceDefinitionSpec, path: &Path<'_>, errors: &mut ErrorList) {
    let all = &spec.versions;
    let named_twice = all
        .iter()
        .enumerate()
        .any(|(index, version)| all[..index].iter().any(|other| other.name == version.name));
    if named_twice {
        errors.invalid(path, Json(all), "must contain unique version names");
    }
    if all.iter().filter(|version| version.storage).count() != 1 {
        let why = "must have exactly one version marked as storage version";
        errors.invalid(path, Json(all), why);
    }
}
