//! Upstream's scheduler_perf workloads rebuilt, end to end: pods that are in the store are bound
//! through the request pipeline, on two threads. Names, numbers and shapes of nodes and pods are
//! upstream's; what upstream asks of itself stands in the name of the figure.
//!
//! A second figure counts from the first request that makes a pod, as upstream's own measurement
//! does: there the machine makes the pods meanwhile.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on has failed")]

mod world;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::scheduling::v1::PriorityClass;
use pinnace_client::DeleteOptions;
use pinnace_env::Stopwatch;
use pinnace_scheduler::{Scheduler, SchedulerConfig};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use world::{World, read};

const HOST: &str = "kubernetes.io/hostname";
const ZONE: &str = "topology.kubernetes.io/zone";
const LARGE_NODE: &str = "scheduler-perf-node";
/// The class of pods that others make room for.
const IMPORTANT: &str = "important";
/// How many pods are made at once, for so many threads there are.
const MAKERS: usize = 2;
/// Upstream's churn is one of each a second, for minutes; here all is over before that.
const CHURN: Duration = Duration::from_millis(20);

/// A workload as upstream's performance-config.yaml has it.
struct Workload {
    /// Its name and that of the variant.
    name: &'static str,
    /// Pods a second that upstream asks of itself.
    upstream: u32,
    /// Pods a second that are asked for here.
    target: Option<u32>,
    nodes: usize,
    zones: &'static [&'static str],
    /// Pods that are there first, how many in each namespace.
    first: Vec<(String, usize, Value)>,
    /// A node of another size and name, for pods that go nowhere else.
    large_node: Option<&'static str>,
    /// Whether those are placed before anything is measured.
    first_fit: bool,
    /// What is measured.
    measured: (&'static str, usize, Value),
    /// Nodes, pods and services come and go meanwhile.
    churn: bool,
}

impl Workload {
    fn new(name: &'static str, upstream: u32, target: u32, count: usize, pod: Value) -> Self {
        Self {
            name,
            upstream,
            target: Some(target),
            nodes: 5_000,
            zones: &["zone1"],
            first: Vec::new(),
            large_node: None,
            first_fit: true,
            measured: ("sched-1", count, pod),
            churn: false,
        }
    }

    fn after(mut self, count: usize, pod: Value) -> Self {
        self.first.push(("sched-0".to_owned(), count, pod));
        self
    }

    fn zones(self, zones: &'static [&'static str]) -> Self {
        Self { zones, ..self }
    }

    fn nodes(self, nodes: usize) -> Self {
        Self { nodes, ..self }
    }
}

fn main() {
    let wanted: Vec<String> =
        std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    for workload in workloads() {
        if !wanted.is_empty() && !wanted.iter().any(|part| workload.name.contains(part)) {
            continue;
        }
        let ready = measure(&workload, When::Ready);
        let (name, upstream) = (workload.name, workload.upstream);
        let target = workload.target.map_or("null".to_owned(), |target| target.to_string());
        let met = workload
            .target
            .map_or("null".to_owned(), |target| (ready >= f64::from(target)).to_string());
        println!(
            r#"{{"name": "scheduler/perf: {name} (upstream asks {upstream}/s of itself)", "value": {ready:.0}, "unit": "pods/s", "target": {target}, "met": {met}}}"#
        );
        if workload.first_fit && !workload.churn {
            let made = measure(&workload, When::Made);
            println!(
                r#"{{"name": "scheduler/perf: {name}, pods made meanwhile", "value": {made:.0}, "unit": "pods/s", "target": null, "met": null}}"#
            );
        }
    }
}

