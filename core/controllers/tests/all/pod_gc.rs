//! Pods that nobody ends.

use crate::harness::{Cluster, condition};
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use pinnace_api::disruption::Disruption;
use pinnace_client::PropagationPolicy::Background;
use serde_json::json;

/// Keeps pods from going without being seen.
async fn hold(cluster: &Cluster, pod: &str) {
    cluster
        .edit::<Pod>(pod, |pod| {
            pod.metadata.finalizers = Some(vec!["example.com/hold".into()]);
        })
        .await;
}

fn phase(pod: &Pod) -> Option<&str> {
    pod.status.as_ref()?.phase.as_deref()
}

#[tokio::test(start_paused = true)]
async fn pods_of_a_node_that_is_gone_fail_after_a_while() {
    let cluster = Cluster::start().await;
    cluster.node("a").await;
    cluster.node("b").await;
    cluster.pod_on("a", "p", json!({})).await;
    cluster.pod_on("a", "held", json!({})).await;
    cluster.pod_on("b", "q", json!({})).await;
    hold(&cluster, "default/held").await;
    cluster.delete::<Node>("a", Background).await;
    cluster.beat(&["b"], 30).await;
    assert!(!cluster.get::<Pod>("default/p").await.object().is_deleting());
    cluster.beat(&["b"], 20).await;
    assert!(cluster.find::<Pod>("default/p").await.is_none());
    let held = cluster.get::<Pod>("default/held").await;
    assert_eq!(phase(&held), Some("Failed"));
    assert_eq!(
        condition(&*held, "DisruptionTarget"),
        "True DeletionByPodGC PodGC: node no longer exists"
    );
    assert!(!cluster.get::<Pod>("default/q").await.object().is_deleting());
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_comes_back_in_time_keeps_its_pods() {
    let cluster = Cluster::start().await;
    cluster.pod_on("a", "p", json!({})).await;
    cluster.pass(30).await;
    cluster.node("a").await;
    cluster.beat(&["a"], 30).await;
    assert!(!cluster.get::<Pod>("default/p").await.object().is_deleting());
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn pods_that_end_on_a_node_out_of_service_are_gone() {
    let cluster = Cluster::start().await;
    cluster.node("a").await;
    cluster.pod_on("a", "p", json!({})).await;
    cluster.pod_on("a", "stays", json!({"tolerations": [{"operator": "Exists"}]})).await;
    cluster.delete::<Pod>("default/p", Background).await;
    cluster.pass(1).await;
    assert!(cluster.find::<Pod>("default/p").await.is_some());
    cluster
        .edit::<Node>("a", |node| {
            node.spec.get_or_insert_default().taints = serde_json::from_value(json!([
            {"key": "node.kubernetes.io/out-of-service", "effect": "NoSchedule"}]))
            .unwrap();
        })
        .await;
    cluster.pass(1).await;
    assert!(cluster.find::<Pod>("default/p").await.is_some());
    cluster.pass(60).await;
    assert!(cluster.find::<Pod>("default/p").await.is_none());
    assert!(cluster.find::<Pod>("default/stays").await.is_some());
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_held_pod_without_node_that_is_deleted_has_failed() {
    let cluster = Cluster::start().await;
    cluster
        .make::<Pod>(json!({"metadata": {"name": "p", "namespace": "default"},
        "spec": {"containers": [{"name": "c", "image": "i"}]}}))
        .await;
    hold(&cluster, "default/p").await;
    cluster.delete::<Pod>("default/p", Background).await;
    cluster.pass(1).await;
    assert_eq!(phase(&*cluster.get::<Pod>("default/p").await), Some("Failed"));
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn of_too_many_ended_pods_the_oldest_go() {
    const KEPT: usize = 12_500;
    let cluster = Cluster::start().await;
    cluster.node("a").await;
    for number in 0..KEPT + 3 {
        let name = format!("default/p{number}");
        cluster
            .make::<Pod>(json!({"metadata": {"name": &name[8..], "namespace": "default"},
            "spec": {"nodeName": "a", "containers": [{"name": "c", "image": "i"}]}}))
            .await;
        cluster
            .report::<Pod>(&name, |pod| {
                pod.status.as_mut().unwrap().phase = Some("Succeeded".into());
            })
            .await;
        if number == 1 {
            cluster.pass(1).await;
        }
    }
    cluster.pass(1).await;
    assert_eq!(cluster.all::<Pod>().await.len(), KEPT);
    for number in [0, 1] {
        assert!(cluster.find::<Pod>(&format!("default/p{number}")).await.is_none());
    }
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_is_said_to_go_and_stays_is_said_to_stay() {
    let cluster = Cluster::start().await;
    cluster.node("a").await;
    cluster.pod_on("a", "p", json!({})).await;
    let now = Time(cluster.env.clock().now_seconds());
    cluster.report::<Pod>("default/p", |pod| Disruption::Preemption("s").mark(pod, &now)).await;
    cluster.beat(&["a"], 110).await;
    let marked = condition(&*cluster.get::<Pod>("default/p").await, "DisruptionTarget");
    assert!(marked.starts_with("True PreemptionByScheduler"), "{marked}");
    cluster.beat(&["a"], 20).await;
    let marked = condition(&*cluster.get::<Pod>("default/p").await, "DisruptionTarget");
    assert_eq!(marked.trim(), "False");
    cluster.stop().await;
}
