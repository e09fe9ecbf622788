//! Spreading and affinity on random clusters, compared with a plain implementation that counts all
//! pods anew for every pod and shares no code with the scheduler.

mod plain_topology;

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod};
use pinnace_api::Typed;
use pinnace_env::Random;
use pinnace_scheduler::plugins::{InterPodAffinity, NodeAffinity, PodTopologySpread};
use pinnace_scheduler::{Cluster, CycleState, Decider, Decision, Plugin, PodClasses, Profile};
use plain_topology::{NAMESPACES, Plain, PlainNode, PlainPod};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    SetNode(usize, PlainNode),
    DeleteNode(usize),
    Schedule(usize),
    RemovePod(usize),
    /// The binding of a pod is seen; it may be about to be deleted.
    Confirm(usize, bool),
    /// A namespace gets this label.
    Team(usize, &'static str),
    /// A Service selects the pods of an app.
    Service(usize, Option<&'static str>),
}

const NODES: usize = 7;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..NODES, plain_topology::node()).prop_map(|(index, node)| Step::SetNode(index, node)),
        1 => (0..NODES).prop_map(Step::DeleteNode),
        14 => any::<usize>().prop_map(Step::Schedule),
        2 => any::<usize>().prop_map(Step::RemovePod),
        2 => (any::<usize>(), any::<bool>()).prop_map(|(which, going)| Step::Confirm(which, going)),
        1 => (0..NAMESPACES.len(), plain_topology::team()).prop_map(|(which, team)| Step::Team(which, team)),
        1 => (0..NAMESPACES.len(), prop::option::of(plain_topology::app()))
            .prop_map(|(which, app)| Step::Service(which, app)),
    ];
    prop::collection::vec(step, 1..100)
}

fn profile() -> Profile {
    let plugins: Vec<(Arc<dyn Plugin>, i64)> = vec![
        (Arc::new(NodeAffinity::default()), 2),
        (Arc::new(PodTopologySpread::default()), 2),
        (Arc::new(InterPodAffinity::default()), 2),
    ];
    Profile::new("default-scheduler", 0, plugins)
}

fn compare(pods: &[PlainPod], steps: &[Step], seed: u64) {
    let profile = profile();
    let mut cluster = Cluster::new();
    let mut classes = PodClasses::default();
    let mut decider = Decider::new(Random::seeded(seed));
    let (mut plain, draws) = (Plain::default(), Random::seeded(seed));
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
                let object = Typed::<Pod>::new(wanted.object(&format!("pod-{number}")));
                let info = classes.read(&mut cluster, &profile, &object);
                let decision = decider.decide(&cluster, &profile, &info, &CycleState::default());
                let order = |name: &str| cluster.find(name).map(|node| node.index());
                match (decision, plain.decide(wanted, order, &draws)) {
                    (Decision::Node(node), Ok(expected)) => {
                        assert_eq!(cluster.node(node).name(), expected, "step {number}");
                        assert!(cluster.assume(&info, node));
                        plain.place(info.uid(), &expected, wanted);
                    }
                    (Decision::Unschedulable(diagnosis), Err(expected)) => {
                        assert_eq!(diagnosis.message(), expected, "step {number}");
                    }
                    (Decision::NoNodes, Err(_)) if plain.nodes.is_empty() => {}
                    (decision, expected) => panic!("step {number}: {decision:?}, not {expected:?}"),
                }
            }
            Step::RemovePod(which) if !plain.pods.is_empty() => {
                let gone = plain.pods.swap_remove(which % plain.pods.len());
                assert!(cluster.remove_pod(&gone.uid));
            }
            Step::Confirm(which, going) if !plain.pods.is_empty() => {
                let count = plain.pods.len();
                let placed = &mut plain.pods[which % count];
                placed.going |= *going;
                cluster.set_pod(&Typed::new(placed.object()));
            }
            Step::Team(which, team) => {
                let labels = [("team".to_owned(), (*team).to_owned())].into();
                cluster.set_namespace(NAMESPACES[*which], Some(&labels));
                plain.teams.insert(NAMESPACES[*which], *team);
            }
            Step::Service(which, app) => {
                let selector = app.map(|app| [("app".to_owned(), app.to_owned())].into());
                cluster.set_service(NAMESPACES[*which], "only", selector.as_ref());
                plain.services.remove(NAMESPACES[*which]);
                plain.services.extend(app.map(|app| (NAMESPACES[*which], app)));
            }
            Step::RemovePod(_) | Step::Confirm(..) => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn counts_that_follow_every_change_decide_as_counting_anew_does(
        pods in prop::collection::vec(plain_topology::pod(), 1..6),
        steps in steps(),
        seed: u64,
    ) {
        compare(&pods, &steps, seed);
    }
}
