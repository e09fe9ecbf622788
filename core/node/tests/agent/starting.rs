use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use k8s_openapi::api::node::v1::RuntimeClass;
use pinnace_node::{Capacity, Machine, NodeSettings};
use pinnace_runtime::Runtime as _;
use serde_json::json;

use crate::world::{World, container, state};

#[tokio::test(start_paused = true)]
async fn a_missing_config_map_holds_the_container_until_it_is_there() {
    let world = World::with_node().await;
    let variable =
        json!({"name": "A", "valueFrom": {"configMapKeyRef": {"name": "map", "key": "a"}}});
    world.pod(json!({"containers": [{"name": "c", "image": "i", "env": [variable]}]})).await;
    let reason = "waiting/CreateContainerConfigError";
    let pod = world.until(reason, |pod| state(pod, "c") == reason).await;
    let waiting = container(&pod, "c").unwrap().state.clone().unwrap().waiting.unwrap();
    assert_eq!(waiting.message.as_deref(), Some("configmap \"map\" not found"));
    let begun = tokio::time::Instant::now();
    let metadata = json!({"name": "map", "namespace": "default"});
    world.create::<ConfigMap>(json!({"metadata": metadata, "data": {"a": "1"}})).await;
    world.until_phase("Running").await;
    assert!(begun.elapsed().as_secs() < 1, "nobody waits for a retry");
    let running = world.runtime.running();
    assert!(running[0].config.env.contains(&("A".to_owned(), "1".to_owned())));
}

#[tokio::test(start_paused = true)]
async fn the_environment_knows_the_pods_addresses() {
    let world = World::with_node().await;
    let env = json!([
        {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "URL", "value": "http://$(IP)/"}
    ]);
    let one = json!({"name": "c", "image": "i", "env": env, "args": ["--at", "$(URL)"]});
    world.pod(json!({"containers": [one]})).await;
    world.until_phase("Running").await;
    let config = world.runtime.running()[0].config.clone();
    assert_eq!(config.args, ["--at", "http://10.1.0.2/"]);
}

#[tokio::test(start_paused = true)]
async fn a_missing_volume_source_is_an_event_and_holds_the_pod() {
    let world = World::with_node().await;
    world
        .pod(json!({
            "volumes": [{"name": "v", "secret": {"secretName": "s"}}],
            "containers": [{"name": "c", "image": "i", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}]
        }))
        .await;
    world.until("it waits", |pod| state(pod, "c") == "waiting/ContainerCreating").await;
    let events = world.events().await;
    let message = "MountVolume.SetUp failed for volume \"v\" : secret \"s\" not found";
    assert!(events.contains(&("FailedMount".to_owned(), message.to_owned())), "{events:?}");
    world.create::<Secret>(json!({"metadata": {"name": "s", "namespace": "default"}})).await;
    world.until_phase("Running").await;
}

#[tokio::test(start_paused = true)]
async fn pods_bound_past_the_scheduler_are_checked() {
    let mut world = World::new().await;
    let mut node = world.node("n1");
    node.capacity = Capacity { cpu_millis: 500, ..Capacity::default() };
    world.start_agent(vec![node]);
    let resources = json!({"requests": {"cpu": "501m"}});
    world.pod(json!({"containers": [{"name": "c", "image": "i", "resources": resources}]})).await;
    let pod = world.until_phase("Failed").await;
    let status = pod.status.as_ref().unwrap();
    assert_eq!(status.reason.as_deref(), Some("OutOfcpu"));
    assert_eq!(
        status.message.as_deref(),
        Some(
            "Pod was rejected: Node didn't have enough resource: cpu, requested: 501, used: 0, capacity: 500"
        )
    );
}

