//! The scheduler over a whole API, in virtual time.

mod explain;
mod extenders;
mod harness;
mod hostile;
mod rebalancing;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use harness::{Cluster, start, start_with};
use k8s_openapi::api::core::v1::Pod;
use pinnace_scheduler::plugins::{MIN_AVAILABLE, POD_GROUP, TIMEOUT_SECONDS};
use pinnace_scheduler::{
    Answer, Attempt, BatchNodes, BatchPlugin, Bind, Bound, Cycle, CycleState, Filter, Handle,
    NodeIndex, Permit, Permitted, Plugin, PodInfo, PostFilter, PostFiltered, ProfileConfig,
    Reasons, Refusal, SchedulerConfig, Verdict, batched,
};
use serde_json::{Value, json};

#[tokio::test(start_paused = true)]
async fn pods_are_bound_and_an_event_says_where() {
    let cluster = start().await;
    cluster.node("a", "cpu: 4, memory: 8Gi, pods: 10").await;
    cluster.pod("web", "containers: [{name: c, image: i}]").await;
    assert_eq!(cluster.bound("web").await, "a");
    let event = cluster.event("Scheduled").await;
    assert_eq!(event.message.as_deref(), Some("Successfully assigned default/web to a"));
    assert_eq!(event.type_.as_deref(), Some("Normal"));
    assert_eq!(event.reporting_component.as_deref(), Some("default-scheduler"));
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn alike_pods_spread_over_alike_nodes() {
    let cluster = start().await;
    for node in ["a", "b", "c", "d"] {
        cluster.node(node, "cpu: 100, memory: 100Gi, pods: 110").await;
    }
    for index in 0..200 {
        cluster.pod(&format!("web-{index}"), "containers: [{name: c, image: i}]").await;
    }
    let mut counts = std::collections::BTreeMap::new();
    for index in 0..200 {
        *counts.entry(cluster.bound(&format!("web-{index}")).await).or_insert(0) += 1;
    }
    // What alike pods differ by is less than a point of score: about 25 of them.
    assert_eq!(counts.len(), 4);
    assert!(counts.values().all(|count| (30..=70).contains(count)), "{counts:?}");
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_unschedulable_pod_says_why_and_is_bound_when_something_helps() {
    let cluster = start().await;
    cluster.node("a", "cpu: 1, memory: 1Gi, pods: 10").await;
    cluster.node("b", "cpu: 1, memory: 1Gi, pods: 10").await;
    cluster.taint("b", "maintenance").await;
    cluster.pod("big", "containers: [{name: c, image: i, resources: {requests: {cpu: 2}}}]").await;
    let why = "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) had untolerated taint(s). \
               preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling.";
    let condition = cluster.condition("big", |condition| condition.status == "False").await;
    assert_eq!(condition.reason.as_deref(), Some("Unschedulable"));
    assert_eq!(condition.message.as_deref(), Some(why));
    assert_eq!(cluster.event("FailedScheduling").await.message.as_deref(), Some(why));
    cluster.node("c", "cpu: 4, memory: 1Gi, pods: 10").await;
    assert_eq!(cluster.bound("big").await, "c");
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn pods_that_come_before_any_node_wait_for_one() {
    let cluster = start().await;
    cluster.pod("early", "containers: [{name: c, image: i}]").await;
    let condition = cluster.condition("early", |_| true).await;
    assert_eq!(condition.message.as_deref(), Some("no nodes available to schedule pods"));
    let before = tokio::time::Instant::now();
    cluster.node("a", "cpu: 1, memory: 1Gi, pods: 10").await;
    assert_eq!(cluster.bound("early").await, "a");
    assert!(before.elapsed() < Duration::from_secs(1));
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_goes_makes_room_for_one_that_waits() {
    let cluster = start().await;
    cluster.node("a", "cpu: 1, memory: 1Gi, pods: 10").await;
    let spec = "containers: [{name: c, image: i, resources: {requests: {cpu: 800m}}}]";
    cluster.pod("first", spec).await;
    cluster.bound("first").await;
    cluster.pod("second", spec).await;
    cluster.condition("second", |condition| condition.status == "False").await;
    cluster.delete("first").await;
    assert_eq!(cluster.bound("second").await, "a");
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn pods_of_other_schedulers_and_gated_pods_are_left_alone() {
    let cluster = start().await;
    cluster.node("a", "cpu: 1, memory: 1Gi, pods: 10").await;
    cluster.pod("other", "schedulerName: mine\ncontainers: [{name: c, image: i}]").await;
    cluster.pod("gated", "schedulingGates: [{name: g}]\ncontainers: [{name: c, image: i}]").await;
    cluster.pod("last", "containers: [{name: c, image: i}]").await;
    cluster.bound("last").await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(cluster.node_of("other").await, None);
    assert_eq!(cluster.node_of("gated").await, None);
    cluster.open_gates("gated").await;
    assert_eq!(cluster.bound("gated").await, "a");
    cluster.stop().await;
}

/// A host's plugin: vetoes node `a`, asks for time for pods labelled so, and binds nothing itself.
struct Host {
    handle: Handle,
}

impl Plugin for Host {
    fn name(&self) -> &str {
        "Host"
    }
    fn as_filter(&self) -> Option<&dyn Filter> {
        Some(self)
    }
    fn as_post_filter(&self) -> Option<&dyn PostFilter> {
        Some(self)
    }
    fn as_permit(&self) -> Option<&dyn Permit> {
        Some(self)
    }
    fn as_bind(&self) -> Option<&dyn Bind> {
        Some(self)
    }
}

impl Filter for Host {
    fn filter(&self, cycle: &Cycle<'_>, nodes: &[NodeIndex], verdicts: &mut [Verdict]) -> Answer {
        for (node, verdict) in nodes.iter().zip(verdicts) {
            if cycle.cluster.node(*node).name() == "a" {
                *verdict = Verdict::Unschedulable;
            }
        }
        Ok(())
    }
    fn reasons(&self, _: &Cycle<'_>, _: NodeIndex) -> Reasons {
        vec!["node(s) were vetoed by the host".into()]
    }
}

impl PostFilter for Host {
    fn post_filter(&self, _: &mut Attempt<'_>) -> Answer<PostFiltered> {
        Err(Refusal::unschedulable("the host knows no way out."))
    }
}

impl Permit for Host {
    fn permit(&self, cycle: &Cycle<'_>, _: &str) -> Answer<Permitted> {
        match cycle.pod.key().name() {
            "waits" | "late" => Ok(Permitted::Wait(Duration::from_secs(5))),
            "opener" => {
                for (uid, key) in self.handle.waiting_pods() {
                    if key.name() == "waits" {
                        self.handle.allow(&uid, "Host");
                    }
                }
                Ok(Permitted::Now)
            }
            "refused" => Err(Refusal::unschedulable("the host refuses")),
            _ => Ok(Permitted::Now),
        }
    }
}

#[async_trait]
impl Bind for Host {
    async fn bind(&self, pod: &PodInfo, _: &str, _: &CycleState) -> Answer<Bound> {
        match pod.key().name() {
            "broken" => Err(Refusal::error("no line to the host")),
            _ => Ok(Bound::Skip),
        }
    }
}

#[expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
async fn hosted() -> Cluster {
    let mut config = SchedulerConfig::default();
    config.registry.add("Host", |handle| Ok(Arc::new(Host { handle: handle.clone() })));
    let mut profile = ProfileConfig::default().with("Host", 0);
    // Before the plugin that binds whatever nobody else has bound.
    let binder = profile.plugins.iter().position(|(name, _)| name == "DefaultBinder").unwrap();
    profile.plugins[binder..].rotate_left(1);
    config.profiles = vec![profile];
    start_with(config).await
}

const PLAIN: &str = "containers: [{name: c, image: i}]";

#[tokio::test(start_paused = true)]
async fn a_plugin_of_the_host_takes_part_in_the_decision() {
    let cluster = hosted().await;
    cluster.node("a", "cpu: 100, memory: 100Gi, pods: 110").await;
    cluster.pod("web", PLAIN).await;
    let condition = cluster.condition("web", |condition| condition.status == "False").await;
    let why = "0/1 nodes are available: 1 node(s) were vetoed by the host. preemption: 0/1 nodes are \
         available: 1 No preemption victims found for incoming pod., the host knows no way out.";
    assert_eq!(condition.message.as_deref(), Some(why));
    cluster.node("b", "cpu: 1, memory: 1Gi, pods: 110").await;
    assert_eq!(cluster.bound("web").await, "b");
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_pod_waits_until_it_is_allowed_and_no_longer_than_it_may() {
    let cluster = hosted().await;
    cluster.node("b", "cpu: 1, memory: 1Gi, pods: 110").await;
    let before = tokio::time::Instant::now();
    cluster.pod("waits", PLAIN).await;
    cluster.pod("late", PLAIN).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    cluster.pod("opener", PLAIN).await;
    assert_eq!(cluster.bound("waits").await, "b");
    assert!(before.elapsed() < Duration::from_secs(5));
    let condition = cluster.condition("late", |condition| condition.status == "False").await;
    let why = "0/1 nodes are available: 1 rejected due to timeout after waiting 5s at plugin Host.";
    assert_eq!(condition.message.as_deref(), Some(why));
    assert_eq!(before.elapsed().as_secs(), 5);
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_failed_binding_frees_what_was_assumed_and_is_tried_again() {
    let cluster = hosted().await;
    cluster.node("b", "cpu: 1, memory: 1Gi, pods: 1").await;
    cluster.pod("broken", PLAIN).await;
    let condition = cluster.condition("broken", |condition| condition.status == "False").await;
    assert_eq!(condition.reason.as_deref(), Some("SchedulerError"));
    assert_eq!(
        condition.message.as_deref(),
        Some("running Bind plugin \"Host\": no line to the host")
    );
    cluster.pod("refused", PLAIN).await;
    let condition = cluster.condition("refused", |condition| condition.status == "False").await;
    assert_eq!(condition.message.as_deref(), Some("0/1 nodes are available: 1 the host refuses."));
    cluster.pod("web", PLAIN).await;
    assert_eq!(cluster.bound("web").await, "b");
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_pod_or_node_may_go_at_any_moment() {
    let cluster = start().await;
    cluster.node("a", "cpu: 100, memory: 100Gi, pods: 2").await;
    for round in 0..20 {
        let name = format!("web-{round}");
        cluster.pod(&name, PLAIN).await;
        for _ in 0..round {
            tokio::task::yield_now().await;
        }
        cluster.delete(&name).await;
    }
    cluster.delete_node("a").await;
    cluster.pod("web", PLAIN).await;
    cluster.node("a", "cpu: 100, memory: 100Gi, pods: 1").await;
    assert_eq!(cluster.bound("web").await, "a");
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_gives_the_same_decisions() {
    let mut runs = Vec::new();
    for _ in 0..2 {
        let cluster = start().await;
        for node in 0..7 {
            cluster.node(&format!("n{node}"), "cpu: 8, memory: 8Gi, pods: 110").await;
        }
        for index in 0..50 {
            cluster.pod(&format!("web-{index}"), PLAIN).await;
        }
        let mut nodes = Vec::new();
        for index in 0..50 {
            nodes.push(cluster.bound(&format!("web-{index}")).await);
        }
        cluster.stop().await;
        runs.push(nodes);
    }
    assert_eq!(runs[0], runs[1]);
}

async fn with_priorities() -> Cluster {
    let cluster = start().await;
    for (name, value) in [("one", 1), ("five", 5), ("nine", 9)] {
        cluster.priority(name, value, "PreemptLowerPriority").await;
    }
    cluster.priority("seven-modest", 7, "Never").await;
    cluster
}

fn important(priority: &str, cpu: u32, rest: &str) -> String {
    format!(
        "containers: [{{name: c, image: i, resources: {{requests: {{cpu: {cpu}}}}}}}]\n\
         priorityClassName: {priority}\n{rest}"
    )
}

#[tokio::test(start_paused = true)]
async fn a_pod_of_higher_priority_evicts_where_least_is_lost_and_keeps_the_room() {
    let cluster = with_priorities().await;
    for name in ["a", "b"] {
        cluster.node(name, "cpu: 2, memory: 8Gi, pods: 10").await;
    }
    cluster.pod("low", &important("one", 2, "nodeName: a")).await;
    cluster.pod("high", &important("five", 2, "nodeName: b")).await;
    cluster.pod("modest", &important("seven-modest", 2, "")).await;
    let why = cluster.condition("modest", |condition| condition.status == "False").await;
    assert_eq!(
        why.message.as_deref(),
        Some(
            "0/2 nodes are available: 2 Insufficient cpu. preemption: not eligible due to \
             preemptionPolicy=Never."
        )
    );
    cluster.pod("urgent", &important("nine", 2, "")).await;
    assert_eq!(cluster.nominated("urgent").await, "a");
    let condition = cluster.has_condition("low", "DisruptionTarget").await;
    assert_eq!(condition.reason.as_deref(), Some("PreemptionByScheduler"));
    let event = cluster.event("Preempted").await;
    assert_eq!(event.involved_object.name.as_deref(), Some("low"));
    // It is less important than the one that the room is kept for.
    cluster.pod("thief", &important("seven-modest", 2, "")).await;
    cluster.condition("thief", |condition| condition.status == "False").await;
    cluster.gone("low").await;
    assert_eq!(cluster.bound("urgent").await, "a");
    assert_eq!(cluster.node_of("thief").await, None);
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn nobody_is_evicted_in_vain_and_the_message_says_why() {
    let cluster = with_priorities().await;
    cluster.node("small", "cpu: 1, memory: 8Gi, pods: 10").await;
    cluster.node("busy", "cpu: 4, memory: 8Gi, pods: 10").await;
    cluster.node("idle", "cpu: 2, memory: 8Gi, pods: 10").await;
    cluster.taint("idle", "x").await;
    cluster.pod("equal", &important("nine", 3, "nodeName: busy")).await;
    cluster.pod("urgent", &important("nine", 2, "")).await;
    let why = cluster.condition("urgent", |condition| condition.status == "False").await;
    assert_eq!(
        why.message.as_deref(),
        Some(
            "0/3 nodes are available: 1 node(s) had untolerated taint(s), 2 Insufficient cpu. \
             preemption: 0/3 nodes are available: 1 No preemption victims found for incoming pod, \
             2 Preemption is not helpful for scheduling."
        )
    );
    cluster.stop().await;
}

/// A pod of a group that needs three pods, each of which fills half a node.
fn member(timeout: u32) -> Value {
    json!({
        "labels": {POD_GROUP: "train", MIN_AVAILABLE: "3"},
        "annotations": {TIMEOUT_SECONDS: timeout.to_string()},
    })
}

#[tokio::test(start_paused = true)]
async fn the_pods_of_a_group_are_bound_together_or_not_at_all() {
    let profiles = vec![ProfileConfig::default().with("Coscheduling", 0)];
    let config = SchedulerConfig { profiles, ..SchedulerConfig::default() };
    let cluster = start_with(config).await;
    cluster.node("a", "cpu: 2, memory: 8Gi, pods: 10").await;
    let spec = "containers: [{name: c, image: i, resources: {requests: {cpu: 1}}}]";
    for name in ["x", "y"] {
        cluster.pod_with(name, member(20), spec).await;
    }
    let condition = cluster.condition("y", |condition| condition.status == "False").await;
    let message = condition.message.unwrap_or_default();
    assert!(message.contains("pod group has"), "{message}");
    // There are enough of them now, but no room for the third: the two that have some give it up.
    cluster.pod_with("z", member(20), spec).await;
    let timeout = "rejected due to timeout after waiting 20s at plugin Coscheduling";
    let gave_up = |condition: &k8s_openapi::api::core::v1::PodCondition| {
        let message = condition.message.as_deref().unwrap_or_default();
        message.contains(timeout) || message.contains("another pod of the group cannot be placed")
    };
    cluster.condition("x", gave_up).await;
    for name in ["x", "y", "z"] {
        assert_eq!(cluster.node_of(name).await, None);
    }
    cluster.node("b", "cpu: 2, memory: 8Gi, pods: 10").await;
    for name in ["x", "y", "z"] {
        cluster.bound(name).await;
    }
    cluster.stop().await;
}

/// Lets pods onto `b` alone, and counts how often it is asked.
struct OnlyB(Arc<std::sync::atomic::AtomicUsize>);

impl BatchPlugin for OnlyB {
    fn name(&self) -> &str {
        "OnlyB"
    }
    fn judge(&self, _: &Pod, nodes: &BatchNodes, scores: &mut [f64]) -> Answer {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(nodes.allocatable("cpu"), Some(&vec![2000; nodes.len()][..]));
        for (name, score) in nodes.names().zip(scores) {
            *score = if name == "a" { -1.0 } else { 50.0 };
        }
        Ok(())
    }
    fn reason(&self) -> String {
        "node(s) are not b".to_owned()
    }
}

#[tokio::test(start_paused = true)]
async fn a_plugin_for_batches_is_asked_once_per_pod() {
    let asked = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let mut config = SchedulerConfig::default();
    let count = asked.clone();
    config.registry.add("OnlyB", move |_| Ok(batched(OnlyB(count.clone()))));
    config.profiles = vec![ProfileConfig::default().with("OnlyB", 1)];
    let cluster = start_with(config).await;
    for name in ["a", "b", "c"] {
        cluster.node(name, "cpu: 2, memory: 8Gi, pods: 10").await;
    }
    cluster.delete_node("c").await;
    cluster.pod("web", PLAIN).await;
    assert_eq!(cluster.bound("web").await, "b");
    assert_eq!(asked.load(std::sync::atomic::Ordering::Relaxed), 1);
    cluster.stop().await;
}
