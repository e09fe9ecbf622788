//! Persistent volumes and their claims.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimSpec,
    PersistentVolumeClaimStatus, PersistentVolumeSpec, PersistentVolumeStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

use super::age::age;
use super::text::{self, UNSET};
use super::typed::Entry;
use super::{AGE, Column, NAME, cells};

const VOLUME: &[Column] = &[
    NAME,
    Column::text("Capacity", "Size of the volume"),
    Column::text("Access Modes", "How the volume can be mounted"),
    Column::text("Reclaim Policy", "What becomes of the volume once its claim is gone"),
    Column::text("Status", "Phase of the volume"),
    Column::text("Claim", "Claim that the volume is bound to"),
    Column::text("StorageClass", "Storage class of the volume"),
    Column::text("VolumeAttributesClass", "Volume attributes class of the volume"),
    Column::text("Reason", "Why the volume is in its phase"),
    AGE,
    Column::text("VolumeMode", "Whether the volume is a file system or a block device").wide(),
];

const CLAIM: &[Column] = &[
    NAME,
    Column::text("Status", "Phase of the claim"),
    Column::text("Volume", "Volume that the claim is bound to"),
    Column::text("Capacity", "Size of the volume"),
    Column::text("Access Modes", "How the volume can be mounted"),
    Column::text("StorageClass", "Storage class of the claim"),
    Column::text("VolumeAttributesClass", "Volume attributes class of the claim"),
    AGE,
    Column::text("VolumeMode", "Whether the volume is a file system or a block device").wide(),
];

/// Where the storage class stood before there was a field for it; it still wins.
const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";
const STORAGE: &str = "storage";

pub(super) fn printers() -> Vec<Entry> {
    vec![Entry::new(VOLUME, volume), Entry::new(CLAIM, claim)]
}

fn volume(volume: &PersistentVolume, now: Timestamp) -> Vec<Value> {
    let none = (PersistentVolumeSpec::default(), PersistentVolumeStatus::default());
    let spec = volume.spec.as_ref().unwrap_or(&none.0);
    let status = volume.status.as_ref().unwrap_or(&none.1);
    let claim = spec.claim_ref.as_ref().map(|claim| {
        let namespace = claim.namespace.as_deref().unwrap_or_default();
        format!("{namespace}/{}", claim.name.as_deref().unwrap_or_default())
    });
    cells![
        volume.metadata.name.as_deref(),
        text::quantity(spec.capacity.as_ref().and_then(|all| all.get(STORAGE))),
        access_modes(spec.access_modes.as_deref()),
        spec.persistent_volume_reclaim_policy.as_deref().unwrap_or_default(),
        phase(&volume.metadata, status.phase.as_deref()),
        claim.unwrap_or_default(),
        class(&volume.metadata, spec.storage_class_name.as_deref()),
        spec.volume_attributes_class_name.as_deref().unwrap_or(UNSET),
        status.reason.as_deref().unwrap_or_default(),
        age(&volume.metadata, now),
        spec.volume_mode.as_deref().unwrap_or(UNSET),
    ]
}

fn claim(claim: &PersistentVolumeClaim, now: Timestamp) -> Vec<Value> {
    let none = (PersistentVolumeClaimSpec::default(), PersistentVolumeClaimStatus::default());
    let spec = claim.spec.as_ref().unwrap_or(&none.0);
    let status = claim.status.as_ref().unwrap_or(&none.1);
    let name = spec.volume_name.as_deref().unwrap_or_default();
    let (capacity, modes) = if name.is_empty() {
        Default::default()
    } else {
        let capacity = status.capacity.as_ref().and_then(|all| all.get(STORAGE));
        (text::quantity(capacity), access_modes(status.access_modes.as_deref()))
    };
    cells![
        claim.metadata.name.as_deref(),
        phase(&claim.metadata, status.phase.as_deref()),
        name,
        capacity,
        modes,
        class(&claim.metadata, spec.storage_class_name.as_deref()),
        spec.volume_attributes_class_name.as_deref().unwrap_or(UNSET),
        age(&claim.metadata, now),
        spec.volume_mode.as_deref().unwrap_or(UNSET),
    ]
}

fn phase<'a>(meta: &ObjectMeta, phase: Option<&'a str>) -> &'a str {
    match meta.deletion_timestamp {
        Some(_) => "Terminating",
        None => phase.unwrap_or_default(),
    }
}

fn class<'a>(meta: &'a ObjectMeta, field: Option<&'a str>) -> &'a str {
    let annotation = meta.annotations.as_ref().and_then(|all| all.get(CLASS_ANNOTATION));
    annotation.map(|class| &class[..]).or(field).unwrap_or_default()
}

fn access_modes(modes: Option<&[String]>) -> String {
    const SHORT: [(&str, &str); 4] = [
        ("ReadWriteOnce", "RWO"),
        ("ReadOnlyMany", "ROX"),
        ("ReadWriteMany", "RWX"),
        ("ReadWriteOncePod", "RWOP"),
    ];
    let modes = modes.unwrap_or_default();
    let has = |mode: &str| modes.iter().any(|one| one == mode);
    let short: Vec<_> =
        SHORT.iter().filter(|(mode, _)| has(mode)).map(|(_, short)| *short).collect();
    short.join(",")
}