fn workloads() -> Vec<Workload> {
    let plain = || pod("pod", "", json!({}));
    let term = |color: &str, key: &str| {
        json!({"topologyKey": key, "labelSelector": {"matchLabels": {"color": color}},
               "namespaces": ["sched-1", "sched-0"]})
    };
    let required = |kind: &str, term: Value| json!({"affinity": {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}});
    let preferred = |kind: &str, term: Value| {
        json!({"affinity": {kind: {"preferredDuringSchedulingIgnoredDuringExecution": [
            {"weight": 1, "podAffinityTerm": term}]}}})
    };
    let anti = || pod("anti", "green", required("podAntiAffinity", term("green", HOST)));
    let affine = || pod("affinity", "blue", required("podAffinity", term("blue", ZONE)));
    let likes = || pod("preferred", "red", preferred("podAffinity", term("red", HOST)));
    let dislikes =
        || pod("disliking", "yellow", preferred("podAntiAffinity", term("yellow", HOST)));
    let spread = |when: &str| {
        json!({"topologySpreadConstraints": [{"topologyKey": ZONE, "maxSkew": 5,
            "whenUnsatisfiable": when, "labelSelector": {"matchLabels": {"color": "blue"}}}]})
    };
    let zone = json!({"affinity": {"nodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
            {"matchExpressions": [{"key": ZONE, "operator": "In", "values": ["zone1", "zone2"]}]}]}}}});
    let one_node = json!({"affinity": {"nodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
            {"matchFields": [{"key": "metadata.name", "operator": "In",
                              "values": [LARGE_NODE]}]}]}}}});
    let mut everywhere = term("green", HOST);
    everywhere["namespaceSelector"] = json!({"matchLabels": {"team": "devops"}});
    everywhere["namespaces"] = Value::Null;
    let everywhere = pod("anti", "green", required("podAntiAffinity", everywhere));
    let important = || sized("important", "3", json!({"priorityClassName": IMPORTANT}));
    let low = || sized("low", "900m", json!({"terminationGracePeriodSeconds": 0}));
    let moons: &[&str] = &["moon-1", "moon-2", "moon-3"];
    let apart = "SchedulingRequiredPodAntiAffinityWithNSSelector/5000Nodes_2000Pods";
    let mut apart = Workload::new(apart, 24, 10_000, 2_000, everywhere.clone()).nodes(6_000);
    apart.first = (0..100).map(|ns| (format!("init-ns-{ns}"), 40, everywhere.clone())).collect();
    let mut unschedulable =
        Workload::new("Unschedulable/5kNodes/100Init/10kPods", 140, 20_000, 10_000, plain())
            .after(100, sized("large", "9", json!({})));
    unschedulable.first_fit = false;
    let mut churn =
        Workload::new("SchedulingWithMixedChurn/5000Nodes_10000Pods", 265, 20_000, 10_000, plain());
    churn.churn = true;
    let mut daemon = pod("daemonset", "", one_node);
    daemon["spec"]["containers"] = json!([{"name": "pause", "image": IMAGE}]);
    let mut daemons =
        Workload::new("SchedulingDaemonset/15000Nodes", 390, 20_000, 30_000, daemon).nodes(15_000);
    daemons.large_node = Some(LARGE_NODE);
    let mut mixed =
        Workload::new("MixedSchedulingBasePod/5000Nodes_5000Pods", 140, 10_000, 5_000, plain());
    mixed.target = None;
    for kind in [plain(), affine(), anti(), likes(), dislikes()] {
        mixed = mixed.after(2_000, kind);
    }
    vec![
        Workload::new("SchedulingBasic/5000Nodes_10000Pods", 270, 40_000, 10_000, plain())
            .after(1_000, plain()),
        Workload::new("SchedulingBasic/5000Nodes_50000Pods", 270, 40_000, 50_000, plain())
            .after(5_000, plain()),
        Workload::new("SchedulingPodAntiAffinity/5000Nodes_2000Pods", 60, 10_000, 2_000, anti())
            .after(1_000, anti()),
        Workload::new("SchedulingPodAffinity/5000Nodes_5000Pods", 35, 10_000, 5_000, affine())
            .after(5_000, affine()),
        Workload::new(
            "SchedulingPreferredPodAffinity/5000Nodes_5000Pods",
            90,
            10_000,
            5_000,
            likes(),
        )
        .after(5_000, likes()),
        Workload::new(
            "SchedulingPreferredPodAntiAffinity/5000Nodes_5000Pods",
            90,
            10_000,
            5_000,
            dislikes(),
        )
        .after(5_000, dislikes()),
        apart,
        Workload::new(
            "SchedulingNodeAffinity/5000Nodes_10000Pods",
            220,
            20_000,
            10_000,
            pod("node-affinity", "", zone),
        )
        .after(5_000, plain()),
        Workload::new(
            "TopologySpreading/5000Nodes_5000Pods",
            85,
            20_000,
            5_000,
            pod("spreading", "blue", spread("DoNotSchedule")),
        )
        .after(5_000, plain())
        .zones(moons),
        Workload::new(
            "PreferredTopologySpreading/5000Nodes_5000Pods",
            125,
            20_000,
            5_000,
            pod("spreading", "blue", spread("ScheduleAnyway")),
        )
        .after(5_000, plain())
        .zones(moons),
        mixed,
        Workload::new("PreemptionAsync/5000Nodes", 160, 5_000, 5_000, important())
            .after(20_000, low()),
        unschedulable,
        churn,
        daemons,
    ]
}

