use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Node;
use pinnace_api::Typed;

use crate::cluster::{Cluster, NodeIndex};

/// The nodes that a [`BatchPlugin`](super::BatchPlugin) is asked about, in arrays of the same length.
/// Cheap to clone.
#[derive(Clone, Debug)]
pub struct BatchNodes {
    nodes: Arc<[Typed<Node>]>,
    resources: Arc<BTreeMap<Box<str>, Amounts>>,
}

/// What nodes have of a resource, and what their pods ask of it.
#[derive(Debug)]
struct Amounts {
    allocatable: Box<[i64]>,
    requested: Box<[i64]>,
}

impl BatchNodes {
    pub(super) fn of(cluster: &Cluster, nodes: &[NodeIndex]) -> Self {
        let gather = |column: &[i64]| nodes.iter().map(|node| column[node.index()]).collect();
        let amounts = |resource| Amounts {
            allocatable: gather(cluster.allocatable(resource)),
            requested: gather(cluster.requested(resource)),
        };
        let names = cluster.resources();
        let resources = names.iter().map(|(name, resource)| (name.into(), amounts(resource)));
        let object = |node: &NodeIndex| cluster.node(*node).object().cloned();
        Self {
            nodes: nodes.iter().filter_map(object).collect(),
            resources: Arc::new(resources.collect()),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The objects.
    pub fn objects(&self) -> &[Typed<Node>] {
        &self.nodes
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.nodes.iter().map(|node| node.object().name())
    }

    /// The value of a label, where a node has it.
    pub fn label(&self, key: &str) -> impl Iterator<Item = Option<&str>> {
        let labels = self.nodes.iter().map(|node| node.metadata.labels.as_ref());
        labels.map(move |labels| labels.and_then(|labels| labels.get(key)).map(String::as_str))
    }

    /// The names of all resources that pods are scheduled by.
    pub fn resources(&self) -> impl Iterator<Item = &str> {
        self.resources.keys().map(|name| &**name)
    }

    /// What each has of a resource, in its unit: thousandths of a core, bytes, pieces. Nothing when
    /// nobody knows the resource.
    pub fn allocatable(&self, resource: &str) -> Option<&[i64]> {
        self.resources.get(resource).map(|amounts| &*amounts.allocatable)
    }

    /// What the pods of each ask of a resource.
    pub fn requested(&self, resource: &str) -> Option<&[i64]> {
        self.resources.get(resource).map(|amounts| &*amounts.requested)
    }
}
