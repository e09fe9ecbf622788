//! The kinds of `storage.k8s.io`.

use std::borrow::Cow;

use k8s_openapi::api::storage::v1::{
    CSIDriver, CSINode, CSIStorageCapacity, StorageClass, VolumeAttachment, VolumeAttributesClass,
};

use super::check::{Json, choice, complain, immutable, required_choice, text};
use super::metadata::keep_for_status;
use super::names::rules;
use super::{fill, label_selector, next_generation};
use crate::Strategy;
use crate::field::{ErrorList, Path};
use crate::quantity::Quantity;

/// Most parameters of a class, and most bytes of all of them.
const PARAMETERS_MAX: usize = 512;
const PARAMETERS_BYTES: usize = 256 * 1024;
/// Longest name of a driver, and longest identity of a node for a driver.
const DRIVER_MAX: usize = 63;
const NODE_ID_MAX: usize = 256;

/// Classes of volumes.
pub(super) struct StorageClassStrategy;

impl Strategy for StorageClassStrategy {
    type Kind = StorageClass;

    fn default(&self, class: &mut StorageClass) {
        fill(&mut class.reclaim_policy, "Delete");
        fill(&mut class.volume_binding_mode, "Immediate");
    }

    fn validate(&self, class: &StorageClass, errors: &mut ErrorList) {
        let path = Path::root("provisioner");
        let provisioner = class.provisioner.as_str();
        if provisioner.is_empty() {
            errors.required(&path, "");
        } else {
            let lower = provisioner.to_lowercase();
            complain(errors, &path, provisioner, rules::qualified_name(&lower));
        }
        parameters(class.parameters.as_ref(), &Path::root("parameters"), errors);
        let path = Path::root("reclaimPolicy");
        choice(errors, &path, &class.reclaim_policy, &["Delete", "Retain"]);
        let path = Path::root("volumeBindingMode");
        let modes = ["Immediate", "WaitForFirstConsumer"];
        required_choice(errors, &path, &class.volume_binding_mode, &modes);
        let path = Path::root("allowedTopologies");
        for (index, term) in class.allowed_topologies.iter().flatten().enumerate() {
            let term_path = path.index(index);
            let at = term_path.child("matchLabelExpressions");
            for (index, requirement) in term.match_label_expressions.iter().flatten().enumerate() {
                let at = at.index(index);
                if requirement.values.is_empty() {
                    errors.required(&at.child("values"), "");
                }
                let key = requirement.key.as_str();
                complain(errors, &at.child("key"), key, rules::qualified_name(key));
            }
        }
    }

    fn validate_update(&self, new: &StorageClass, old: &StorageClass, errors: &mut ErrorList) {
        self.validate(new, errors);
        let forbidden = "updates to parameters are forbidden.";
        if new.parameters != old.parameters {
            errors.forbidden(&Path::root("parameters"), forbidden);
        }
        if new.provisioner != old.provisioner {
            let why = "updates to provisioner are forbidden.";
            errors.forbidden(&Path::root("provisioner"), why);
        }
        if new.reclaim_policy != old.reclaim_policy {
            let why = "updates to reclaimPolicy are forbidden.";
            errors.forbidden(&Path::root("reclaimPolicy"), why);
        }
        let path = Path::root("volumeBindingMode");
        immutable(errors, &path, &new.volume_binding_mode, &old.volume_binding_mode);
    }
}

fn parameters(
    parameters: Option<&std::collections::BTreeMap<String, String>>,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    let Some(parameters) = parameters else { return };
    if parameters.len() > PARAMETERS_MAX {
        errors.too_many(path, parameters.len(), PARAMETERS_MAX);
        return;
    }
    let mut size = 0;
    for (key, value) in parameters {
        if key.is_empty() {
            errors.invalid(path, key, "field can not be empty.");
        }
        size += key.len() + value.len();
    }
    if size > PARAMETERS_BYTES {
        errors.too_long(path, PARAMETERS_BYTES);
    }
}

pub(super) fn driver_name(name: &str, path: &Path<'_>, errors: &mut ErrorList) {
    if name.is_empty() {
        errors.required(path, "");
    }
    if name.len() > DRIVER_MAX {
        errors.too_long(path, DRIVER_MAX);
    }
    let lower = name.to_lowercase();
    complain(errors, path, name, rules::dns_subdomain(&lower));
}

/// Drivers that speak CSI.
pub(super) struct CsiDriverStrategy;

impl Strategy for CsiDriverStrategy {
    type Kind = CSIDriver;

