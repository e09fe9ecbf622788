use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeSpec, PersistentVolumeStatus};

use super::check::{Json, NOT_POSITIVE, choice, complain, required_choice, text};
use super::names::rules;
use super::{fill, pod_spec};
use crate::Strategy;
use crate::field::{ErrorList, Path};
use crate::quantity::Quantity;

const ACCESS_MODES: [&str; 4] =
    ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];
/// What a volume may be made of.
const SOURCES: [&str; 22] = [
    "awsElasticBlockStore",
    "azureDisk",
    "azureFile",
    "cephfs",
    "cinder",
    "csi",
    "fc",
    "flexVolume",
    "flocker",
    "gcePersistentDisk",
    "glusterfs",
    "hostPath",
    "iscsi",
    "local",
    "nfs",
    "photonPersistentDisk",
    "portworxVolume",
    "quobyte",
    "rbd",
    "scaleIO",
    "storageos",
    "vsphereVolume",
];

/// Volumes.
pub(super) struct PersistentVolumeStrategy;

impl Strategy for PersistentVolumeStrategy {
    type Kind = PersistentVolume;

    fn default(&self, volume: &mut PersistentVolume) {
        fill(&mut volume.status.get_or_insert_default().phase, "Pending");
        let Some(spec) = &mut volume.spec else { return };
        fill(&mut spec.persistent_volume_reclaim_policy, "Retain");
        fill(&mut spec.volume_mode, "Filesystem");
        if let Some(path) = &mut spec.host_path {
            path.type_.get_or_insert_default();
        }
    }

    fn prepare_for_create(&self, volume: &mut PersistentVolume) {
        let phase = Some("Pending".to_owned());
        volume.status = Some(PersistentVolumeStatus { phase, ..Default::default() });
    }

    fn validate(&self, volume: &PersistentVolume, errors: &mut ErrorList) {
        if let Some(spec) = &volume.spec {
            validate_spec(spec, &Path::root("spec"), errors);
        }
    }

    fn prepare_for_update(&self, new: &mut PersistentVolume, old: &PersistentVolume) {
        new.status.clone_from(&old.status);
    }

    fn validate_update(
        &self,
        new: &PersistentVolume,
        old: &PersistentVolume,
        errors: &mut ErrorList,
    ) {
        self.validate(new, errors);
        let (Some(new), Some(old)) = (&new.spec, &old.spec) else { return };
        let path = Path::root("spec");
        if source_of(new) != source_of(old) {
            let path = Path::root("spec.persistentvolumesource");
            errors.forbidden(&path, "spec.persistentvolumesource is immutable after creation");
        }
        if new.volume_mode != old.volume_mode {
            let mode = path.child("volumeMode");
            errors.invalid(&mode, text(&new.volume_mode), "field is immutable");
        }
        if old.node_affinity.is_some() && new.node_affinity != old.node_affinity {
            let at = path.child("nodeAffinity");
            errors.invalid(&at, Json(&new.node_affinity), "field is immutable");
        }
    }

    fn prepare_for_status_update(&self, new: &mut PersistentVolume, old: &PersistentVolume) {
        new.spec.clone_from(&old.spec);
    }
}

/// The part of a spec that says what the volume is made of, as JSON.
fn source_of(spec: &PersistentVolumeSpec) -> Vec<(&'static str, serde_json::Value)> {
    let value = serde_json::to_value(spec).unwrap_or_default();
    SOURCES
        .into_iter()
        .filter_map(|name| value.get(name).map(|source| (name, source.clone())))
        .collect()
}

