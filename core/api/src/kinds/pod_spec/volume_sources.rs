use k8s_openapi::api::core::v1::{
    AzureDiskVolumeSource, CSIVolumeSource, FCVolumeSource, FlexVolumeSource, FlockerVolumeSource,
    ISCSIVolumeSource, KeyToPath, LocalObjectReference, QuobyteVolumeSource, ScaleIOVolumeSource,
    StorageOSVolumeSource, Volume,
};

use super::containers::PULL_POLICIES;
use super::{paths, projected};
use crate::field::{ErrorList, Path};
use crate::kinds::check::{Json, choice, complain, required_choice, text};
use crate::kinds::names::rules;

/// What a host path may be.
const HOST_PATH_TYPES: [&str; 8] = [
    "",
    "BlockDevice",
    "CharDevice",
    "Directory",
    "DirectoryOrCreate",
    "File",
    "FileOrCreate",
    "Socket",
];
/// Most bytes of a CSI driver's name.
const DRIVER_NAME_MAX: usize = 63;
/// Most bytes of volume name and portal together when the initiator has a name.
const ISCSI_NAME_MAX: usize = 64;

/// Counts a source in; whether it is the first. A second one is an error, and not looked into.
pub(super) fn only_one(
    found: &mut bool,
    field: &str,
    path: &Path<'_>,
    errors: &mut ErrorList,
) -> bool {
    if *found {
        errors.forbidden(&path.child(field), "may not specify more than 1 volume type");
    }
    !std::mem::replace(found, true)
}

