//! Plugins, pods, nodes and other schedulers at their worst: nothing is lost, nothing is bound twice,
//! and the error names the culprit.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Node, Pod};
use parking_lot::Mutex;
use pinnace_api::{Kind, Typed};
use pinnace_env::Random;
use pinnace_scheduler::{
    Answer, BatchNodes, BatchPlugin, Bind, Bound, Cycle, CycleState, Decider, Decision, Filter,
    MAX_BINDING_TIME, NodeIndex, Permit, Permitted, Plugin, PodClasses, PodInfo, Profile,
    ProfileConfig, Reasons, SchedulerConfig, Score, Verdict, batched, batched_within,
};
use serde_json::{Value, json};

use crate::PLAIN;
use crate::harness::{Cluster, start, start_with};

/// Panics at one point, as often as is asked for.
struct Panics {
    at: &'static str,
    left: Arc<AtomicUsize>,
}

impl Panics {
    fn perhaps(&self, at: &str) {
        let once_less = |left: usize| left.checked_sub(1);
        let left = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, once_less);
        assert!(at != self.at || left.is_err(), "no more of this");
    }
}

impl Plugin for Panics {
    fn name(&self) -> &str {
        "Panics"
    }
    fn as_filter(&self) -> Option<&dyn Filter> {
        (self.at == "filter").then_some(self)
    }
    fn as_score(&self) -> Option<&dyn Score> {
        (self.at == "score").then_some(self)
    }
    fn as_permit(&self) -> Option<&dyn Permit> {
        (self.at == "permit").then_some(self)
    }
    fn as_bind(&self) -> Option<&dyn Bind> {
        (self.at == "bind").then_some(self)
    }
}

impl Filter for Panics {
    fn filter(&self, _: &Cycle<'_>, _: &[NodeIndex], _: &mut [Verdict]) -> Answer {
        self.perhaps("filter");
        Ok(())
    }
    fn reasons(&self, _: &Cycle<'_>, _: NodeIndex) -> Reasons {
        Vec::new()
    }
}

impl Score for Panics {
    fn score(&self, _: &Cycle<'_>, _: &[NodeIndex], _: &mut [i64]) -> Answer {
        self.perhaps("score");
        Ok(())
    }
}

impl Permit for Panics {
    fn permit(&self, _: &Cycle<'_>, _: &str) -> Answer<Permitted> {
        self.perhaps("permit");
        Ok(Permitted::Now)
    }
}

#[async_trait]
impl Bind for Panics {
    async fn bind(&self, _: &PodInfo, _: &str, _: &CycleState) -> Answer<Bound> {
        self.perhaps("bind");
        Ok(Bound::Skip)
    }
}

/// A cluster of the nodes a and b with one more plugin, before all others.
async fn with_plugin(
    name: &str,
    make: impl Fn() -> Arc<dyn Plugin> + Send + Sync + 'static,
) -> Cluster {
    let mut config = SchedulerConfig::default();
    config.registry.add(name, move |_| Ok(make()));
    let mut profile = ProfileConfig::default();
    profile.plugins.insert(0, (name.to_owned(), 1));
    config.profiles = vec![profile];
    let cluster = start_with(config).await;
    for node in ["a", "b"] {
        cluster.node(node, "cpu: 4, memory: 8Gi, pods: 10").await;
    }
    cluster
}

/// Waits until the condition of a pod says what is wrong.
async fn fails(cluster: &Cluster, pod: &str, expected: &str) {
    let condition = cluster.condition(pod, |one| one.status == "False").await;
    let message = condition.message.unwrap_or_default();
    assert!(message.contains(expected), "{message:?} does not say {expected:?}");
    assert_eq!(condition.reason.as_deref(), Some("SchedulerError"));
}

#[tokio::test(start_paused = true)]
async fn a_plugin_that_panics_is_named_and_the_pod_is_tried_again() {
    for at in ["filter", "score", "permit", "bind"] {
        let left = Arc::new(AtomicUsize::new(1));
        let plugin = left.clone();
        let cluster =
            with_plugin("Panics", move || Arc::new(Panics { at, left: plugin.clone() })).await;
        cluster.pod("web", PLAIN).await;
        fails(&cluster, "web", "plugin \"Panics\" panicked: no more of this").await;
        cluster.bound("web").await;
        cluster.stop().await;
    }
}

/// Gives every node the same score, once it has been let go.
struct Scores {
    score: f64,
    gate: Option<Mutex<std::sync::mpsc::Receiver<()>>>,
}