fn validate_spec(spec: &PersistentVolumeSpec, path: &Path<'_>, errors: &mut ErrorList) {
    let at = path.child("accessModes");
    let modes = spec.access_modes.as_deref().unwrap_or_default();
    if modes.is_empty() {
        errors.required(&at, "");
    }
    for mode in modes.iter().filter(|mode| !ACCESS_MODES.contains(&mode.as_str())) {
        errors.not_supported(&at, mode, &ACCESS_MODES);
    }
    let alone = modes.iter().any(|mode| mode == "ReadWriteOncePod");
    if alone && modes.len() > 1 {
        errors.forbidden(&at, "may not use ReadWriteOncePod with other access modes");
    }
    validate_capacity(spec, &path.child("capacity"), errors);
    let policies = ["Delete", "Recycle", "Retain"];
    let policy = &spec.persistent_volume_reclaim_policy;
    required_choice(errors, &path.child("persistentVolumeReclaimPolicy"), policy, &policies);
    validate_affinity(spec, path, errors);
    validate_source(spec, path, errors);
    let modes = ["Block", "Filesystem"];
    choice(errors, &path.child("volumeMode"), &spec.volume_mode, &modes);
    for (field, class) in [
        ("storageClassName", &spec.storage_class_name),
        ("volumeAttributesClassName", &spec.volume_attributes_class_name),
    ] {
        let class = text(class);
        if !class.is_empty() {
            complain(errors, &path.child(field), class, rules::dns_subdomain(class));
        }
    }
}

fn validate_capacity(spec: &PersistentVolumeSpec, path: &Path<'_>, errors: &mut ErrorList) {
    let capacity = spec.capacity.as_ref();
    let Some(storage) = capacity.and_then(|capacity| capacity.get("storage")) else {
        errors.not_supported(path, Json(&capacity), &["storage"]);
        return;
    };
    for (name, quantity) in capacity.into_iter().flatten() {
        pod_spec::validate_quantity(name, quantity, &path.key(name), errors);
    }
    if Quantity::parse(&storage.0).is_ok_and(|size| size.is_zero() || size.is_negative()) {
        errors.invalid(&path.key("storage"), storage.0.as_str(), NOT_POSITIVE);
    }
}

fn validate_affinity(spec: &PersistentVolumeSpec, path: &Path<'_>, errors: &mut ErrorList) {
    let at = path.child("nodeAffinity");
    match spec.node_affinity.as_ref().map(|affinity| &affinity.required) {
        Some(Some(selector)) => {
            let at = at.child("required");
            pod_spec::validate_node_selector(selector, &at, errors);
        }
        Some(None) => {
            errors.required(&at.child("required"), "must specify required node constraints")
        }
        None if spec.local.is_some() => {
            errors.required(&at, "Local volume requires node affinity");
        }
        None => {}
    }
}

fn validate_source(spec: &PersistentVolumeSpec, path: &Path<'_>, errors: &mut ErrorList) {
    let sources = source_of(spec);
    if sources.is_empty() {
        errors.required(path, "must specify a volume type");
    }
    for (name, _) in sources.iter().skip(1) {
        errors.forbidden(&path.child(name), "may not specify more than 1 volume type");
    }
    let backsteps = |target: &str| target.split('/').any(|part| part == "..");
    let mut directory = |field: &str, target: &str| {
        let at = path.child(field);
        let at = at.child("path");
        if target.is_empty() {
            errors.required(&at, "");
        } else if backsteps(target) {
            errors.invalid(&at, target, "must not contain '..'");
        }
    };
    if let Some(source) = &spec.host_path {
        directory("hostPath", &source.path);
    }
    if let Some(source) = &spec.local {
        directory("local", &source.path);
    }
    if let Some(source) = &spec.nfs {
        let at = path.child("nfs");
        if source.server.is_empty() {
            errors.required(&at.child("server"), "");
        }
        if source.path.is_empty() {
            errors.required(&at.child("path"), "");
        } else if !source.path.starts_with('/') {
            errors.invalid(&at.child("path"), &source.path, "must be an absolute path");
        }
    }
    if let Some(source) = &spec.csi {
        let at = path.child("csi");
        if source.driver.is_empty() {
            errors.required(&at.child("driver"), "");
        }
        if source.volume_handle.is_empty() {
            errors.required(&at.child("volumeHandle"), "");
        }
    }
}