    fn default(&self, driver: &mut CSIDriver) {
        let spec = &mut driver.spec;
        spec.attach_required.get_or_insert(true);
        spec.pod_info_on_mount.get_or_insert(false);
        spec.storage_capacity.get_or_insert(false);
        spec.requires_republish.get_or_insert(false);
        spec.se_linux_mount.get_or_insert(false);
        fill(&mut spec.fs_group_policy, "ReadWriteOnceWithFSType");
        if spec.volume_lifecycle_modes.as_ref().is_none_or(Vec::is_empty) {
            spec.volume_lifecycle_modes = Some(vec!["Persistent".to_owned()]);
        }
    }

    fn prepare_for_create(&self, driver: &mut CSIDriver) {
        driver.metadata.generation = Some(1);
    }

    fn validate(&self, driver: &CSIDriver, errors: &mut ErrorList) {
        let meta = Path::root("metadata");
        driver_name(text(&driver.metadata.name), &meta.child("name"), errors);
        let path = Path::root("spec");
        let policies = ["File", "None", "ReadWriteOnceWithFSType"];
        required_choice(
            errors,
            &path.child("fsGroupPolicy"),
            &driver.spec.fs_group_policy,
            &policies,
        );
        let at = path.child("volumeLifecycleModes");
        for mode in driver.spec.volume_lifecycle_modes.iter().flatten() {
            if !matches!(mode.as_str(), "Persistent" | "Ephemeral") {
                errors.not_supported(&at, mode, &["Ephemeral", "Persistent"]);
            }
        }
        let at = path.child("tokenRequests");
        let requests = driver.spec.token_requests.as_deref().unwrap_or_default();
        for (index, request) in requests.iter().enumerate() {
            let at = at.index(index);
            if requests[..index].iter().any(|other| other.audience == request.audience) {
                errors.duplicate(&at.child("audience"), &request.audience);
            }
            if request.expiration_seconds.is_some_and(|seconds| seconds < 600) {
                let seconds = request.expiration_seconds.unwrap_or(0);
                let why = "may not specify a duration less than 10 minutes";
                errors.invalid(&at.child("expirationSeconds"), seconds, why);
            }
        }
    }

    fn prepare_for_update(&self, new: &mut CSIDriver, old: &CSIDriver) {
        let changed = new.spec != old.spec;
        next_generation(&mut new.metadata, &old.metadata, changed);
    }

    fn validate_update(&self, new: &CSIDriver, old: &CSIDriver, errors: &mut ErrorList) {
        self.validate(new, errors);
        let path = Path::root("spec");
        let at = path.child("attachRequired");
        immutable(errors, &at, &new.spec.attach_required, &old.spec.attach_required);
        let at = path.child("volumeLifecycleModes");
        immutable(errors, &at, &new.spec.volume_lifecycle_modes, &old.spec.volume_lifecycle_modes);
    }
}

/// What drivers say of a node.
pub(super) struct CsiNodeStrategy;

impl Strategy for CsiNodeStrategy {
    type Kind = CSINode;

    fn validate(&self, node: &CSINode, errors: &mut ErrorList) {
        let spec = Path::root("spec");
        let path = spec.child("drivers");
        let drivers = &node.spec.drivers;
        for (index, driver) in drivers.iter().enumerate() {
            let at = path.index(index);
            driver_name(&driver.name, &at.child("name"), errors);
            if drivers[..index].iter().any(|other| other.name == driver.name) {
                errors.duplicate(&at.child("name"), &driver.name);
            }
            let id = at.child("nodeID");
            if driver.node_id.is_empty() {
                errors.required(&id, "");
            } else if driver.node_id.len() > NODE_ID_MAX {
                errors.too_long(&id, NODE_ID_MAX);
            }
            let keys = at.child("topologyKeys");
            for key in driver.topology_keys.iter().flatten() {
                complain(errors, &keys, key, rules::qualified_name(key));
            }
            let count = driver.allocatable.as_ref().and_then(|allocatable| allocatable.count);
            if let Some(count) = count.filter(|count| *count < 0) {
                let at = at.child("allocatable");
                let why = "must be greater than or equal to 0";
                errors.invalid(&at.child("count"), count, why);
            }
        }
    }

    fn validate_update(&self, new: &CSINode, old: &CSINode, errors: &mut ErrorList) {
        self.validate(new, errors);
        let spec = Path::root("spec");
        let path = spec.child("drivers");
        for driver in &new.spec.drivers {
            let before = old.spec.drivers.iter().find(|before| before.name == driver.name);
            if before.is_some_and(|before| {
                (&before.node_id, &before.topology_keys) != (&driver.node_id, &driver.topology_keys)
            }) {
                errors.invalid(&path, Json(driver), "field is immutable");
            }
        }
    }
}

/// Volumes that are to be attached to nodes.
pub(super) struct VolumeAttachmentStrategy;

impl Strategy for VolumeAttachmentStrategy {
    type Kind = VolumeAttachment;

    fn prepare_for_create(&self, attachment: &mut VolumeAttachment) {
        attachment.metadata.generation = Some(1);
        attachment.status = None;
    }

