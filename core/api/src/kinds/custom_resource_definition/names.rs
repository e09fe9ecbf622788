use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinitionNames;

use crate::field::{ErrorList, Path};
use crate::kinds::check::{complain_once, text};
use crate::kinds::names::rules;

/// Checks the names that are there.
pub(super) fn validate(
    names: &CustomResourceDefinitionNames,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    let (singular, list_kind) = (text(&names.singular), text(&names.list_kind));
    for (field, name) in [("plural", names.plural.as_str()), ("singular", singular)] {
        if !name.is_empty() {
            complain_once(errors, &path.child(field), name, &rules::dns_label_1035(name));
        }
    }
    for (field, name) in [("kind", names.kind.as_str()), ("listKind", list_kind)] {
        let complaints = rules::dns_label_1035(&name.to_lowercase());
        if !name.is_empty() && !complaints.is_empty() {
            let rest = complaints.join(",");
            let why = format!("may have mixed case, but should otherwise match: {rest}");
            errors.invalid(&path.child(field), name, &why);
        }
    }
    validate_each(&names.short_names, &path.child("shortNames"), errors);
    if !names.kind.is_empty() && names.kind == list_kind {
        let why = "kind and listKind may not be the same";
        errors.invalid(&path.child("listKind"), list_kind, why);
    }
    validate_each(&names.categories, &path.child("categories"), errors);
}

fn validate_each(list: &Option<Vec<String>>, path: &Path<'_>, errors: &mut ErrorList) {
    for (index, name) in list.iter().flatten().enumerate() {
        complain_once(errors, &path.index(index), name, &rules::dns_label_1035(name));
    }
}
