use std::borrow::Cow;

use k8s_openapi::api::core::v1::Node;

use super::next_generation;
use crate::Strategy;

/// Nodes.
pub(super) struct NodeStrategy;

impl Strategy for NodeStrategy {
    type Kind = Node;

    fn default(&self, node: &mut Node) {
        node.spec.get_or_insert_default();
        let status = node.status.get_or_insert_default();
        if status.allocatable.is_none() {
            status.allocatable.clone_from(&status.capacity);
        }
    }

    fn prepare_for_update(&self, new: &mut Node, old: &Node) {
        new.status.clone_from(&old.status);
        next_generation(&mut new.metadata, &old.metadata, false);
    }

    fn prepare_for_status_update(&self, new: &mut Node, old: &Node) {
        new.spec.clone_from(&old.spec);
    }

    fn field<'a>(&self, node: &'a Node, path: &str) -> Option<Cow<'a, str>> {
        let unschedulable = node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true);
        (path == "spec.unschedulable").then_some(Cow::Borrowed(if unschedulable {
            "true"
        } else {
            "false"
        }))
    }
}
