use k8s_openapi::api::core::v1::{Node, Pod};
use pinnace_api::quantity::Quantity;
use smallvec::SmallVec;

use super::ScoringStrategy;
use crate::cluster::{NodeIndex, Resource, amount};
use crate::framework::{
    Answer, ClusterEvent, Cycle, Events, Filter, Hint, Obstacle, Plugin, Reasons, Scope, Score,
    Verdict,
};
use crate::pod::{PodInfo, asks_less};

/// Keeps pods off nodes that have too little of what they ask for, and ranks the others by a
/// [`ScoringStrategy`]: by default those with the largest part of CPU and memory free are best.
#[derive(Clone, Debug, Default)]
pub struct NodeResourcesFit {
    strategy: ScoringStrategy,
    ignored: Vec<String>,
    ignored_groups: Vec<String>,
}

impl NodeResourcesFit {
    /// The plugin's name.
    pub const NAME: &'static str = "NodeResourcesFit";

    /// With another strategy, and without a look at some extended resources: those named, and those
    /// of groups, which is what stands before the `/` of a name.
    pub fn new(
        strategy: ScoringStrategy,
        ignored_resources: Vec<String>,
        ignored_resource_groups: Vec<String>,
    ) -> Self {
        Self { strategy, ignored: ignored_resources, ignored_groups: ignored_resource_groups }
    }

    /// What a pod asks for that nodes must have.
    fn asked<'a>(&'a self, pod: &'a PodInfo) -> impl Iterator<Item = (Resource, i64)> + 'a {
        let asked = pod.class().requests_by_name();
        asked
            .filter(|(name, resource, asked)| {
                *asked > 0 && !(resource.is_scalar() && self.ignores(name))
            })
            .map(|(_, resource, asked)| (resource, asked))
    }

    fn ignores(&self, name: &str) -> bool {
        let group = name.split('/').next().unwrap_or_default();
        self.ignored.iter().any(|one| one == name)
            || self.ignored_groups.iter().any(|one| one == group)
    }
}

impl Plugin for NodeResourcesFit {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn scope(&self) -> Scope {
        Scope::NodeUsage
    }

    fn events(&self) -> Events {
        Events::NODE_ADD
            | Events::NODE_ALLOCATABLE
            | Events::POD_DELETE
            | Events::POD_SCALE_DOWN
            | Events::OWN_SCALE_DOWN
    }

    fn hint(&self, pod: &PodInfo, event: &ClusterEvent<'_>) -> Hint {
        let helps = if event.what.overlaps(Events::POD_SCALE_DOWN) {
            let (old, new) = event.read::<Pod>();
            old.zip(new).is_none_or(|(old, new)| asks_less(old, new))
        } else if event.what.overlaps(Events::NODE_ADD | Events::NODE_ALLOCATABLE) {
            let (old, new) = event.read::<Node>();
            new.is_some_and(|new| fits_alone(pod, new) && old.is_none_or(|old| grew(pod, old, new)))
        } else {
            true
        };
        if helps { Hint::Queue } else { Hint::Skip }
    }

    fn as_filter(&self) -> Option<&dyn Filter> {
        Some(self)
    }

    fn as_score(&self) -> Option<&dyn Score> {
        Some(self)
    }
}

impl Filter for NodeResourcesFit {
    fn filter(&self, cycle: &Cycle<'_>, nodes: &[NodeIndex], verdicts: &mut [Verdict]) -> Answer {
        let cluster = cycle.cluster;
        let allowed = cluster.pods_allowed();
        for (node, verdict) in nodes.iter().zip(&mut *verdicts) {
            if cluster.pod_count(*node) as i64 >= allowed[node.index()] {
                *verdict = Verdict::Unschedulable;
            }
        }
        for (resource, asked) in self.asked(cycle.pod) {
            let allocatable = cluster.allocatable(resource);
            let requested = cluster.requested(resource);
            for (node, verdict) in nodes.iter().zip(&mut *verdicts) {
                let has = allocatable[node.index()];
                if asked > has {
                    *verdict = Verdict::Unresolvable;
                } else if asked > has.saturating_sub(requested[node.index()])
                    && *verdict == Verdict::Fits
                {
                    *verdict = Verdict::Unschedulable;
                }
            }
        }
        Ok(())
    }

    fn reasons(&self, cycle: &Cycle<'_>, node: NodeIndex) -> Reasons {
        let cluster = cycle.cluster;
        let mut reasons = Reasons::new();
        if cluster.pod_count(node) as i64 >= cluster.pods_allowed()[node.index()] {
            reasons.push("Too many pods".into());
        }
        for (resource, asked) in self.asked(cycle.pod) {
            let has = cluster.allocatable(resource)[node.index()];
            if asked > has.saturating_sub(cluster.requested(resource)[node.index()]) {
                reasons.push(match resource {
                    Resource::CPU => "Insufficient cpu".into(),
                    Resource::MEMORY => "Insufficient memory".into(),
                    other => format!("Insufficient {}", cluster.resources().name(other)).into(),
                });
            }
        }
        reasons
    }

