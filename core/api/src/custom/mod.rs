//! Kinds that clients add: the entries of the catalog that a CustomResourceDefinition makes.

mod conversion;
pub mod definition;
mod form;
mod paths;
mod strategy;
mod webhook;

use std::borrow::Cow;
use std::sync::Arc;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionNames, CustomResourceDefinitionVersion,
};

use crate::printing::CustomPrinter;
use crate::resource::{CustomNames, KindSchema, ScaleTarget, Scope, Subresources};
use crate::{ApiError, Resource, Result};
use conversion::Read;
pub(crate) use form::Form;
use strategy::CustomStrategy;
pub use webhook::{ConversionWebhook, Desired};

/// The entries of a definition's versions, the preferred one first: those that are served, and the
/// one that is stored.
///
/// # Errors
/// `InternalError` for a definition that validation would have refused.
pub fn resources(definition: &CustomResourceDefinition) -> Result<Vec<Resource>> {
    let spec = &definition.spec;
    let stored = spec.versions.iter().find(|version| version.storage);
    let stored = stored.ok_or_else(|| ApiError::internal("no version is stored"))?;
    let form = |version: &CustomResourceDefinitionVersion| {
        Form::new(&spec.group, version, &names(definition).kind).map(Arc::new)
    };
    let stored_form = form(stored)?;
    let mut versions: Vec<_> =
        spec.versions.iter().filter(|version| version.served || version.storage).collect();
    versions.sort_by_cached_key(|version| std::cmp::Reverse(priority(&version.name)));
    let entry = |version: &&CustomResourceDefinitionVersion| {
        let form = if version.storage { stored_form.clone() } else { form(version)? };
        resource(definition, version, &form, (stored, &stored_form))
    };
    versions.iter().map(entry).collect()
}

/// The names that a definition has, or wants while it has none.
fn names(definition: &CustomResourceDefinition) -> &CustomResourceDefinitionNames {
    let accepted = definition.status.as_ref().and_then(|status| status.accepted_names.as_ref());
    accepted.filter(|names| !names.kind.is_empty()).unwrap_or(&definition.spec.names)
}

fn resource(
    definition: &CustomResourceDefinition,
    version: &CustomResourceDefinitionVersion,
    form: &Arc<Form>,
    (stored, stored_form): (&CustomResourceDefinitionVersion, &Arc<Form>),
) -> Result<Resource> {
    let spec = &definition.spec;
    let names = names(definition);
    let kind = names.kind.clone();
    let parts = version.subresources.as_ref();
    let columns = version.additional_printer_columns.as_deref().unwrap_or_default();
    let scale = parts.and_then(|parts| parts.scale.as_ref());
    let fields = version.selectable_fields.iter().flatten();
    let resource = Resource::custom(CustomNames {
        group: spec.group.clone(),
        version: version.name.clone(),
        list_kind: names.list_kind.clone().unwrap_or_else(|| format!("{kind}List")),
        plural: names.plural.clone(),
        singular: singular(names),
        short_names: owned(names.short_names.as_deref()),
        categories: owned(names.categories.as_deref()),
        scope: if spec.scope == "Namespaced" { Scope::Namespaced } else { Scope::Cluster },
        kind,
    })
    .parts(Subresources {
        status: parts.is_some_and(|parts| parts.status.is_some()),
        scale: if scale.is_some() { ScaleTarget::Replicas } else { ScaleTarget::None },
        others: &[],
    })
    .selected_by(fields.map(|field| Cow::Owned(paths::name(&field.json_path))).collect())
    .described(form.text().cloned().map_or(KindSchema::Any, KindSchema::Text), form.clone())
    .handled(
        Arc::new(CustomStrategy::new(version, form.clone())),
        Arc::new(CustomPrinter::new(columns)?),
    );
    let resource = if version.served { resource } else { resource.unserved() };
    if let Some(webhook) = ConversionWebhook::of(definition, &stored.name) {
        let table = resource.name().clone();
        let read = Read::outside(&spec.group, version, form);
        let resource = match version.storage {
            true => resource.read_through(read),
            false => resource.stored_in(table, read),
        };
        return Ok(resource.converted_outside(webhook));
    }
    let several = spec.versions.len() > 1;
    let read = Read::new(&spec.group, version, stored, form, stored_form);
    Ok(match (version.storage, several || read.does_something()) {
        (true, false) => resource,
        (true, true) => resource.read_through(read),
        (false, _) => {
            let table = resource.name().clone();
            resource.stored_in(table, read)
        }
    })
}

fn singular(names: &CustomResourceDefinitionNames) -> String {
    let given = names.singular.clone().filter(|name| !name.is_empty());
    given.unwrap_or_else(|| names.kind.to_lowercase())
}

fn owned(names: Option<&[String]>) -> Vec<Cow<'static, str>> {
    names.unwrap_or_default().iter().map(|name| Cow::Owned(name.clone())).collect()
}

/// By which versions of a kind are ordered: stable ones before beta and alpha, later ones before
/// earlier ones, and last those that are named in another way, by their names.
pub fn priority(version: &str) -> (u8, u64, u64, std::cmp::Reverse<String>) {
    let odd = || (0, 0, 0, std::cmp::Reverse(version.to_owned()));
    let Some(rest) = version.strip_prefix('v') else { return odd() };
    let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (major, rest) = rest.split_at(digits);
    let Ok(major) = major.parse::<u64>() else { return odd() };
    let minor = |level: u8, text: &str| match text.parse::<u64>() {
        Ok(minor) => (level, major, minor, std::cmp::Reverse(String::new())),
        Err(_) => odd(),
    };
    match (rest, rest.strip_prefix("beta"), rest.strip_prefix("alpha")) {
        ("", ..) => (3, major, 0, std::cmp::Reverse(String::new())),
        (_, Some(beta), _) => minor(2, beta),
        (_, _, Some(alpha)) => minor(1, alpha),
        _ => odd(),
    }
}

#[cfg(test)]
mod tests;
