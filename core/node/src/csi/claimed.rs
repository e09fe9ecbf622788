//! What a pod wants of a driver, before anybody is asked.

use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{
    CSIPersistentVolumeSource, PersistentVolume, Pod, SecretReference, Volume,
};
use pinnace_api::volumes;

use super::protocol::{AccessMode, Empty, Map, MountVolume, VolumeCapability};
use crate::pod::record;

/// A volume of a pod that a driver provides.
#[derive(Clone)]
pub(crate) struct Claimed {
    /// The persistent volume's name, or that of the pod's own volume.
    pub(super) name: String,
    /// What the pod calls it.
    pub(super) volume: String,
    pub(super) source: CSIPersistentVolumeSource,
    pub(super) is_ephemeral: bool,
    access_modes: Vec<String>,
    mount_options: Vec<String>,
    pub(super) is_block: bool,
}

/// What a driver is to provide for a volume; nothing when the volume is not a driver's.
pub(crate) fn source_of(
    pod: &Pod,
    volume: &Volume,
    claimed: Option<&PersistentVolume>,
) -> Option<Claimed> {
    if let Some(inline) = &volume.csi {
        let uid = pod.metadata.uid.as_deref().unwrap_or_default();
        let secret = inline.node_publish_secret_ref.as_ref().map(|secret| SecretReference {
            name: Some(secret.name.clone()),
            namespace: pod.metadata.namespace.clone(),
        });
        let source = CSIPersistentVolumeSource {
            driver: inline.driver.clone(),
            fs_type: inline.fs_type.clone(),
            node_publish_secret_ref: secret,
            read_only: inline.read_only,
            volume_attributes: inline.volume_attributes.clone(),
            volume_handle: format!("csi-{}", volumes::digest(&[uid, &volume.name])),
            ..CSIPersistentVolumeSource::default()
        };
        return Some(Claimed {
            name: volume.name.clone(),
            volume: volume.name.clone(),
            source,
            is_ephemeral: true,
            access_modes: Vec::new(),
            mount_options: Vec::new(),
            is_block: false,
        });
    }
    let persistent = claimed?;
    let spec = persistent.spec.as_ref()?;
    let mut source = spec.csi.clone()?;
    let read_only = volume.persistent_volume_claim.as_ref().and_then(|claim| claim.read_only);
    if read_only == Some(true) {
        source.read_only = Some(true);
    }
    Some(Claimed {
        name: persistent.metadata.name.clone().unwrap_or_default(),
        volume: volume.name.clone(),
        source,
        is_ephemeral: false,
        access_modes: spec.access_modes.clone().unwrap_or_default(),
        mount_options: spec.mount_options.clone().unwrap_or_default(),
        is_block: spec.volume_mode.as_deref() == Some("Block"),
    })
}

impl Claimed {
    /// Whether the driver's modes let it be had in this way.
    pub(super) fn check_lifecycle(&self, modes: Option<&[String]>) -> Result<(), String> {
        let mode = if self.is_ephemeral { "Ephemeral" } else { "Persistent" };
        let supported = match modes.filter(|modes| !modes.is_empty()) {
            Some(modes) => modes.iter().any(|one| one == mode),
            None => !self.is_ephemeral,
        };
        if supported {
            return Ok(());
        }
        Err(format!("volume mode {mode:?} not supported by driver {}", self.source.driver))
    }

    /// Where it is published for a pod, whose directory for it is given.
    pub(super) fn target(&self, root: &Path, uid: &str, directory: &Path) -> PathBuf {
        if self.is_block {
            let publish = root.join("plugins/kubernetes.io/csi/volumeDevices/publish");
            return publish.join(&self.name).join(uid);
        }
        directory.join("mount")
    }

    /// Where it is staged, in upstream's layout.
    pub(super) fn staging(&self, root: &Path) -> PathBuf {
        let plugins = root.join("plugins/kubernetes.io/csi");
        if self.is_block {
            return plugins.join("volumeDevices/staging").join(&self.name);
        }
        let volume = volumes::digest(&[&self.source.volume_handle]);
        plugins.join(&self.source.driver).join(volume).join("globalmount")
    }

    /// The capability by which it is asked for; modes by upstream's table.
    pub(super) fn capability(&self, tells_writers: bool, group: Option<u32>) -> VolumeCapability {
        let mode = match self.access_modes.first().map(String::as_str) {
            Some("ReadOnlyMany") => 3,
            Some("ReadWriteMany") => 5,
            Some("ReadWriteOncePod") if tells_writers => 6,
            None | Some("ReadWriteOnce") if tells_writers => 7,
            _ => 1,
        };
        let mount = MountVolume {
            fs_type: self.source.fs_type.clone().unwrap_or_default(),
            mount_flags: self.mount_options.clone(),
            volume_mount_group: group.map(|group| group.to_string()).unwrap_or_default(),
        };
        VolumeCapability {
            block: self.is_block.then_some(Empty {}),
            mount: (!self.is_block).then_some(mount),
            access_mode: Some(AccessMode { mode }),
        }
    }

    /// Whether its files are given to the pod's group, by the driver's policy.
    pub(super) fn takes_group(&self, policy: Option<&str>) -> bool {
        if self.is_block || self.source.read_only == Some(true) {
            return false;
        }
        match policy.unwrap_or("ReadWriteOnceWithFSType") {
            "File" => true,
            "None" => false,
            _ => {
                let has_type = self.source.fs_type.as_ref().is_some_and(|kind| !kind.is_empty());
                let once = |mode: &String| mode == "ReadWriteOnce" || mode == "ReadWriteOncePod";
                has_type && (self.is_ephemeral || self.access_modes.iter().any(once))
            }
        }
    }
}

/// The group of a pod's files.
pub(super) fn fs_group(pod: &Pod) -> Option<u32> {
    let group = record::spec_of(pod).security_context.as_ref()?.fs_group?;
    u32::try_from(group).ok()
}

/// What drivers are told of a pod that want to know.
pub(super) fn pod_info(pod: &Pod, is_ephemeral: bool) -> Map {
    let meta = &pod.metadata;
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let account = text(&record::spec_of(pod).service_account_name);
    let all = [
        ("pod.name", text(&meta.name)),
        ("pod.namespace", text(&meta.namespace)),
        ("pod.uid", text(&meta.uid)),
        ("serviceAccount.name", account),
        ("ephemeral", is_ephemeral.to_string()),
    ];
    all.into_iter().map(|(key, value)| (format!("csi.storage.k8s.io/{key}"), value)).collect()
}