const IMAGE: &str = "registry.k8s.io/pause:3.10.2";

fn pod(kind: &str, color: &str, more: Value) -> Value {
    let amount = json!({"cpu": "100m", "memory": "500Mi"});
    let mut pod = json!({
        "metadata": {"name": kind},
        "spec": {"containers": [{"name": "pause", "image": IMAGE,
            "ports": [{"containerPort": 80}],
            "resources": {"requests": amount, "limits": amount}}]},
    });
    if !color.is_empty() {
        pod["metadata"]["labels"] = json!({"color": color});
    }
    for (field, value) in more.as_object().into_iter().flatten() {
        pod["spec"][field] = value.clone();
    }
    pod
}

fn sized(kind: &str, cpu: &str, more: Value) -> Value {
    let mut pod = pod(kind, "", more);
    let amount = json!({"requests": {"cpu": cpu, "memory": "500Mi"}});
    pod["spec"]["containers"][0]["resources"] = amount;
    pod
}

#[derive(Clone, Copy, PartialEq)]
enum When {
    /// The pods are there when the scheduler begins.
    Ready,
    /// The pods are made while the scheduler runs.
    Made,
}

/// Pods bound a second, the best of three.
fn measure(workload: &Workload, when: When) -> f64 {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    (0..3).map(|_| runtime.block_on(run(workload, when))).fold(0.0, f64::max)
}

async fn run(workload: &Workload, when: When) -> f64 {
    let world = World::start().await;
    let devops = json!({"metadata": {"labels": {"team": "devops"}}});
    world.namespace("sched-1", &devops).await;
    let class = json!({"metadata": {"name": IMPORTANT}, "value": 10});
    world.client.of::<PriorityClass>().unwrap().create(read(class)).await.unwrap();
    let mut names: Vec<_> = workload.first.iter().map(|(namespace, ..)| namespace).collect();
    names.dedup();
    for namespace in names {
        world.namespace(namespace, &devops).await;
    }
    let amount = json!({"cpu": "4", "memory": "32Gi", "pods": "110"});
    for index in 0..workload.nodes {
        let name = format!("scheduler-perf-{index}");
        let zone = workload.zones[index % workload.zones.len()];
        world.node(&name, &json!({HOST: name, ZONE: zone}), &amount).await;
    }
    if let Some(name) = workload.large_node {
        let amount = json!({"cpu": "4", "memory": "32Gi", "pods": "90000"});
        world.node(name, &json!({HOST: name}), &amount).await;
    }
    let placed = world.placed();
    let before: usize = workload.first.iter().map(|(_, count, _)| count).sum();
    let (namespace, count, template) = &workload.measured;
    let scheduler = |config| {
        Scheduler::new(&world.informers, world.recorder.clone(), world.env.clone(), config).unwrap()
    };
    let stop = CancellationToken::new();
    let mut scheduler_now = scheduler(SchedulerConfig::default());
    world.informers.of::<Pod>().unwrap().informer().synced().await;
    for (index, (namespace, count, template)) in workload.first.iter().enumerate() {
        make(&world, namespace, *count, &format!("first-{index}"), template).await;
    }
    if workload.first_fit && before > 0 {
        // Placed by a scheduler that ends before those are made that are to be there already.
        let until = stop.child_token();
        let task = tokio::spawn(scheduler_now.run(until.clone()));
        reach(&placed, before).await;
        until.cancel();
        task.await.unwrap();
        scheduler_now = scheduler(SchedulerConfig::default());
    }
    let already = *placed.borrow();
    let churning = Arc::new(AtomicBool::new(true));
    let churn = workload.churn.then(|| tokio::spawn(come_and_go(world.clone(), churning.clone())));
    if when == When::Ready {
        let last = make(&world, namespace, *count, "measured", template).await;
        world.caught_up(last).await;
    }
    let clock = Stopwatch::start();
    let running = tokio::spawn(scheduler_now.run(stop.clone()));
    if when == When::Made {
        make(&world, namespace, *count, "measured", template).await;
    }
    reach(&placed, already + count).await;
    let took = clock.elapsed();
    churning.store(false, Ordering::Relaxed);
    if let Some(churn) = churn {
        churn.await.unwrap();
    }
    stop.cancel();
    running.await.unwrap();
    let bound = *count as f64 / took.as_secs_f64();
    world.shutdown().await;
    bound
}

