//! How fast the controllers are, with scheduler and simulated nodes, in real time. Prints a line of
//! JSON per figure; an argument chooses the benchmarks whose names contain it.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run should say so and end")]

#[allow(dead_code, reason = "each benchmark uses its part")]
mod figure;

use std::time::Duration;

use figure::{block_on, millis, report, wanted};
use futures::StreamExt as _;
use pinnace::k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use pinnace::k8s_openapi::api::batch::v1::{CronJob, Job};
use pinnace::k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, Secret};
use pinnace::runtime::simulated::{Simulated, SimulatedConfig};
use pinnace::{DeleteOptions, Engine, Env, Key, ListOptions, Patch, Runtime, WatchEvent};
use pinnace_env::Stopwatch;
use serde_json::{Value, json};

/// The best of so many runs counts; a run takes seconds.
const RUNS: usize = 3;
const AT_ONCE: usize = 64;

fn main() {
    best("workloads/10000 pods of 100 deployments running", 2000.0, || block_on(2, deployments()));
    best("workloads/rolling update of 5000 replicas", 3000.0, || block_on(2, rolling_update()));
    best("workloads/daemon set on 5000 nodes", 2000.0, || block_on(2, daemon_set()));
    best("workloads/job of 10000 completions, 500 at once", 10_000.0, || block_on(2, job()));
    best("workloads/namespace of 10000 objects deleted", 3000.0, || block_on(2, namespace()));
    best("workloads/1000 cron jobs for a day", 10_000.0, cron_jobs);
}

fn best(name: &str, target: f64, mut run: impl FnMut() -> Duration) {
    if wanted(name) {
        let least = (0..RUNS).map(|_| run()).min().unwrap_or_default();
        report(name, millis(least), "ms", Some(target));
    }
}

