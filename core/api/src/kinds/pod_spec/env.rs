use k8s_openapi::api::core::v1::{EnvFromSource, EnvVar, EnvVarSource, FileKeySelector};

use super::{Context, downward, paths};
use crate::field::{ErrorList, Path};
use crate::kinds::check::{complain, text};
use crate::kinds::names::rules;

/// Checks the variables of a container.
pub(super) fn validate(
    variables: &[EnvVar],
    context: &Context<'_>,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    for (index, variable) in variables.iter().enumerate() {
        let path = path.index(index);
        if variable.name.is_empty() {
            errors.required(&path.child("name"), "");
        } else {
            complain(errors, &path.child("name"), &variable.name, rules::env_name(&variable.name));
        }
        if let Some(source) = &variable.value_from {
            let has_value = !text(&variable.value).is_empty();
            value_from(source, has_value, context, &path.child("valueFrom"), errors);
        }
    }
}

fn value_from(
    source: &EnvVarSource,
    has_value: bool,
    context: &Context<'_>,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    let mut sources = 0;
    if let Some(field) = &source.field_ref {
        sources += 1;
        downward::field_ref(field, &downward::ENV_FIELDS, &path.child("fieldRef"), errors);
    }
    if let Some(resource) = &source.resource_field_ref {
        sources += 1;
        downward::resource_ref(resource, false, &path.child("resourceFieldRef"), errors);
    }
    if let Some(key) = &source.config_map_key_ref {
        sources += 1;
        key_ref(&key.name, &key.key, &path.child("configMapKeyRef"), errors);
    }
    if let Some(key) = &source.secret_key_ref {
        sources += 1;
        key_ref(&key.name, &key.key, &path.child("secretKeyRef"), errors);
    }
    if let Some(key) = &source.file_key_ref {
        sources += 1;
        file_key_ref(key, context, &path.child("fileKeyRef"), errors);
    }
    let why = match (sources, has_value) {
        (0, _) => {
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, \
             `secretKeyRef` or `fileKeyRef`"
        }
        (_, true) => "may not be specified when `value` is not empty",
        (1, false) => return,
        (_, false) => "may not have more than one field specified at a time",
    };
    errors.invalid(path, "", why);
}

fn key_ref(name: &str, key: &str, path: &Path<'_>, errors: &mut ErrorList) {
    complain(errors, &path.child("name"), name, rules::dns_subdomain(name));
    if key.is_empty() {
        errors.required(&path.child("key"), "");
    } else {
        complain(errors, &path.child("key"), key, rules::config_key(key));
    }
}

fn file_key_ref(
    key: &FileKeySelector,
    context: &Context<'_>,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    if key.key.is_empty() {
        errors.required(&path.child("key"), "");
    } else {
        complain(errors, &path.child("key"), &key.key, rules::env_name(&key.key));
    }
    let at = path.child("volumeName");
    if key.volume_name.is_empty() {
        errors.required(&at, "");
    } else {
        match context.volumes.find(&key.volume_name) {
            None => errors.not_found(&at, &key.volume_name),
            Some(volume) if volume.empty_dir.is_none() => {
                let why = "referenced volume must be of type emptyDir";
                errors.invalid(&at, &key.volume_name, why);
            }
            Some(_) => {}
        }
    }
    if key.path.is_empty() {
        errors.required(&path.child("path"), "");
    } else {
        paths::local_non_reserved(&key.path, &path.child("path"), errors);
    }
}

/// Checks where whole sets of variables come from.
pub(super) fn validate_from(sources: &[EnvFromSource], path: &Path<'_>, errors: &mut ErrorList) {
    for (index, source) in sources.iter().enumerate() {
        let at = path.index(index);
        let prefix = text(&source.prefix);
        if !prefix.is_empty() {
            complain(errors, &at.child("prefix"), prefix, rules::env_name(prefix));
        }
        let config_map = source.config_map_ref.as_ref().map(|source| &source.name);
        let secret = source.secret_ref.as_ref().map(|source| &source.name);
        for (field, name) in [("configMapRef", config_map), ("secretRef", secret)] {
            let Some(name) = name else { continue };
            let at = at.child(field);
            if name.is_empty() {
                errors.required(&at.child("name"), "");
            } else {
                complain(errors, &at.child("name"), name, rules::dns_subdomain(name));
            }
        }
        match (config_map, secret) {
            (None, None) => {
                errors.invalid(path, "", "must specify one of: `configMapRef` or `secretRef`");
            }
            (Some(_), Some(_)) => {
                errors.invalid(path, "", "may not have more than one field specified at a time");
            }
            _ => {}
        }
    }
}