async fn reach(placed: &watch::Receiver<usize>, wanted: usize) {
    placed.clone().wait_for(|count| *count >= wanted).await.unwrap();
}

/// Makes pods, as many at once as there are threads, and says the revision of the last.
async fn make(world: &World, namespace: &str, count: usize, prefix: &str, template: &Value) -> u64 {
    let mut template = template.clone();
    template["metadata"]["namespace"] = namespace.into();
    let template: Arc<Pod> = Arc::new(read(template));
    let next = Arc::new(AtomicUsize::new(0));
    let makers = (0..MAKERS).map(|_| {
        let (pods, next) = (world.client.of::<Pod>().unwrap(), next.clone());
        let (template, prefix) = (template.clone(), prefix.to_owned());
        tokio::spawn(async move {
            let mut last = 0;
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= count {
                    return last;
                }
                let mut pod = Pod::clone(&template);
                pod.metadata.name = Some(format!("{prefix}-{index}"));
                last = pods.create(pod).await.unwrap().object().revision();
            }
        })
    });
    let mut last = 0;
    for maker in makers.collect::<Vec<_>>() {
        last = maker.await.unwrap().max(last);
    }
    last
}

/// A node, a pod that fits nowhere and a Service come and go.
async fn come_and_go(world: World, go_on: Arc<AtomicBool>) {
    let (nodes, pods) = (world.nodes(), world.client.of::<Pod>().unwrap());
    let services = world.client.of::<Service>().unwrap();
    let amount = json!({"cpu": "4", "memory": "32Gi", "pods": "110"});
    for index in 0.. {
        if !go_on.load(Ordering::Relaxed) {
            return;
        }
        let name = format!("churn-{index}");
        world.node(&name, &json!({HOST: name, "churn": "yes"}), &amount).await;
        let mut large = sized(&name, "9", json!({}));
        large["metadata"]["namespace"] = "sched-1".into();
        pods.create(read(large)).await.unwrap();
        let service = json!({"metadata": {"name": name, "namespace": "sched-1"},
            "spec": {"selector": {"app": "foo"}, "ports": [{"port": 8080}]}});
        services.create(read(service)).await.unwrap();
        tokio::time::sleep(CHURN).await;
        let key = pinnace_api::Key::new("sched-1", &*name);
        pods.delete(&key, DeleteOptions::default()).await.unwrap();
        services.delete(&key, DeleteOptions::default()).await.unwrap();
        // Whatever has come onto it stays bound.
        nodes.delete(&pinnace_api::Key::cluster(&*name), DeleteOptions::default()).await.unwrap();
    }
}
