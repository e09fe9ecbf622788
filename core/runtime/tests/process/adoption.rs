//! A host that ends, in whatever way, and the next one.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use pinnace_runtime::{ContainerId, ContainerPhase, Runtime};
use rustix::process::Signal;

use crate::world::{Home, World, exited, lives, open, pid, sh, signal, until};

const DIRECTORY: &str = "PINNACE_TEST_HOST_DIRECTORY";
const NAMESPACE: &str = "PINNACE_TEST_HOST_NAMESPACE";

/// Not a test by itself: the host that is killed.
#[tokio::test]
#[ignore = "the other half of a_host_that_was_killed_leaves_its_containers"]
async fn host() {
    let Some(directory) = std::env::var_os(DIRECTORY).map(PathBuf::from) else { return };
    let namespace = std::env::var(NAMESPACE).unwrap();
    let runtime = open(&directory, &namespace).await;
    let inner = tempfile::tempdir_in(&directory).unwrap();
    let home = Home { directory: inner, namespace: namespace.clone() };
    let world = World { runtime, home, namespace, runs: 0.into() };
    for (name, script) in [
        ("stays", "echo one; sleep 1000"),
        ("ends", "trap 'echo last; exit 7' USR1; echo ready; while :; do sleep 0.01; done"),
    ] {
        let mut pod = world.pod(name);
        pod.log_directory = directory.join("logs").join(name);
        world.runtime.create_pod(&pod).await.unwrap();
        let container = world.start(name, &sh(script)).await.unwrap();
        until(async || !world.log(&container).await.is_empty()).await;
        println!("pid {}", pid(&world.runtime, &container).await);
    }
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn a_host_that_was_killed_leaves_its_containers() {
    let world = World::new().await;
    let World { runtime, home, namespace, .. } = world;
    runtime.shutdown().await;
    drop(runtime);
    let mut host = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "adoption::host", "--ignored", "--nocapture"])
        .env(DIRECTORY, home.path())
        .env(NAMESPACE, &namespace)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(host.stdout.take().unwrap()).lines();
    let mut next_pid = || -> u32 {
        let line = lines.find_map(|line| Some(line.unwrap().split_once("pid ")?.1.to_owned()));
        line.unwrap().parse().unwrap()
    };
    let (stays, ends) = (next_pid(), next_pid());
    host.kill().unwrap();
    host.wait().unwrap();

    signal(ends, Signal::USR1);
    until(async || !lives(ends)).await;
    assert!(lives(stays));

    let runtime = open(home.path(), &namespace).await;
    let world = World { runtime, home, namespace, runs: 0.into() };
    let container = |name: &str| ContainerId(format!("{name}_c_0"));
    let exit = exited(&world.runtime, &container("ends")).await;
    assert_eq!((exit.code, exit.reason), (7, "Error"));
    assert_eq!(world.log(&container("ends")).await, "ready\nlast\n");
    assert_eq!(pid(&world.runtime, &container("stays")).await, stays);
    let mut events = world.runtime.events();
    signal(stays, Signal::TERM);
    assert_eq!(exited(&world.runtime, &container("stays")).await.code, 143);
    events.recv().await.unwrap();
    world.end().await;
}

#[tokio::test]
async fn a_runtime_that_was_shut_down_goes_on_where_it_was() {
    let world = World::new().await;
    let script = "echo one; while ! [ -e \"$1\" ]; do sleep 0.01; done; echo two; sleep 1000";
    let mut config = sh(script);
    let flag = world.home.path().join("flag");
    config.args = vec!["sh".into(), flag.to_string_lossy().into_owned()];
    let container = world.start("p", &config).await.unwrap();
    let before = world.runtime.list_pods().await.unwrap();
    until(async || world.log(&container).await == "one\n").await;
    world.runtime.shutdown().await;
    std::fs::write(flag, "").unwrap();

    let runtime = open(world.home.path(), &world.namespace).await;
    let world = World { runtime, ..world };
    assert_eq!(world.runtime.list_pods().await.unwrap(), before);
    until(async || world.log(&container).await == "one\ntwo\n").await;
    world.runtime.stop_container(&container, std::time::Duration::from_secs(30)).await.unwrap();
    let exit = exited(&world.runtime, &container).await;
    world.runtime.shutdown().await;

    let runtime = open(world.home.path(), &world.namespace).await;
    let world = World { runtime, ..world };
    let state = world.runtime.container(&container).await.unwrap().unwrap();
    assert_eq!(state.phase, ContainerPhase::Exited(exit), "an end is remembered");
    world.end().await;
}

#[tokio::test]
async fn a_pod_that_was_left_half_made_is_removed() {
    let world = World::new().await;
    world.runtime.create_pod(&world.pod("p")).await.unwrap();
    world.runtime.shutdown().await;
    let pods = world.home.path().join("state/process/pods");
    std::fs::remove_file(pods.join("p/pod.json")).unwrap();
    let runtime = open(world.home.path(), &world.namespace).await;
    let world = World { runtime, ..world };
    assert!(world.runtime.list_pods().await.unwrap().is_empty());
    assert!(!pods.join("p").exists());
    world.end().await;
}
