//! What a decision costs: pods of one class, of many classes, and pods that fit nowhere, on 100 and
//! 5,000 nodes; then upstream's own workloads for 5,000 nodes, with what upstream asks of itself
//! beside. Without queue, events and API.

#![expect(clippy::expect_used, reason = "a benchmark that cannot go on has failed")]

use std::hint::black_box;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod};
use pinnace_api::Typed;
use pinnace_env::{Random, Stopwatch};
use pinnace_scheduler::plugins::{
    DefaultPreemption, InterPodAffinity, NodeAffinity, NodeName, NodePorts,
    NodeResourcesBalancedAllocation, NodeResourcesFit, NodeUnschedulable, PodTopologySpread,
    TaintToleration,
};
use pinnace_scheduler::{
    Cluster, CycleState, Decider, Decision, Plugin, PodClasses, PodInfo, Profile,
};
use serde_json::{Value, json};

fn main() {
    for nodes in [100, 5_000] {
        let pods = if nodes == 100 { 1_000 } else { 50_000 };
        run(&format!("{nodes} nodes, pods all alike"), nodes, pods, 1, "100m");
        run(&format!("{nodes} nodes, pods of 50 classes"), nodes, pods, 50, "100m");
        run(&format!("{nodes} nodes, every pod its own class"), nodes, 1_000, 1_000, "100m");
        run(&format!("{nodes} nodes, pods that fit nowhere"), nodes, pods, 1, "1000");
    }
    workload("plain", 680, 60_000, 50_000, &json!({}));
    let zone = json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
        "nodeSelectorTerms": [{"matchExpressions": [
            {"key": ZONE, "operator": "In", "values": ["zone-1", "zone-2"]}]}]}}});
    workload("node affinity", 220, 10_000, 50_000, &json!({"affinity": zone}));
    let spread = |when: &str| {
        json!({"topologySpreadConstraints": [{"topologyKey": ZONE, "maxSkew": 1,
            "whenUnsatisfiable": when, "labelSelector": {"matchLabels": {"color": "blue"}}}]})
    };
    workload("topology spread", 460, 10_000, 20_000, &spread("DoNotSchedule"));
    workload("preferred topology spread", 460, 10_000, 20_000, &spread("ScheduleAnyway"));
    let term = |key: &str| json!({"topologyKey": key, "labelSelector": {"matchLabels": {"color": "blue"}}});
    let required = |kind: &str, term: Value| json!({"affinity": {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}});
    let preferred = json!({"affinity": {"podAffinity": {
        "preferredDuringSchedulingIgnoredDuringExecution":
            [{"weight": 1, "podAffinityTerm": term(HOST)}]}}});
    workload("anti-affinity", 60, 10_000, 4_000, &required("podAntiAffinity", term(HOST)));
    workload("preferred affinity", 90, 10_000, 20_000, &preferred);
    workload("required affinity", 35, 10_000, 20_000, &required("podAffinity", term(ZONE)));
    let mut everywhere = term(HOST);
    everywhere["namespaceSelector"] = json!({"matchLabels": {"team": "devops"}});
    let everywhere = required("podAntiAffinity", everywhere);
    workload("anti-affinity with namespaceSelector", 24, 10_000, 4_000, &everywhere);
    preemption(570, 10_000);
    for nodes in [1_000, 10_000, 100_000] {
        run(&format!("growth: {nodes} nodes, pods all alike"), nodes, 20_000, 1, "10m");
    }
    for classes in [10, 100, 1_000, 10_000] {
        run(
            &format!("growth: {NODES} nodes, {classes} classes in turn"),
            NODES,
            10_000,
            classes,
            "10m",
        );
    }
    slowest(20_000);
    scale(100_000, 1_000_000);
}

const NODES: usize = 5_000;
const HOST: &str = "kubernetes.io/hostname";
const ZONE: &str = "topology.kubernetes.io/zone";

fn run(what: &str, nodes: usize, pods: usize, classes: usize, cpu: &str) {
    let objects: Vec<_> =
        (0..pods).map(|index| pod(index, index % classes, cpu, &json!({}))).collect();
    let micros = 1e6 / decide(nodes, &objects);
    println!(
        r#"{{"name": "scheduler/decide: {what}", "value": {micros:.3}, "unit": "us", "target": null, "met": null}}"#
    );
}

