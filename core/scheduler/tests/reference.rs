//! Decisions on random clusters, compared with a plain implementation that looks at every node for
//! every pod and shares no code with the scheduler.

mod plain;

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod};
use pinnace_api::Typed;
use pinnace_env::Random;
use pinnace_scheduler::plugins::{
    NodeAffinity, NodeName, NodePorts, NodeResourcesBalancedAllocation, NodeResourcesFit,
    NodeUnschedulable, TaintToleration,
};
use pinnace_scheduler::{
    Answer, Cluster, Cycle, CycleState, Decider, Decision, Filter, NodeIndex, Plugin, PodClasses,
    Profile, Reasons, Score, Verdict,
};
use plain::{PlainCluster, PlainNode, PlainPod};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    SetNode(usize, PlainNode),
    DeleteNode(usize),
    Schedule(usize),
    /// Removes the pod that was placed so many pods ago.
    RemovePod(usize),
    /// The same, by taking back its assumption.
    Forget(usize),
    /// Its binding is seen.
    Confirm(usize),
}

const NODES: usize = 9;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0..NODES, plain::node()).prop_map(|(index, node)| Step::SetNode(index, node)),
        1 => (0..NODES).prop_map(Step::DeleteNode),
        12 => any::<usize>().prop_map(Step::Schedule),
        2 => any::<usize>().prop_map(Step::RemovePod),
        1 => any::<usize>().prop_map(Step::Forget),
        1 => any::<usize>().prop_map(Step::Confirm),
    ];
    prop::collection::vec(step, 1..120)
}

/// Agrees with everything, but has to be asked every time: takes the way without caches.
struct Anything;

impl Plugin for Anything {
    fn name(&self) -> &str {
        "Anything"
    }
    fn as_filter(&self) -> Option<&dyn Filter> {
        Some(self)
    }
    fn as_score(&self) -> Option<&dyn Score> {
        Some(self)
    }
}

impl Filter for Anything {
    fn filter(&self, _: &Cycle<'_>, _: &[NodeIndex], _: &mut [Verdict]) -> Answer {
        Ok(())
    }
    fn reasons(&self, _: &Cycle<'_>, _: NodeIndex) -> Reasons {
        Reasons::new()
    }
}

impl Score for Anything {
    fn score(&self, _: &Cycle<'_>, _: &[NodeIndex], scores: &mut [i64]) -> Answer {
        scores.fill(7);
        Ok(())
    }
}

fn profile(more: Option<Arc<dyn Plugin>>) -> Profile {
    let mut plugins: Vec<(Arc<dyn Plugin>, i64)> = vec![
        (Arc::new(NodeUnschedulable), 1),
        (Arc::new(NodeName), 1),
        (Arc::new(TaintToleration), 3),
        (Arc::new(NodeAffinity::default()), 2),
        (Arc::new(NodePorts), 1),
        (Arc::new(NodeResourcesFit::default()), 1),
        (Arc::new(NodeResourcesBalancedAllocation::default()), 1),
    ];
    plugins.extend(more.map(|plugin| (plugin, 1)));
    Profile::new("default-scheduler", 0, plugins)
}

/// Runs the steps through both and compares every decision.
fn compare(profile: &Profile, pods: &[PlainPod], steps: &[Step], seed: u64) {
    let mut cluster = Cluster::new();
    let mut classes = PodClasses::default();
    let mut decider = Decider::new(Random::seeded(seed));
    let (mut plain, draws) = (PlainCluster::default(), Random::seeded(seed));
    let mut placed: Vec<(Typed<Pod>, String)> = Vec::new();
    for (number, step) in steps.iter().enumerate() {
        match step {
            Step::SetNode(index, node) => {
                let name = format!("node-{index}");
                cluster.set_node(&Typed::<Node>::new(node.object(&name)));
                plain.nodes.insert(name, node.clone());
            }
            Step::DeleteNode(index) => {
                let name = format!("node-{index}");
                cluster.remove_node(&name);
                plain.nodes.remove(&name);
            }
            Step::Schedule(which) => {
                let wanted = &pods[which % pods.len()];
                let object = Typed::new(wanted.object(&format!("pod-{number}")));
                let info = classes.read(&mut cluster, profile, &object);
                let decision = decider.decide(&cluster, profile, &info, &CycleState::default());
                let order = |name: &str| cluster.find(name).map(|node| node.index());
                match (decision, plain.decide(wanted, order, &draws)) {
                    (Decision::Node(node), Ok(expected)) => {
                        assert_eq!(cluster.node(node).name(), expected, "step {number}");
                        assert!(cluster.assume(&info, node));
                        plain.pods.push((info.uid().to_string(), expected.clone(), wanted.clone()));
                        placed.push((object, expected));
                    }
                    (Decision::Unschedulable(diagnosis), Err(expected)) => {
                        assert_eq!(diagnosis.message(), expected, "step {number}");
                    }
                    (Decision::NoNodes, Err(_)) if plain.nodes.is_empty() => {}
                    (decision, expected) => panic!("step {number}: {decision:?}, not {expected:?}"),
                }
            }
            Step::RemovePod(which) | Step::Forget(which) if !placed.is_empty() => {
                let (pod, _) = placed.swap_remove(which % placed.len());
                let uid = pod.object().uid();
                let gone = match step {
                    Step::Forget(_) => cluster.forget(uid) || cluster.remove_pod(uid),
                    _ => cluster.remove_pod(uid),
                };
                assert!(gone);
                plain.pods.retain(|(known, _, _)| known != uid);
            }
            Step::Confirm(which) if !placed.is_empty() => {
                let (pod, node) = &placed[which % placed.len()];
                let mut bound = pod.to_owned();
                bound.spec.get_or_insert_default().node_name = Some(node.clone());
                cluster.set_pod(&Typed::new(bound));
            }
            Step::RemovePod(_) | Step::Forget(_) | Step::Confirm(_) => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn cached_decisions_are_those_of_the_plain_implementation(
        pods in prop::collection::vec(plain::pod(), 1..5),
        steps in steps(),
        seed: u64,
    ) {
        compare(&profile(None), &pods, &steps, seed);
    }

    #[test]
    fn a_plugin_that_is_always_asked_changes_nothing_about_the_others(
        pods in prop::collection::vec(plain::pod(), 1..5),
        steps in steps(),
        seed: u64,
    ) {
        compare(&profile(Some(Arc::new(Anything))), &pods, &steps, seed);
    }
}
