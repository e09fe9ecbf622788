use crate::cluster::NodeIndex;
use crate::framework::{Answer, Cycle, Events, Filter, Obstacle, Plugin, Reasons, Scope, Verdict};

/// Keeps a pod to the node that `spec.nodeName` names.
#[derive(Clone, Copy, Debug)]
pub struct NodeName;

impl NodeName {
    /// The plugin's name.
    pub const NAME: &'static str = "NodeName";
}

impl Plugin for NodeName {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn scope(&self) -> Scope {
        Scope::NodeObject
    }

    fn events(&self) -> Events {
        Events::NODE_ADD
    }

    fn as_filter(&self) -> Option<&dyn Filter> {
        Some(self)
    }
}

impl Filter for NodeName {
    fn filter(&self, cycle: &Cycle<'_>, nodes: &[NodeIndex], verdicts: &mut [Verdict]) -> Answer {
        if let Some(name) = cycle.pod.class().node_name() {
            for (node, verdict) in nodes.iter().zip(verdicts) {
                if cycle.cluster.node(*node).name() != name {
                    *verdict = Verdict::Unresolvable;
                }
            }
        }
        Ok(())
    }

    fn reasons(&self, _: &Cycle<'_>, _: NodeIndex) -> Reasons {
        vec!["node(s) didn't match the requested node name".into()]
    }

    fn obstacles(&self, _: &Cycle<'_>, _: NodeIndex) -> Vec<Obstacle> {
        vec![Obstacle::DropNodeName]
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{node, pod, verdicts};
    use super::*;

    #[test]
    fn a_pod_that_names_its_node_fits_that_one_alone() {
        let nodes = [node("a", ""), node("b", "")];
        assert_eq!(
            verdicts(&NodeName, &pod("nodeName: b"), &nodes),
            ["node(s) didn't match the requested node name", ""]
        );
        assert_eq!(verdicts(&NodeName, &pod(""), &nodes), ["", ""]);
    }
}
