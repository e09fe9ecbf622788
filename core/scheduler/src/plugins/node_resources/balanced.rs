use smallvec::SmallVec;

use crate::cluster::NodeIndex;
use crate::framework::{Answer, Cycle, Events, MAX_SCORE, Plugin, Scope, Score};
use crate::pod::PodInfo;

/// Prefers nodes whose resources, CPU and memory unless others are named, are used alike once the pod is
/// there, by how much the pod improves that.
#[derive(Clone, Debug)]
pub struct NodeResourcesBalancedAllocation {
    names: Vec<String>,
}

impl Default for NodeResourcesBalancedAllocation {
    fn default() -> Self {
        Self::of(vec!["cpu".to_owned(), "memory".to_owned()])
    }
}

impl NodeResourcesBalancedAllocation {
    /// The plugin's name.
    pub const NAME: &'static str = "NodeResourcesBalancedAllocation";

    /// One that looks at these resources.
    pub fn of(names: Vec<String>) -> Self {
        Self { names }
    }
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
        let mut asked = pod.class().requests_by_name();
        asked.any(|(name, _, amount)| amount != 0 && self.names.iter().any(|one| one == name))
    }

    fn score(&self, cycle: &Cycle<'_>, nodes: &[NodeIndex], scores: &mut [i64]) -> Answer {
        let cluster = cycle.cluster;
        let known = self.names.iter().filter_map(|name| cluster.resources().get(name));
        let columns: SmallVec<[Column<'_>; 2]> = known
            .map(|resource| Column {
                allocatable: cluster.allocatable(resource),
                requested: cluster.requested(resource),
                asked: cycle.pod.class().requests().get(resource),
            })
            .collect();
        for (node, score) in nodes.iter().zip(scores) {
            let parts = |more: bool| -> Parts {
                columns.iter().filter_map(|column| column.part(node.index(), more)).collect()
            };
            let gain = balance(&parts(true)) - balance(&parts(false));
            *score = MAX_SCORE / 2 + (MAX_SCORE / 2 + gain) / 2;
        }
        Ok(())
    }
}

/// What there is of a resource, and what is asked of it.
struct Column<'a> {
    allocatable: &'a [i64],
    requested: &'a [i64],
    asked: i64,
}

type Parts = SmallVec<[f64; 2]>;

impl Column<'_> {
    /// Which part of it is used, with or without the pod; `None` where there is none of it.
    fn part(&self, node: usize, with_pod: bool) -> Option<f64> {
        let capacity = Some(self.allocatable[node]).filter(|capacity| *capacity != 0)?;
        let more = if with_pod { self.asked } else { 0 };
        Some((self.requested[node].saturating_add(more) as f64 / capacity as f64).min(1.0))
    }
}

/// How alike the resources are used: [`MAX_SCORE`] when they are used in equal parts, half of it when
/// one of two is used up and the other unused.
fn balance(parts: &[f64]) -> i64 {
    let deviation = match parts {
        [] | [_] => 0.0,
        [one, other] => ((one - other) / 2.0).abs(),
        many => {
            let mean = many.iter().sum::<f64>() / many.len() as f64;
            let squares: f64 = many.iter().map(|part| (part - mean).powi(2)).sum();
            (squares / many.len() as f64).sqrt()
        }
    };
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
        let mut scores = |pod: &PodInfo| {
            scores_in(&NodeResourcesBalancedAllocation::default(), pod, &mut cluster)
        };
        assert_eq!(scores(&asks("2", "2")), [75, 75]);
        assert_eq!(scores(&asks("0", "4")), [65, 85]);
        assert_eq!(scores(&asks("4", "0")), [65, 65]);
    }

    #[test]
    fn pods_that_ask_for_nothing_are_not_ranked() {
        assert!(!NodeResourcesBalancedAllocation::default().applies(&pod("")));
        assert!(NodeResourcesBalancedAllocation::default().applies(&asks("1", "0")));
    }

    #[test]
    fn other_resources_are_compared_where_they_are_named() {
        let names = ["cpu", "example.com/a", "example.com/b"].map(str::to_owned).to_vec();
        let plugin = NodeResourcesBalancedAllocation::of(names);
        let rest =
            "status: {allocatable: {cpu: 10, example.com/a: 10, example.com/b: 10, pods: 9}}";
        let mut cluster = TestCluster::of(&[node("n", rest)]);
        let one = pod(
            "containers: [{name: a, resources: {requests: {cpu: 6, example.com/a: 3, example.com/b: 3}}}]",
        );
        // Parts of 0.6, 0.3 and 0.3 deviate by 0.14: 85 of 100, 15 fewer than unused.
        assert_eq!(scores_in(&plugin, &one, &mut cluster), [67]);
        assert!(!plugin.applies(&asks("0", "4")));
    }
}
