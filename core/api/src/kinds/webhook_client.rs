//! How webhooks are reached, which admission and conversion of custom kinds have in common.

use url::{ParseError, Url};

use super::check::complain;
use super::names::rules;
use crate::field::{ErrorList, Path};

/// The port of a service that names none.
pub(super) const PORT: i32 = 443;

const FORM: &str = "; desired format: https://host[/path]";

/// A service that answers webhooks.
pub(super) struct Service<'a> {
    pub(super) name: &'a str,
    pub(super) namespace: &'a str,
    pub(super) path: Option<&'a str>,
    pub(super) port: Option<i32>,
}

/// Checks that there is a URL or a service, and that one.
pub(super) fn validate(
    url: Option<&str>,
    service: Option<&Service<'_>>,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    match (url, service) {
        (Some(url), None) => validate_url(url, &path.child("url"), errors),
        (None, Some(service)) => validate_service(service, &path.child("service"), errors),
        _ => errors.required(path, "exactly one of url or service is required"),
    }
}

fn validate_url(text: &str, path: &Path<'_>, errors: &mut ErrorList) {
    let no_scheme = format!("'https' is the only allowed URL scheme{FORM}");
    let no_host = format!("host must be provided{FORM}");
    let url = match Url::parse(text) {
        Ok(url) => url,
        Err(ParseError::EmptyHost) => return errors.invalid(path, "", &no_host),
        Err(ParseError::RelativeUrlWithoutBase) => {
            errors.invalid(path, "", &no_scheme);
            // What begins with slashes has a host, though no scheme.
            if text.strip_prefix("//").is_none_or(str::is_empty) {
                errors.invalid(path, "", &no_host);
            }
            return;
        }
        Err(why) => return errors.required(path, &format!("url must be a valid URL: {why}{FORM}")),
    };
    if url.scheme() != "https" {
        errors.invalid(path, url.scheme(), &no_scheme);
    }
    if url.host_str().is_none_or(str::is_empty) {
        errors.invalid(path, "", &no_host);
    }
    if !url.username().is_empty() || url.password().is_some() {
        let user = match url.password() {
            Some(password) => format!("{}:{password}", url.username()),
            None => url.username().to_owned(),
        };
        errors.invalid(path, user, "user information is not permitted in the URL");
    }
    if let Some(fragment) = url.fragment().filter(|fragment| !fragment.is_empty()) {
        errors.invalid(path, fragment, "fragments are not permitted in the URL");
    }
    if let Some(query) = url.query().filter(|query| !query.is_empty()) {
        errors.invalid(path, query, "query parameters are not permitted in the URL");
    }
}

/// Upstream takes name and namespace for each other here, and its messages are what clients know.
fn validate_service(service: &Service<'_>, path: &Path<'_>, errors: &mut ErrorList) {
    if service.namespace.is_empty() {
        errors.required(&path.child("name"), "service name is required");
    }
    if service.name.is_empty() {
        errors.required(&path.child("namespace"), "service namespace is required");
    }
    let port = service.port.unwrap_or(PORT);
    let complaints = rules::port_number(port);
    if !complaints.is_empty() {
        let why = format!("port is not valid: {}", complaints.join(", "));
        errors.invalid(&path.child("port"), port, &why);
    }
    if let Some(text) = service.path {
        validate_path(text, &path.child("path"), errors);
    }
}

fn validate_path(text: &str, path: &Path<'_>, errors: &mut ErrorList) {
    match text {
        "" | "/" => return,
        "//" => return errors.invalid(path, text, "segment[0] may not be empty"),
        _ => {}
    }
    if !text.starts_with('/') {
        errors.invalid(path, text, "must start with a '/'");
    }
    // The first character is passed over whatever it is.
    let mut characters = text.chars();
    characters.next();
    let rest = characters.as_str();
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    for (index, step) in rest.split('/').enumerate() {
        if step.is_empty() {
            errors.invalid(path, text, &format!("segment[{index}] may not be empty"));
            continue;
        }
        let complaints = rules::dns_subdomain(step);
        let complaints = complaints.into_iter().map(|why| format!("segment[{index}]: {why}"));
        complain(errors, path, text, complaints.collect());
    }
}

/// Checks the versions of reviews that a webhook takes: one that is known must be among them.
pub(super) fn validate_versions(
    versions: &[String],
    one_known: bool,
    if_none: &str,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    if versions.is_empty() {
        return errors.required(path, if_none);
    }
    for (index, version) in versions.iter().enumerate() {
        let at = path.index(index);
        if versions[..index].contains(version) {
            errors.invalid(&at, version, "duplicate version");
            continue;
        }
        complain(errors, &at, version, rules::dns_label_1035(version));
    }
    if one_known && !has_known_version(versions) {
        let why = "must include at least one of v1, v1beta1";
        errors.invalid(path, super::check::Json(&versions), why);
    }
}

/// Whether a version that is known is among these.
pub(super) fn has_known_version(versions: &[String]) -> bool {
    versions.iter().any(|version| matches!(version.as_str(), "v1" | "v1beta1"))
}