/// Checks what a volume is made of: all sources between `emptyDir` and `ephemeral` in upstream's
/// order. Some fields are spelled as upstream misspells them.
pub(super) fn validate(volume: &Volume, found: &mut bool, path: &Path<'_>, errors: &mut ErrorList) {
    if let Some(source) = &volume.host_path
        && only_one(found, "hostPath", path, errors)
    {
        let path = path.child("hostPath");
        if required(&source.path, "path", &path, errors) {
            paths::no_backsteps(&source.path, &path.child("path"), errors);
            choice(errors, &path.child("type"), &source.type_, &HOST_PATH_TYPES);
        }
    }
    if let Some(source) = &volume.git_repo
        && only_one(found, "gitRepo", path, errors)
    {
        let path = path.child("gitRepo");
        required(&source.repository, "repository", &path, errors);
        paths::local_descending(text(&source.directory), &path.child("directory"), errors);
    }
    if let Some(source) = &volume.gce_persistent_disk
        && only_one(found, "gcePersistentDisk", path, errors)
    {
        let path = path.child("persistentDisk");
        required(&source.pd_name, "pdName", &path, errors);
        partition(source.partition, &path, errors);
    }
    if let Some(source) = &volume.aws_elastic_block_store
        && only_one(found, "awsElasticBlockStore", path, errors)
    {
        let path = path.child("awsElasticBlockStore");
        required(&source.volume_id, "volumeID", &path, errors);
        partition(source.partition, &path, errors);
    }
    if let Some(source) = &volume.secret
        && only_one(found, "secret", path, errors)
    {
        let path = path.child("secret");
        required(text(&source.secret_name), "secretName", &path, errors);
        files(source.default_mode, source.items.as_deref(), &path, errors);
    }
    if let Some(source) = &volume.nfs
        && only_one(found, "nfs", path, errors)
    {
        let path = path.child("nfs");
        required(&source.server, "server", &path, errors);
        required(&source.path, "path", &path, errors);
        if !source.path.starts_with('/') {
            errors.invalid(&path.child("path"), &source.path, "must be an absolute path");
        }
    }
    if let Some(source) = &volume.iscsi {
        if only_one(found, "iscsi", path, errors) {
            iscsi(source, &path.child("iscsi"), errors);
        }
        let length = volume.name.len() + 1 + source.target_portal.len();
        if source.initiator_name.is_some() && length > ISCSI_NAME_MAX {
            let why = "Total length of <volume name>:<iscsi.targetPortal> must be under 64 \
                       characters if iscsi.initiatorName is specified.";
            errors.invalid(&path.child("name"), &volume.name, why);
        }
    }
    if let Some(source) = &volume.glusterfs
        && only_one(found, "glusterfs", path, errors)
    {
        let path = path.child("glusterfs");
        required(&source.endpoints, "endpoints", &path, errors);
        required(&source.path, "path", &path, errors);
    }
    if let Some(source) = &volume.flocker
        && only_one(found, "flocker", path, errors)
    {
        flocker(source, &path.child("flocker"), errors);
    }
    if let Some(source) = &volume.persistent_volume_claim
        && only_one(found, "persistentVolumeClaim", path, errors)
    {
        let path = path.child("persistentVolumeClaim");
        required(&source.claim_name, "claimName", &path, errors);
    }
    if let Some(source) = &volume.rbd
        && only_one(found, "rbd", path, errors)
    {
        let path = path.child("rbd");
        required_list(&source.monitors, "monitors", &path, errors);
        required(&source.image, "image", &path, errors);
    }
    if let Some(source) = &volume.cinder
        && only_one(found, "cinder", path, errors)
    {
        let path = path.child("cinder");
        required(&source.volume_id, "volumeID", &path, errors);
        secret_ref(source.secret_ref.as_ref(), &path, errors);
    }
    if let Some(source) = &volume.cephfs
        && only_one(found, "cephFS", path, errors)
    {
        required_list(&source.monitors, "monitors", &path.child("cephfs"), errors);
    }
    if let Some(source) = &volume.quobyte
        && only_one(found, "quobyte", path, errors)
    {
        quobyte(source, &path.child("quobyte"), errors);
    }
    if let Some(source) = &volume.downward_api
        && only_one(found, "downwarAPI", path, errors)
    {
        let path = path.child("downwardAPI");
        paths::mode(source.default_mode, &path.child("defaultMode"), errors);
        for file in source.items.iter().flatten() {
            projected::downward_file(file, &path, errors);
        }
    }
    if let Some(source) = &volume.fc
        && only_one(found, "fc", path, errors)
    {
        fibre_channel(source, &path.child("fc"), errors);
    }
    if let Some(source) = &volume.flex_volume
        && only_one(found, "flexVolume", path, errors)
    {
        flex(source, &path.child("flexVolume"), errors);
    }
    if let Some(source) = &volume.config_map
        && only_one(found, "configMap", path, errors)
    {
        let path = path.child("configMap");
        required(&source.name, "name", &path, errors);
        files(source.default_mode, source.items.as_deref(), &path, errors);
    }
    clouds(volume, found, path, errors);
}

fn clouds(volume: &Volume, found: &mut bool, path: &Path<'_>, errors: &mut ErrorList) {
    if let Some(source) = &volume.azure_file
        && only_one(found, "azureFile", path, errors)
    {
        let path = path.child("azureFile");
        required(&source.secret_name, "secretName", &path, errors);
        required(&source.share_name, "shareName", &path, errors);
    }
    if let Some(source) = &volume.vsphere_volume
        && only_one(found, "vsphereVolume", path, errors)
    {
        required(&source.volume_path, "volumePath", &path.child("vsphereVolume"), errors);
    }
    if let Some(source) = &volume.photon_persistent_disk
        && only_one(found, "photonPersistentDisk", path, errors)
    {
        required(&source.pd_id, "pdID", &path.child("photonPersistentDisk"), errors);
    }
    if let Some(source) = &volume.portworx_volume
        && only_one(found, "portworxVolume", path, errors)
    {
        required(&source.volume_id, "volumeID", &path.child("portworxVolume"), errors);
    }
    if let Some(source) = &volume.azure_disk
        && only_one(found, "azureDisk", path, errors)
    {
        azure_disk(source, &path.child("azureDisk"), errors);
    }
    if let Some(source) = &volume.storageos
        && only_one(found, "storageos", path, errors)
    {
        storage_os(source, &path.child("storageos"), errors);
    }
    if let Some(source) = &volume.projected
        && only_one(found, "projected", path, errors)
    {
        projected::validate(source, &path.child("projected"), errors);
    }
    if let Some(source) = &volume.scale_io
        && only_one(found, "scaleIO", path, errors)
    {
        let path = path.child("scaleIO");
        let ScaleIOVolumeSource { gateway, system, volume_name, .. } = source;
        required(gateway, "gateway", &path, errors);
        required(system, "system", &path, errors);
        required(text(volume_name), "volumeName", &path, errors);
    }
    if let Some(source) = &volume.csi
        && only_one(found, "csi", path, errors)
    {
        csi(source, &path.child("csi"), errors);
    }
}

