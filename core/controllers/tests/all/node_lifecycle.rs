//! Nodes that fall silent or complain.

use crate::harness::{Cluster, condition};
use k8s_openapi::api::core::v1::{Node, NodeCondition, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;

/// The taints of a node, as `key:effect` without what all keys begin with.
async fn taints(cluster: &Cluster, node: &str) -> Vec<String> {
    let node = cluster.get::<Node>(node).await;
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.clone()).unwrap_or_default();
    let mut taints: Vec<_> = taints
        .iter()
        .map(|taint| {
            assert!(taint.time_added.is_some());
            format!("{}:{}", taint.key.trim_start_matches("node.kubernetes.io/"), taint.effect)
        })
        .collect();
    taints.sort();
    taints
}

/// Has a node say how it is.
async fn say(cluster: &Cluster, node: &str, type_: &str, status: &str) {
    let now = Time(cluster.env.clock().now_seconds());
    cluster
        .report::<Node>(node, |node| {
            let conditions = node.status.get_or_insert_default().conditions.get_or_insert_default();
            conditions.retain(|condition| condition.type_ != type_);
            conditions.push(NodeCondition {
                type_: type_.to_owned(),
                status: status.to_owned(),
                last_heartbeat_time: Some(now.clone()),
                ..NodeCondition::default()
            });
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_silent_node_is_marked_tainted_and_its_pods_are_not_ready() {
    let cluster = Cluster::start().await;
    cluster.node("a").await;
    cluster.node("b").await;
    cluster.pod_on("a", "p", json!({})).await;
    cluster.pod_on("b", "q", json!({})).await;
    cluster.beat(&["a", "b"], 100).await;
    assert!(taints(&cluster, "a").await.is_empty());
    cluster.beat(&["b"], 30).await;
    assert!(taints(&cluster, "a").await.is_empty());
    cluster.beat(&["b"], 20).await;
    assert_eq!(taints(&cluster, "a").await, ["unreachable:NoExecute", "unreachable:NoSchedule"]);
    assert!(taints(&cluster, "b").await.is_empty());
    let node = cluster.get::<Node>("a").await;
    assert_eq!(
        condition(&*node, "Ready"),
        "Unknown NodeStatusUnknown Kubelet stopped posting node status."
    );
    assert_eq!(
        condition(&*node, "DiskPressure"),
        "Unknown NodeStatusNeverUpdated Kubelet never posted node status."
    );
    assert_eq!(condition(&*cluster.get::<Pod>("default/p").await, "Ready"), "False");
    assert_eq!(condition(&*cluster.get::<Pod>("default/q").await, "Ready"), "True");
    assert_eq!(
        cluster.events("NodeNotReady").await,
        ["Node a status is now: NodeNotReady", "Node is not ready"]
    );
    assert_eq!(
        cluster.events("RegisteredNode").await,
        [
            "Node a event: Registered Node a in Controller",
            "Node b event: Registered Node b in Controller",
        ]
    );
    say(&cluster, "a", "Ready", "True").await;
    cluster.pass(1).await;
    assert!(taints(&cluster, "a").await.is_empty());
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_not_ready_is_tainted_after_what_it_says() {
    let cluster = Cluster::start().await;
    cluster.node("a").await;
    cluster.node("b").await;
    cluster.pass(1).await;
    say(&cluster, "a", "Ready", "False").await;
    cluster.pass(1).await;
    assert_eq!(taints(&cluster, "a").await, ["not-ready:NoExecute", "not-ready:NoSchedule"]);
    cluster.beat(&["b"], 70).await;
    assert_eq!(taints(&cluster, "a").await, ["unreachable:NoExecute", "unreachable:NoSchedule"]);
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn conditions_and_unschedulable_are_taints_as_long_as_they_last() {
    let cluster = Cluster::start().await;
    cluster.node("a").await;
    cluster
        .edit::<Node>("a", |node| {
            let spec = node.spec.get_or_insert_default();
            spec.unschedulable = Some(true);
            spec.taints = serde_json::from_value(json!([{"key": "mine", "effect": "NoSchedule",
            "timeAdded": "2030-01-01T00:00:00Z"}]))
            .unwrap();
        })
        .await;
    for type_ in ["MemoryPressure", "DiskPressure", "PIDPressure", "NetworkUnavailable"] {
        say(&cluster, "a", type_, "True").await;
    }
    cluster.pass(1).await;
    assert_eq!(
        taints(&cluster, "a").await,
        [
            "disk-pressure:NoSchedule",
            "memory-pressure:NoSchedule",
            "mine:NoSchedule",
            "network-unavailable:NoSchedule",
            "pid-pressure:NoSchedule",
            "unschedulable:NoSchedule"
        ]
    );
    for type_ in ["MemoryPressure", "DiskPressure", "PIDPressure", "NetworkUnavailable"] {
        say(&cluster, "a", type_, "False").await;
    }
    cluster.edit::<Node>("a", |node| node.spec.as_mut().unwrap().unschedulable = None).await;
    cluster.pass(1).await;
    assert_eq!(taints(&cluster, "a").await, ["mine:NoSchedule"]);
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn no_pod_is_driven_away_when_every_node_is_silent() {
    let cluster = Cluster::start().await;
    cluster.node("a").await;
    cluster.node("b").await;
    cluster.beat(&["a", "b"], 20).await;
    cluster.pass(60).await;
    for node in ["a", "b"] {
        assert_eq!(taints(&cluster, node).await, ["unreachable:NoSchedule"]);
    }
    say(&cluster, "b", "Ready", "True").await;
    cluster.pass(1).await;
    assert_eq!(taints(&cluster, "a").await, ["unreachable:NoExecute", "unreachable:NoSchedule"]);
    assert!(taints(&cluster, "b").await.is_empty());
    cluster.stop().await;
}
