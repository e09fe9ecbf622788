use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt as _;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use pinnace_api::patch::Patch;
use pinnace_client::nodes::{LogOptions, NodeDirectory as _, PodReference};
use pinnace_network::HostNetwork;
use pinnace_node::{Eviction, Machine, NodeConfig, NodeSettings, machine_capacity};
use pinnace_runtime::Runtime;
use pinnace_runtime::process::{Process, ProcessConfig};
use serde_json::json;

use crate::world::{World, condition, container, key, state};

/// The API lets go of a pod that has ended before its node is done with it.
async fn until_empty(runtime: &Process) {
    let empty = async {
        while !runtime.list_pods().await.unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), empty).await.expect("the pod is removed");
}

/// An agent for this machine, whose containers are processes.
async fn with_processes(world: &mut World, directory: &std::path::Path) -> Arc<Process> {
    world.env = pinnace_env::Env::system();
    world.machine = Machine::Local { state: directory.join("state"), plugins: None };
    world.logs = directory.join("logs");
    // What a runtime finds of its namespace is its own, so no two tests share one.
    let namespace = format!("node-test-{}", pinnace_env::Random::from_os().suffix(8));
    let config = ProcessConfig::new(namespace, directory.join("run"), world.env.clone());
    let runtime = Arc::new(Process::open(config).await.unwrap());
    let ip = "127.0.0.1".parse().unwrap();
    world.start_agent(vec![NodeConfig {
        name: "n1".to_owned(),
        labels: BTreeMap::new(),
        taints: Vec::new(),
        capacity: machine_capacity(directory),
        settings: NodeSettings {
            // Whether this machine's disk is full is not the test's concern.
            eviction: Some(Eviction {
                interval: Duration::from_millis(100),
                thresholds: Vec::new(),
                ..Eviction::default()
            }),
            ..NodeSettings::default()
        },
        addresses: vec![ip],
        port: 0,
        runtime: runtime.clone(),
        network: Arc::new(HostNetwork::new(vec![ip])),
    }]);
    runtime
}

/// Real processes on this machine, in real time.
#[tokio::test]
async fn a_real_process_has_its_volumes_its_log_and_its_last_words() {
    let directory = tempfile::tempdir().unwrap();
    let mut world = World::new().await;
    let runtime = with_processes(&mut world, directory.path()).await;
    let metadata = json!({"name": "map", "namespace": "default"});
    world.create::<ConfigMap>(json!({"metadata": metadata, "data": {"a": "hello"}})).await;
    let script = "echo $GREETING from $(id -u); echo words; exit 3";
    let variable =
        json!({"name": "GREETING", "valueFrom": {"configMapKeyRef": {"name": "map", "key": "a"}}});
    world
        .pod(json!({
            "restartPolicy": "Never",
            "hostNetwork": true,
            "containers": [{
                "name": "c", "image": "none:1", "command": ["/bin/sh", "-c", script],
                "env": [variable], "terminationMessagePolicy": "FallbackToLogsOnError"
            }]
        }))
        .await;
    let pod = world.until_phase("Failed").await;
    assert_eq!(state(&pod, "c"), "terminated/Error/3");
    let ended = container(&pod, "c").unwrap().state.clone().unwrap().terminated.unwrap();
    assert!(ended.message.unwrap().ends_with("words\n"));
    let reference = PodReference {
        namespace: "default".to_owned(),
        name: "p".to_owned(),
        uid: pod.object().uid().to_owned(),
    };
    let node = world.nodes().node("n1").unwrap();
    let log = node.logs(&reference, "c", LogOptions::default()).await.unwrap();
    let log: Vec<_> = log.try_collect().await.unwrap();
    assert!(String::from_utf8_lossy(&log.concat()).contains("hello from"));
    world.delete(None).await;
    world.until_gone().await;
    until_empty(&runtime).await;
    world.stop_agent().await;
    runtime.shutdown().await;
}

#[tokio::test]
async fn a_command_that_does_not_exist_ends_a_pod_that_never_restarts() {
    let directory = tempfile::tempdir().unwrap();
    let mut world = World::new().await;
    world.env = pinnace_env::Env::system();
    world.machine = Machine::Local { state: directory.path().join("state"), plugins: None };
    world.logs = directory.path().join("logs");
    // What a runtime finds of its namespace is its own, so no two tests share one.
    let namespace = format!("node-test-{}", world.env.random().suffix(8));
    let config = ProcessConfig::new(namespace, directory.path().join("run"), world.env.clone());
    let runtime = Arc::new(Process::open(config).await.unwrap());
    let mut node = world.node("n1");
    node.runtime = runtime.clone();
    world.start_agent(vec![node]);
    world
        .pod(json!({
            "restartPolicy": "Never",
            "hostNetwork": true,
            "containers": [{"name": "c", "image": "none:1", "command": ["/does/not/exist"]}]
        }))
        .await;
    let pod = world.until_phase("Failed").await;
    assert_eq!(state(&pod, "c"), "terminated/StartError/128");
    world.delete(None).await;
    world.until_gone().await;
    until_empty(&runtime).await;
    world.stop_agent().await;
    runtime.shutdown().await;
}

