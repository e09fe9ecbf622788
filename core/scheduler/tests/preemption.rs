//! Whom preemption evicts on random clusters, compared with a plain implementation that shares no
//! code with the scheduler.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::cmp::Reverse;
use std::sync::Arc;

use pinnace_api::{Kind, Typed};
use pinnace_env::Random;
use pinnace_scheduler::plugins::{DefaultPreemption, NodeResourcesFit};
use pinnace_scheduler::{
    Cluster, CycleState, Decider, Decision, Nomination, Plugin, PodClasses, Profile,
};
use proptest::prelude::*;
use serde_json::{Value, json};

/// A pod on a node, by what matters.
#[derive(Clone, Debug)]
struct Placed {
    node: usize,
    cpu: i64,
    priority: i32,
    start: Option<i64>,
    /// Which budget protects it.
    budget: Option<usize>,
}

const NODES: usize = 4;
const CORES: i64 = 6;

fn placed() -> impl Strategy<Value = Placed> {
    let start = prop::option::weighted(0.8, 1..5i64);
    (0..NODES, 0..4i64, -1..4i32, start, prop::option::weighted(0.4, 0..2usize)).prop_map(
        |(node, cpu, priority, start, budget)| Placed { node, cpu, priority, start, budget },
    )
}

fn read<K: Kind>(value: Value) -> Typed<K> {
    Typed::new(serde_json::from_value(value).unwrap())
}

fn pod(name: &str, cpu: i64, priority: i32) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "uid": name},
        "spec": {"priority": priority, "containers": [
            {"name": "c", "resources": {"requests": {"cpu": cpu.to_string()}}}]},
    })
}

impl Placed {
    fn object(&self, index: usize) -> Value {
        let mut object = pod(&format!("p{index}"), self.cpu, self.priority);
        object["spec"]["nodeName"] = format!("n{}", self.node).into();
        if let Some(start) = self.start {
            object["status"] = json!({"startTime": format!("2026-01-0{start}T00:00:00Z")});
        }
        if let Some(budget) = self.budget {
            object["metadata"]["labels"] = json!({"budget": budget.to_string()});
        }
        object
    }
}

type Cost = (usize, i32, i64, usize, Reverse<i64>);

/// What has to go on a node, and what that costs.
fn plainly(
    pods: &[Placed],
    node: usize,
    (cpu, priority): (i64, i32),
    allowed: [i32; 2],
) -> Option<(Cost, Vec<usize>)> {
    let on = |index: &usize| pods[*index].node == node;
    let mut victims: Vec<usize> =
        (0..pods.len()).filter(on).filter(|index| pods[*index].priority < priority).collect();
    let start = |index: usize| pods[index].start.unwrap_or(i64::MAX);
    let order =
        |index: &usize| (Reverse(pods[*index].priority), start(*index), format!("p{index}"));
    victims.sort_by_key(order);
    let used = |gone: &[usize]| -> i64 {
        let left = (0..pods.len()).filter(on).filter(|index| !gone.contains(index));
        left.map(|index| pods[index].cpu).sum()
    };
    if victims.is_empty() || used(&victims) + cpu > CORES {
        return None;
    }
    let mut spent = [0; 2];
    let mut protected = Vec::new();
    for index in &victims {
        if let Some(budget) = pods[*index].budget {
            spent[budget] += 1;
            if spent[budget] > allowed[budget] {
                protected.push(*index);
            }
        }
    }
    let mut gone = victims.clone();
    let rest = victims.iter().filter(|index| !protected.contains(index));
    for index in protected.iter().chain(rest) {
        let without: Vec<usize> = gone.iter().copied().filter(|one| one != index).collect();
        if used(&without) + cpu <= CORES {
            gone = without;
        }
    }
    let highest = pods[*gone.first()?].priority;
    let first = gone.iter().filter(|index| pods[**index].priority == highest);
    let cost = (
        gone.iter().filter(|index| protected.contains(index)).count(),
        highest,
        gone.iter().map(|index| i64::from(pods[*index].priority) + (1 << 31)).sum(),
        gone.len(),
        Reverse(first.map(|index| start(*index)).min().unwrap()),
    );
    Some((cost, gone))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_least_disruptive_victims_are_those_of_the_plain_implementation(
        mut pods in prop::collection::vec(placed(), 0..16),
        goes in prop::collection::vec(any::<usize>(), 3),
        allowed in [0..3i32, 0..3i32],
        wanted in (1..7i64, 0..4i32),
    ) {
        let plugins: Vec<(Arc<dyn Plugin>, i64)> =
            vec![(Arc::new(NodeResourcesFit::default()), 1), (Arc::new(DefaultPreemption::default()), 1)];
        let profile = Profile::new("default-scheduler", 0, plugins);
        let mut cluster = Cluster::new();
        for node in 0..NODES {
            cluster.set_node(&read(json!({
                "apiVersion": "v1", "kind": "Node", "metadata": {"name": format!("n{node}")},
                "status": {"allocatable": {"cpu": CORES.to_string(), "pods": "99"}},
            })));
        }
        for (index, pod) in pods.iter().enumerate() {
            cluster.set_pod(&read(pod.object(index)));
        }
        for (index, allowed) in allowed.iter().enumerate() {
            let budget: Typed<k8s_openapi::api::policy::v1::PodDisruptionBudget> = read(json!({
                "apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
                "metadata": {"name": format!("b{index}"), "namespace": "default"},
                "spec": {"selector": {"matchLabels": {"budget": index.to_string()}}},
                "status": {"disruptionsAllowed": allowed, "currentHealthy": 0, "desiredHealthy": 0,
                           "expectedPods": 0},
            }));
            cluster.set_budget("default", &format!("b{index}"), Some(&budget));
        }
        let (mut classes, mut decider) = (PodClasses::default(), Decider::new(Random::seeded(1)));
        // Again after some pods went: what is remembered must follow.
        for (round, gone) in goes.into_iter().enumerate() {
            let object = read(pod(&format!("new-{round}"), wanted.0, wanted.1));
            let info = classes.read(&mut cluster, &profile, &object);
            let state = CycleState::default();
            let decision = decider.decide(&cluster, &profile, &info, &state);
            if let Decision::Unschedulable(diagnosis) = decision {
                let (_, found) =
                    decider.way_out(&mut cluster, &profile, &info, &state, &diagnosis);
                let options = (0..NODES).filter_map(|node| plainly(&pods, node, wanted, allowed));
                match (found.nomination, options.clone().map(|(cost, _)| cost).min()) {
                    (Nomination::To(name), Some(least)) => {
                        let node: usize = name[1..].parse().unwrap();
                        let (cost, victims) = plainly(&pods, node, wanted, allowed).unwrap();
                        prop_assert_eq!(cost, least);
                        let found: Vec<String> =
                            found.victims.iter().map(|pod| pod.object().name().to_owned()).collect();
                        let names: Vec<String> =
                            victims.iter().map(|index| format!("p{index}")).collect();
                        prop_assert_eq!(found, names);
                    }
                    (Nomination::Clear, None) => {}
                    (found, expected) => panic!("{found:?}, not {expected:?}"),
                }
            }
            if !pods.is_empty() {
                let index = gone % pods.len();
                cluster.remove_pod(&format!("p{index}"));
                // It stays in the list, so that the others keep their numbers, but nowhere.
                pods[index].node = NODES;
            }
        }
    }
}
