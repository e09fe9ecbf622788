//! What the agent itself costs: 1,000 pods on 100 simulated nodes from bound to Running on one
//! core, and from that what the API takes for the same pods, statuses and Events without an agent.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run should say so and end")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Namespace, Pod, PodStatus};
use pinnace_api::{Catalog, Key};
use pinnace_client::{Client, EventType, Informers, ListOptions, Recorder};
use pinnace_env::Env;
use pinnace_network::SimulatedNetwork;
use pinnace_node::{
    Capacity, Machine, NodeAgent, NodeAgentConfig, NodeConfig, NodeSettings, Sight,
};
use pinnace_runtime::simulated::{Simulated, SimulatedConfig};
use pinnace_server::{Server, User};
use pinnace_store::Store;
use serde_json::json;
use tokio_util::sync::CancellationToken;

const NODES: usize = 100;
const PODS: usize = 1000;
const ROUNDS: usize = 5;
/// Of the agent's own work for one pod, in microseconds.
const TARGET: f64 = 15.0;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (mut agent, mut bare) = (f64::MAX, f64::MAX);
    let mut status = None;
    for _ in 0..ROUNDS {
        let (took, last) = runtime.block_on(with_agent());
        agent = agent.min(took);
        status = last;
        bare = bare.min(runtime.block_on(without_agent(status.clone().unwrap())));
    }
    assert!(status.is_some());
    let per_pod = |seconds: f64| seconds * 1e6 / PODS as f64;
    report("node/pod from bound to running, with API and Events", per_pod(agent), None);
    report("node/the same writes without an agent", per_pod(bare), None);
    report("node/the agent's own share of a pod", per_pod(agent - bare), Some(TARGET));
}

fn report(name: &str, value: f64, target: Option<f64>) {
    let met = target.map_or("null".to_owned(), |target| (value <= target).to_string());
    let target = target.map_or("null".to_owned(), |target| target.to_string());
    println!(
        r#"{{"name": "{name}", "value": {value:.2}, "unit": "us", "target": {target}, "met": {met}}}"#
    );
}

async fn api(env: &Env) -> Client {
    let server = Server::builder(Store::memory(), Catalog::builtin(), env.clone()).build();
    let client = server.client(User::host());
    for name in ["default", "kube-node-lease"] {
        let namespace: Namespace =
            serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
        client.of::<Namespace>().unwrap().create(namespace).await.unwrap();
    }
    client
}

fn pod(number: usize) -> Pod {
    serde_json::from_value(json!({
        "metadata": {"name": format!("web-{number}"), "namespace": "default", "labels": {"app": "web"}},
        "spec": {
            "nodeName": format!("node-{}", number % NODES),
            "containers": [{
                "name": "web", "image": "web:1", "env": [{"name": "A", "value": "1"}],
                "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}}
            }]
        }
    }))
    .unwrap()
}

async fn with_agent() -> (f64, Option<PodStatus>) {
    let env = Env::system();
    let client = api(&env).await;
    let simulated = Arc::new(Simulated::new(SimulatedConfig::new(env.clone())));
    let node = |number: usize| NodeConfig {
        name: format!("node-{number}"),
        labels: BTreeMap::new(),
        taints: Vec::new(),
        capacity: Capacity::default(),
        settings: NodeSettings::default(),
        addresses: vec!["192.0.2.7".parse().unwrap()],
        port: 0,
        runtime: simulated.clone(),
        network: Arc::new(SimulatedNetwork::new("10.0.0.0/25".parse().unwrap()).unwrap()),
    };
    let informers = Informers::new(client.clone());
    let recorder = Recorder::new(&client, &env, "kubelet").unwrap();
    let agent = NodeAgent::new(NodeAgentConfig {
        nodes: (0..NODES).map(node).collect(),
        machine: Machine::Simulated,
        logs: std::env::temp_dir().join("pinnace-bench-never-made"),
        informers: informers.clone(),
        recorder: recorder.clone(),
        env,
        sight: Sight::All,
    })
    .unwrap();
    let stop = CancellationToken::new();
    let task = tokio::spawn(agent.run(stop.clone()));
    tokio::time::sleep(Duration::from_millis(100)).await;

    let running = Arc::new(AtomicUsize::new(0));
    let count = running.clone();
    informers.of::<Pod>().unwrap().informer().on_change(move |delta| {
        let new = delta.new.as_ref().and_then(|pod| pod.get::<Pod>().ok());
        count.fetch_add(usize::from(new.is_some_and(is_running)), Ordering::Relaxed);
    });
    let pods: Vec<Pod> = (0..PODS).map(pod).collect();
    let api = client.of::<Pod>().unwrap();
    let begun = cpu_time();
    for pod in pods {
        api.create(pod).await.unwrap();
    }
    while running.load(Ordering::Relaxed) < PODS {
        tokio::task::yield_now().await;
    }
    // What is recorded is written before this returns.
    recorder.shutdown().await;
    let took = cpu_time() - begun;
    let list = api.list(None, ListOptions::default()).await.unwrap();
    assert!(list.items.iter().all(|pod| is_running(pod)), "a pod is not Running");
    stop.cancel();
    task.await.unwrap().unwrap();
    informers.shutdown().await;
    (took, list.items[0].status.clone())
}

/// The time that this thread has worked, in seconds: it does everything here, and how busy the
/// machine is otherwise does not show.
fn cpu_time() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn is_running(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    status.and_then(|status| status.phase.as_deref()) == Some("Running")
}

async fn without_agent(status: PodStatus) -> f64 {
    let env = Env::system();
    let client = api(&env).await;
    let informers = Informers::new(client.clone());
    informers.of::<Pod>().unwrap().informer().synced().await;
    let recorder = Recorder::new(&client, &env, "kubelet").unwrap();
    let pods: Vec<Pod> = (0..PODS).map(pod).collect();
    let api = client.of::<Pod>().unwrap();
    let begun = cpu_time();
    for pod in pods {
        api.create(pod).await.unwrap();
    }
    for number in 0..PODS {
        let key = Key::new("default", format!("web-{number}"));
        let write = api.modify_status(&key, |pod| {
            pod.status = Some(status.clone());
            true
        });
        let written = write.await.unwrap();
        for reason in ["Pulled", "Created", "Started"] {
            let message = "Container image is already present on machine";
            recorder.record(written.object(), EventType::Normal, reason, message);
        }
    }
    recorder.shutdown().await;
    let took = cpu_time() - begun;
    informers.shutdown().await;
    took
}
