//! From pods that are there to pods that are bound: 1,000 pods on 100 nodes, through the request
//! pipeline and a store in memory, on two threads.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on has failed")]

mod world;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Pod;
use pinnace_env::Stopwatch;
use pinnace_scheduler::{
    Answer, Bind, Bound, CycleState, Plugin, PodInfo, ProfileConfig, Scheduler, SchedulerConfig,
};
use serde_json::json;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use world::{World, read};

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
    let world = World::start().await;
    let amount = json!({"cpu": "32", "memory": "256Gi", "pods": "110"});
    for index in 0..NODES {
        world.node(&format!("node-{index}"), &json!({}), &amount).await;
    }
    let pods = world.client.of::<Pod>().unwrap();
    let mut config = SchedulerConfig::default();
    let mut bound = world.placed();
    if which == Which::Decide {
        let counted;
        (counted, bound) = watch::channel(0);
        config.registry.add("Count", move |_| Ok(Arc::new(Count(counted.clone()))));
        config.profiles = vec![ProfileConfig::default().without("DefaultBinder").with("Count", 0)];
    }
    let (recorder, env) = (world.recorder.clone(), world.env.clone());
    let scheduler = Scheduler::new(&world.informers, recorder, env, config).unwrap();
    world.informers.of::<Pod>().unwrap().informer().synced().await;
    let stop = CancellationToken::new();
    let create = async {
        let mut last = 0;
        for index in 0..PODS {
            last = pods.create(pod(index)).await.unwrap().object().revision();
        }
        last
    };
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
            world.caught_up(create.await).await;
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
    world.shutdown().await;
    took
}

fn pod(index: usize) -> Pod {
    let requests = json!({"cpu": "100m", "memory": "64Mi"});
    read(json!({
        "metadata": {"name": format!("web-{index}"), "namespace": "default"},
        "spec": {"containers": [{"name": "c", "image": "i", "resources": {"requests": requests}}]},
    }))
}
