//! What a decision costs: pods of one class, of many classes, and pods that fit nowhere, on 100 and
//! 5,000 nodes; without queue, events and API.

use std::hint::black_box;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod};
use pinnace_api::Typed;
use pinnace_env::{Random, Stopwatch};
use pinnace_scheduler::plugins::{
    NodeAffinity, NodeName, NodePorts, NodeResourcesBalancedAllocation, NodeResourcesFit,
    NodeUnschedulable, TaintToleration,
};
use pinnace_scheduler::{
    Cluster, CycleState, Decider, Decision, Plugin, PodClasses, PodInfo, Profile,
};
use serde_json::json;

fn main() {
    for nodes in [100, 5_000] {
        let pods = if nodes == 100 { 1_000 } else { 50_000 };
        run(&format!("{nodes} nodes, pods all alike"), nodes, pods, 1, "100m");
        run(&format!("{nodes} nodes, pods of 50 classes"), nodes, pods, 50, "100m");
        run(&format!("{nodes} nodes, every pod its own class"), nodes, 1_000, 1_000, "100m");
        run(&format!("{nodes} nodes, pods that fit nowhere"), nodes, pods, 1, "1000");
    }
}

fn run(what: &str, nodes: usize, pods: usize, classes: usize, cpu: &str) {
    let mut cluster = Cluster::new();
    for index in 0..nodes {
        cluster.set_node(&node(index));
    }
    let objects: Vec<_> = (0..pods).map(|index| pod(index, index % classes, cpu)).collect();
    let profile = profile();
    let mut kept = PodClasses::default();
    let mut decider = Decider::new(Random::seeded(1));
    let clock = Stopwatch::start();
    for object in &objects {
        let info: PodInfo = kept.read(&mut cluster, &profile, object);
        match decider.decide(&cluster, &profile, &info, &CycleState::default()) {
            Decision::Node(node) => _ = black_box(cluster.assume(&info, node)),
            other => _ = black_box(other),
        }
    }
    let micros = clock.elapsed().as_secs_f64() * 1e6 / pods as f64;
    println!(
        r#"{{"name": "scheduler/decide: {what}", "value": {micros:.3}, "unit": "us", "target": null, "met": null}}"#
    );
}

fn profile() -> Profile {
    let plugins: Vec<(Arc<dyn Plugin>, i64)> = vec![
        (Arc::new(NodeUnschedulable), 1),
        (Arc::new(NodeName), 1),
        (Arc::new(TaintToleration), 3),
        (Arc::new(NodeAffinity), 2),
        (Arc::new(NodePorts), 1),
        (Arc::new(NodeResourcesFit), 1),
        (Arc::new(NodeResourcesBalancedAllocation), 1),
    ];
    Profile::new("default-scheduler", 0, plugins)
}

fn node(index: usize) -> Typed<Node> {
    let name = format!("node-{index}");
    let node = json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "status": {"allocatable": {"cpu": "32", "memory": "256Gi", "pods": "110"}},
    });
    Typed::new(serde_json::from_value(node).expect("the node is well-formed"))
}

fn pod(index: usize, class: usize, cpu: &str) -> Typed<Pod> {
    let name = format!("web-{index}");
    let memory = format!("{}Mi", 64 + class);
    let tolerations: Vec<_> = ["not-ready", "unreachable"]
        .iter()
        .map(|key| {
            json!({"key": format!("node.kubernetes.io/{key}"), "operator": "Exists",
                   "effect": "NoExecute", "tolerationSeconds": 300})
        })
        .collect();
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "uid": name},
        "spec": {
            "containers": [{"name": "web", "resources": {"requests": {"cpu": cpu, "memory": memory}}}],
            "tolerations": tolerations,
        },
    });
    Typed::new(serde_json::from_value(pod).expect("the pod is well-formed"))
}
