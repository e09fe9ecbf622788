//! `kill -9` at any moment loses no acknowledged write and corrupts nothing.
//!
//! The test runs itself again as a child that writes and says what was acknowledged, kills it at
//! random moments, at the start and while opening too, and lets the next child check what it finds.
//!
//! A child has several tasks. The writes of a task follow from its number and a count, and each
//! writes the count along with one or two objects, in one transaction. So the count that is found
//! says what all objects of the task must be, and it may be one ahead of the last acknowledged at
//! most.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use pinnace_api::k8s_openapi::api::core::v1::ConfigMap;
use pinnace_api::{Codec, Draft, Key};
use pinnace_store::{DiskBackend, Expect, Snapshot, Store, Transaction};
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

const KILLS: usize = 220;
/// A new directory after this many kills, so that the making of one is hit as well.
const KILLS_PER_DIRECTORY: usize = 20;
const TASKS: u64 = 4;
const KEYS: u64 = 5;
const DIRECTORY: &str = "PINNACE_TEST_DIRECTORY";
const LAST_BREATH: Duration = Duration::from_millis(80);
const PATIENCE: Duration = Duration::from_secs(20);

fn main() {
    if let Ok(directory) = std::env::var(DIRECTORY) {
        return child(Path::new(&directory));
    }
    if std::env::args().any(|argument| argument == "--list") {
        return;
    }
    let seed = std::env::var("PINNACE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    println!("killing {KILLS} times, PINNACE_SEED={seed}");
    let mut random = SmallRng::seed_from_u64(seed);
    let mut acknowledged = 0;
    for _ in 0..KILLS / KILLS_PER_DIRECTORY {
        let directory = tempfile::tempdir().unwrap();
        let mut counts = Counts::default();
        for kill in 0..KILLS_PER_DIRECTORY {
            acknowledged += kill_one(directory.path(), &mut counts, &mut random, kill);
        }
        let snapshot = runtime().block_on(open(directory.path())).snapshot();
        for task in 0..TASKS {
            check_found(&mut counts, task, check(&snapshot, task));
        }
    }
    println!("{acknowledged} acknowledged writes, none lost");
    assert!(acknowledged > KILLS, "the children hardly wrote anything");
}

/// What each task was last told is durable.
type Counts = BTreeMap<u64, u64>;

/// Runs a child, kills it, and checks what it said. Returns how many writes were acknowledged.
fn kill_one(directory: &Path, counts: &mut Counts, random: &mut SmallRng, kill: usize) -> usize {
    let (mut child, lines) = spawn(directory);
    let mut said = Vec::new();
    // Every third is hit while it starts.
    if !kill.is_multiple_of(3) {
        while !said.iter().any(|line: &String| line.starts_with("wrote")) {
            match lines.recv_timeout(PATIENCE) {
                Ok(line) => said.push(line),
                Err(_) => break,
            }
        }
    }
    std::thread::sleep(random.random_range(Duration::ZERO..LAST_BREATH));
    child.kill().unwrap();
    let status = child.wait().unwrap();
    said.extend(lines);
    let killed = std::os::unix::process::ExitStatusExt::signal(&status) == Some(9);
    assert!(killed, "the child ended by itself, {status}: {said:?}");
    for line in &said {
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |index: usize| words[index].parse::<u64>().unwrap();
        match words[0] {
            "found" => {
                check_found(counts, number(1), number(2));
            }
            _ => {
                counts.insert(number(1), number(2));
            }
        }
    }
    said.iter().filter(|line| line.starts_with("wrote")).count()
}

/// Compares what is found with what was told.
fn check_found(counts: &mut Counts, task: u64, found: u64) {
    let told = counts.insert(task, found).unwrap_or(0);
    assert!(
        found == told || found == told + 1,
        "task {task} was told of {told} but {found} was found"
    );
}

fn spawn(directory: &Path) -> (Child, Receiver<String>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .env(DIRECTORY, directory)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in output.lines() {
            if line.map(|line| sender.send(line)).is_err() {
                break;
            }
        }
    });
    (child, lines)
}

