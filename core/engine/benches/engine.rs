//! How fast the engine is as a host sees it. Prints a line of JSON per figure; an argument chooses
//! the benchmarks whose names contain it.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run should say so and end")]

mod figure;

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Duration;

use figure::{RUNS, block_on, least, millis, report, wanted};
use futures::StreamExt as _;
use pinnace::k8s_openapi::api::apps::v1::Deployment;
use pinnace::k8s_openapi::api::core::v1::{ConfigMap, Pod};
use pinnace::k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use pinnace::{Engine, Env, Key, ListOptions, Runtime, ServeConfig};
use pinnace_env::Stopwatch;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const OBJECTS: usize = 10_000;
const REPLICAS: usize = 1_000;
const NODES: usize = 100;
const WATCHERS: usize = 1_000;

fn main() {
    if wanted("engine/idle memory") {
        report("engine/idle memory", idle_megabytes(), "MB", Some(30.0));
    }
    if wanted("engine/idle memory with the front") {
        report("engine/idle memory with the front", idle_with_front(), "MB", Some(40.0));
    }
    if wanted("engine/start to readyz, warm data directory") {
        let directory = tempfile::tempdir().unwrap();
        block_on(2, start_to_ready(directory.path()));
        least("engine/start to readyz, warm data directory", "ms", Some(50.0), || {
            block_on(2, start_to_ready(directory.path()))
        });
    }
    let start = || block_on(2, start_in_memory());
    least("engine/start to first list, memory", "ms", Some(20.0), start);
    if wanted("engine/start to first list, 10000 objects on disk") {
        let directory = tempfile::tempdir().unwrap();
        block_on(2, fill(directory.path()));
        least("engine/start to first list, 10000 objects on disk", "ms", Some(100.0), || {
            block_on(2, start_on_disk(directory.path()))
        });
    }
    least("engine/get", "ns", Some(1000.0), || block_on(1, get()));
    least("engine/create ConfigMaps, one core", "/s", Some(100_000.0), || block_on(1, create()));
    least("engine/event to 1000 watchers", "us", Some(1000.0), || block_on(2, fan_out()));
    if wanted("engine/deployment of 1000") {
        let runs: Vec<_> = (0..RUNS).map(|_| block_on(2, deployment())).collect();
        let best = |of: fn(&(f64, f64)) -> f64| runs.iter().map(of).fold(f64::INFINITY, f64::min);
        report("engine/deployment of 1000: all bound", best(|run| run.0), "ms", Some(50.0));
        report("engine/deployment of 1000: all running", best(|run| run.1), "ms", Some(200.0));
    }
}

async fn engine(nodes: usize) -> Engine {
    let builder = Engine::builder().runtime(Runtime::simulated()).nodes(nodes);
    builder.env(Env::system()).start().await.unwrap()
}

async fn start_in_memory() -> f64 {
    let stopwatch = Stopwatch::start();
    let engine = engine(1).await;
    engine.list("pods", ListOptions::default()).await.unwrap();
    let elapsed = stopwatch.elapsed();
    engine.shutdown().await.unwrap();
    millis(elapsed)
}

async fn start_on_disk(directory: &std::path::Path) -> f64 {
    let stopwatch = Stopwatch::start();
    let builder = Engine::builder().runtime(Runtime::simulated()).data_dir(directory);
    let engine = builder.start().await.unwrap();
    let list = engine.list("configmaps", ListOptions::default()).await.unwrap();
    let elapsed = stopwatch.elapsed();
    assert!(list.items.len() >= OBJECTS);
    engine.shutdown().await.unwrap();
    millis(elapsed)
}

async fn fill(directory: &std::path::Path) {
    let builder = Engine::builder().runtime(Runtime::simulated()).data_dir(directory);
    let engine = builder.start().await.unwrap();
    let maps = engine.client().of::<ConfigMap>().unwrap();
    let made = futures::stream::iter(0..OBJECTS)
        .map(|n| maps.create(config_map(n)))
        .buffer_unordered(64)
        .collect::<Vec<_>>();
    assert!(made.await.iter().all(Result::is_ok));
    engine.shutdown().await.unwrap();
}

fn config_map(n: usize) -> ConfigMap {
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(format!("settings-{n:06}")),
            namespace: Some("default".to_owned()),
            labels: Some(BTreeMap::from([("app".to_owned(), "web".to_owned())])),
            ..Default::default()
        },
        data: Some(BTreeMap::from([("color".to_owned(), "blue".to_owned())])),
        ..Default::default()
    }
}

async fn get() -> f64 {
    let engine = engine(0).await;
    let maps = engine.client().of::<ConfigMap>().unwrap();
    for n in 0..1000 {
        maps.create(config_map(n)).await.unwrap();
    }
    let keys: Vec<_> = (0..1000).map(|n| Key::new("default", format!("settings-{n:06}"))).collect();
    let rounds = 50;
    let stopwatch = Stopwatch::start();
    for _ in 0..rounds {
        for key in &keys {
            black_box(maps.get(key).await.unwrap());
        }
    }
    let elapsed = stopwatch.elapsed();
    engine.shutdown().await.unwrap();
    elapsed.as_secs_f64() * 1e9 / (rounds * keys.len()) as f64
}

