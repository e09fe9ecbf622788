use std::time::Duration;

use serde_json::json;

use crate::world::{World, condition, container, phase, state};

#[tokio::test(start_paused = true)]
async fn a_pod_that_starts_at_once_is_written_once() {
    let world = World::with_node().await;
    let one = |name: &str| json!({"name": name, "image": "i:1"});
    world.pod(json!({"containers": [one("c"), one("d")]})).await;
    let pod = world.until_phase("Running").await;
    let versions = world.versions().await;
    assert_eq!(versions.len(), 2, "created, and running");

    let status = pod.status.as_ref().unwrap();
    for name in
        ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"]
    {
        assert_eq!(condition(&pod, name), "True", "{name}");
    }
    assert_eq!(status.pod_ip.as_deref(), Some("10.1.0.2"));
    assert_eq!(status.host_ip.as_deref(), Some("192.0.2.7"));
    assert_eq!(status.qos_class.as_deref(), Some("BestEffort"));
    assert_eq!(status.observed_generation, Some(1));
    assert!(status.start_time.is_some());
    let uid = pod.metadata.uid.as_deref().unwrap();
    let one = container(&pod, "c").unwrap();
    assert_eq!(one.container_id, Some(format!("simulated://{uid}-c-0")));
    assert!(one.image_id.starts_with("sha256:") && one.ready && one.started == Some(true));
    let events = world.events().await;
    let reasons: Vec<&str> = events.iter().map(|(reason, _)| reason.as_str()).collect();
    assert_eq!(reasons, ["Pulled", "Created", "Started", "Pulled", "Created", "Started"]);
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_takes_its_time_says_so_meanwhile() {
    let world = World::with_node().await;
    let annotations = json!({"pinnace.dev/simulate": "start-delay=3s"});
    world.pod_with(json!({"containers": [{"name": "c", "image": "i"}]}), annotations).await;
    let pod =
        world.until("it is creating", |pod| state(pod, "c") == "waiting/ContainerCreating").await;
    assert_eq!(
        condition(&pod, "Ready"),
        "False/ContainersNotReady/containers with unready status: [c]"
    );
    assert_eq!(condition(&pod, "PodReadyToStartContainers"), "True");
    world.until_phase("Running").await;
    assert_eq!(world.versions().await.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn init_containers_run_one_after_the_other() {
    let world = World::with_node().await;
    let annotations = json!({
        "pinnace.dev/simulate.a": "run=5s", "pinnace.dev/simulate.b": "run=7s"
    });
    let spec = json!({
        "initContainers": [{"name": "a", "image": "i"}, {"name": "b", "image": "i"}],
        "containers": [{"name": "c", "image": "i"}]
    });
    world.pod_with(spec, annotations).await;
    let pod = world.until("a runs", |pod| state(pod, "a") == "running").await;
    assert_eq!(phase(&pod), "Pending");
    assert_eq!(state(&pod, "b"), "waiting/PodInitializing");
    assert_eq!(
        condition(&pod, "Initialized"),
        "False/ContainersNotInitialized/containers with incomplete status: [a b]"
    );
    let pod = world.until_phase("Running").await;
    assert_eq!(state(&pod, "a"), "terminated/Completed/0");
    assert_eq!(state(&pod, "b"), "terminated/Completed/0");
    assert_eq!(condition(&pod, "Initialized"), "True");
    let began = |name: &str| {
        let state = container(&pod, name).unwrap().state.clone().unwrap();
        state.terminated.unwrap().started_at.unwrap().0
    };
    assert_eq!((began("b") - began("a")).get_seconds(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_sidecar_runs_beside_the_containers_and_ends_after_them() {
    let world = World::with_node().await;
    let annotations = json!({"pinnace.dev/simulate.c": "run=5s"});
    let spec = json!({
        "restartPolicy": "Never",
        "initContainers": [{"name": "side", "image": "i", "restartPolicy": "Always"}],
        "containers": [{"name": "c", "image": "i"}]
    });
    world.pod_with(spec, annotations).await;
    let pod = world.until_phase("Running").await;
    assert_eq!((state(&pod, "side"), state(&pod, "c")), ("running".into(), "running".into()));
    let pod = world.until_phase("Succeeded").await;
    assert_eq!(state(&pod, "side"), "terminated/Completed/0");
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_ran_to_its_end_keeps_its_status_and_nothing_else() {
    let world = World::with_node().await;
    let annotations =
        json!({"pinnace.dev/simulate.c": "run=5s", "pinnace.dev/simulate.d": "run=6s,exit=3"});
    let spec = json!({
        "restartPolicy": "Never",
        "containers": [{"name": "c", "image": "i"}, {"name": "d", "image": "i"}]
    });
    world.pod_with(spec, annotations).await;
    let pod = world.until_phase("Failed").await;
    assert_eq!(state(&pod, "c"), "terminated/Completed/0");
    assert_eq!(state(&pod, "d"), "terminated/Error/3");
    assert_eq!(condition(&pod, "Ready"), "False/PodFailed");
    assert_eq!(pod.status.as_ref().unwrap().pod_ip.as_deref(), Some("10.1.0.2"));
    crate::world::settle().await;
    assert_eq!(world.runtime.pod_count(), 0);
    world.delete(None).await;
    world.until_gone().await;
}

#[tokio::test(start_paused = true)]
async fn a_deleted_pod_has_its_grace_period_and_then_goes() {
    let world = World::with_node().await;
    let annotations = json!({"pinnace.dev/simulate": "ignore-term"});
    let spec = json!({
        "terminationGracePeriodSeconds": 20, "containers": [{"name": "c", "image": "i"}]
    });
    world.pod_with(spec, annotations).await;
    world.until_phase("Running").await;
    let begun = tokio::time::Instant::now();
    world.delete(None).await;
    world.until_gone().await;
    let took = begun.elapsed().as_secs_f64();
    assert!((19.0..21.5).contains(&took), "{took}");
    assert_eq!(world.runtime.pod_count(), 0);
    let last = world.versions().await.pop().unwrap();
    assert_eq!(state(&last, "c"), "terminated/Error/137");
    assert_eq!(phase(&last), "Failed");
    let events = world.events().await;
    assert!(events.contains(&("Killing".to_owned(), "Stopping container c".to_owned())));
}

#[tokio::test(start_paused = true)]
async fn a_second_deletion_may_shorten_the_grace_period() {
    let world = World::with_node().await;
    let annotations = json!({"pinnace.dev/simulate": "ignore-term"});
    let spec = json!({
        "terminationGracePeriodSeconds": 600, "containers": [{"name": "c", "image": "i"}]
    });
    world.pod_with(spec, annotations).await;
    world.until_phase("Running").await;
    let begun = tokio::time::Instant::now();
    world.delete(None).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    world.delete(Some(3)).await;
    world.until_gone().await;
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_was_deleted_by_force_is_stopped_all_the_same() {
    let world = World::with_node().await;
    world.pod(json!({"containers": [{"name": "c", "image": "i"}]})).await;
    world.until_phase("Running").await;
    world.delete(Some(0)).await;
    world.until_gone().await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(world.runtime.pod_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_pod_may_be_active_for_so_long() {
    let world = World::with_node().await;
    let spec = json!({"activeDeadlineSeconds": 60, "containers": [{"name": "c", "image": "i"}]});
    world.pod(spec).await;
    let begun = tokio::time::Instant::now();
    let pod = world.until_phase("Failed").await;
    assert!((59..=61).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    let status = pod.status.as_ref().unwrap();
    assert_eq!(status.reason.as_deref(), Some("DeadlineExceeded"));
    let message = "Pod was active on the node longer than the specified deadline";
    assert_eq!(status.message.as_deref(), Some(message));
    crate::world::settle().await;
    assert_eq!(world.runtime.pod_count(), 0);
}