    fn obstacles(&self, cycle: &Cycle<'_>, node: NodeIndex) -> Vec<Obstacle> {
        let cluster = cycle.cluster;
        let mut missing = Vec::new();
        let mut note = |resource: &str, amount: Quantity, short: i64, has: i64| {
            missing.push(Obstacle::Free {
                resource: resource.to_owned(),
                amount: amount.to_string(),
                part: if has > 0 { short as f64 / has as f64 } else { f64::MAX.sqrt() },
            });
        };
        let (count, allowed) =
            (cluster.pod_count(node) as i64, cluster.pods_allowed()[node.index()]);
        if count >= allowed {
            let short = count + 1 - allowed;
            note("pods", Quantity::from_units(short), short, allowed);
        }
        for (resource, asked) in self.asked(cycle.pod) {
            let has = cluster.allocatable(resource)[node.index()];
            let free = has.saturating_sub(cluster.requested(resource)[node.index()]);
            if asked > free {
                let short = asked.saturating_sub(free);
                let amount = match resource {
                    Resource::CPU => Quantity::from_millis(short),
                    _ => Quantity::from_units(short),
                };
                note(cluster.resources().name(resource), amount, short, has);
            }
        }
        missing
    }
}

impl Score for NodeResourcesFit {
    fn score(&self, cycle: &Cycle<'_>, nodes: &[NodeIndex], scores: &mut [i64]) -> Answer {
        let cluster = cycle.cluster;
        let columns: SmallVec<[_; 4]> = self
            .strategy
            .resources(cluster)
            .map(|(resource, weight)| {
                let asked = cycle.pod.class().scored(resource);
                let (has, used) =
                    (cluster.allocatable(resource), cluster.nonzero_requested(resource));
                (resource, weight, asked, has, used)
            })
            // An extended resource only counts for pods that ask for it.
            .filter(|(resource, _, asked, _, _)| !resource.is_scalar() || *asked > 0)
            .collect();
        for (node, score) in nodes.iter().zip(scores) {
            let index = node.index();
            let parts = columns.iter().filter(|(_, _, _, has, _)| has[index] != 0);
            *score = self.strategy.score(parts.map(|(_, weight, asked, has, used)| {
                (*weight, used[index].saturating_add(*asked), has[index])
            }));
        }
        Ok(())
    }
}

/// Whether a pod would fit a node without other pods.
fn fits_alone(pod: &PodInfo, node: &Node) -> bool {
    allocatable(node, "pods") >= 1 && resources(pod, node).all(|(asked, has)| asked <= has)
}

/// Whether a node has more than before of something that a pod asks for.
fn grew(pod: &PodInfo, old: &Node, new: &Node) -> bool {
    allocatable(new, "pods") > allocatable(old, "pods")
        || resources(pod, old).zip(resources(pod, new)).any(|((_, old), (_, new))| new > old)
}

/// What a pod asks for, each with what a node has of it.
fn resources<'a>(pod: &'a PodInfo, node: &'a Node) -> impl Iterator<Item = (i64, i64)> + 'a {
    let asked = pod.class().requests_by_name();
    asked.filter(|(_, _, asked)| *asked > 0).map(|(name, resource, asked)| {
        let quantity = node_quantity(node, name);
        (asked, amount(resource, quantity))
    })
}

fn allocatable(node: &Node, name: &str) -> i64 {
    node_quantity(node, name).value()
}