    fn validate(&self, attachment: &VolumeAttachment, errors: &mut ErrorList) {
        let path = Path::root("spec");
        let spec = &attachment.spec;
        driver_name(&spec.attacher, &path.child("attacher"), errors);
        let at = path.child("nodeName");
        if spec.node_name.is_empty() {
            errors.required(&at, "");
        } else {
            complain(errors, &at, &spec.node_name, rules::dns_subdomain(&spec.node_name));
        }
        let at = path.child("source");
        let name = spec.source.persistent_volume_name.as_deref();
        match (name, &spec.source.inline_volume_spec) {
            (None, None) => {
                errors.required(
                    &at,
                    "must specify exactly one of inlineVolumeSpec and persistentVolumeName",
                );
            }
            (Some(_), Some(_)) => {
                errors.forbidden(
                    &at,
                    "must specify exactly one of inlineVolumeSpec and persistentVolumeName",
                );
            }
            (Some(""), None) => {
                errors.required(
                    &at.child("persistentVolumeName"),
                    "must specify non empty persistentVolumeName",
                );
            }
            _ => {}
        }
    }

    fn prepare_for_update(&self, new: &mut VolumeAttachment, old: &VolumeAttachment) {
        new.status.clone_from(&old.status);
        let changed = new.spec != old.spec;
        next_generation(&mut new.metadata, &old.metadata, changed);
    }

    fn validate_update(
        &self,
        new: &VolumeAttachment,
        old: &VolumeAttachment,
        errors: &mut ErrorList,
    ) {
        self.validate(new, errors);
        immutable(errors, &Path::root("spec"), &new.spec, &old.spec);
    }

    fn prepare_for_status_update(&self, new: &mut VolumeAttachment, old: &VolumeAttachment) {
        new.spec = old.spec.clone();
        keep_for_status(&mut new.metadata, &old.metadata);
    }
}

/// How much room a driver has.
pub(super) struct CsiStorageCapacityStrategy;

impl Strategy for CsiStorageCapacityStrategy {
    type Kind = CSIStorageCapacity;

    fn validate(&self, capacity: &CSIStorageCapacity, errors: &mut ErrorList) {
        if let Some(selector) = &capacity.node_topology {
            label_selector::validate(selector, &Path::root("nodeTopology"), errors);
        }
        let class = capacity.storage_class_name.as_str();
        let path = Path::root("storageClassName");
        if class.is_empty() {
            errors.required(&path, "");
        }
        complain(errors, &path, class, rules::dns_subdomain(class));
        let sizes = [
            ("capacity", &capacity.capacity),
            ("maximumVolumeSize", &capacity.maximum_volume_size),
        ];
        for (field, size) in sizes {
            let Some(size) = size else { continue };
            match Quantity::parse(&size.0) {
                Err(why) => errors.invalid(&Path::root(field), size.0.as_str(), &why.to_string()),
                Ok(parsed) if parsed.is_negative() => {
                    let why = "must be greater than or equal to 0";
                    errors.invalid(&Path::root(field), size.0.as_str(), why);
                }
                Ok(_) => {}
            }
        }
    }

    fn validate_update(
        &self,
        new: &CSIStorageCapacity,
        old: &CSIStorageCapacity,
        errors: &mut ErrorList,
    ) {
        self.validate(new, errors);
        let path = Path::root("nodeTopology");
        immutable(errors, &path, &new.node_topology, &old.node_topology);
        let path = Path::root("storageClassName");
        immutable(errors, &path, &new.storage_class_name, &old.storage_class_name);
    }

    fn field<'a>(&self, _: &'a CSIStorageCapacity, _: &str) -> Option<Cow<'a, str>> {
        None
    }
}

/// Classes of what a volume can be changed to.
pub(super) struct VolumeAttributesClassStrategy;

impl Strategy for VolumeAttributesClassStrategy {
    type Kind = VolumeAttributesClass;

    fn validate(&self, class: &VolumeAttributesClass, errors: &mut ErrorList) {
        driver_name(&class.driver_name, &Path::root("driverName"), errors);
        let path = Path::root("parameters");
        if class.parameters.as_ref().is_none_or(std::collections::BTreeMap::is_empty) {
            errors.required(&path, "must contain at least one key/value pair");
        }
        parameters(class.parameters.as_ref(), &path, errors);
    }

    fn validate_update(
        &self,
        new: &VolumeAttributesClass,
        old: &VolumeAttributesClass,
        errors: &mut ErrorList,
    ) {
        self.validate(new, errors);
        if new.driver_name != old.driver_name {
            let why = "updates to driverName are forbidden.";
            errors.forbidden(&Path::root("driverName"), why);
        }
        if new.parameters != old.parameters {
            errors.forbidden(&Path::root("parameters"), "updates to parameters are forbidden.");
        }
    }
}
