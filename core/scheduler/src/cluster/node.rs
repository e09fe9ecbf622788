use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Taint};
use pinnace_api::Typed;

use crate::pod::HostPort;

/// A node by number: its place in the columns of a [`Cluster`](super::Cluster). The number of a
/// deleted node is given to a later one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeIndex(pub(crate) u32);

impl NodeIndex {
    /// The number.
    pub fn index(self) -> usize {
        self.0 as usize
    }

    pub(crate) fn new(index: usize) -> Self {
        Self(u32::try_from(index).unwrap_or(u32::MAX))
    }
}

/// What is known of a node beside the columns.
#[derive(Debug)]
pub struct NodeState {
    pub(crate) name: Arc<str>,
    pub(crate) object: Option<Typed<Node>>,
    taints: Box<[Taint]>,
    unschedulable: bool,
    pub(crate) pods: Vec<Arc<str>>,
    pub(crate) ports: Vec<HostPort>,
}

impl NodeState {
    pub(crate) fn new(name: Arc<str>) -> Self {
        Self {
            name,
            object: None,
            taints: Box::default(),
            unschedulable: false,
            pods: Vec::new(),
            ports: Vec::new(),
        }
    }

    /// Takes a new version of the object; gives the one before. What every pod is compared with
    /// is kept at hand.
    pub(crate) fn set_object(&mut self, node: &Typed<Node>) -> Option<Typed<Node>> {
        self.taints = taints(Some(node)).into();
        self.unschedulable = is_unschedulable(Some(node));
        self.object.replace(node.clone())
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The Node object; `None` when only pods of the node are known, or nothing any more.
    pub fn object(&self) -> Option<&Typed<Node>> {
        self.object.as_ref()
    }

    /// `metadata.labels`.
    pub fn labels(&self) -> Option<&BTreeMap<String, String>> {
        self.object.as_ref()?.metadata.labels.as_ref()
    }

    /// `spec.taints`.
    pub fn taints(&self) -> &[Taint] {
        &self.taints
    }

    /// `spec.unschedulable`.
    pub fn is_unschedulable(&self) -> bool {
        self.unschedulable
    }

    /// The host ports that its pods take.
    pub fn ports(&self) -> &[HostPort] {
        &self.ports
    }

    /// The uids of its pods.
    pub fn pods(&self) -> &[Arc<str>] {
        &self.pods
    }
}

/// `spec.taints` of a node.
pub(crate) fn taints(node: Option<&Node>) -> &[Taint] {
    node.and_then(|node| node.spec.as_ref()?.taints.as_deref()).unwrap_or_default()
}

/// `spec.unschedulable` of a node.
pub(crate) fn is_unschedulable(node: Option<&Node>) -> bool {
    node.and_then(|node| node.spec.as_ref()?.unschedulable).unwrap_or(false)
}
