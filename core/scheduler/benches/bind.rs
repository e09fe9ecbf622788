//! From pods that are there to pods that are bound: 1,000 pods on 100 nodes, through the request
//! pipeline and a store in memory, on two threads.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on has failed")]

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use pinnace_api::{Catalog, Key, Kind};
use pinnace_client::{Informers, Recorder};
use pinnace_env::{Env, Stopwatch};
use pinnace_scheduler::{
    Answer, Bind, Bound, CycleState, Plugin, PodInfo, ProfileConfig, Scheduler, SchedulerConfig,
};
use pinnace_server::{Server, User};
use pinnace_store::Store;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

const NODES: usize = 100;
const PODS: usize = 1_000;
const RUNS: usize = 10;

fn main() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut create: Vec<Duration> = Vec::new();
    let mut both: Vec<Duration> = Vec::new();
    let mut bind: Vec<Duration> = Vec::new();
    let mut decide: Vec<Duration> = Vec::new();
    for _ in 0..RUNS {
        create.push(runtime.block_on(run(Which::Create)));
        both.push(runtime.block_on(run(Which::CreateAndBind)));
        bind.push(runtime.block_on(run(Which::Bind)));
        decide.push(runtime.block_on(run(Which::Decide)));
    }
    show("create, nobody watching", create);
    show("create and bind, from the first request", both);
    show("bind pods that are there already", bind);
    show("all but the bind requests", decide);
}

fn show(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let median = times[times.len() / 2].as_secs_f64();
    let what = format!("{PODS} pods, {NODES} nodes: {what}");
    println!(
        r#"{{"name": "scheduler/{what}", "value": {:.3}, "unit": "ms", "target": null, "met": null}}"#,
        median * 1e3
    );
}

#[derive(PartialEq)]
enum Which {
    Create,
    CreateAndBind,
    Bind,
    Decide,
}

/// Takes the place of the plugin that binds, and only counts.
struct Count(watch::Sender<usize>);

impl Plugin for Count {
    fn name(&self) -> &str {
        "Count"
    }
    fn as_bind(&self) -> Option<&dyn Bind> {
        Some(self)
    }
}

#[async_trait]
impl Bind for Count {
    async fn bind(&self, _: &PodInfo, _: &str, _: &CycleState) -> Answer<Bound> {
        self.0.send_modify(|count| *count += 1);
        Ok(Bound::Done)
    }
}

async fn run(which: Which) -> Duration {
    let env = Env::simulated(1);
    let server = Server::builder(Store::memory(), Catalog::builtin(), env.clone()).build();
    let client = server.client(User::host());
    let default: Namespace = read(json!({"metadata": {"name": "default"}}));
    client.of::<Namespace>().unwrap().create(default).await.unwrap();
    let (nodes, pods) = (client.of::<Node>().unwrap(), client.of::<Pod>().unwrap());
    for index in 0..NODES {
        let name = format!("node-{index}");
        let node: Node = read(json!({"metadata": {"name": name}}));
        nodes.create(node).await.unwrap();
        let status = json!({"allocatable": {"cpu": "32", "memory": "256Gi", "pods": "110"}});
        let set = |node: &mut Node| {
            node.status = Some(read_part(status.clone()));
            true
        };
        nodes.modify_status(&Key::cluster(&*name), set).await.unwrap();
        // As the controller of nodes does with one that is ready.
        let free = |node: &mut Node| {
            node.spec = None;
            true
        };
        nodes.modify(&Key::cluster(&*name), free).await.unwrap();
    }
    let informers = Informers::new(client.clone());
    let recorder = Recorder::new(&client, &env, "bench").unwrap();
    let mut config = SchedulerConfig::default();
    let (counted, bound) = watch::channel(0);
    if which == Which::Decide {
        let counted = counted.clone();
        config.registry.add("Count", move |_| Ok(Arc::new(Count(counted.clone()))));
        config.profiles = vec![ProfileConfig::default().without("DefaultBinder").with("Count", 0)];
    }
    let scheduler = Scheduler::new(&informers, recorder.clone(), env, config).unwrap();
    let cache = informers.of::<Pod>().unwrap();
    cache.informer().synced().await;
    let stop = CancellationToken::new();
    let create = async {
        for index in 0..PODS {
            pods.create(pod(index)).await.unwrap();
        }
    };
    cache.informer().on_change(move |delta| {
        let node = |pod: &Pod| pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
        if delta.new.as_ref().and_then(|pod| node(pod.get().ok()?)).is_some() {
            counted.send_modify(|count| *count += 1);
        }
    });
    let all_bound = || async {
        bound.clone().wait_for(|count| *count >= PODS).await.unwrap();
    };
    let clock;
    let mut running = None;
    match which {
        Which::Create => {
            clock = Stopwatch::start();
            create.await;
        }
        Which::CreateAndBind => {
            clock = Stopwatch::start();
            running = Some(tokio::spawn(scheduler.run(stop.clone())));
            create.await;
            all_bound().await;
        }
        Which::Bind | Which::Decide => {
            create.await;
            cache.informer().caught_up(server.store().revision()).await;
            clock = Stopwatch::start();
            running = Some(tokio::spawn(scheduler.run(stop.clone())));
            all_bound().await;
        }
    }
    let took = clock.elapsed();
    stop.cancel();
    if let Some(running) = running {
        running.await.unwrap();
    }
    recorder.shutdown().await;
    informers.shutdown().await;
    took
}

fn pod(index: usize) -> Pod {
    let requests = json!({"cpu": "100m", "memory": "64Mi"});
    read(json!({
        "metadata": {"name": format!("web-{index}"), "namespace": "default"},
        "spec": {"containers": [{"name": "c", "image": "i", "resources": {"requests": requests}}]},
    }))
}

fn read<K: Kind>(mut value: Value) -> K {
    let kind = std::any::type_name::<K>().rsplit("::").next().unwrap_or_default();
    value["apiVersion"] = "v1".into();
    value["kind"] = kind.into();
    serde_json::from_value(value).unwrap()
}

fn read_part<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}