/// Probes and hooks of a real process, in real time.
#[tokio::test]
async fn a_real_process_is_probed_and_has_its_hooks() {
    let directory = tempfile::tempdir().unwrap();
    let mut world = World::new().await;
    let runtime = with_processes(&mut world, directory.path()).await;
    let flag = directory.path().join("flag").display().to_string();
    let last = directory.path().join("last").display().to_string();
    let exec = |script: String| json!({"exec": {"command": ["/bin/sh", "-c", script]}});
    let mut probe = exec(format!("test -e {flag} || {{ echo no flag; exit 1; }}"));
    probe["periodSeconds"] = json!(1);
    let hooks = json!({
        "postStart": exec(format!("touch {flag}.started")),
        "preStop": exec(format!("echo bye > {last}"))
    });
    world
        .pod(json!({
            "hostNetwork": true, "terminationGracePeriodSeconds": 5,
            "containers": [{
                "name": "c", "image": "none:1", "command": ["/bin/sleep", "1000"],
                "readinessProbe": probe, "lifecycle": hooks
            }]
        }))
        .await;
    world.until("runs", |pod| state(pod, "c") == "running").await;
    assert!(std::path::Path::new(&format!("{flag}.started")).exists());
    let told = async {
        let message = "Readiness probe failed: no flag\n";
        while !world.events().await.iter().any(|(_, told)| told == message) {}
    };
    tokio::time::timeout(Duration::from_secs(20), told).await.expect("the failure is told");
    std::fs::write(&flag, "").unwrap();
    world.until("ready", |pod| container(pod, "c").unwrap().ready).await;
    world.delete(None).await;
    world.until_gone().await;
    assert_eq!(std::fs::read_to_string(&last).unwrap(), "bye\n");
    until_empty(&runtime).await;
    world.stop_agent().await;
    runtime.shutdown().await;
}

