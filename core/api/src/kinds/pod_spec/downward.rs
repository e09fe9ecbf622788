//! References to fields and resources of the pod itself, in variables and files.

use k8s_openapi::api::core::v1::{ObjectFieldSelector, ResourceFieldSelector};

use crate::field::{ErrorList, Path};
use crate::kinds::check::{complain, text};
use crate::kinds::names::rules;
use crate::quantity::Quantity;

/// The fields that variables may name.
pub(super) const ENV_FIELDS: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
/// The fields that files may hold.
pub(super) const VOLUME_FIELDS: [&str; 5] = [
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
];
/// Every field that is known at all.
const ALL_FIELDS: [&str; 13] = [
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.schedulerName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
const RESOURCES: [&str; 6] = [
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];

/// Checks a reference to a field of the pod.
pub(super) fn field_ref(
    reference: &ObjectFieldSelector,
    known: &[&str],
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    let version = text(&reference.api_version);
    if version.is_empty() {
        return errors.required(&path.child("apiVersion"), "");
    }
    let whole = reference.field_path.as_str();
    let at = path.child("fieldPath");
    if whole.is_empty() {
        return errors.required(&at, "");
    }
    if version != "v1" {
        let why = format!("error converting fieldPath: unsupported pod version: {version}");
        return errors.invalid(&at, whole, &why);
    }
    if let Some((field, key)) = subscripted(whole) {
        return match field {
            "metadata.annotations" => {
                let key = key.to_lowercase();
                complain(errors, path, key.as_str(), rules::qualified_name(&key));
            }
            "metadata.labels" => complain(errors, path, key, rules::qualified_name(key)),
            _ => {
                let why = format!(
                    "error converting fieldPath: field label does not support subscript: {whole}"
                );
                errors.invalid(&at, whole, &why);
            }
        };
    }
    // What pods were called by before there were names for it.
    let field = if whole == "spec.host" { "spec.nodeName" } else { whole };
    if !ALL_FIELDS.contains(&field) {
        let why = format!("error converting fieldPath: field label not supported: {field}");
        errors.invalid(&at, whole, &why);
    } else if !known.contains(&field) {
        errors.not_supported(&at, field, known);
    }
}

/// Splits `metadata.labels['key']`.
fn subscripted(path: &str) -> Option<(&str, &str)> {
    let (field, key) = path.strip_suffix("']")?.split_once("['")?;
    (!field.is_empty()).then_some((field, key))
}

/// Checks a reference to a resource of a container.
pub(super) fn resource_ref(
    reference: &ResourceFieldSelector,
    in_volume: bool,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    let resource = reference.resource.as_str();
    let huge_pages =
        resource.starts_with("requests.hugepages-") || resource.starts_with("limits.hugepages-");
    if in_volume && text(&reference.container_name).is_empty() {
        errors.required(&path.child("containerName"), "");
    } else if resource.is_empty() {
        errors.required(&path.child("resource"), "");
    } else if !RESOURCES.contains(&resource) && !huge_pages {
        errors.not_supported(&path.child("resource"), resource, &RESOURCES);
    }
    let Some(divisor) = &reference.divisor else { return };
    let what = match resource {
        "limits.cpu" | "requests.cpu" => "cpu",
        "limits.memory" | "requests.memory" => "memory",
        "limits.ephemeral-storage" | "requests.ephemeral-storage" => "local ephemeral storage",
        _ if huge_pages => "hugepages",
        _ => return,
    };
    match Quantity::parse(&divisor.0) {
        Err(why) => errors.invalid(&path.child("divisor"), &divisor.0, &why.to_string()),
        Ok(divisor) if divisor.is_zero() => {}
        Ok(divisor) => {
            let units: &[&str] = if what == "cpu" { &["1m", "1"] } else { &UNITS };
            if !units.contains(&divisor.to_string().as_str()) {
                let list = if what == "cpu" { "1m and 1".to_owned() } else { UNITS.join(", ") };
                let why =
                    format!("only divisor's values {list} are supported with the {what} resource");
                errors.invalid(&path.child("divisor"), resource, &why);
            }
        }
    }
}

/// What amounts of memory and storage may be counted in.
const UNITS: [&str; 13] =
    ["1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"];