#[tokio::test(start_paused = true)]
async fn on_a_real_machine_volumes_are_files_and_follow_their_source() {
    let directory = tempfile::tempdir().unwrap();
    let mut world = World::new().await;
    let state_directory = directory.path().join("state");
    world.machine = Machine::Local { state: state_directory.clone(), plugins: None };
    world.logs = directory.path().join("logs");
    world.start_agent(vec![world.node("n1")]);
    let metadata = json!({"name": "map", "namespace": "default"});
    world.create::<ConfigMap>(json!({"metadata": metadata, "data": {"a": "1"}})).await;
    let pod = world
        .pod(json!({
            "volumes": [{"name": "v", "configMap": {"name": "map"}}],
            "containers": [{"name": "c", "image": "i", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}]
        }))
        .await;
    world.until_phase("Running").await;
    let config = world.runtime.running()[0].config.clone();
    let file = config.mounts[0].host_path.join("a");
    let uid = pod.metadata.uid.clone().unwrap();
    assert!(file.starts_with(state_directory.join("pods").join(&uid)));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "1");
    assert!(config.termination_message.is_file());

    let api = world.client.of::<ConfigMap>().unwrap();
    api.modify(&crate::world::key("map"), |map| {
        map.data.get_or_insert_default().insert("a".to_owned(), "2".to_owned());
        true
    })
    .await
    .unwrap();
    let changed = async {
        while std::fs::read_to_string(&file).unwrap() != "2" {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(3600), changed).await.unwrap();

    std::fs::write(&config.termination_message, "last words").unwrap();
    assert!(world.runtime.exit(&world.runtime.running()[0].id.clone(), 1));
    let pod = world
        .until("it is restarted", |pod| container(pod, "c").is_some_and(|c| c.restart_count == 1))
        .await;
    let last = container(&pod, "c").unwrap().last_state.clone().unwrap().terminated.unwrap();
    assert_eq!(last.message.as_deref(), Some("last words"));

    world.delete(None).await;
    world.until_gone().await;
    world.stop_agent().await;
    assert_eq!(std::fs::read_dir(state_directory.join("pods")).unwrap().count(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_a_real_machine_cannot_do_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let mut world = World::new().await;
    world.machine = Machine::Local { state: directory.path().join("state"), plugins: None };
    world.logs = directory.path().join("logs");
    world.start_agent(vec![world.node("n1")]);
    world.pod(json!({"hostUsers": false, "containers": [{"name": "c", "image": "i"}]})).await;
    world.until("it waits", |pod| state(pod, "c") == "waiting/ContainerCreating").await;
    let events = world.events().await;
    let message = "Failed to create pod sandbox: can't set `spec.hostUsers: false`, runtime does \
                   not support user namespaces"
        .to_owned();
    let reason = "FailedCreatePodSandBox".to_owned();
    assert!(events.contains(&(reason, message)), "{events:?}");
    world.delete(None).await;
    world.until_gone().await;
    world.stop_agent().await;
}

#[tokio::test(start_paused = true)]
async fn a_runtime_class_must_be_there() {
    let mut world = World::new().await;
    let class = json!({"metadata": {"name": "fast"}, "handler": "x"});
    world.create::<RuntimeClass>(class.clone()).await;
    world
        .pod(json!({"runtimeClassName": "fast", "containers": [{"name": "c", "image": "i"}]}))
        .await;
    let classes = world.client.of::<RuntimeClass>().unwrap();
    classes.delete(&pinnace_api::Key::cluster("fast"), Default::default()).await.unwrap();
    world.start_agent(vec![world.node("n1")]);
    world.until("it waits", |pod| state(pod, "c") == "waiting/ContainerCreating").await;
    let message = "Failed to create pod sandbox: runtimeclasses.node.k8s.io \"fast\" not found";
    let events = world.events().await;
    let told = ("FailedCreatePodSandBox".to_owned(), message.to_owned());
    assert!(events.contains(&told), "{events:?}");
    world.create::<RuntimeClass>(class).await;
    world.until_phase("Running").await;
}

#[tokio::test(start_paused = true)]
async fn a_port_of_the_machine_is_one_pods() {
    let world = World::with_node().await;
    let ports = |port: i32| json!([{"containerPort": 80, "hostPort": port}]);
    let spec = |port: i32| {
        json!({"nodeName": "n1", "containers": [
            {"name": "c", "image": "i", "ports": ports(port)}
        ]})
    };
    let create = async |name: &str, port: i32| {
        let metadata = json!({"name": name, "namespace": "default"});
        world.create::<Pod>(json!({"metadata": metadata, "spec": spec(port)})).await;
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        world.pods().get(&crate::world::key(name)).await.unwrap().status.clone().unwrap()
    };
    assert_eq!(create("first", 8080).await.phase.as_deref(), Some("Running"));
    assert_eq!(create("other", 8081).await.phase.as_deref(), Some("Running"));
    let refused = create("second", 8080).await;
    assert_eq!(
        (refused.phase.as_deref(), refused.reason.as_deref()),
        (Some("Failed"), Some("NodePorts"))
    );
}

#[tokio::test(start_paused = true)]
async fn what_the_node_limits_is_told_the_runtime() {
    let mut world = World::new().await;
    let mut node = world.node("n1");
    let document = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n\
                    podPidsLimit: 100\ncontainerLogMaxFiles: 3\n";
    node.settings = NodeSettings::read(document.as_bytes()).unwrap();
    world.start_agent(vec![node]);
    world.pod(json!({"containers": [{"name": "c", "image": "i"}]})).await;
    world.until_phase("Running").await;
    let pod = world.runtime.list_pods().await.unwrap().remove(0).config;
    assert_eq!((pod.resources.pids_limit, pod.log_limits.max_files), (100, 3));
}
