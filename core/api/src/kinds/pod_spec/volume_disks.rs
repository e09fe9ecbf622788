//! What volumes on disks and file servers are made of.

use k8s_openapi::api::core::v1::{
    AzureDiskVolumeSource, CSIVolumeSource, FCVolumeSource, FlexVolumeSource, FlockerVolumeSource,
    ISCSIVolumeSource, QuobyteVolumeSource, StorageOSVolumeSource,
};

use super::volume_sources::{required, secret_ref};
use crate::field::{ErrorList, Path};
use crate::kinds::check::{Json, choice, complain, text};
use crate::kinds::names::rules;

/// Most bytes of a CSI driver's name.
const DRIVER_NAME_MAX: usize = 63;

/// Checks a disk behind iSCSI.
pub(super) fn iscsi(source: &ISCSIVolumeSource, path: &Path<'_>, errors: &mut ErrorList) {
    required(&source.target_portal, "targetPortal", path, errors);
    if required(&source.iqn, "iqn", path, errors) {
        iscsi_name(&source.iqn, &path.child("iqn"), errors);
    }
    complain(errors, &path.child("lun"), source.lun, rules::in_range(source.lun.into(), 0, 255));
    let authenticates =
        source.chap_auth_discovery == Some(true) || source.chap_auth_session == Some(true);
    if authenticates && source.secret_ref.is_none() {
        errors.required(&path.child("secretRef"), "");
    }
    if let Some(name) = &source.initiator_name {
        iscsi_name(name, &path.child("initiatorname"), errors);
    }
}

