//! How fast the front is for clients over TLS on the same machine. Prints a line of JSON per figure
//! with that of upstream's API server beside it; an argument chooses the benchmarks whose names
//! contain it.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run should say so and end")]

#[path = "http/watchers.rs"]
mod watchers;
#[path = "http/wire.rs"]
mod wire;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pinnace_api::k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use pinnace_api::{Catalog, Codec, DynamicObject};
use pinnace_env::{Env, Stopwatch};
use pinnace_http::{Authority, Front, ServeConfig, Serving};
use pinnace_server::{Server, User};
use pinnace_store::{DiskBackend, Store};
use serde_json::json;
use tempfile::TempDir;
use tokio::runtime::Builder;
use watchers::Watchers;
use wire::Address;

const OBJECTS: usize = 10_000;
const CONNECTIONS: usize = 64;
const RUNS: usize = 3;
const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
const JSON: &str = "application/json";
const MERGE: &str = "application/merge-patch+json";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == watchers::ROLE) {
        return watchers::run(&arguments[1..]);
    }
    let memory = "http/create ConfigMaps, 64 connections, memory";
    most(memory, 20_000.0, Some(2951.0), || {
        block_on(2, async { create(&World::start(None).await).await })
    });
    let durable = "http/create ConfigMaps, 64 connections, durable";
    most(durable, 12_000.0, Some(2452.0), || {
        // Beside the build, not in /tmp, which may be memory.
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        block_on(2, async { create(&World::start(Some(&directory)).await).await })
    });
    most("http/merge patch, 64 connections", 12_000.0, Some(1636.0), || block_on(2, patch()));
    most("http/get, 64 connections", 40_000.0, Some(4384.0), || block_on(2, get()));
    least("http/list 10000 ConfigMaps", "ms", 8.0, Some(69.0), || block_on(2, list()));
    for (count, target, upstream) in [(1000, 10.0, Some(30.6)), (10_000, 100.0, None)] {
        let name = format!("http/event to the last of {count} watches");
        if wanted(&name) {
            report(&name, block_on(2, event(count)), "ms", target, upstream);
        }
    }
    for (name, tls, target) in [
        ("http/memory of an idle watch, TLS", true, 20.0),
        ("http/memory of an idle watch, Unix socket", false, 4.0),
    ] {
        if is_alone(name) {
            report(name, block_on(2, memory_of_watch(tls)), "KiB", target, None);
        } else if wanted(name) {
            // What went before has left room in this process, which would hide what is needed.
            let program = std::env::current_exe().unwrap();
            assert!(std::process::Command::new(program).arg(name).status().unwrap().success());
        }
    }
}

fn wanted(name: &str) -> bool {
    let mut filters = std::env::args().skip(1).filter(|argument| !argument.starts_with('-'));
    filters.next().is_none_or(|filter| name.contains(&filter))
}

/// Whether nothing else is wanted of this process.
fn is_alone(name: &str) -> bool {
    std::env::args().skip(1).any(|argument| argument == name)
}

/// Reports the best of several runs, for what else the machine does only ever makes it worse.
fn most(name: &str, target: f64, upstream: Option<f64>, mut run: impl FnMut() -> f64) {
    if wanted(name) {
        let best = (0..RUNS).map(|_| run()).fold(0.0, f64::max);
        report(name, best, "/s", target, upstream);
    }
}

fn least(name: &str, unit: &str, target: f64, upstream: Option<f64>, run: impl FnOnce() -> f64) {
    if wanted(name) {
        report(name, run(), unit, target, upstream);
    }
}

fn report(name: &str, value: f64, unit: &str, target: f64, upstream: Option<f64>) {
    let met = if unit.ends_with("/s") { value >= target } else { value <= target };
    let upstream = upstream.map_or_else(|| "null".to_owned(), |figure| figure.to_string());
    println!(
        r#"{{"name": "{name}", "value": {value:.3}, "unit": "{unit}", "target": {target}, "met": {met}, "upstream": {upstream}}}"#
    );
}

fn block_on<T>(threads: usize, future: impl Future<Output = T>) -> T {
    let runtime = Builder::new_multi_thread().worker_threads(threads).enable_all().build().unwrap();
    runtime.block_on(future)
}

/// A server that listens, with the namespace `default`.
struct World {
    server: Server,
    serving: Serving,
    credentials: [String; 3],
    directory: TempDir,
}

impl World {
    async fn start(data: Option<&TempDir>) -> Self {
        let env = Env::system();
        let catalog = Catalog::builtin();
        let store = match data {
            None => Store::memory(),
            Some(directory) => {
                let backend = DiskBackend::open(directory.path()).unwrap();
                let codecs = Arc::new({
                    let catalog = catalog.clone();
                    move |table: &str| {
                        let kind = catalog.by_table(table);
                        kind.map_or_else(Codec::of::<DynamicObject>, |kind| kind.codec)
                    }
                });
                Store::open(Box::new(backend), codecs).await.unwrap()
            }
        };
        let server = Server::builder(store, catalog, env.clone()).build();
        let authority = Arc::new(Authority::open(None, &env).unwrap());
        let directory = tempfile::tempdir().unwrap();
        let config = ServeConfig {
            address: Some(SocketAddr::from(([127, 0, 0, 1], 0))),
            unix: Some(directory.path().join("socket")),
            ..ServeConfig::default()
        };
        let front = Front::builder(server.clone()).build();
        let serving = front.serve(authority.clone(), config).await.unwrap();
        let mut namespace = Namespace::default();
        namespace.metadata.name = Some("default".to_owned());
        server.client(User::host()).of().unwrap().create(namespace).await.unwrap();
        Self { server, serving, credentials: wire::credentials(&authority), directory }
    }

