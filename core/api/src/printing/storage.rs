//! Classes of storage and the drivers behind them.

use jiff::Timestamp;
use k8s_openapi::api::storage::v1::{
    CSIDriver, CSINode, CSIStorageCapacity, StorageClass, VolumeAttachment, VolumeAttributesClass,
};
use serde_json::Value;

use super::age::age;
use super::text::{self, UNSET};
use super::typed::Entry;
use super::{AGE, Column, NAME, cells};

const STORAGE_CLASS: &[Column] = &[
    NAME,
    Column::text("Provisioner", "Driver that makes the volumes"),
    Column::text("ReclaimPolicy", "What becomes of a volume once its claim is gone"),
    Column::text("VolumeBindingMode", "When volumes are made and bound"),
    Column::text("AllowVolumeExpansion", "Whether volumes can grow"),
    AGE,
];

const ATTRIBUTES_CLASS: &[Column] =
    &[NAME, Column::text("DriverName", "Driver that the class is for"), AGE];

const DRIVER: &[Column] = &[
    NAME,
    Column::boolean("AttachRequired", "Whether volumes are attached before they are mounted"),
    Column::boolean("PodInfoOnMount", "Whether the driver is told which pod it mounts for"),
    Column::boolean("StorageCapacity", "Whether the driver publishes its free capacity"),
    Column::text("TokenRequests", "Audiences of the tokens that the driver gets"),
    Column::boolean("RequiresRepublish", "Whether volumes are published again and again"),
    Column::text("Modes", "Kinds of volumes that the driver supports"),
    AGE,
];

const CSI_NODE: &[Column] =
    &[NAME, Column::integer("Drivers", "How many drivers the node has"), AGE];

const CAPACITY: &[Column] = &[
    NAME,
    Column::text("StorageClassName", "Storage class that the capacity is for"),
    Column::text("Capacity", "How much is free"),
];

const ATTACHMENT: &[Column] = &[
    NAME,
    Column::new("Attacher", "string", "name", "Driver that attaches the volume"),
    Column::text("PV", "Volume that is attached"),
    Column::text("Node", "Node that it is attached to"),
    Column::boolean("Attached", "Whether it has been attached"),
    AGE,
];

const DEFAULT_CLASS: [&str; 2] = [
    "storageclass.kubernetes.io/is-default-class",
    "storageclass.beta.kubernetes.io/is-default-class",
];

pub(super) fn printers() -> Vec<Entry> {
    vec![
        Entry::new(STORAGE_CLASS, storage_class),
        Entry::new(ATTRIBUTES_CLASS, attributes_class),
        Entry::new(DRIVER, driver),
        Entry::new(CSI_NODE, csi_node),
        Entry::new(CAPACITY, capacity),
        Entry::new(ATTACHMENT, attachment),
    ]
}

fn storage_class(class: &StorageClass, now: Timestamp) -> Vec<Value> {
    cells![
        text::with_default(&class.metadata, &DEFAULT_CLASS),
        &class.provisioner[..],
        class.reclaim_policy.as_deref().unwrap_or("Delete"),
        class.volume_binding_mode.as_deref().unwrap_or("Immediate"),
        class.allow_volume_expansion.unwrap_or(false),
        age(&class.metadata, now),
    ]
}

fn attributes_class(class: &VolumeAttributesClass, now: Timestamp) -> Vec<Value> {
    cells![class.metadata.name.as_deref(), &class.driver_name[..], age(&class.metadata, now)]
}

fn driver(driver: &CSIDriver, now: Timestamp) -> Vec<Value> {
    let spec = &driver.spec;
    let audiences = spec.token_requests.as_ref().map(|requests| {
        requests.iter().map(|request| &request.audience[..]).collect::<Vec<_>>().join(",")
    });
    let modes = spec.volume_lifecycle_modes.as_deref().unwrap_or_default().join(",");
    cells![
        driver.metadata.name.as_deref(),
        spec.attach_required.unwrap_or(true),
        spec.pod_info_on_mount.unwrap_or(false),
        spec.storage_capacity.unwrap_or(false),
        audiences.as_deref().unwrap_or(UNSET),
        spec.requires_republish.unwrap_or(false),
        text::or_none(Some(&modes)),
        age(&driver.metadata, now),
    ]
}

fn csi_node(node: &CSINode, now: Timestamp) -> Vec<Value> {
    cells![node.metadata.name.as_deref(), node.spec.drivers.len(), age(&node.metadata, now)]
}

fn capacity(capacity: &CSIStorageCapacity, _: Timestamp) -> Vec<Value> {
    let free = capacity.capacity.as_ref().map(|free| text::quantity(Some(free)));
    cells![
        capacity.metadata.name.as_deref(),
        &capacity.storage_class_name[..],
        free.as_deref().unwrap_or(UNSET),
    ]
}

fn attachment(attachment: &VolumeAttachment, now: Timestamp) -> Vec<Value> {
    let spec = &attachment.spec;
    cells![
        attachment.metadata.name.as_deref(),
        &spec.attacher[..],
        spec.source.persistent_volume_name.as_deref().unwrap_or_default(),
        &spec.node_name[..],
        attachment.status.as_ref().is_some_and(|status| status.attached),
        age(&attachment.metadata, now),
    ]
}