fn iscsi_name(name: &str, path: &Path<'_>, errors: &mut ErrorList) {
    let alphanumeric = |text: &str, length: usize| {
        text.len() == length && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    // The character behind the prefix is any: that dot is not escaped upstream.
    let behind = |rest: &str| rest.char_indices().nth(1).map(|(at, _)| at);
    let fits = if name.starts_with("iqn") {
        is_iqn(name)
    } else if let Some(rest) = name.strip_prefix("eui") {
        behind(rest).is_some_and(|at| alphanumeric(&rest[at..], 16))
    } else if let Some(rest) = name.strip_prefix("naa") {
        behind(rest).is_some_and(|at| alphanumeric(&rest[at..], 32))
    } else {
        let why = "must be valid format starting with iqn, eui, or naa";
        return errors.invalid(path, name, why);
    };
    if !fits {
        errors.invalid(path, name, "must be valid format");
    }
}

/// `iqn.2015-02.example.com:test`.
fn is_iqn(name: &str) -> bool {
    let Some(rest) = name.strip_prefix("iqn.") else { return false };
    let date = rest.as_bytes();
    let dated = date.len() > 8
        && date[..4].iter().chain(&date[5..7]).all(u8::is_ascii_digit)
        && (date[4], date[7]) == (b'-', b'.');
    let Some(rest) = rest.get(8..).filter(|_| dated) else { return false };
    let Some((authority, unique)) = rest.split_once(':') else { return false };
    let host = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    let other =
        |one: char| !matches!(one, ',' | ';' | '*' | '&' | '$' | '|') && !one.is_whitespace();
    !authority.is_empty()
        && authority.bytes().all(host)
        && !unique.is_empty()
        && unique.chars().all(other)
}

/// Checks a dataset of Flocker.
pub(super) fn flocker(source: &FlockerVolumeSource, path: &Path<'_>, errors: &mut ErrorList) {
    let name = text(&source.dataset_name);
    match (name.is_empty(), text(&source.dataset_uuid).is_empty()) {
        (true, true) => errors.required(path, "one of datasetName and datasetUUID is required"),
        (false, false) => {
            let why = "datasetName and datasetUUID can not be specified simultaneously";
            errors.invalid(path, "resource", why);
        }
        _ => {}
    }
    if name.contains('/') {
        errors.invalid(&path.child("datasetName"), name, "must not contain '/'");
    }
}

/// Checks a volume of Quobyte.
pub(super) fn quobyte(source: &QuobyteVolumeSource, path: &Path<'_>, errors: &mut ErrorList) {
    const REGISTRY: &str = "must be a host:port pair or multiple pairs separated by commas";
    let registry = source.registry.as_str();
    if registry.is_empty() {
        errors.required(&path.child("registry"), REGISTRY);
    } else if text(&source.tenant).len() >= 65 {
        let why = "must be a UUID and may not exceed a length of 64 characters";
        errors.required(&path.child("tenant"), why);
    } else {
        for _ in registry.split(',').filter(|pair| !is_host_and_port(pair)) {
            errors.invalid(&path.child("registry"), registry, REGISTRY);
        }
    }
    required(&source.volume, "volume", path, errors);
}

/// `host:port` or `[host]:port`, either side of which may be empty.
fn is_host_and_port(pair: &str) -> bool {
    match pair.strip_prefix('[') {
        Some(rest) => rest.split_once("]:").is_some_and(|(host, port)| {
            !host.contains(['[', ']']) && !port.contains([':', '[', ']'])
        }),
        None => pair.split_once(':').is_some_and(|(host, port)| {
            !host.contains(['[', ']']) && !port.contains([':', '[', ']'])
        }),
    }
}

/// Checks a disk behind Fibre Channel.
pub(super) fn fibre_channel(source: &FCVolumeSource, path: &Path<'_>, errors: &mut ErrorList) {
    let names = source.target_wwns.as_deref().unwrap_or_default();
    let ids = source.wwids.as_deref().unwrap_or_default();
    let at = path.child("targetWWNs");
    if names.is_empty() && ids.is_empty() {
        errors.required(&at, "must specify either targetWWNs or wwids, but not both");
    }
    if names.is_empty() {
        return;
    }
    if !ids.is_empty() {
        let why = "targetWWNs and wwids can not be specified simultaneously";
        errors.invalid(&at, Json(&names), why);
    }
    let at = path.child("lun");
    match source.lun {
        None => errors.required(&at, "lun is required if targetWWNs is specified"),
        Some(lun) => complain(errors, &at, lun, rules::in_range(lun.into(), 0, 255)),
    }
}

/// Checks a volume of a driver on the node.
pub(super) fn flex(source: &FlexVolumeSource, path: &Path<'_>, errors: &mut ErrorList) {
    required(&source.driver, "driver", path, errors);
    let options = path.child("options");
    for key in source.options.iter().flatten().map(|(key, _)| key) {
        let namespace = key.split_once('/').map_or(key.as_str(), |(namespace, _)| namespace);
        let namespace = namespace.to_lowercase();
        let reserved = ["kubernetes.io", "k8s.io"].into_iter().any(|domain| {
            namespace
                .strip_suffix(domain)
                .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        });
        if reserved {
            let why = "kubernetes.io and k8s.io namespaces are reserved";
            errors.invalid(&options.key(key), key, why);
        }
    }
}

/// Checks a disk of Azure.
pub(super) fn azure_disk(source: &AzureDiskVolumeSource, path: &Path<'_>, errors: &mut ErrorList) {
    required(&source.disk_name, "diskName", path, errors);
    required(&source.disk_uri, "diskURI", path, errors);
    let modes = ["None", "ReadOnly", "ReadWrite"];
    choice(errors, &path.child("cachingMode"), &source.caching_mode, &modes);
    choice(errors, &path.child("kind"), &source.kind, &["Dedicated", "Managed", "Shared"]);
    let (begin, form) = match source.kind.as_deref() {
        None => return,
        Some("Managed") => (
            "/subscriptions/",
            "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/\
             disks/{disk-id}",
        ),
        Some(_) => (
            "https://",
            "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd",
        ),
    };
    if !source.disk_uri.starts_with(begin) {
        errors.not_supported(&path.child("diskURI"), &source.disk_uri, &[form]);
    }
}

/// Checks a volume of StorageOS.
pub(super) fn storage_os(source: &StorageOSVolumeSource, path: &Path<'_>, errors: &mut ErrorList) {
    let name = text(&source.volume_name);
    if required(name, "volumeName", path, errors) {
        complain(errors, &path.child("volumeName"), name, rules::dns_label(name));
    }
    let namespace = text(&source.volume_namespace);
    if !namespace.is_empty() {
        complain(errors, &path.child("volumeNamespace"), namespace, rules::dns_label(namespace));
    }
    secret_ref(source.secret_ref.as_ref(), path, errors);
}

/// Checks a volume of a CSI driver.
pub(super) fn csi(source: &CSIVolumeSource, path: &Path<'_>, errors: &mut ErrorList) {
    let driver = source.driver.as_str();
    let at = path.child("driver");
    required(driver, "driver", path, errors);
    if driver.len() > DRIVER_NAME_MAX {
        errors.too_long(&at, DRIVER_NAME_MAX);
    }
    complain(errors, &at, driver, rules::dns_subdomain(&driver.to_lowercase()));
    let Some(secret) = &source.node_publish_secret_ref else { return };
    if secret.name.is_empty() {
        errors.required(&path.child("nodePublishSecretRef").child("name"), "");
    } else {
        complain(errors, &path.child("name"), &secret.name, rules::dns_subdomain(&secret.name));
    }
}
