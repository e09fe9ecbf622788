//! Pods on nodes that drive them away.

use crate::harness::{Cluster, condition};
use k8s_openapi::api::core::v1::{Node, Pod, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};

async fn taint(cluster: &Cluster, taint: Option<&str>) {
    let now = Time(cluster.env.clock().now_seconds());
    cluster
        .edit::<Node>("a", |node| {
            node.spec.get_or_insert_default().taints = taint.map(|key| {
                vec![Taint {
                    key: key.to_owned(),
                    effect: "NoExecute".to_owned(),
                    time_added: Some(now.clone()),
                    value: None,
                }]
            });
        })
        .await;
}

fn tolerating(seconds: Option<i64>) -> Value {
    let mut toleration = json!({"key": "fire", "operator": "Exists", "effect": "NoExecute"});
    if let Some(seconds) = seconds {
        toleration["tolerationSeconds"] = json!(seconds);
    }
    json!({"tolerations": [toleration]})
}

/// A node with three pods: one that does not tolerate fire, one that does for a minute, one that
/// does.
async fn house() -> Cluster {
    let cluster = Cluster::start().await;
    cluster.node("a").await;
    cluster.pod_on("a", "wood", json!({})).await;
    cluster.pod_on("a", "brick", tolerating(Some(60))).await;
    cluster.pod_on("a", "rock", tolerating(None)).await;
    cluster.beat(&["a"], 10).await;
    cluster
}

async fn going(cluster: &Cluster) -> Vec<String> {
    let pods = cluster.all::<Pod>().await;
    let going = pods.iter().filter(|pod| pod.object().is_deleting());
    going.map(|pod| pod.object().name().to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn pods_leave_as_soon_as_they_tolerate_the_taint_no_longer() {
    let cluster = house().await;
    taint(&cluster, Some("fire")).await;
    cluster.beat(&["a"], 50).await;
    assert_eq!(going(&cluster).await, ["wood"]);
    cluster.beat(&["a"], 20).await;
    assert_eq!(going(&cluster).await, ["brick", "wood"]);
    assert_eq!(
        condition(&*cluster.get::<Pod>("default/wood").await, "DisruptionTarget"),
        "True DeletionByTaintManager Taint manager: deleting due to NoExecute taint"
    );
    assert_eq!(
        cluster.events("TaintManagerEviction").await,
        ["Marking for deletion Pod default/brick", "Marking for deletion Pod default/wood"]
    );
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_taint_that_goes_in_time_drives_nobody_away() {
    let cluster = house().await;
    taint(&cluster, Some("fire")).await;
    cluster.beat(&["a"], 50).await;
    taint(&cluster, None).await;
    cluster.beat(&["a"], 50).await;
    assert_eq!(going(&cluster).await, ["wood"]);
    assert!(
        cluster
            .events("TaintManagerEviction")
            .await
            .contains(&"Cancelling deletion of Pod default/brick".to_owned())
    );
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_comes_after_the_taint_leaves_too() {
    let cluster = house().await;
    taint(&cluster, Some("fire")).await;
    cluster.beat(&["a"], 100).await;
    cluster.pod_on("a", "straw", json!({})).await;
    cluster.pod_on("a", "clay", tolerating(Some(60))).await;
    cluster.beat(&["a"], 10).await;
    assert_eq!(going(&cluster).await, ["brick", "straw", "wood"]);
    cluster.beat(&["a"], 60).await;
    assert_eq!(going(&cluster).await, ["brick", "clay", "straw", "wood"]);
    cluster.stop().await;
}