/// One of upstream's workloads: pods of this spec, one after another.
fn workload(what: &str, upstream: u32, target: u32, pods: usize, spec: &Value) {
    let objects: Vec<_> = (0..pods).map(|index| pod(index, 0, "10m", spec)).collect();
    show(what, upstream, target, decide(NODES, &objects));
}

fn show(what: &str, upstream: u32, target: u32, rate: f64) {
    let met = rate >= f64::from(target);
    println!(
        r#"{{"name": "scheduler/decide: {NODES} nodes, {what} (upstream asks {upstream}/s of itself)", "value": {rate:.0}, "unit": "pods/s", "target": {target}, "met": {met}}}"#
    );
}

/// How many pods are decided in a second.
fn decide(nodes: usize, objects: &[Typed<Pod>]) -> f64 {
    let (mut cluster, profile) = (cluster(nodes), profile());
    let mut kept = PodClasses::default();
    let mut decider = Decider::new(Random::seeded(1));
    let clock = Stopwatch::start();
    for object in objects {
        let info: PodInfo = kept.read(&mut cluster, &profile, object);
        match decider.decide(&cluster, &profile, &info, &CycleState::default()) {
            Decision::Node(node) => _ = black_box(cluster.assume(&info, node)),
            other => _ = black_box(other),
        }
    }
    objects.len() as f64 / clock.elapsed().as_secs_f64()
}

/// What the slowest of a hundred decisions takes, when every one is timed.
fn slowest(pods: usize) {
    let (mut cluster, profile) = (cluster(NODES), profile());
    let mut kept = PodClasses::default();
    let mut decider = Decider::new(Random::seeded(1));
    let mut times = Vec::with_capacity(pods);
    for index in 0..pods {
        let info = kept.read(&mut cluster, &profile, &pod(index, index % 10, "10m", &json!({})));
        let clock = Stopwatch::start();
        if let Decision::Node(node) =
            decider.decide(&cluster, &profile, &info, &CycleState::default())
        {
            cluster.assume(&info, node);
        }
        times.push(clock.elapsed());
    }
    times.sort();
    let millis = times[pods * 99 / 100].as_secs_f64() * 1e3;
    let met = millis < 1.0;
    println!(
        r#"{{"name": "scheduler/decide: {NODES} nodes, 99th percentile", "value": {millis:.4}, "unit": "ms", "target": 1, "met": {met}}}"#
    );
}

/// As many nodes and pods as a machine holds: what each takes of memory, objects included, and how
/// fast the last tenth is decided.
fn scale(nodes: usize, pods: usize) {
    let before = resident();
    let (mut cluster, profile) = (cluster(nodes), profile());
    let with_nodes = resident();
    let mut kept = PodClasses::default();
    let mut decider = Decider::new(Random::seeded(1));
    let last = pods / 10;
    let mut clock = Stopwatch::start();
    for index in 0..pods {
        if index == pods - last {
            clock = Stopwatch::start();
        }
        let info = kept.read(&mut cluster, &profile, &pod(index, 0, "10m", &json!({})));
        if let Decision::Node(node) =
            decider.decide(&cluster, &profile, &info, &CycleState::default())
        {
            cluster.assume(&info, node);
        }
    }
    let rate = last as f64 / clock.elapsed().as_secs_f64();
    let met = rate >= 10_000.0;
    println!(
        r#"{{"name": "scheduler/decide: {nodes} nodes with {pods} pods, the last tenth, pods made included", "value": {rate:.0}, "unit": "pods/s", "target": 10000, "met": {met}}}"#
    );
    let each = |what: &str, bytes: u64, many: usize| {
        let bytes = bytes / many as u64;
        println!(
            r#"{{"name": "scheduler/decide: {nodes} nodes with {pods} pods, memory of a {what} with its object", "value": {bytes}, "unit": "B", "target": null, "met": null}}"#
        );
    };
    each("node", with_nodes.saturating_sub(before), nodes);
    each("pod", resident().saturating_sub(with_nodes), pods);
}

