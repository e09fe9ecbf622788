//! Real containers on a machine to which happens what happens to machines.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use pinnace_api::{Catalog, Codec, DynamicObject, Typed};
use pinnace_env::Env;
use pinnace_network::SimulatedNetwork;
use pinnace_node::{Machine, NodeConfig, NodeSettings, machine_capacity};
use pinnace_runtime::cgroup::Cgroups;
use pinnace_runtime::{ContainerPhase, Containerd, ContainerdConfig, Runtime as _};
use pinnace_store::{DiskBackend, Store};
use pinnace_test_harness::{BusyboxImage, PrivateContainerd, why_no_containers};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::world::{World, container, state};

const IMAGE: &str = "docker.io/library/busybox:test";
/// Prints 1, 2, 3 and so on.
const COUNT: &str = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.02; done";
const DIRECTORY: &str = "PINNACE_TEST_NODE_DIRECTORY";
const NAMESPACE: &str = "PINNACE_TEST_NODE_NAMESPACE";

static MACHINES: AtomicU32 = AtomicU32::new(0);

/// A containerd with an image, and where an agent keeps its things.
struct Place {
    containerd: PrivateContainerd,
    namespace: String,
}

impl Place {
    /// `None`, and the reason printed, where real containers cannot run.
    fn new() -> Option<Self> {
        if let Some(reason) = why_no_containers() {
            eprintln!("skipped: {reason}");
            return None;
        }
        let containerd = PrivateContainerd::start().unwrap();
        BusyboxImage::new(IMAGE).write_archive(&containerd.path("image.tar")).unwrap();
        let number = MACHINES.fetch_add(1, Ordering::Relaxed);
        let namespace = format!("node-containerd-{}-{number}", std::process::id());
        Some(Self { containerd, namespace })
    }

    fn directory(&self) -> PathBuf {
        self.containerd.path("")
    }

    /// A world with a node that is this machine.
    async fn world(&self) -> (World, Arc<Containerd>) {
        let mut world = World::over(Store::memory(), Env::system()).await;
        let runtime = begin(&mut world, &self.directory(), &self.namespace).await;
        (world, runtime)
    }

    /// The processes of a name.
    fn processes(&self, name: &str) -> Vec<u32> {
        let named = |pid: &u32| {
            let found = std::fs::read_to_string(format!("/proc/{pid}/comm"));
            found.is_ok_and(|found| found.starts_with(name))
        };
        self.containerd.processes().into_iter().filter(named).collect()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.containerd.end();
        if let Ok(cgroups) = Cgroups::detect(&self.namespace) {
            let _ = cgroups.all().remove();
        }
    }
}

/// Starts an agent for the machine whose containerd is in `directory`.
async fn begin(world: &mut World, directory: &Path, namespace: &str) -> Arc<Containerd> {
    let config = ContainerdConfig::new(namespace, directory.join("pinnace"), world.env.clone());
    let runtime = Containerd::connect(directory.join("containerd.sock"), config).await.unwrap();
    runtime.import_image(&directory.join("image.tar")).await.unwrap();
    let runtime = Arc::new(runtime);
    world.machine = Machine::Local { state: directory.join("node"), plugins: None };
    world.logs = directory.join("logs");
    world.start_agent(vec![NodeConfig {
        name: "n1".to_owned(),
        labels: BTreeMap::new(),
        taints: Vec::new(),
        capacity: machine_capacity(directory),
        settings: NodeSettings::default(),
        addresses: vec!["127.0.0.1".parse().unwrap()],
        port: 0,
        runtime: runtime.clone(),
        network: Arc::new(SimulatedNetwork::new("10.1.0.0/24".parse().unwrap()).unwrap()),
    }]);
    runtime
}

/// Creates a pod that runs a script, and waits until it does.
async fn run(world: &World, script: &str) -> Typed<Pod> {
    world
        .pod(json!({
            "terminationGracePeriodSeconds": 1,
            "containers": [{
                "name": "c", "image": IMAGE, "imagePullPolicy": "Never",
                "command": ["/bin/sh", "-c", script]
            }]
        }))
        .await;
    world.until_phase("Running").await
}

