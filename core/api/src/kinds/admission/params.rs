//! Parameters of policies.

use k8s_openapi::api::admissionregistration::v1::{ParamKind, ParamRef};

use crate::field::{ErrorList, Path};
use crate::kinds::check::{complain_once, text};
use crate::kinds::names::rules;
use crate::kinds::{label_selector, names};

/// Checks of which kind parameters are.
pub(super) fn validate_kind(param: &ParamKind, path: &Path<'_>, errors: &mut ErrorList) {
    let at = path.child("apiVersion");
    let api_version = text(&param.api_version);
    if api_version.is_empty() {
        errors.required(&at, "");
    } else if api_version.matches('/').count() > 1 {
        let why = format!("unexpected GroupVersion string: {api_version}");
        errors.invalid(&at, api_version, &why);
    } else {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        if !group.is_empty() {
            complain_once(errors, &at, group, &rules::dns_subdomain(group));
        }
        if version.is_empty() {
            errors.invalid(&at, api_version, "version must be specified");
        } else {
            complain_once(errors, &at, version, &rules::dns_label_1035(version));
        }
    }
    let at = path.child("kind");
    let kind = text(&param.kind);
    if kind.is_empty() {
        return errors.required(&at, "");
    }
    let complaints = rules::dns_label_1035(&kind.to_lowercase());
    if !complaints.is_empty() {
        let rest = complaints.join(",");
        let why = format!("may have mixed case, but should otherwise match: {rest}");
        errors.invalid(&at, kind, &why);
    }
}

/// Checks which objects are the parameters.
pub(super) fn validate_ref(param: &ParamRef, path: &Path<'_>, errors: &mut ErrorList) {
    const EXCLUSIVE: &str = "name and selector are mutually exclusive";
    let name = text(&param.name);
    if !name.is_empty() {
        let at = path.child("name");
        if let Err(why) = names::path_segment(name) {
            errors.invalid(&at, name, &why);
        }
        if param.selector.is_some() {
            errors.forbidden(&at, EXCLUSIVE);
        }
    }
    if let Some(selector) = &param.selector {
        let at = path.child("selector");
        label_selector::validate(selector, &at, errors);
        if !name.is_empty() {
            errors.forbidden(&at, EXCLUSIVE);
        }
    } else if name.is_empty() {
        errors.required(path, "one of name or selector must be specified");
    }
    let at = path.child("parameterNotFoundAction");
    match text(&param.parameter_not_found_action) {
        "" => errors.required(&at, ""),
        "Allow" | "Deny" => {}
        other => errors.not_supported(&at, other, &["Deny", "Allow"]),
    }
}
