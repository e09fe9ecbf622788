//! What the scheduler says about its decisions.

use crate::harness::start;
use k8s_openapi::api::core::v1::Pod;
use pinnace_api::Typed;
use pinnace_scheduler::Obstacle;
use serde_json::json;

fn what_if(spec: serde_json::Value) -> Typed<Pod> {
    let pod = json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "imagined", "namespace": "default"}, "spec": spec});
    Typed::new(serde_json::from_value(pod).unwrap_or_default())
}

fn asks(cpu: &str) -> serde_json::Value {
    json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]})
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_does_not_exist_is_explained_with_the_cheapest_way_out() {
    let cluster = start().await;
    cluster.node("full", "cpu: 4, memory: 8Gi, pods: 10").await;
    cluster.node("small", "cpu: 1, memory: 8Gi, pods: 10").await;
    cluster.node("kept", "cpu: 8, memory: 8Gi, pods: 10").await;
    cluster.taint("kept", "team").await;
    cluster
        .pod(
            "web",
            "nodeName: full\ncontainers: [{name: c, image: i, resources: {requests: {cpu: 3}}}]",
        )
        .await;
    cluster.bound("web").await;
    let why = cluster
        .explainer
        .explain(what_if(asks("2")))
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    assert!(why.fitting.is_empty());
    assert_eq!(
        why.message.as_deref(),
        Some("0/3 nodes are available: 1 node(s) had untolerated taint(s), 2 Insufficient cpu.")
    );
    let ways: Vec<_> = why.relaxations.iter().map(|way| (&*way.node, &way.changes[..])).collect();
    let tolerate = Obstacle::Tolerate {
        key: "team".into(),
        value: String::new(),
        effect: "NoSchedule".into(),
    };
    let free = Obstacle::Free { resource: "cpu".into(), amount: "1".into(), part: 0.25 };
    assert_eq!(ways[..2], [("full", &[free][..]), ("kept", &[tolerate][..])]);
    let text = serde_json::to_value(&why).unwrap_or_default();
    assert_eq!(
        text["relaxations"][0],
        json!({"node": "full", "effort": 0.25,
               "changes": [{"change": "free", "resource": "cpu", "amount": "1", "part": 0.25}]})
    );
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_choice_is_explained_by_the_scores_of_all_nodes_that_fit() {
    let cluster = start().await;
    cluster.node("big", "cpu: 8, memory: 8Gi, pods: 10").await;
    cluster.node("small", "cpu: 4, memory: 8Gi, pods: 10").await;
    let spec = "containers: [{name: c, image: i, resources: {requests: {cpu: 2}}}]";
    cluster.pod("web", spec).await;
    assert_eq!(cluster.bound("web").await, "big");
    // As if it had no node yet.
    let web = cluster.get("web").await;
    let why = cluster.explainer.explain(web).await.unwrap_or_else(|error| panic!("{error}"));
    let names: Vec<_> = why.fitting.iter().map(|one| &*one.node).collect();
    assert_eq!(names, ["big", "small"]);
    let fit = |which: usize| {
        let mut scores = why.fitting[which].scores.iter();
        scores.find(|one| one.plugin == "NodeResourcesFit").map(|one| one.score)
    };
    assert_eq!((fit(0), fit(1)), (Some(86), Some(73)));
    for one in &why.fitting {
        assert_eq!(one.total, one.scores.iter().map(|one| one.score * one.weight).sum::<i64>());
    }
    cluster.stop().await;
}