async fn engine(nodes: usize) -> Engine {
    let env = Env::system();
    let world = Simulated::new(SimulatedConfig::new(env.clone()));
    // A container that ends by itself.
    world.set_image_script("registry.example/job:1", "run=1ms".parse().unwrap());
    let builder = Engine::builder().runtime(Runtime::simulated_by(world)).nodes(nodes);
    let engine = builder.env(env).start().await.unwrap();
    let all = engine.client().named("nodes").unwrap();
    while all.list(None, ListOptions::default()).await.unwrap().items.len() < nodes {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    engine
}

fn template(image: &str) -> Value {
    json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [
        {"name": "web", "image": image,
            "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}}}]}})
}

fn deployment(name: &str, replicas: usize) -> Deployment {
    let mut template = template("registry.example/web:1");
    template["metadata"]["labels"] = json!({"app": name});
    let spec = json!({"replicas": replicas, "selector": {"matchLabels": {"app": name}},
        "template": template});
    let meta = json!({"name": name, "namespace": "default"});
    serde_json::from_value(json!({"metadata": meta, "spec": spec})).unwrap()
}

/// Waits until so many pods have begun to run since a revision.
async fn running(engine: &Engine, from: u64, count: usize) {
    let pods = engine.client().of::<Pod>().unwrap();
    let mut events = pods.watch(None, ListOptions::default().after(from)).await.unwrap();
    let mut seen = std::collections::HashSet::new();
    while seen.len() < count {
        let WatchEvent::Modified(object) = events.next().await.unwrap().unwrap() else { continue };
        let phase = object.get::<Pod>().unwrap().status.as_ref().and_then(|one| one.phase.clone());
        if phase.as_deref() == Some("Running") {
            seen.insert(object.uid().to_owned());
        }
    }
}

async fn revision(engine: &Engine) -> u64 {
    let pods = engine.client().of::<Pod>().unwrap();
    pods.list(None, ListOptions::default()).await.unwrap().revision
}

async fn deployments() -> Duration {
    let engine = engine(100).await;
    let from = revision(&engine).await;
    let api = engine.client().of::<Deployment>().unwrap();
    let stopwatch = Stopwatch::start();
    for number in 0..100 {
        api.create(deployment(&format!("web-{number}"), 100)).await.unwrap();
    }
    running(&engine, from, 10_000).await;
    let elapsed = stopwatch.elapsed();
    engine.shutdown().await.unwrap();
    elapsed
}

async fn rolling_update() -> Duration {
    const REPLICAS: usize = 5_000;
    let engine = engine(100).await;
    let from = revision(&engine).await;
    let api = engine.client().of::<Deployment>().unwrap();
    api.create(deployment("web", REPLICAS)).await.unwrap();
    running(&engine, from, REPLICAS).await;
    engine.wait("deploy/web", "Available", Duration::from_secs(60)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let patch = json!({"spec": {"template": {"spec": {"containers": [
        {"name": "web", "image": "registry.example/web:2"}]}}}});
    let stopwatch = Stopwatch::start();
    engine.patch("deploy/web", Patch::StrategicMerge(patch)).await.unwrap();
    while !engine.rollout_status("deploy/web").await.unwrap().done {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let elapsed = stopwatch.elapsed();
    engine.shutdown().await.unwrap();
    elapsed
}

async fn daemon_set() -> Duration {
    const NODES: usize = 5_000;
    let engine = engine(NODES).await;
    let from = revision(&engine).await;
    let spec = json!({"selector": {"matchLabels": {"app": "web"}},
        "template": template("registry.example/web:1")});
    let meta = json!({"name": "agent", "namespace": "default"});
    let set: DaemonSet = serde_json::from_value(json!({"metadata": meta, "spec": spec})).unwrap();
    let stopwatch = Stopwatch::start();
    engine.client().of::<DaemonSet>().unwrap().create(set).await.unwrap();
    running(&engine, from, NODES).await;
    let elapsed = stopwatch.elapsed();
    engine.shutdown().await.unwrap();
    elapsed
}

fn job_spec(more: Value) -> Value {
    let mut spec = json!({"template": template("registry.example/job:1")});
    spec["template"]["spec"]["restartPolicy"] = json!("Never");
    for (field, value) in more.as_object().unwrap() {
        spec[field] = value.clone();
    }
    spec
}

async fn job() -> Duration {
    let engine = engine(100).await;
    let spec = job_spec(json!({"completions": 10_000, "parallelism": 500}));
    let meta = json!({"name": "sum", "namespace": "default"});
    let job: Job = serde_json::from_value(json!({"metadata": meta, "spec": spec})).unwrap();
    let stopwatch = Stopwatch::start();
    engine.client().of::<Job>().unwrap().create(job).await.unwrap();
    engine.wait("jobs/sum", "Complete", Duration::from_secs(120)).await.unwrap();
    let elapsed = stopwatch.elapsed();
    engine.shutdown().await.unwrap();
    elapsed
}

async fn namespace() -> Duration {
    let engine = engine(1).await;
    let namespaces = engine.client().of::<Namespace>().unwrap();
    let shop = serde_json::from_value(json!({"metadata": {"name": "shop"}})).unwrap();
    namespaces.create(shop).await.unwrap();
    let maps = engine.client().of::<ConfigMap>().unwrap();
    let secrets = engine.client().of::<Secret>().unwrap();
    let made = futures::stream::iter(0..5_000)
        .map(|number| {
            let meta = json!({"name": format!("a-{number}"), "namespace": "shop"});
            let map = serde_json::from_value(json!({"metadata": meta, "data": {"a": "b"}}));
            let secret = serde_json::from_value(json!({"metadata": meta}));
            let (maps, secrets) = (&maps, &secrets);
            async move {
                maps.create(map.unwrap()).await.unwrap();
                secrets.create(secret.unwrap()).await.unwrap();
            }
        })
        .buffer_unordered(AT_ONCE);
    made.collect::<Vec<()>>().await;
    let key = Key::cluster("shop");
    let stopwatch = Stopwatch::start();
    namespaces.delete(&key, DeleteOptions::default()).await.unwrap();
    while namespaces.find(&key).await.unwrap().is_some() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let elapsed = stopwatch.elapsed();
    engine.shutdown().await.unwrap();
    elapsed
}

/// A day in virtual time: every CronJob runs once an hour, at a minute of its own.
fn cron_jobs() -> Duration {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let env = Env::simulated(1);
        let world = Simulated::new(SimulatedConfig::new(env.clone()));
        world.set_image_script("registry.example/job:1", "run=5s".parse().unwrap());
        let builder = Engine::builder().runtime(Runtime::simulated_by(world)).nodes(10);
        let engine = builder.env(env).start().await.unwrap();
        let api = engine.client().of::<CronJob>().unwrap();
        for number in 0..1_000 {
            let meta = json!({"name": format!("tick-{number}"), "namespace": "default"});
            let spec = json!({"schedule": format!("{} * * * *", number % 60),
                "jobTemplate": {"spec": job_spec(json!({}))}});
            let cron = serde_json::from_value(json!({"metadata": meta, "spec": spec}));
            api.create(cron.unwrap()).await.unwrap();
        }
        let stopwatch = Stopwatch::start();
        tokio::time::sleep(Duration::from_secs(24 * 3600)).await;
        let elapsed = stopwatch.elapsed();
        let jobs = engine.client().of::<Job>().unwrap();
        let jobs = jobs.list(None, ListOptions::default()).await.unwrap().items;
        assert_eq!(jobs.len(), 3_000, "each keeps three");
        engine.shutdown().await.unwrap();
        elapsed
    })
}
