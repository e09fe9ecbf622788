use k8s_openapi::api::core::v1::{Node, Pod};

use crate::cluster::{NodeIndex, is_unschedulable};
use crate::framework::{
    Answer, ClusterEvent, Cycle, Events, Filter, Hint, Obstacle, Plugin, Reasons, Scope, Verdict,
};
use crate::pod::{PodInfo, tolerates_unschedulable};

/// Keeps pods off nodes that are marked unschedulable, unless they tolerate the taint that says
/// the same.
#[derive(Clone, Copy, Debug)]
pub struct NodeUnschedulable;

impl NodeUnschedulable {
    /// The plugin's name.
    pub const NAME: &'static str = "NodeUnschedulable";
}

impl Plugin for NodeUnschedulable {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn scope(&self) -> Scope {
        Scope::NodeObject
    }

    fn events(&self) -> Events {
        Events::NODE_ADD | Events::NODE_TAINT | Events::OWN_TOLERATION
    }

    fn hint(&self, _: &PodInfo, event: &ClusterEvent<'_>) -> Hint {
        let helps = if event.what.overlaps(Events::OWN_TOLERATION) {
            let (_, new) = event.read::<Pod>();
            let tolerations = new.and_then(|pod| pod.spec.as_ref()?.tolerations.as_deref());
            tolerates_unschedulable(tolerations.unwrap_or_default())
        } else {
            let (old, new) = event.read::<Node>();
            !is_unschedulable(new) && old.is_none_or(|old| is_unschedulable(Some(old)))
        };
        if helps { Hint::Queue } else { Hint::Skip }
    }

    fn as_filter(&self) -> Option<&dyn Filter> {
        Some(self)
    }
}

impl Filter for NodeUnschedulable {
    fn filter(&self, cycle: &Cycle<'_>, nodes: &[NodeIndex], verdicts: &mut [Verdict]) -> Answer {
        for (node, verdict) in nodes.iter().zip(verdicts) {
            if cycle.cluster.node(*node).is_unschedulable()
                && !tolerates_unschedulable(cycle.pod.class().tolerations())
            {
                *verdict = Verdict::Unresolvable;
            }
        }
        Ok(())
    }

    fn reasons(&self, _: &Cycle<'_>, _: NodeIndex) -> Reasons {
        vec!["node(s) were unschedulable".into()]
    }

    fn obstacles(&self, _: &Cycle<'_>, _: NodeIndex) -> Vec<Obstacle> {
        vec![Obstacle::Uncordon]
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{hint, node, pod, verdicts};
    use super::*;

    #[test]
    fn unschedulable_nodes_take_only_pods_that_tolerate_it() {
        let nodes = [node("a", "spec: {unschedulable: true}"), node("b", "")];
        assert_eq!(
            verdicts(&NodeUnschedulable, &pod(""), &nodes),
            ["node(s) were unschedulable", ""]
        );
        let tolerant = pod(
            "tolerations: [{key: node.kubernetes.io/unschedulable, operator: Exists, effect: NoSchedule}]",
        );
        assert_eq!(verdicts(&NodeUnschedulable, &tolerant, &nodes), ["", ""]);
    }

    #[test]
    fn a_node_that_becomes_schedulable_helps() {
        let (off, on) = (node("a", "spec: {unschedulable: true}"), node("a", ""));
        let check = |old, new, expected| {
            assert_eq!(hint(&NodeUnschedulable, &pod(""), Events::NODE_TAINT, old, new), expected);
        };
        check(Some(&off), Some(&on), Hint::Queue);
        check(None, Some(&on), Hint::Queue);
        check(None, Some(&off), Hint::Skip);
        check(Some(&on), Some(&on), Hint::Skip);
    }
}