/// Checks what is there, then writes until it is killed or nobody listens.
fn child(directory: &Path) {
    runtime().block_on(async {
        let store = open(directory).await;
        let tasks: Vec<_> = (0..TASKS)
            .map(|task| {
                let count = check(&store.snapshot(), task);
                say(&format!("found {task} {count}"));
                tokio::spawn(write(store.clone(), task, count))
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap()
}

async fn open(directory: &Path) -> Store {
    let backend = Box::new(DiskBackend::open(directory).unwrap());
    Store::open(backend, Arc::new(|_| Codec::of::<ConfigMap>())).await.unwrap()
}

/// The count of a task, after checking that its objects are what they must be.
fn check(snapshot: &Snapshot, task: u64) -> u64 {
    let count = count_of(snapshot, task);
    assert_eq!(objects(snapshot, task), expected(task, count), "task {task} at {count}");
    count
}

async fn write(store: Store, task: u64, mut count: u64) {
    let table: Arc<str> = "configmaps".into();
    loop {
        count += 1;
        let mut transaction = Transaction::new();
        let (key, draft) = object(&format!("count-{task}"), count);
        transaction.put(&table, key, Expect::Any, draft);
        for (name, deleted) in step(task, count) {
            let (key, draft) = object(&name, count);
            if !deleted {
                transaction.put(&table, key, Expect::Any, draft);
            } else if store.snapshot().get(&table, &key).is_some() {
                transaction.delete(&table, key, Expect::Present);
            }
        }
        store.commit(transaction).await.unwrap();
        if !say(&format!("wrote {task} {count}")) {
            return;
        }
    }
}

/// Which objects a task writes or removes at a count.
fn step(task: u64, count: u64) -> Vec<(String, bool)> {
    let mut random = SmallRng::seed_from_u64(task << 32 | count);
    let first = random.random_range(0..KEYS);
    let objects =
        if random.random_bool(0.3) { vec![first, (first + 1) % KEYS] } else { vec![first] };
    let deleted = random.random_bool(0.3);
    objects.into_iter().map(|object| (format!("object-{task}-{object}"), deleted)).collect()
}

/// What the objects of a task are at a count: for each the count at which it was written.
fn expected(task: u64, count: u64) -> BTreeMap<String, u64> {
    let mut objects = BTreeMap::new();
    for count in 1..=count {
        for (name, deleted) in step(task, count) {
            if deleted {
                objects.remove(&name)
            } else {
                objects.insert(name, count)
            };
        }
    }
    objects
}

fn objects(snapshot: &Snapshot, task: u64) -> BTreeMap<String, u64> {
    let prefix = format!("object-{task}-");
    snapshot
        .iter("configmaps")
        .filter(|object| object.name().starts_with(&prefix))
        .map(|object| (object.name().to_owned(), value(object)))
        .collect()
}

fn count_of(snapshot: &Snapshot, task: u64) -> u64 {
    let key = Key::new("default", format!("count-{task}"));
    snapshot.get("configmaps", &key).map_or(0, value)
}

fn value(object: &pinnace_api::Object) -> u64 {
    object.get::<ConfigMap>().unwrap().data.as_ref().unwrap()["count"].parse().unwrap()
}

fn object(name: &str, count: u64) -> (Key, Draft) {
    let mut config_map = ConfigMap::default();
    config_map.metadata.namespace = Some("default".to_owned());
    config_map.metadata.name = Some(name.to_owned());
    // Sizes of all kinds, beyond a page now and then.
    let padding = "x".repeat((count * 37 % 6000) as usize);
    let data = [("count".to_owned(), count.to_string()), ("padding".to_owned(), padding)];
    config_map.data = Some(data.into());
    (Key::new("default", name), Draft::new(config_map))
}

/// A line in one write, so that it is told whole or not at all; false when nobody listens.
fn say(line: &str) -> bool {
    let mut output = std::io::stdout().lock();
    output.write_all(format!("{line}\n").as_bytes()).and_then(|()| output.flush()).is_ok()
}