async fn create() -> f64 {
    let engine = engine(0).await;
    let maps = engine.client().of::<ConfigMap>().unwrap();
    let objects: Vec<_> = (0..20_000).map(config_map).collect();
    let count = objects.len() as f64;
    let stopwatch = Stopwatch::start();
    for object in objects {
        maps.create(object).await.unwrap();
    }
    let elapsed = stopwatch.elapsed();
    engine.shutdown().await.unwrap();
    count / elapsed.as_secs_f64()
}

async fn fan_out() -> f64 {
    let engine = engine(0).await;
    let maps = engine.client().of::<ConfigMap>().unwrap();
    let (seen, mut all_seen) = tokio::sync::mpsc::unbounded_channel();
    let from = maps.list(None, ListOptions::default()).await.unwrap().revision;
    for _ in 0..WATCHERS {
        let mut events = maps.watch(None, ListOptions::default().after(from)).await.unwrap();
        let seen = seen.clone();
        tokio::spawn(async move {
            while let Some(Ok(_)) = events.next().await {
                if seen.send(()).is_err() {
                    return;
                }
            }
        });
    }
    let mut least = f64::INFINITY;
    for n in 0..20 {
        tokio::time::sleep(Duration::from_millis(2)).await;
        let stopwatch = Stopwatch::start();
        maps.create(config_map(n)).await.unwrap();
        for _ in 0..WATCHERS {
            all_seen.recv().await.unwrap();
        }
        least = least.min(stopwatch.elapsed().as_secs_f64() * 1e6);
    }
    engine.shutdown().await.unwrap();
    least
}

/// Milliseconds from the apply until all pods of a Deployment are bound, and until all run.
async fn deployment() -> (f64, f64) {
    let engine = engine(NODES).await;
    let pods = engine.client().of::<Pod>().unwrap();
    let nodes = engine.client().named("nodes").unwrap();
    while nodes.list(None, ListOptions::default()).await.unwrap().items.len() < NODES {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    let mut events = pods.watch(None, ListOptions::default()).await.unwrap();
    let deployment: Deployment = serde_json::from_value(serde_json::json!({
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "replicas": REPLICAS,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "web", "image": "registry.example/web:1",
                    "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}}}]}
            }
        }
    }))
    .unwrap();
    let stopwatch = Stopwatch::start();
    engine.client().of::<Deployment>().unwrap().create(deployment).await.unwrap();
    let (mut bound, mut running) = (0, 0);
    let mut all_bound = Duration::ZERO;
    while running < REPLICAS {
        let event = events.next().await.unwrap().unwrap();
        let pinnace::WatchEvent::Modified(object) = event else { continue };
        let pod = object.get::<Pod>().unwrap();
        match pod.status.as_ref().and_then(|status| status.phase.as_deref()) {
            Some("Running") => running += 1,
            Some("Pending") if pod.spec.as_ref().unwrap().node_name.is_some() => {
                bound += 1;
                if bound == REPLICAS {
                    all_bound = stopwatch.elapsed();
                }
            }
            _ => {}
        }
    }
    let all_running = stopwatch.elapsed();
    engine.shutdown().await.unwrap();
    (millis(all_bound), millis(all_running))
}

/// Resident memory of this process with an engine that has nothing to do.
fn idle_megabytes() -> f64 {
    block_on(2, async {
        let engine = engine(0).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        let megabytes = resident_megabytes();
        engine.shutdown().await.unwrap();
        megabytes
    })
}

/// As [`idle_megabytes`], listening with TLS.
fn idle_with_front() -> f64 {
    block_on(2, async {
        let engine = engine(1).await;
        let address = Some(([127, 0, 0, 1], 0).into());
        let config = ServeConfig { address, ..ServeConfig::default() };
        let serving = engine.serve(config).await.unwrap();
        tokio::time::sleep(Duration::from_millis(500)).await;
        let megabytes = resident_megabytes();
        serving.stop().await;
        engine.shutdown().await.unwrap();
        megabytes
    })
}

fn resident_megabytes() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    let kilobytes: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kilobytes / 1000.0
}

/// Milliseconds from nothing until `/readyz` says `ok` to somebody outside, with keys and objects
/// that are there.
async fn start_to_ready(directory: &std::path::Path) -> f64 {
    let stopwatch = Stopwatch::start();
    let builder = Engine::builder().runtime(Runtime::simulated()).data_dir(directory);
    let engine = builder.start().await.unwrap();
    let unix = directory.join("socket");
    let address = Some(([127, 0, 0, 1], 0).into());
    let config = ServeConfig { address, unix: Some(unix.clone()), ..ServeConfig::default() };
    let serving = engine.serve(config).await.unwrap();
    let request = b"GET /readyz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let mut answer = String::new();
    while !answer.starts_with("HTTP/1.1 200 OK") {
        let mut stream = tokio::net::UnixStream::connect(&unix).await.unwrap();
        stream.write_all(request).await.unwrap();
        answer.clear();
        stream.read_to_string(&mut answer).await.unwrap();
    }
    let elapsed = stopwatch.elapsed();
    assert!(answer.ends_with("ok"), "{answer}");
    serving.stop().await;
    engine.shutdown().await.unwrap();
    millis(elapsed)
}
