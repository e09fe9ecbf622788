//! What the tests of plugins have in common.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod};
use pinnace_api::{Kind, Typed, manifest};
use pinnace_env::Random;

use crate::framework::{
    ClusterEvent, Cycle, CycleState, Events, Hint, Normalization, Plugin, Profile, Verdict,
};
use crate::plugins;
use crate::pod::{PodClasses, PodInfo};
use crate::{Cluster, Decider, Decision};

fn read<K: Kind>(text: &str) -> K {
    let [object] = &manifest::read(text.as_bytes()).unwrap()[..] else { panic!("{text}") };
    serde_json::from_value(object.clone()).unwrap()
}

/// A node; `rest` is YAML beside `apiVersion` and `kind`.
pub(crate) fn node(name: &str, rest: &str) -> Typed<Node> {
    let mut node: Node = read(&format!("apiVersion: v1\nkind: Node\n{rest}"));
    node.metadata.name = Some(name.into());
    Typed::new(node)
}

/// A pod; `spec` is the YAML of its `spec`.
pub(crate) fn pod_object(name: &str, spec: &str) -> Typed<Pod> {
    let spec: String = spec.lines().map(|line| format!("  {line}\n")).collect();
    let spec = if spec.is_empty() { "  {}\n".to_owned() } else { spec };
    let mut pod: Pod = read(&format!("apiVersion: v1\nkind: Pod\nspec:\n{spec}"));
    pod.metadata.name = Some(name.into());
    pod.metadata.namespace = Some("default".into());
    pod.metadata.uid = Some(format!("uid-{name}"));
    Typed::new(pod)
}

/// A cluster in which pods and nodes share the numbers of resources, as the plugins need.
pub(crate) struct TestCluster {
    pub(crate) cluster: Cluster,
    profile: Profile,
    placed: usize,
}

impl TestCluster {
    pub(crate) fn of(nodes: &[Typed<Node>]) -> Self {
        let mut cluster = Cluster::new();
        nodes.iter().for_each(|node| cluster.set_node(node));
        Self { cluster, profile: default_profile(), placed: 0 }
    }

    /// Reads a pod as the scheduler of this cluster does.
    pub(crate) fn read(&mut self, pod: &PodInfo) -> PodInfo {
        PodClasses::default().read(&mut self.cluster, &self.profile, pod.pod())
    }

    /// Puts a pod like this one onto a node, with the uid of the given one if it is the first.
    pub(crate) fn place(&mut self, pod: &PodInfo, node: &str) {
        let mut bound = pod.pod().to_owned();
        bound.spec.get_or_insert_default().node_name = Some(node.into());
        if self.placed > 0 {
            bound.metadata.uid = Some(format!("{}-{}", pod.uid(), self.placed));
        }
        self.placed += 1;
        self.cluster.set_pod(&Typed::new(bound));
    }
}

/// The built-in plugins that need no API.
pub(crate) fn default_profile() -> Profile {
    let plugins: Vec<(Arc<dyn Plugin>, i64)> = vec![
        (Arc::new(plugins::SchedulingGates), 1),
        (Arc::new(plugins::PrioritySort), 1),
        (Arc::new(plugins::NodeUnschedulable), 1),
        (Arc::new(plugins::NodeName), 1),
        (Arc::new(plugins::TaintToleration), 3),
        (Arc::new(plugins::NodeAffinity::default()), 2),
        (Arc::new(plugins::NodePorts), 1),
        (Arc::new(plugins::NodeResourcesFit::default()), 1),
        (Arc::new(plugins::NodeResourcesBalancedAllocation::default()), 1),
    ];
    Profile::new("default-scheduler", 0, plugins)
}

/// A pod that waits; `spec` is the YAML of its `spec`.
pub(crate) fn pod(spec: &str) -> PodInfo {
    PodClasses::default().read(&mut Cluster::new(), &default_profile(), &pod_object("p", spec))
}

/// For each node why a plugin's filter excludes it; nothing when it does not.
pub(crate) fn verdicts(plugin: &dyn Plugin, pod: &PodInfo, nodes: &[Typed<Node>]) -> Vec<String> {
    let mut cluster = TestCluster::of(nodes);
    let pod = cluster.read(pod);
    judge(plugin, &pod, &cluster.cluster)
}

/// As [`verdicts`], in a cluster with pods.
pub(crate) fn verdicts_in(
    plugin: &dyn Plugin,
    pod: &PodInfo,
    cluster: &mut TestCluster,
) -> Vec<String> {
    let pod = cluster.read(pod);
    judge(plugin, &pod, &cluster.cluster)
}

fn judge(plugin: &dyn Plugin, pod: &PodInfo, cluster: &Cluster) -> Vec<String> {
    let cycle = Cycle { pod, cluster, state: &CycleState::default() };
    let nodes: Vec<_> = cluster.indexes().collect();
    let mut verdicts = vec![Verdict::Fits; nodes.len()];
    let filter = plugin.as_filter().unwrap();
    filter.filter(&cycle, &nodes, &mut verdicts).unwrap();
    let reason = |(node, verdict): (_, &Verdict)| match verdict {
        Verdict::Fits => String::new(),
        _ => filter.reasons(&cycle, node).join(", "),
    };
    nodes.iter().copied().zip(&verdicts).map(reason).collect()
}

/// What each node scores, normalized as the framework does.
pub(crate) fn scores(plugin: &dyn Plugin, pod: &PodInfo, nodes: &[Typed<Node>]) -> Vec<i64> {
    scores_in(plugin, pod, &mut TestCluster::of(nodes))
}

/// As [`scores`], in a cluster with pods.
pub(crate) fn scores_in(plugin: &dyn Plugin, pod: &PodInfo, cluster: &mut TestCluster) -> Vec<i64> {
    let pod = cluster.read(pod);
    let cluster = &cluster.cluster;
    let cycle = Cycle { pod: &pod, cluster, state: &CycleState::default() };
    let nodes: Vec<_> = cluster.indexes().collect();
    let mut scores = vec![0; nodes.len()];
    let score = plugin.as_score().unwrap();
    score.score(&cycle, &nodes, &mut scores).unwrap();
    let highest = scores.iter().copied().max().unwrap_or(0);
    for one in &mut scores {
        *one = match score.normalization() {
            Normalization::ToHighest if highest > 0 => 100 * *one / highest,
            Normalization::ToHighestReversed if highest > 0 => 100 - 100 * *one / highest,
            Normalization::ToHighestReversed => 100,
            _ => *one,
        };
    }
    scores
}

/// Whether a change of a node is worth another try.
pub(crate) fn hint(
    plugin: &dyn Plugin,
    pod: &PodInfo,
    what: Events,
    old: Option<&Typed<Node>>,
    new: Option<&Typed<Node>>,
) -> Hint {
    let event = ClusterEvent { what, old: old.map(Typed::object), new: new.map(Typed::object) };
    plugin.hint(pod, &event)
}

/// Why a pod cannot be scheduled.
pub(crate) fn unschedulable(pod: &PodInfo, nodes: &[Typed<Node>]) -> String {
    let mut cluster = TestCluster::of(nodes);
    let pod = cluster.read(pod);
    let mut decider = Decider::new(Random::seeded(1));
    let state = CycleState::default();
    match decider.decide(&cluster.cluster, &cluster.profile, &pod, &state) {
        Decision::Unschedulable(diagnosis) => diagnosis.message(),
        other => panic!("{other:?}"),
    }
}
