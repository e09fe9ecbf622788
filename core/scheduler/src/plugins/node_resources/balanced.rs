use super::SCORED;
use crate::cluster::NodeIndex;
use crate::framework::{Answer, Cycle, Events, MAX_SCORE, Plugin, Scope, Score};
use crate::pod::PodInfo;

/// Prefers nodes whose CPU and memory are used alike once the pod is there, by how much the pod
/// improves that.
#[derive(Clone, Copy, Debug)]
pub struct NodeResourcesBalancedAllocation;

impl NodeResourcesBalancedAllocation {
    /// The plugin's name.
    pub const NAME: &'static str = "NodeResourcesBalancedAllocation";
}

impl Plugin for NodeResourcesBalancedAllocation {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn scope(&self) -> Scope {
        Scope::NodeUsage
    }

    fn events(&self) -> Events {
        Events::NONE
    }

    fn as_score(&self) -> Option<&dyn Score> {
        Some(self)
    }
}

impl Score for NodeResourcesBalancedAllocation {
    fn applies(&self, pod: &PodInfo) -> bool {
        SCORED.iter().any(|resource| pod.class().requests().get(*resource) != 0)
    }

    fn score(&self, cycle: &Cycle<'_>, nodes: &[NodeIndex], scores: &mut [i64]) -> Answer {
        let cluster = cycle.cluster;
        let asked = SCORED.map(|resource| cycle.pod.class().requests().get(resource));
        let allocatable = SCORED.map(|resource| cluster.allocatable(resource));
        let requested = SCORED.map(|resource| cluster.requested(resource));
        for (node, score) in nodes.iter().zip(scores) {
            let index = node.index();
            let capacity = allocatable.map(|column| column[index]);
            let before = requested.map(|column| column[index]);
            let after = [before[0].saturating_add(asked[0]), before[1].saturating_add(asked[1])];
            let gain = balance(after, capacity) - balance(before, capacity);
            *score = MAX_SCORE / 2 + (MAX_SCORE / 2 + gain) / 2;
        }
        Ok(())
    }
}

/// How alike both resources are used: [`MAX_SCORE`] when they are used in equal parts, half of it
/// when one is used up and the other unused.
fn balance(requested: [i64; 2], capacity: [i64; 2]) -> i64 {
    if capacity.contains(&0) {
        return MAX_SCORE;
    }
    let part = |which: usize| (requested[which] as f64 / capacity[which] as f64).min(1.0);
    let deviation = ((part(0) - part(1)) / 2.0).abs();
    ((1.0 - deviation) * MAX_SCORE as f64) as i64
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::{TestCluster, node, pod, scores_in};
    use super::*;

    fn asks(cpu: &str, memory: &str) -> PodInfo {
        pod(&format!(
            "containers: [{{name: a, resources: {{requests: {{cpu: {cpu}, memory: {memory}}}}}}}]"
        ))
    }

    #[test]
    fn what_evens_out_scores_above_and_what_unbalances_below_75() {
        let allocatable = "status: {allocatable: {cpu: 10, memory: 10, pods: 9}}";
        let mut cluster = TestCluster::of(&[node("even", allocatable), node("cpu", allocatable)]);
        cluster.place(&asks("4", "0"), "cpu");
        let mut scores =
            |pod: &PodInfo| scores_in(&NodeResourcesBalancedAllocation, pod, &mut cluster);
        assert_eq!(scores(&asks("2", "2")), [75, 75]);
        assert_eq!(scores(&asks("0", "4")), [65, 85]);
        assert_eq!(scores(&asks("4", "0")), [65, 65]);
    }

    #[test]
    fn pods_that_ask_for_nothing_are_not_ranked() {
        assert!(!NodeResourcesBalancedAllocation.applies(&pod("")));
        assert!(NodeResourcesBalancedAllocation.applies(&asks("1", "0")));
    }
}
