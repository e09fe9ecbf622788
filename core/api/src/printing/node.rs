//! Nodes and runtime classes.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, NodeStatus, NodeSystemInfo};
use k8s_openapi::api::node::v1::RuntimeClass;
use serde_json::Value;

use super::age::age;
use super::text::{self, or_none};
use super::typed::Entry;
use super::{AGE, Column, NAME, cells};

const NODE: &[Column] = &[
    NAME,
    Column::text("Status", "Whether the node is ready, and whether pods may be placed on it"),
    Column::text("Roles", "Roles of the node"),
    AGE,
    Column::text("Version", "Version of the node agent"),
    Column::text("Internal-IP", "Address of the node within the cluster").wide(),
    Column::text("External-IP", "Address of the node from outside").wide(),
    Column::text("OS-Image", "Operating system of the node").wide(),
    Column::text("Kernel-Version", "Kernel and architecture of the node").wide(),
    Column::text("Container-Runtime", "Container runtime of the node").wide(),
];

const RUNTIME_CLASS: &[Column] =
    &[NAME, Column::text("Handler", "What the class is called by the container runtime"), AGE];

/// Labels of this prefix name a role in their key.
const ROLE_PREFIX: &str = "node-role.kubernetes.io/";
/// The label that names a role in its value.
const ROLE: &str = "kubernetes.io/role";

pub(super) fn printers() -> Vec<Entry> {
    vec![Entry::new(NODE, node), Entry::new(RUNTIME_CLASS, runtime_class)]
}

fn node(node: &Node, now: Timestamp) -> Vec<Value> {
    let (no_status, no_info) = (NodeStatus::default(), NodeSystemInfo::default());
    let status = node.status.as_ref().unwrap_or(&no_status);
    let info = status.node_info.as_ref().unwrap_or(&no_info);
    let unknown = |value| text::or(Some(value), "<unknown>");
    let mut kernel = unknown(&info.kernel_version).to_owned();
    if !info.architecture.is_empty() {
        kernel = format!("{kernel} ({})", info.architecture);
    }
    cells![
        node.metadata.name.as_deref(),
        readiness(node, status),
        or_none(Some(&roles(node))),
        age(&node.metadata, now),
        &info.kubelet_version[..],
        address(status, "InternalIP"),
        address(status, "ExternalIP"),
        unknown(&info.os_image),
        kernel,
        unknown(&info.container_runtime_version),
    ]
}

fn readiness(node: &Node, status: &NodeStatus) -> String {
    let ready = status.conditions.iter().flatten().rfind(|condition| condition.type_ == "Ready");
    let word = match ready.map(|condition| &condition.status[..]) {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    };
    match node.spec.as_ref().and_then(|spec| spec.unschedulable) {
        Some(true) => format!("{word},SchedulingDisabled"),
        _ => word.to_owned(),
    }
}

fn roles(node: &Node) -> String {
    let labels = node.metadata.labels.iter().flatten();
    let roles = labels.filter_map(|(key, value)| match key.strip_prefix(ROLE_PREFIX) {
        Some(role) => Some(role),
        None => (key == ROLE).then_some(&value[..]),
    });
    text::sorted(roles.filter(|role| !role.is_empty()))
}

fn address<'a>(status: &'a NodeStatus, kind: &str) -> &'a str {
    let all = status.addresses.iter().flatten();
    all.into_iter().find(|one| one.type_ == kind).map_or(text::NONE, |one| &one.address)
}

fn runtime_class(class: &RuntimeClass, now: Timestamp) -> Vec<Value> {
    cells![class.metadata.name.as_deref(), &class.handler[..], age(&class.metadata, now)]
}