/// What processes use is read from the kernel: their CPU, their memory, and what they write.
#[tokio::test]
async fn what_real_processes_use_is_measured() {
    let directory = tempfile::tempdir().unwrap();
    let mut world = World::new().await;
    let runtime = with_processes(&mut world, directory.path()).await;
    let script = "dd if=/dev/zero of=/data/file bs=1M count=3 2>/dev/null; echo full; \
                  while true; do :; done";
    world
        .pod(json!({
            "hostNetwork": true, "terminationGracePeriodSeconds": 0,
            "volumes": [{"name": "data", "emptyDir": {}}],
            "containers": [{
                "name": "c", "image": "none:1", "command": ["/bin/sh", "-c", script],
                "volumeMounts": [{"name": "data", "mountPath": "/data"}]
            }]
        }))
        .await;
    world.until_phase("Running").await;
    let node = world.nodes().node("n1").unwrap();
    let measured = async {
        loop {
            let summary = node.summary(false).await.unwrap();
            let [pod] = &summary.pods[..] else { panic!("one pod: {summary:?}") };
            let volume = pod.volumes[0].fs.used_bytes.unwrap();
            let cpu = pod.containers.first().and_then(|one| one.cpu?.usage_nano_cores);
            if volume >= 3 << 20 && cpu.is_some_and(|cpu| cpu > 100_000_000) {
                return summary;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let found = tokio::time::timeout(Duration::from_secs(30), measured).await.expect("it is busy");
    let (pod, node) = (&found.pods[0], &found.node);
    assert!(pod.containers[0].memory.unwrap().working_set_bytes > Some(0));
    assert!(pod.containers[0].logs.unwrap().used_bytes > Some(0));
    assert!(pod.ephemeral_storage.unwrap().used_bytes >= Some(3 << 20));
    assert!(node.cpu.unwrap().usage_nano_cores > Some(0) && node.rlimit.unwrap().max > 0);
    let memory = node.memory.unwrap();
    let capacity = u64::try_from(machine_capacity(directory.path()).memory_bytes).unwrap();
    assert_eq!(memory.available_bytes.unwrap() + memory.working_set_bytes.unwrap(), capacity);
    assert!(node.fs.unwrap().capacity_bytes > node.fs.unwrap().available_bytes);
    world.delete(Some(0)).await;
    world.until_gone().await;
    until_empty(&runtime).await;
    world.stop_agent().await;
    runtime.shutdown().await;
}

async fn evicted(world: &mut World, runtime: &Process, spec: serde_json::Value) -> String {
    world.pod(spec).await;
    let pod = world.until_phase("Failed").await;
    let status = pod.status.clone().unwrap();
    assert_eq!(status.reason.as_deref(), Some("Evicted"));
    world.delete(Some(0)).await;
    world.until_gone().await;
    until_empty(runtime).await;
    status.message.unwrap()
}

#[tokio::test]
async fn pods_that_write_more_than_they_may_are_evicted() {
    let directory = tempfile::tempdir().unwrap();
    let mut world = World::new().await;
    let runtime = with_processes(&mut world, directory.path()).await;
    let spec = |script: &str, limit: Option<&str>, size: Option<&str>| {
        let mut container = json!({
            "name": "c", "image": "none:1", "command": ["/bin/sh", "-c", script],
            "volumeMounts": [{"name": "data", "mountPath": "/data"}]
        });
        if let Some(limit) = limit {
            container["resources"] = json!({"limits": {"ephemeral-storage": limit}});
        }
        let source = size.map_or(json!({}), |size| json!({"sizeLimit": size}));
        json!({
            "hostNetwork": true, "containers": [container],
            "volumes": [{"name": "data", "emptyDir": source}],
        })
    };
    let fill = "dd if=/dev/zero of=/data/file bs=1M count=3 2>/dev/null; sleep 600";
    let message = evicted(&mut world, &runtime, spec(fill, None, Some("1Mi"))).await;
    assert_eq!(message, "Usage of EmptyDir volume \"data\" exceeds the limit \"1Mi\". ");
    let message = evicted(&mut world, &runtime, spec(fill, Some("2Mi"), None)).await;
    let whole = "Pod ephemeral local storage usage exceeds the total limit of containers 2Mi. ";
    assert_eq!(message, whole);
    let events = world.events().await;
    assert!(events.contains(&("Evicted".to_owned(), whole.to_owned())), "{events:?}");
    world.stop_agent().await;
    runtime.shutdown().await;
}

#[tokio::test]
async fn a_memory_limit_below_what_is_in_use_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let mut world = World::new().await;
    let runtime = with_processes(&mut world, directory.path()).await;
    if !Process::restrictions(&runtime).is_empty() {
        println!("skipped: {:?}", Process::restrictions(&runtime));
        return world.stop_agent().await;
    }
    let filled = directory.path().join("filled");
    let script = format!(
        "x=$(head -c 20000000 /dev/zero | tr '\\0' x); touch {}; sleep 600",
        filled.display()
    );
    let limits =
        |memory: &str| json!({"requests": {"memory": "1Mi"}, "limits": {"memory": memory}});
    world
        .pod(json!({"hostNetwork": true, "containers": [{
            "name": "c", "image": "none:1", "command": ["/bin/sh", "-c", script],
            "resources": limits("512Mi")
        }]}))
        .await;
    world.until_phase("Running").await;
    until("the memory is in use", || filled.exists()).await;
    let resize = async |memory: &str| {
        let one = json!({"name": "c", "resources": limits(memory)});
        let patch = Patch::StrategicMerge(json!({"spec": {"containers": [one]}}));
        world.pods().resize(&key("p"), patch).await.unwrap();
    };
    let progress = |pod: &Pod| condition(pod, "PodResizeInProgress");
    resize("8Mi").await;
    let pod = world.until("it is refused", |pod| progress(pod).contains("/Error/")).await;
    let said = progress(&pod);
    for part in [
        "cannot decrease memory limits: [attempting to set pod memory limit (8388608) below \
          current usage (",
        "), attempting to set container \"c\" memory limit (8388608) below",
    ] {
        assert!(said.contains(part), "{said}");
    }
    resize("256Mi").await;
    world.until("it is enacted", |pod| progress(pod).is_empty()).await;
    let pod = world.get().await;
    assert_eq!((state(&pod, "c").as_str(), restarts(&pod)), ("running", 0));
    world.delete(Some(0)).await;
    world.until_gone().await;
    until_empty(&runtime).await;
    world.stop_agent().await;
    runtime.shutdown().await;
}

fn restarts(pod: &Pod) -> i32 {
    container(pod, "c").unwrap().restart_count
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting).await.expect(what);
}

#[tokio::test]
async fn the_last_words_of_a_pod_are_bound_together() {
    let directory = tempfile::tempdir().unwrap();
    let mut world = World::new().await;
    let runtime = with_processes(&mut world, directory.path()).await;
    let words = "head -c 3000 /dev/zero | tr '\\0' x; exit 1";
    let one = |number: usize| {
        json!({
            "name": format!("c{number}"), "image": "none:1", "command": ["/bin/sh", "-c", words],
            "terminationMessagePolicy": "FallbackToLogsOnError"
        })
    };
    let containers: Vec<_> = (0..8).map(one).collect();
    world
        .pod(json!({"restartPolicy": "Never", "hostNetwork": true, "containers": containers}))
        .await;
    let pod = world.until_phase("Failed").await;
    for status in pod.status.as_ref().unwrap().container_statuses.iter().flatten() {
        let ended = status.state.as_ref().unwrap().terminated.as_ref().unwrap();
        // An eighth of 12 KiB.
        assert_eq!(ended.message.as_ref().unwrap().len(), 1536);
    }
    world.delete(Some(0)).await;
    world.until_gone().await;
    until_empty(&runtime).await;
    world.stop_agent().await;
    runtime.shutdown().await;
}
