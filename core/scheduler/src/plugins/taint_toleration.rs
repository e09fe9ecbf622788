use k8s_openapi::api::core::v1::Node;

use crate::cluster::{NodeIndex, taints};
use crate::framework::{
    Answer, ClusterEvent, Cycle, Events, Filter, Hint, Normalization, Obstacle, Plugin, Reasons,
    Scope, Score, Verdict,
};
use crate::pod::{PodInfo, tolerated, untolerated};

/// Keeps pods off nodes with taints that they don't tolerate, and prefers nodes with fewer taints
/// that say `PreferNoSchedule`.
#[derive(Clone, Copy, Debug)]
pub struct TaintToleration;

impl TaintToleration {
    /// The plugin's name.
    pub const NAME: &'static str = "TaintToleration";
}

impl Plugin for TaintToleration {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn scope(&self) -> Scope {
        Scope::NodeObject
    }

    fn events(&self) -> Events {
        Events::NODE_ADD | Events::NODE_TAINT | Events::OWN_TOLERATION
    }

    fn hint(&self, pod: &PodInfo, event: &ClusterEvent<'_>) -> Hint {
        if event.what.overlaps(Events::OWN_TOLERATION) {
            return Hint::Queue;
        }
        let (old, new) = event.read::<Node>();
        let tolerations = pod.class().tolerations();
        let keeps_off = |node| untolerated(tolerations, taints(node)).is_some();
        let helps = !keeps_off(new) && (old.is_none() || keeps_off(old));
        if helps { Hint::Queue } else { Hint::Skip }
    }

    fn as_filter(&self) -> Option<&dyn Filter> {
        Some(self)
    }

    fn as_score(&self) -> Option<&dyn Score> {
        Some(self)
    }
}

impl Filter for TaintToleration {
    fn filter(&self, cycle: &Cycle<'_>, nodes: &[NodeIndex], verdicts: &mut [Verdict]) -> Answer {
        let tolerations = cycle.pod.class().tolerations();
        for (node, verdict) in nodes.iter().zip(verdicts) {
            if untolerated(tolerations, cycle.cluster.node(*node).taints()).is_some() {
                *verdict = Verdict::Unresolvable;
            }
        }
        Ok(())
    }

    fn reasons(&self, _: &Cycle<'_>, _: NodeIndex) -> Reasons {
        vec!["node(s) had untolerated taint(s)".into()]
    }

    fn obstacles(&self, cycle: &Cycle<'_>, node: NodeIndex) -> Vec<Obstacle> {
        let tolerations = cycle.pod.class().tolerations();
        let taints = cycle.cluster.node(node).taints().iter();
        taints
            .filter(|taint| untolerated(tolerations, std::slice::from_ref(*taint)).is_some())
            .map(|taint| Obstacle::Tolerate {
                key: taint.key.clone(),
                value: taint.value.clone().unwrap_or_default(),
                effect: taint.effect.clone(),
            })
            .collect()
    }
}

impl Score for TaintToleration {
    fn score(&self, cycle: &Cycle<'_>, nodes: &[NodeIndex], scores: &mut [i64]) -> Answer {
        // A toleration of another effect does not match a soft taint, so all of them may be tried.
        let tolerations = cycle.pod.class().tolerations();
        for (node, score) in nodes.iter().zip(scores) {
            let taints = cycle.cluster.node(*node).taints().iter();
            let soft_taints = taints.filter(|taint| taint.effect == "PreferNoSchedule");
            *score = soft_taints.filter(|taint| !tolerated(tolerations, taint)).count() as i64;
        }
        Ok(())
    }

    fn normalization(&self) -> Normalization {
        Normalization::ToHighestReversed
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{hint, node, pod, scores, verdicts};
    use super::*;

    const REASON: &str = "node(s) had untolerated taint(s)";

    fn tainted(name: &str, taints: &str) -> pinnace_api::Typed<Node> {
        node(name, &format!("spec: {{taints: [{taints}]}}"))
    }

    #[test]
    fn a_node_takes_only_pods_that_tolerate_its_hard_taints() {
        let node = [tainted("a", "{key: k, value: v, effect: NoSchedule}")];
        let check = |tolerations: &str, expected: &str| {
            let pod = pod(&format!("tolerations: [{tolerations}]"));
            assert_eq!(verdicts(&TaintToleration, &pod, &node), [expected], "{tolerations}");
        };
        check("", REASON);
        check("{key: k, value: v}", "");
        check("{key: k, operator: Equal, value: v, effect: NoSchedule}", "");
        check("{key: k, operator: Exists}", "");
        check("{operator: Exists}", "");
        check("{key: k, value: other}", REASON);
        check("{key: other, operator: Exists}", REASON);
        check("{key: k, operator: Exists, effect: NoExecute}", REASON);
        check("{key: k, operator: Gt, value: '0'}", REASON);
    }

    #[test]
    fn soft_taints_keep_no_pod_off_but_cost_points() {
        let nodes = [
            tainted("a", ""),
            tainted("b", "{key: x, effect: PreferNoSchedule}"),
            tainted("c", "{key: x, effect: PreferNoSchedule}, {key: z, effect: PreferNoSchedule}"),
        ];
        assert_eq!(verdicts(&TaintToleration, &pod(""), &nodes), ["", "", ""]);
        assert_eq!(scores(&TaintToleration, &pod(""), &nodes), [100, 50, 0]);
        let tolerant = pod("tolerations: [{key: z, operator: Exists, effect: PreferNoSchedule}]");
        assert_eq!(scores(&TaintToleration, &tolerant, &nodes), [100, 0, 0]);
        let other_effect = pod("tolerations: [{key: z, operator: Exists, effect: NoSchedule}]");
        assert_eq!(scores(&TaintToleration, &other_effect, &nodes), [100, 50, 0]);
    }

    #[test]
    fn a_node_helps_when_its_taint_goes() {
        let (with, without) = (tainted("a", "{key: k, effect: NoExecute}"), tainted("a", ""));
        let check = |old, new, expected| {
            assert_eq!(hint(&TaintToleration, &pod(""), Events::NODE_TAINT, old, new), expected);
        };
        check(Some(&with), Some(&without), Hint::Queue);
        check(None, Some(&without), Hint::Queue);
        check(None, Some(&with), Hint::Skip);
        check(Some(&without), Some(&without), Hint::Skip);
    }
}