/// Checks an image as a volume.
pub(super) fn validate_image(
    volume: &Volume,
    found: &mut bool,
    in_pod: bool,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    if let Some(source) = &volume.image
        && only_one(found, "image", path, errors)
    {
        let path = path.child("image");
        if in_pod {
            required(text(&source.reference), "reference", &path, errors);
        }
        required_choice(errors, &path.child("pullPolicy"), &source.pull_policy, &PULL_POLICIES);
    }
}

fn required(value: &str, field: &str, path: &Path<'_>, errors: &mut ErrorList) -> bool {
    if value.is_empty() {
        errors.required(&path.child(field), "");
    }
    !value.is_empty()
}

fn required_list(values: &[String], field: &str, path: &Path<'_>, errors: &mut ErrorList) {
    if values.is_empty() {
        errors.required(&path.child(field), "");
    }
}

fn partition(partition: Option<i32>, path: &Path<'_>, errors: &mut ErrorList) {
    let partition = partition.unwrap_or(0);
    if !(0..=255).contains(&partition) {
        errors.invalid(&path.child("partition"), partition, &rules::range_message(1, 255));
    }
}

fn secret_ref(secret: Option<&LocalObjectReference>, path: &Path<'_>, errors: &mut ErrorList) {
    if let Some(secret) = secret {
        required(&secret.name, "name", &path.child("secretRef"), errors);
    }
}

fn files(mode: Option<i32>, items: Option<&[KeyToPath]>, path: &Path<'_>, errors: &mut ErrorList) {
    paths::mode(mode, &path.child("defaultMode"), errors);
    let list = path.child("items");
    for (index, item) in items.unwrap_or_default().iter().enumerate() {
        key_to_path(item, &list.index(index), errors);
    }
}

/// Checks which key goes into which file.
pub(super) fn key_to_path(item: &KeyToPath, path: &Path<'_>, errors: &mut ErrorList) {
    required(&item.key, "key", path, errors);
    required(&item.path, "path", path, errors);
    paths::local_non_reserved(&item.path, &path.child("path"), errors);
    paths::mode(item.mode, &path.child("mode"), errors);
}

fn iscsi(source: &ISCSIVolumeSource, path: &Path<'_>, errors: &mut ErrorList) {
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

fn flocker(source: &FlockerVolumeSource, path: &Path<'_>, errors: &mut ErrorList) {
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

fn quobyte(source: &QuobyteVolumeSource, path: &Path<'_>, errors: &mut ErrorList) {
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

fn fibre_channel(source: &FCVolumeSource, path: &Path<'_>, errors: &mut ErrorList) {
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

fn flex(source: &FlexVolumeSource, path: &Path<'_>, errors: &mut ErrorList) {
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

fn azure_disk(source: &AzureDiskVolumeSource, path: &Path<'_>, errors: &mut ErrorList) {
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

fn storage_os(source: &StorageOSVolumeSource, path: &Path<'_>, errors: &mut ErrorList) {
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

fn csi(source: &CSIVolumeSource, path: &Path<'_>, errors: &mut ErrorList) {
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