    fn address(&self) -> Address {
        Address::tls(&self.serving.address().unwrap().to_string(), &self.credentials)
    }

    /// How the watching process finds the server.
    fn place(&self, tls: bool) -> Vec<String> {
        if tls {
            let address = self.serving.address().unwrap().to_string();
            [address].into_iter().chain(self.credentials.clone()).collect()
        } else {
            let path = self.directory.path().join("socket");
            vec!["unix".to_owned(), path.to_str().unwrap().to_owned()]
        }
    }

    /// Does one request for each number, on so many connections at once; gives requests per second.
    async fn load<F>(&self, count: usize, request: F) -> f64
    where
        F: Fn(usize) -> (&'static str, String, &'static str, Vec<u8>) + Clone + Send + 'static,
    {
        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS {
            connections.push(self.address().connect().await);
        }
        let stopwatch = Stopwatch::start();
        let tasks = connections.into_iter().enumerate().map(|(first, mut connection)| {
            let request = request.clone();
            tokio::spawn(async move {
                for number in (first..count).step_by(CONNECTIONS) {
                    let (method, path, media_type, body) = request(number);
                    connection.request(method, &path, media_type, &body).await;
                }
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap();
        }
        count as f64 / stopwatch.elapsed().as_secs_f64()
    }

    /// Makes objects without the front.
    async fn fill(&self) {
        let maps = self.server.client(User::host()).of::<ConfigMap>().unwrap();
        for number in 0..OBJECTS {
            maps.create(serde_json::from_slice(&config_map(number)).unwrap()).await.unwrap();
        }
    }
}

fn name(number: usize) -> String {
    format!("settings-{number:06}")
}

/// About 460 bytes as it is stored, as that of upstream's measurement.
fn config_map(number: usize) -> Vec<u8> {
    let value = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {
            "name": name(number), "namespace": "default", "labels": {"app": "web", "tier": "front"},
        },
        "data": {"color": "blue", "text": "x".repeat(200)},
    });
    value.to_string().into_bytes()
}

async fn create(world: &World) -> f64 {
    let bodies: Arc<Vec<_>> = Arc::new((0..OBJECTS).map(config_map).collect());
    let request =
        move |number: usize| ("POST", CONFIG_MAPS.to_owned(), JSON, bodies[number].clone());
    let rate = world.load(OBJECTS, request).await;
    world.serving.stop().await;
    rate
}

async fn patch() -> f64 {
    let world = World::start(None).await;
    world.fill().await;
    let rate = world
        .load(OBJECTS, |number| {
            let body = json!({"data": {"color": format!("green-{number}")}});
            let path = format!("{CONFIG_MAPS}/{}", name(number));
            ("PATCH", path, MERGE, body.to_string().into_bytes())
        })
        .await;
    world.serving.stop().await;
    rate
}

async fn get() -> f64 {
    let world = World::start(None).await;
    world.fill().await;
    let rate = world
        .load(4 * OBJECTS, |number| {
            ("GET", format!("{CONFIG_MAPS}/{}", name(number % OBJECTS)), JSON, Vec::new())
        })
        .await;
    world.serving.stop().await;
    rate
}

/// Milliseconds of the best of many lists.
async fn list() -> f64 {
    let world = World::start(None).await;
    world.fill().await;
    let mut connection = world.address().connect().await;
    let mut best = f64::INFINITY;
    for _ in 0..20 {
        let stopwatch = Stopwatch::start();
        let length = connection.request("GET", CONFIG_MAPS, JSON, b"").await;
        best = best.min(stopwatch.elapsed().as_secs_f64() * 1e3);
        assert!(length > OBJECTS * 300);
    }
    world.serving.stop().await;
    best
}

/// Milliseconds from a write until the last of so many watches has told of it.
async fn event(count: usize) -> f64 {
    let world = World::start(None).await;
    let after = world.server.store().revision();
    let mut watchers = Watchers::start(&world.place(true), count, after).await;
    let mut connection = world.address().connect().await;
    let mut best = f64::INFINITY;
    for number in 0..10 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let stopwatch = Stopwatch::start();
        connection.request("POST", CONFIG_MAPS, JSON, &config_map(number)).await;
        watchers.all_seen().await;
        best = best.min(stopwatch.elapsed().as_secs_f64() * 1e3);
    }
    drop(watchers);
    world.serving.stop().await;
    best
}

/// KiB of this process for each of a thousand watches that nothing happens to.
async fn memory_of_watch(tls: bool) -> f64 {
    const WATCHES: usize = 2000;
    let world = World::start(None).await;
    let after = world.server.store().revision();
    // What is made once, and what the allocator takes at first, is there before it counts.
    let warm = Watchers::start(&world.place(tls), 50, after).await;
    let before = resident_kibibytes();
    let watchers = Watchers::start(&world.place(tls), WATCHES, after).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let used = resident_kibibytes() - before;
    drop((warm, watchers));
    world.serving.stop().await;
    used / WATCHES as f64
}

fn resident_kibibytes() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