fn id(pod: &Pod) -> Option<String> {
    container(pod, "c").and_then(|one| one.container_id.clone())
}

/// Whether it runs after so many restarts.
fn runs(pod: &Pod, restarts: i32) -> bool {
    state(pod, "c") == "running" && container(pod, "c").unwrap().restart_count == restarts
}

/// How far the first container of a pod has counted, without leaving anything out.
fn counted(logs: &Path, pod: &Typed<Pod>) -> usize {
    let directory = logs.join(format!("default_p_{}/c/0.log", pod.object().uid()));
    let text = std::fs::read_to_string(directory).unwrap_or_default();
    // The last line may just be on its way.
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let numbers = whole.lines().map(|line| line.split(' ').nth(3).unwrap_or_default());
    numbers.zip(1..).fold(0, |_, (found, expected)| {
        assert_eq!(found, expected.to_string());
        expected
    })
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waiting).await.expect(what);
}

async fn goes_on_counting(logs: &Path, pod: &Typed<Pod>) {
    let before = counted(logs, pod);
    until("it goes on", || counted(logs, pod) > before + 5).await;
}

fn kill(pid: u32) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    // It may have gone with another.
    let _ = kill_process(pid, Signal::KILL);
}

async fn end(mut world: World, runtime: Arc<Containerd>) {
    world.delete(Some(0)).await;
    world.until_gone().await;
    // The API lets go of it before its node is done with it.
    let empty = async {
        while !runtime.list_pods().await.unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), empty).await.expect("the pod is removed");
    world.stop_agent().await;
    runtime.shutdown().await;
}

async fn store(directory: &Path) -> Store {
    let catalog = Catalog::builtin();
    let codecs = Arc::new(move |table: &str| {
        catalog.by_table(table).map_or_else(Codec::of::<DynamicObject>, |kind| kind.codec)
    });
    let backend = DiskBackend::open(&directory.join("store")).unwrap();
    Store::open(Box::new(backend), codecs).await.unwrap()
}