fn node_quantity(node: &Node, name: &str) -> Quantity {
    let text = node.status.as_ref().and_then(|status| status.allocatable.as_ref()?.get(name));
    text.and_then(|text| Quantity::try_from(text).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::{
        TestCluster, hint, node, pod, scores_in, verdicts, verdicts_in,
    };
    use super::*;

    fn asks(requests: &str) -> PodInfo {
        pod(&format!("containers: [{{name: a, resources: {{requests: {{{requests}}}}}}}]"))
    }

    fn has(name: &str, allocatable: &str) -> pinnace_api::Typed<Node> {
        node(name, &format!("status: {{allocatable: {{{allocatable}}}}}"))
    }

    #[test]
    fn every_resource_that_is_short_is_named() {
        let check = |requests: &str, expected: &str| {
            let nodes = [has("a", "cpu: 2, memory: 4Gi, pods: 1, example.com/gpu: 1")];
            assert_eq!(
                verdicts(&NodeResourcesFit::default(), &asks(requests), &nodes),
                [expected],
                "{requests}"
            );
        };
        check("", "");
        check("cpu: 2, memory: 4Gi", "");
        check("cpu: 2001m", "Insufficient cpu");
        check("cpu: 3, memory: 5Gi", "Insufficient cpu, Insufficient memory");
        check("ephemeral-storage: 1", "Insufficient ephemeral-storage");
        check("example.com/gpu: 1", "");
        check("example.com/gpu: 2", "Insufficient example.com/gpu");
        check("example.com/fpga: 1", "Insufficient example.com/fpga");
        check("example.com/fpga: 0", "");
        check("hugepages-2Mi: 2Mi", "Insufficient hugepages-2Mi");
    }

    #[test]
    fn pods_of_the_node_count_and_so_does_their_number() {
        let mut cluster = TestCluster::of(&[has("a", "cpu: 2, pods: 1")]);
        let first = asks("cpu: 1500m");
        cluster.place(&first, "a");
        assert_eq!(
            verdicts_in(&NodeResourcesFit::default(), &asks("cpu: 1"), &mut cluster),
            ["Too many pods, Insufficient cpu"]
        );
        cluster.cluster.remove_pod(first.uid());
        assert_eq!(verdicts_in(&NodeResourcesFit::default(), &asks("cpu: 1"), &mut cluster), [""]);
    }

    #[test]
    fn init_containers_sidecars_and_overhead_count_as_they_run() {
        let requests = |spec: &str| {
            let pod = pod(spec);
            let requests = pod.class().requests();
            (requests.get(crate::Resource::CPU), requests.get(crate::Resource::MEMORY))
        };
        let container = |cpu: &str, memory: &str, rest: &str| {
            format!("{{name: c, resources: {{requests: {{cpu: {cpu}, memory: {memory}}}}}{rest}}}")
        };
        let init = |containers: &[String]| format!("initContainers: [{}]", containers.join(", "));
        let main =
            format!("containers: [{}, {}]", container("2", "1", ""), container("1", "1", ""));
        assert_eq!(requests(&main), (3000, 2));
        let one = init(&[container("2", "3", "")]);
        assert_eq!(requests(&format!("{main}\n{one}")), (3000, 3));
        let always = ", restartPolicy: Always";
        let sidecar = init(&[container("1", "1", always), container("4", "1", "")]);
        assert_eq!(requests(&format!("{main}\n{sidecar}")), (5000, 3));
        assert_eq!(requests(&format!("{main}\noverhead: {{cpu: 100m, memory: 5}}")), (3100, 7));
        let whole = format!("{main}\nresources: {{requests: {{cpu: 7}}}}");
        assert_eq!(requests(&whole), (7000, 2));
    }

    #[test]
    fn the_emptiest_node_scores_best() {
        let mut cluster = TestCluster::of(&[
            has("a", "cpu: 4, memory: 10000, pods: 9"),
            has("b", "cpu: 6, memory: 10000, pods: 9"),
        ]);
        assert_eq!(
            scores_in(&NodeResourcesFit::default(), &asks("cpu: 3, memory: 5000"), &mut cluster),
            [37, 50]
        );
        cluster.place(&asks("cpu: 3, memory: 5000"), "b");
        assert_eq!(
            scores_in(&NodeResourcesFit::default(), &asks("cpu: 3, memory: 5000"), &mut cluster),
            [37, 0]
        );
    }

    #[test]
    fn containers_without_requests_count_with_a_default_when_scored() {
        let mut cluster = TestCluster::of(&[has("a", "cpu: 1, memory: 2000Mi, pods: 9")]);
        assert_eq!(scores_in(&NodeResourcesFit::default(), &asks(""), &mut cluster), [90]);
        cluster.place(&asks(""), "a");
        assert_eq!(scores_in(&NodeResourcesFit::default(), &asks(""), &mut cluster), [80]);
    }

    #[test]
    fn a_node_that_could_take_the_pod_helps_when_it_comes_or_grows() {
        let (small, large) = (has("a", "cpu: 1, pods: 9"), has("a", "cpu: 4, pods: 9"));
        let check = |old, new, expected| {
            let pod = asks("cpu: 2");
            assert_eq!(
                hint(&NodeResourcesFit::default(), &pod, Events::NODE_ALLOCATABLE, old, new),
                expected
            );
        };
        check(None, Some(&large), Hint::Queue);
        check(None, Some(&small), Hint::Skip);
        check(Some(&small), Some(&large), Hint::Queue);
        check(Some(&large), Some(&large), Hint::Skip);
    }
}