/// The memory of this process that is in use, in bytes; 0 where the system does not tell.
fn resident() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").ok();
    let pages = pages.and_then(|text| text.split(' ').nth(1)?.parse::<u64>().ok());
    pages.unwrap_or(0) * 4096
}

/// Every node is full of four pods of low priority; each of as many important pods evicts those of
/// one node and is placed there.
fn preemption(upstream: u32, target: u32) {
    let (mut cluster, profile) = (cluster(NODES), profile());
    for index in 0..4 * NODES {
        let mut low = pod(index, 0, "8", &json!({})).to_owned();
        let spec = low.spec.get_or_insert_default();
        (spec.node_name, spec.priority) = (Some(format!("node-{}", index % NODES)), Some(0));
        cluster.set_pod(&Typed::new(low));
    }
    let high: Vec<_> =
        (0..NODES).map(|index| pod(100_000 + index, 0, "24", &json!({"priority": 10}))).collect();
    let mut kept = PodClasses::default();
    let mut decider = Decider::new(Random::seeded(1));
    let clock = Stopwatch::start();
    for object in &high {
        let info = kept.read(&mut cluster, &profile, object);
        let state = CycleState::default();
        let Decision::Unschedulable(why) = decider.decide(&cluster, &profile, &info, &state) else {
            continue;
        };
        let (_, found) = decider.way_out(&mut cluster, &profile, &info, &state, &why);
        for victim in &found.victims {
            cluster.remove_pod(victim.object().uid());
        }
        match decider.decide(&cluster, &profile, &info, &state) {
            Decision::Node(node) => _ = black_box(cluster.assume(&info, node)),
            other => panic!("{other:?}"),
        }
    }
    show("preemption", upstream, target, high.len() as f64 / clock.elapsed().as_secs_f64());
}

fn cluster(nodes: usize) -> Cluster {
    let mut cluster = Cluster::new();
    let team = [("team".to_owned(), "devops".to_owned())].into();
    cluster.set_namespace("default", Some(&team));
    for index in 0..nodes {
        cluster.set_node(&node(index));
    }
    cluster
}

fn profile() -> Profile {
    let plugins: Vec<(Arc<dyn Plugin>, i64)> = vec![
        (Arc::new(NodeUnschedulable), 1),
        (Arc::new(NodeName), 1),
        (Arc::new(TaintToleration), 3),
        (Arc::new(NodeAffinity::default()), 2),
        (Arc::new(NodePorts), 1),
        (Arc::new(NodeResourcesFit::default()), 1),
        (Arc::new(PodTopologySpread::default()), 2),
        (Arc::new(InterPodAffinity::default()), 2),
        (Arc::new(NodeResourcesBalancedAllocation::default()), 1),
        (Arc::new(DefaultPreemption::default()), 1),
    ];
    Profile::new("default-scheduler", 0, plugins)
}

fn node(index: usize) -> Typed<Node> {
    let name = format!("node-{index}");
    let node = json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {HOST: name, ZONE: format!("zone-{}", index % 3)}},
        "status": {"allocatable": {"cpu": "32", "memory": "256Gi", "pods": "110"}},
    });
    Typed::new(serde_json::from_value(node).expect("the node is well-formed"))
}

fn pod(index: usize, class: usize, cpu: &str, more: &Value) -> Typed<Pod> {
    let name = format!("web-{index}");
    let memory = format!("{}Mi", 64 + class);
    let tolerations: Vec<_> = ["not-ready", "unreachable"]
        .iter()
        .map(|key| {
            json!({"key": format!("node.kubernetes.io/{key}"), "operator": "Exists",
                   "effect": "NoExecute", "tolerationSeconds": 300})
        })
        .collect();
    let mut pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "uid": name, "labels": {"color": "blue"}},
        "spec": {
            "containers": [{"name": "web", "resources": {"requests": {"cpu": cpu, "memory": memory}}}],
            "tolerations": tolerations,
        },
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        pod["spec"][key] = value.clone();
    }
    Typed::new(serde_json::from_value(pod).expect("the pod is well-formed"))
}
