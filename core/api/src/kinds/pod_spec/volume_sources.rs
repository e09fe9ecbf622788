//! What volumes are made of. Sources are looked at in upstream's order, for which of two is one too
//! many depends on it; some fields are spelled as upstream misspells them.

use k8s_openapi::api::core::v1::{KeyToPath, LocalObjectReference, ScaleIOVolumeSource, Volume};

use super::containers::PULL_POLICIES;
use super::{paths, projected, volume_disks};
use crate::field::{ErrorList, Path};
use crate::kinds::check::{choice, required_choice, text};
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

/// Checks what a volume is made of, all between `emptyDir` and `ephemeral`.
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
            volume_disks::iscsi(source, &path.child("iscsi"), errors);
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
        volume_disks::flocker(source, &path.child("flocker"), errors);
    }
    if let Some(source) = &volume.persistent_volume_claim
        && only_one(found, "persistentVolumeClaim", path, errors)
    {
        let path = path.child("persistentVolumeClaim");
        required(&source.claim_name, "claimName", &path, errors);
    }
    shared(volume, found, path, errors);
    clouds(volume, found, path, errors);
}

fn shared(volume: &Volume, found: &mut bool, path: &Path<'_>, errors: &mut ErrorList) {
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
        volume_disks::quobyte(source, &path.child("quobyte"), errors);
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
        volume_disks::fibre_channel(source, &path.child("fc"), errors);
    }
    if let Some(source) = &volume.flex_volume
        && only_one(found, "flexVolume", path, errors)
    {
        volume_disks::flex(source, &path.child("flexVolume"), errors);
    }
    if let Some(source) = &volume.config_map
        && only_one(found, "configMap", path, errors)
    {
        let path = path.child("configMap");
        required(&source.name, "name", &path, errors);
        files(source.default_mode, source.items.as_deref(), &path, errors);
    }
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
        volume_disks::azure_disk(source, &path.child("azureDisk"), errors);
    }
    if let Some(source) = &volume.storageos
        && only_one(found, "storageos", path, errors)
    {
        volume_disks::storage_os(source, &path.child("storageos"), errors);
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
        volume_disks::csi(source, &path.child("csi"), errors);
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

/// A text must be there; whether it is.
pub(super) fn required(value: &str, field: &str, path: &Path<'_>, errors: &mut ErrorList) -> bool {
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

/// A secret, if there is one, must have a name.
pub(super) fn secret_ref(
    secret: Option<&LocalObjectReference>,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
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