/// Not a test by itself: the host that is killed.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "the other half of a_host_that_is_killed_finds_its_pods_again"]
async fn host() {
    let Some(directory) = std::env::var_os(DIRECTORY).map(PathBuf::from) else { return };
    let mut world = World::over(store(&directory).await, Env::system()).await;
    let _runtime = begin(&mut world, &directory, &std::env::var(NAMESPACE).unwrap()).await;
    let pod = run(&world, COUNT).await;
    goes_on_counting(&world.logs, &pod).await;
    println!("it runs");
    std::future::pending::<()>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_killed_finds_its_pods_again() {
    let Some(place) = Place::new() else { return };
    let directory = place.directory();
    let mut host = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "containerd::host", "--ignored", "--nocapture"])
        .env(DIRECTORY, &directory)
        .env(NAMESPACE, &place.namespace)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(host.stdout.take().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| line.contains("it runs")));
    host.kill().unwrap();
    host.wait().unwrap();

    let mut world = World::over(store(&directory).await, Env::system()).await;
    let before = world.get().await;
    let runtime = begin(&mut world, &directory, &place.namespace).await;
    goes_on_counting(&world.logs, &before).await;
    let after = world.get().await;
    assert!(runs(&after, 0) && id(&after).is_some() && id(&after) == id(&before));
    end(world, runtime).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_outlive_a_restart_of_containerd() {
    let Some(mut place) = Place::new() else { return };
    let (world, runtime) = place.world().await;
    let before = run(&world, COUNT).await;
    place.containerd.kill();
    goes_on_counting(&world.logs, &before).await;
    place.containerd.run().unwrap();
    goes_on_counting(&world.logs, &before).await;
    let after = world.get().await;
    assert!(runs(&after, 0) && id(&after) == id(&before));
    // Whoever ends now is started again.
    until("containerd answers", || !place.processes("sh").is_empty()).await;
    place.processes("sh").into_iter().for_each(kill);
    world.until("it runs again", |pod| runs(pod, 1)).await;
    end(world, runtime).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_whose_shim_is_killed_is_started_again() {
    let Some(place) = Place::new() else { return };
    let (world, runtime) = place.world().await;
    let before = run(&world, COUNT).await;
    place.processes("containerd-shim").into_iter().for_each(kill);
    let after = world.until("it runs again", |pod| runs(pod, 1)).await;
    assert_ne!(id(&after), id(&before));
    end(world, runtime).await;
    until("nothing of it stays", || place.containerd.processes().is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_run_again_after_a_restart_of_the_machine() {
    let Some(mut place) = Place::new() else { return };
    let (mut world, runtime) = place.world().await;
    run(&world, COUNT).await;
    // All at once, as far as that can be had.
    world.stop_agent().await;
    drop(runtime);
    place.containerd.kill();
    place.containerd.processes().into_iter().for_each(kill);
    until("all are gone", || place.containerd.processes().is_empty()).await;
    for mounted in place.containerd.mounts() {
        unmount(&mounted, UnmountFlags::DETACH).unwrap();
    }
    Cgroups::detect(&place.namespace).unwrap().all().remove().unwrap();

    place.containerd.run().unwrap();
    let runtime = begin(&mut world, &place.directory(), &place.namespace).await;
    world.until("it runs again", |pod| runs(pod, 1)).await;
    let said = "Pod sandbox changed, it will be killed and re-created.".to_owned();
    assert!(world.events().await.contains(&("SandboxChanged".to_owned(), said)));
    assert!(runtime.list_pods().await.unwrap()[0].whole);
    end(world, runtime).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_has_lost_its_network_is_made_anew() {
    let Some(place) = Place::new() else { return };
    let (world, runtime) = place.world().await;
    run(&world, COUNT).await;
    let found = runtime.list_pods().await.unwrap().remove(0);
    unmount(found.sandbox.network_namespace.unwrap(), UnmountFlags::DETACH).unwrap();
    // It is noticed when a container is about to join it.
    let ContainerPhase::Running { pid, .. } = found.containers[0].phase else { panic!() };
    kill(pid);
    world.until("it runs again", |pod| runs(pod, 1)).await;
    let said = "Pod sandbox changed, it will be killed and re-created.".to_owned();
    assert!(world.events().await.contains(&("SandboxChanged".to_owned(), said)));
    assert!(runtime.list_pods().await.unwrap()[0].whole);
    end(world, runtime).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_holds_logs_up_and_loses_none_of_them() {
    let Some(place) = Place::new() else { return };
    let logs = place.containerd.path("logs");
    std::fs::create_dir(&logs).unwrap();
    mount("test", &logs, "tmpfs", MountFlags::empty(), Some(c"size=256k")).unwrap();
    let (world, runtime) = place.world().await;
    let pod = run(&world, &COUNT.replace("0.02", "0.002")).await;
    goes_on_counting(&logs, &pod).await;
    let filler = logs.join("filler");
    std::fs::write(&filler, vec![0; 1 << 20]).unwrap_err();
    let raw = |pod: &Pod| {
        let id = id(pod).unwrap().split_once("://").unwrap().1.to_owned();
        let uid = pod.metadata.uid.clone().unwrap();
        let file = format!("pinnace/pods/{uid}/containers/{id}/stdout");
        std::fs::read_to_string(place.containerd.path(file)).unwrap().lines().count()
    };
    // What is left of the last page takes some.
    until("the log stands still", || raw(&pod) > counted(&logs, &pod) + 200).await;
    let meanwhile = world.get().await;
    assert!(runs(&meanwhile, 0));
    let printed = raw(&pod);
    std::fs::remove_file(&filler).unwrap();
    until("all is there", || counted(&logs, &pod) >= printed).await;
    end(world, runtime).await;
}