impl BatchPlugin for Scores {
    fn name(&self) -> &str {
        "Scores"
    }
    fn judge(&self, _: &Pod, _: &BatchNodes, scores: &mut [f64]) -> Answer {
        if let Some(gate) = &self.gate {
            let _ = gate.lock().recv();
        }
        scores.fill(self.score);
        Ok(())
    }
    fn reason(&self) -> String {
        "node(s) are bad".to_owned()
    }
}

#[tokio::test(start_paused = true)]
async fn scores_that_are_none_are_refused_with_the_name_of_the_plugin() {
    for (score, said) in [
        (f64::NAN, "gives node \"a\" the score NaN, which is not from 0 to 100"),
        (f64::INFINITY, "gives node \"a\" the score inf, which is not from 0 to 100"),
        (100.5, "gives node \"a\" the score 100.5, which is not from 0 to 100"),
    ] {
        let make = move || batched(Scores { score, gate: None });
        let cluster = with_plugin("Scores", make).await;
        cluster.pod("web", PLAIN).await;
        fails(&cluster, "web", &format!("plugin \"Scores\" {said}")).await;
        assert_eq!(cluster.node_of("web").await, None);
        cluster.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_plugin_that_does_not_answer_is_named_and_holds_nobody_up_for_ever() {
    let (open, gate) = std::sync::mpsc::channel();
    let gate = Mutex::new(Some(gate));
    let cluster = with_plugin("Scores", move || {
        let gate = gate.lock().take().map(Mutex::new);
        batched_within(Scores { score: 50.0, gate }, Duration::from_millis(20))
    })
    .await;
    cluster.pod("web", PLAIN).await;
    fails(&cluster, "web", "plugin \"Scores\" has not answered within 20ms").await;
    // From here on it answers at once.
    drop(open);
    cluster.bound("web").await;
    cluster.stop().await;
}

/// Never ends to bind the first pod.
struct Hangs(AtomicUsize);

impl Plugin for Hangs {
    fn name(&self) -> &str {
        "Hangs"
    }
    fn as_bind(&self) -> Option<&dyn Bind> {
        Some(self)
    }
}

#[async_trait]
impl Bind for Hangs {
    async fn bind(&self, _: &PodInfo, _: &str, _: &CycleState) -> Answer<Bound> {
        if self.0.fetch_add(1, Ordering::Relaxed) == 0 {
            std::future::pending::<()>().await;
        }
        Ok(Bound::Skip)
    }
}

#[tokio::test(start_paused = true)]
async fn a_binding_that_does_not_end_holds_up_no_other_and_ends_in_an_error() {
    let cluster = with_plugin("Hangs", || Arc::new(Hangs(AtomicUsize::new(0)))).await;
    cluster.pod("first", PLAIN).await;
    cluster.pass(Duration::from_secs(1)).await;
    cluster.pod("second", PLAIN).await;
    cluster.bound("second").await;
    cluster.pass(MAX_BINDING_TIME - Duration::from_secs(10)).await;
    fails(&cluster, "first", "plugin \"Hangs\" has not answered within 900s").await;
    cluster.bound("first").await;
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn constraints_that_contradict_each_other_are_told_apart() {
    let cluster = start().await;
    for node in ["a", "b"] {
        cluster.node(node, "cpu: 4, memory: 8Gi, pods: 10").await;
    }
    let affinity = |terms: &str| {
        format!(
            "affinity: {{nodeAffinity: {{requiredDuringSchedulingIgnoredDuringExecution: \
             {{nodeSelectorTerms: [{terms}]}}}}}}\n{PLAIN}"
        )
    };
    let named = |first: &str, second: &str| {
        let field = |name: &str| format!("{{key: metadata.name, operator: In, values: [{name}]}}");
        affinity(&format!("{{matchFields: [{}, {}]}}", field(first), field(second)))
    };
    let self_hating = "affinity: {podAffinity: {requiredDuringSchedulingIgnoredDuringExecution: \
         [{topologyKey: kubernetes.io/hostname, labelSelector: {matchLabels: {app: x}}}]}, \
         podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: \
         [{topologyKey: kubernetes.io/hostname, labelSelector: {matchLabels: {app: x}}}]}}\n"
        .to_owned()
        + PLAIN;
    for (name, spec, expected) in [
        ("twice", named("a", "b"), "pod affinity terms conflict"),
        (
            "both",
            affinity(
                "{matchExpressions: [{key: k, operator: Exists}, \
                      {key: k, operator: DoesNotExist}]}",
            ),
            "2 node(s) didn't match Pod's node affinity/selector",
        ),
        ("lonely", self_hating, "2 node(s) didn't match pod affinity rules"),
    ] {
        cluster.pod(name, &spec).await;
        let condition = cluster.condition(name, |one| one.status == "False").await;
        let message = condition.message.unwrap_or_default();
        assert!(message.contains(expected), "{name}: {message}");
        assert_eq!(condition.reason.as_deref(), Some("Unschedulable"));
    }
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn topology_keys_that_no_node_has_exclude_nodes_only_where_they_must() {
    let cluster = start().await;
    for node in ["a", "b"] {
        cluster.node(node, "cpu: 4, memory: 8Gi, pods: 10").await;
    }
    let spread = |when: &str| {
        format!(
            "topologySpreadConstraints: [{{maxSkew: 1, topologyKey: nowhere, whenUnsatisfiable: \
             {when}, labelSelector: {{matchLabels: {{app: x}}}}}}]\n{PLAIN}"
        )
    };
    let terms = "{requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: nowhere, \
                 labelSelector: {matchLabels: {app: x}}}]}";
    cluster.pod("any", &spread("ScheduleAnyway")).await;
    cluster.bound("any").await;
    cluster.pod("far", &format!("affinity: {{podAntiAffinity: {terms}}}\n{PLAIN}")).await;
    cluster.bound("far").await;
    for (name, spec, expected) in [
        (
            "must",
            spread("DoNotSchedule"),
            "2 node(s) didn't match pod topology spread constraints (missing required label)",
        ),
        (
            "near",
            format!("affinity: {{podAffinity: {terms}}}\n{PLAIN}"),
            "2 node(s) didn't match pod affinity rules",
        ),
    ] {
        cluster.pod(name, &spec).await;
        let condition = cluster.condition(name, |one| one.status == "False").await;
        let message = condition.message.unwrap_or_default();
        assert!(message.contains(expected), "{name}: {message}");
    }
    cluster.stop().await;
}

/// Has pods wait until they are allowed.
struct Holds;

impl Plugin for Holds {
    fn name(&self) -> &str {
        "Holds"
    }
    fn as_permit(&self) -> Option<&dyn Permit> {
        Some(self)
    }
}

impl Permit for Holds {
    fn permit(&self, _: &Cycle<'_>, _: &str) -> Answer<Permitted> {
        Ok(Permitted::Wait(Duration::from_secs(60)))
    }
}

/// A cluster whose pods wait before they are bound, and what lets them go.
async fn holding() -> (Cluster, Arc<Mutex<Option<pinnace_scheduler::Handle>>>) {
    let handle = Arc::new(Mutex::new(None));
    let given = handle.clone();
    let mut config = SchedulerConfig::default();
    config.registry.add("Holds", move |handle| {
        *given.lock() = Some(handle.clone());
        Ok(Arc::new(Holds))
    });
    config.profiles = vec![ProfileConfig::default().with("Holds", 1)];
    (start_with(config).await, handle)
}

impl Cluster {
    /// Waits until a pod waits to be allowed; gives its uid.
    async fn waits(&self, handle: &Mutex<Option<pinnace_scheduler::Handle>>) -> Arc<str> {
        loop {
            let waiting = handle.lock().as_ref().unwrap().waiting_pods();
            if let Some((uid, _)) = waiting.first() {
                return uid.clone();
            }
            self.pass(Duration::from_millis(1)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_pod_whose_node_vanishes_before_it_is_bound_goes_elsewhere() {
    let (cluster, handle) = holding().await;
    cluster.node("a", "cpu: 4, memory: 8Gi, pods: 10").await;
    cluster.pod("web", PLAIN).await;
    cluster.waits(&handle).await;
    cluster.delete_node("a").await;
    let gone = |one: &k8s_openapi::api::core::v1::PodCondition| {
        one.message.as_deref().is_some_and(|message| message.contains("node(s) are gone"))
    };
    cluster.condition("web", gone).await;
    cluster.node("b", "cpu: 4, memory: 8Gi, pods: 10").await;
    let uid = cluster.waits(&handle).await;
    assert!(handle.lock().as_ref().unwrap().allow(&uid, "Holds"));
    assert_eq!(cluster.bound("web").await, "b");
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_another_scheduler_binds_first_is_bound_once() {
    let (cluster, handle) = holding().await;
    cluster.node("a", "cpu: 1, memory: 8Gi, pods: 10").await;
    cluster.pod("web", PLAIN).await;
    let uid = cluster.waits(&handle).await;
    cluster.node("b", "cpu: 1, memory: 8Gi, pods: 10").await;
    cluster.bind("web", "b").await;
    handle.lock().as_ref().unwrap().allow(&uid, "Holds");
    cluster.pass(Duration::from_secs(600)).await;
    assert_eq!(cluster.node_of("web").await.as_deref(), Some("b"));
    // What it was to take on the first node is free again.
    let asks = "containers: [{name: c, image: i, resources: {requests: {cpu: 1}}}]";
    cluster.pod("next", asks).await;
    let uid = cluster.waits(&handle).await;
    handle.lock().as_ref().unwrap().allow(&uid, "Holds");
    cluster.bound("next").await;
    cluster.stop().await;
}

fn read<K: Kind>(value: Value) -> Typed<K> {
    Typed::new(serde_json::from_value(value).unwrap())
}

fn plain_node(name: &str, allocatable: &Value) -> Typed<Node> {
    read(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name},
                "status": {"allocatable": allocatable}}))
}

fn plain_pod(name: &str, requests: &Value) -> Typed<Pod> {
    read(json!({"apiVersion": "v1", "kind": "Pod",
                "metadata": {"name": name, "namespace": "default", "uid": name},
                "spec": {"containers": [{"name": "c", "image": "i",
                                         "resources": {"requests": requests}}]}}))
}

/// The decision alone, with the plugins that count resources.
struct Alone {
    cluster: pinnace_scheduler::Cluster,
    classes: PodClasses,
    profile: Profile,
    decider: Decider,
}

impl Alone {
    fn new() -> Self {
        use pinnace_scheduler::plugins::{NodeResourcesBalancedAllocation, NodeResourcesFit};
        let fit: Arc<dyn Plugin> = Arc::new(NodeResourcesFit::default());
        let balanced: Arc<dyn Plugin> = Arc::new(NodeResourcesBalancedAllocation::default());
        Self {
            cluster: pinnace_scheduler::Cluster::new(),
            classes: PodClasses::default(),
            profile: Profile::new("default-scheduler", 0, vec![(fit, 1), (balanced, 1)]),
            decider: Decider::new(Random::seeded(1)),
        }
    }

    /// Places a pod where it fits; gives whether it does.
    fn place(&mut self, pod: &Typed<Pod>) -> bool {
        let info = self.classes.read(&mut self.cluster, &self.profile, pod);
        let state = CycleState::default();
        match self.decider.decide(&self.cluster, &self.profile, &info, &state) {
            Decision::Node(node) => self.cluster.assume(&info, node),
            Decision::Unschedulable(_) => false,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn quantities_that_are_negative_or_overflow_make_nothing_fit_that_does_not() {
    for (allocatable, requests, expected) in [
        (json!({"cpu": "-1", "memory": "-1Gi", "pods": "9"}), json!({"cpu": "1m"}), [false, false]),
        (
            json!({"cpu": "8E", "memory": "8Ei", "pods": "9"}),
            json!({"memory": "7Ei"}),
            [true, false],
        ),
        (json!({"cpu": "99999E", "memory": "1", "pods": "9"}), json!({"cpu": "5E"}), [true, false]),
        (json!({"memory": "1Gi", "pods": "9"}), json!({"memory": "99999Ei"}), [false, false]),
        (json!({"cpu": "1", "pods": "-1"}), json!({}), [false, false]),
        (json!({"cpu": "1", "pods": "99999E"}), json!({"cpu": "600m"}), [true, false]),
    ] {
        let mut alone = Alone::new();
        alone.cluster.set_node(&plain_node("a", &allocatable));
        let fits = ["x", "y"].map(|name| alone.place(&plain_pod(name, &requests)));
        assert_eq!(fits, expected, "{allocatable} for {requests}");
    }
}

#[test]
fn ten_thousand_shapes_of_pods_are_all_placed_and_nodes_are_never_overfull() {
    let mut alone = Alone::new();
    let room = json!({"cpu": "1100", "memory": "1000Gi", "pods": "400"});
    for index in 0..50 {
        alone.cluster.set_node(&plain_node(&format!("n-{index}"), &room));
    }
    for index in 0..10_000 {
        let requests = json!({"cpu": format!("{}m", index + 1), "memory": format!("{index}Ki")});
        assert!(alone.place(&plain_pod(&format!("p-{index}"), &requests)), "pod {index}");
    }
    let placed: usize = alone.cluster.indexes().map(|node| alone.cluster.pod_count(node)).sum();
    assert_eq!(placed, 10_000);
    let cpu = pinnace_scheduler::Resource::CPU;
    let (taken, there) = (alone.cluster.requested(cpu), alone.cluster.allocatable(cpu));
    assert!(taken.iter().zip(there).all(|(taken, there)| taken <= there));
}
