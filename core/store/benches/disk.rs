//! The back ends on disk side by side: durable commits from one task and from 64, and the time to
//! open 10,000 objects. Figures and the choice they led to are in docs/store.md.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run should say so and end")]

#[path = "candidates/fjall.rs"]
mod fjall;
mod support;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fjall::FjallBackend;
use pinnace_api::Codec;
use pinnace_api::k8s_openapi::api::core::v1::ConfigMap;
use pinnace_env::Stopwatch;
use pinnace_store::{Backend, DiskBackend, Store};
use support::{put, report, table};

const OBJECTS: usize = 10_000;
const TASKS: usize = 64;
const TIME: Duration = Duration::from_secs(3);

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let redb = |path: &Path| Box::new(DiskBackend::open(path).unwrap()) as Box<dyn Backend>;
    let fjall = |path: &Path| Box::new(FjallBackend::open(path).unwrap()) as Box<dyn Backend>;
    runtime.block_on(async {
        measure("redb", true, redb).await;
        measure("fjall", false, fjall).await;
    });
}

async fn measure(name: &str, chosen: bool, backend: impl Fn(&Path) -> Box<dyn Backend>) {
    let target = |target| chosen.then_some(target);
    // Beside the build, not in /tmp, which may be memory.
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = directory.path();
    let store = open(backend(path)).await;
    fill(&store).await;
    let one = rate(&store, 1).await;
    report(&format!("store/{name}/durable commits/1 task"), one, "commits/s", None);
    let many = rate(&store, TASKS).await;
    report(&format!("store/{name}/durable commits/64 tasks"), many, "commits/s", target(15_000.0));
    report(&format!("store/{name}/size"), megabytes(path), "MB", None);
    store.close().await.unwrap();
    let stopwatch = Stopwatch::start();
    let store = open(backend(path)).await;
    let time = stopwatch.elapsed().as_secs_f64() * 1e3;
    report(&format!("store/{name}/open 10000"), time, "ms", target(100.0));
    // A copy of the files while they are open is what a crash leaves behind.
    let crashed = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    rate(&store, 1).await;
    copy(path, crashed.path());
    let stopwatch = Stopwatch::start();
    let reopened = open(backend(crashed.path())).await;
    let time = stopwatch.elapsed().as_secs_f64() * 1e3;
    report(&format!("store/{name}/open 10000 after a crash"), time, "ms", target(100.0));
    assert_eq!(reopened.snapshot().len("configmaps"), OBJECTS);
}

async fn open(backend: Box<dyn Backend>) -> Store {
    Store::open(backend, Arc::new(|_| Codec::of::<ConfigMap>())).await.unwrap()
}

async fn fill(store: &Store) {
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let store = store.clone();
            tokio::spawn(async move {
                for n in (task..OBJECTS).step_by(TASKS) {
                    store.commit(put(&table(), n)).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

/// Commits per second from so many tasks that each wait for one before the next.
async fn rate(store: &Store, tasks: usize) -> f64 {
    let stopwatch = Stopwatch::start();
    let running: Vec<_> = (0..tasks)
        .map(|task| {
            let store = store.clone();
            tokio::spawn(async move {
                let stopwatch = Stopwatch::start();
                let mut count = 0;
                while stopwatch.elapsed() < TIME {
                    let n = (task + count * 7919) % OBJECTS;
                    store.commit(put(&table(), n)).await.unwrap();
                    count += 1;
                }
                count
            })
        })
        .collect();
    let mut commits = 0;
    for task in running {
        commits += task.await.unwrap();
    }
    commits as f64 / stopwatch.elapsed().as_secs_f64()
}

fn megabytes(path: &Path) -> f64 {
    files(path).iter().map(|file| file.metadata().unwrap().len() as f64 / 1e6).sum()
}

fn copy(from: &Path, to: &Path) {
    for file in files(from) {
        let target = to.join(file.strip_prefix(from).unwrap());
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::copy(file, target).unwrap();
    }
}

fn files(path: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(self::files(&path)) } else { files.push(path) }
    }
    files
}
