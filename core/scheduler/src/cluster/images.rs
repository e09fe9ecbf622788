use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Node;

use super::NodeIndex;

/// Which images are on which nodes.
#[derive(Debug, Default)]
pub struct Images {
    /// By name, for each node how large it is, in bytes.
    by_name: HashMap<Arc<str>, HashMap<NodeIndex, i64, ahash::RandomState>, ahash::RandomState>,
    by_node: HashMap<NodeIndex, Vec<Arc<str>>, ahash::RandomState>,
}

impl Images {
    /// The nodes that have an image, with its size there in bytes, in no particular order.
    pub fn nodes(&self, name: &str) -> impl ExactSizeIterator<Item = (NodeIndex, i64)> + '_ {
        static NONE: std::sync::OnceLock<HashMap<NodeIndex, i64, ahash::RandomState>> =
            std::sync::OnceLock::new();
        let nodes = self.by_name.get(name).unwrap_or_else(|| NONE.get_or_init(HashMap::default));
        nodes.iter().map(|(node, size)| (*node, *size))
    }

    /// Takes in what a node has; `None` when it has gone.
    pub(super) fn set(&mut self, node: NodeIndex, object: Option<&Node>) {
        for name in self.by_node.remove(&node).unwrap_or_default() {
            if let Some(nodes) = self.by_name.get_mut(&name) {
                nodes.remove(&node);
                if nodes.is_empty() {
                    self.by_name.remove(&name);
                }
            }
        }
        let images = object.and_then(|node| node.status.as_ref()?.images.as_ref());
        let mut names: Vec<Arc<str>> = Vec::new();
        for image in images.into_iter().flatten() {
            for name in image.names.iter().flatten() {
                let name: Arc<str> = name.as_str().into();
                let nodes = self.by_name.entry(name.clone()).or_default();
                nodes.insert(node, image.size_bytes.unwrap_or(0));
                names.push(name);
            }
        }
        if !names.is_empty() {
            self.by_node.insert(node, names);
        }
    }
}
