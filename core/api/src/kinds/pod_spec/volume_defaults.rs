use k8s_openapi::api::core::v1::{
    DownwardAPIVolumeFile, EmptyDirVolumeSource, Volume, VolumeProjection,
};

use super::defaults::pull_policy;
use crate::kinds::{fill, is_blank, omit_empty};

/// Mode of files in secret, config map, downward API and projected volumes, octal.
const DEFAULT_MODE: i32 = 0o644;
/// Seconds a projected service account token lives.
const TOKEN_EXPIRATION_SECONDS: i64 = 3600;
/// Seconds a pod's certificate lives.
const CERTIFICATE_EXPIRATION_SECONDS: i32 = 24 * 3600;

/// Fills in what a volume leaves open.
pub(super) fn volume(volume: &mut Volume) {
    if !has_source(volume) {
        volume.empty_dir = Some(EmptyDirVolumeSource::default());
    }
    if let Some(directory) = &mut volume.empty_dir {
        omit_empty!(directory; medium);
    }
    if let Some(path) = &mut volume.host_path {
        path.type_.get_or_insert_default();
    }
    if let Some(secret) = &mut volume.secret {
        omit_empty!(secret; items, secret_name);
        secret.default_mode.get_or_insert(DEFAULT_MODE);
    }
    if let Some(config_map) = &mut volume.config_map {
        omit_empty!(config_map; items);
        config_map.default_mode.get_or_insert(DEFAULT_MODE);
    }
    if let Some(downward) = &mut volume.downward_api {
        omit_empty!(downward; items);
        downward.default_mode.get_or_insert(DEFAULT_MODE);
        downward.items.iter_mut().flatten().for_each(downward_file);
    }
    if let Some(projected) = &mut volume.projected {
        projected.default_mode.get_or_insert(DEFAULT_MODE);
        projected.sources.iter_mut().flatten().for_each(projection);
    }
    if let Some(claim) = &mut volume.persistent_volume_claim {
        omit_empty!(claim; read_only);
    }
    if let Some(image) = &mut volume.image
        && is_blank(&image.pull_policy)
    {
        image.pull_policy = Some(pull_policy(image.reference.as_deref()).to_owned());
    }
    if let Some(ephemeral) = &mut volume.ephemeral
        && let Some(template) = &mut ephemeral.volume_claim_template
    {
        template.spec.volume_mode.get_or_insert_with(|| "Filesystem".to_owned());
    }
    network_disks(volume);
}

fn network_disks(volume: &mut Volume) {
    if let Some(iscsi) = &mut volume.iscsi {
        fill(&mut iscsi.iscsi_interface, "default");
    }
    if let Some(rbd) = &mut volume.rbd {
        fill(&mut rbd.pool, "rbd");
        fill(&mut rbd.user, "admin");
        fill(&mut rbd.keyring, "/etc/ceph/keyring");
    }
    if let Some(disk) = &mut volume.azure_disk {
        disk.caching_mode.get_or_insert_with(|| "ReadWrite".to_owned());
        disk.fs_type.get_or_insert_with(|| "ext4".to_owned());
        disk.kind.get_or_insert_with(|| "Shared".to_owned());
        disk.read_only.get_or_insert(false);
    }
    if let Some(disk) = &mut volume.scale_io {
        fill(&mut disk.storage_mode, "ThinProvisioned");
        fill(&mut disk.fs_type, "xfs");
    }
}

fn downward_file(file: &mut DownwardAPIVolumeFile) {
    if let Some(field) = &mut file.field_ref {
        fill(&mut field.api_version, "v1");
    }
}

fn projection(source: &mut VolumeProjection) {
    if let Some(downward) = &mut source.downward_api {
        downward.items.iter_mut().flatten().for_each(downward_file);
    }
    if let Some(token) = &mut source.service_account_token {
        token.expiration_seconds.get_or_insert(TOKEN_EXPIRATION_SECONDS);
    }
    if let Some(certificate) = &mut source.pod_certificate {
        certificate.max_expiration_seconds.get_or_insert(CERTIFICATE_EXPIRATION_SECONDS);
    }
}

fn has_source(volume: &Volume) -> bool {
    macro_rules! any {
        ($($field:ident),* $(,)?) => { $(volume.$field.is_some())||* };
    }
    any!(
        empty_dir,
        config_map,
        secret,
        projected,
        host_path,
        persistent_volume_claim,
        downward_api,
        csi,
        ephemeral,
        image,
        nfs,
        iscsi,
        aws_elastic_block_store,
        azure_disk,
        azure_file,
        cephfs,
        cinder,
        fc,
        flex_volume,
        flocker,
        gce_persistent_disk,
        git_repo,
        glusterfs,
        photon_persistent_disk,
        portworx_volume,
        quobyte,
        rbd,
        scale_io,
        storageos,
        vsphere_volume,
    )
}
