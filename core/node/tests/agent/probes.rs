use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use crate::world::{World, condition, container, script, state};

fn spec(container: Value) -> Value {
    let mut container = container;
    container["name"] = json!("c");
    container["image"] = json!("i");
    json!({"containers": [container], "terminationGracePeriodSeconds": 10})
}

fn probe(period: u32, failures: u32) -> Value {
    json!({"exec": {"command": ["check"]}, "periodSeconds": period, "failureThreshold": failures})
}

fn ready(pod: &Pod) -> bool {
    container(pod, "c").is_some_and(|status| status.ready)
}

fn messages(events: &[(String, String)], reason: &str) -> Vec<String> {
    events.iter().filter(|(found, _)| found == reason).map(|(_, message)| message.clone()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_container_is_ready_when_its_probe_says_so_and_no_longer_than_that() {
    let world = World::with_node().await;
    world.runtime.set_image_script("i", script("ready-after=7s,unready-after=1m"));
    world.pod(spec(json!({"readinessProbe": probe(5, 2)}))).await;
    let begun = tokio::time::Instant::now();
    let pod = world.until("runs", |pod| state(pod, "c") == "running").await;
    assert!(!ready(&pod));
    assert_eq!(
        condition(&pod, "Ready"),
        "False/ContainersNotReady/containers with unready status: [c]"
    );
    let pod = world.until("ready", ready).await;
    assert_eq!((begun.elapsed().as_secs(), condition(&pod, "Ready").as_str()), (10, "True"));
    world.until("unready", |pod| !ready(pod)).await;
    assert_eq!(begun.elapsed().as_secs(), 65, "the second failure counts");
    assert_eq!(container(&*world.get().await, "c").unwrap().restart_count, 0);
    let told = messages(&world.events().await, "Unhealthy");
    assert!(told.contains(&"Readiness probe failed: the script says so".to_owned()), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn a_container_that_is_not_alive_is_started_again() {
    let world = World::with_node().await;
    world.runtime.set_image_script("i", script("fail-after=20s,ignore-term"));
    let mut liveness = probe(10, 1);
    liveness["terminationGracePeriodSeconds"] = json!(4);
    world.pod(spec(json!({"livenessProbe": liveness}))).await;
    let begun = tokio::time::Instant::now();
    let again = |pod: &Pod| {
        container(pod, "c").is_some_and(|status| status.restart_count == 1)
            && state(pod, "c") == "running"
    };
    let pod = world.until("restarted", again).await;
    assert_eq!(begun.elapsed().as_secs(), 24, "20 s until the probe fails, 4 s until it is killed");
    let last = container(&pod, "c").unwrap().last_state.clone().unwrap().terminated.unwrap();
    assert_eq!(last.exit_code, 137);
    let told = messages(&world.events().await, "Killing");
    assert_eq!(told, ["Container c failed liveness probe, will be restarted"]);
}

#[tokio::test(start_paused = true)]
async fn other_probes_wait_for_the_startup_probe() {
    let world = World::with_node().await;
    world.runtime.set_image_script("i", script("start-after=25s,fail-after=0s"));
    let probes = json!({"startupProbe": probe(10, 5), "livenessProbe": probe(1, 3)});
    world.pod(spec(probes)).await;
    let begun = tokio::time::Instant::now();
    let pod = world.until("runs", |pod| state(pod, "c") == "running").await;
    assert_eq!((container(&pod, "c").unwrap().started, ready(&pod)), (Some(false), false));
    let pod =
        world.until("started", |pod| container(pod, "c").unwrap().started == Some(true)).await;
    assert_eq!((begun.elapsed().as_secs(), ready(&pod)), (30, true));
    world.until("restarted", |pod| container(pod, "c").unwrap().restart_count == 1).await;
    assert_eq!(begun.elapsed().as_secs(), 32, "three failures from then on");

    let world = World::with_node().await;
    world.runtime.set_image_script("i", script("start-after=1h"));
    let never = json!({"startupProbe": probe(2, 3)});
    let mut spec = spec(never);
    spec["restartPolicy"] = json!("Never");
    world.pod(spec).await;
    world.until_phase("Succeeded").await;
    let told = messages(&world.events().await, "Killing");
    assert_eq!(told, ["Container c failed startup probe"]);
}

#[tokio::test(start_paused = true)]
async fn hooks_have_their_time_and_their_failures_are_told() {
    let sleep = |seconds: u32| json!({"sleep": {"seconds": seconds}});
    let world = World::with_node().await;
    world.pod(spec(json!({"lifecycle": {"postStart": sleep(3), "preStop": sleep(4)}}))).await;
    let begun = tokio::time::Instant::now();
    world.until("runs", |pod| state(pod, "c") == "running").await;
    assert_eq!(begun.elapsed().as_secs(), 3);
    world.delete(None).await;
    world.until_gone().await;
    assert_eq!(begun.elapsed().as_secs(), 7);

    let world = World::with_node().await;
    world.runtime.set_image_script("i", script("ignore-term"));
    world.pod(spec(json!({"lifecycle": {"preStop": sleep(8)}}))).await;
    world.until("runs", |pod| state(pod, "c") == "running").await;
    let begun = tokio::time::Instant::now();
    world.delete(None).await;
    world.until_gone().await;
    let took = begun.elapsed().as_secs();
    assert!((9..=11).contains(&took), "hook and signal share the grace period: {took}");

    let world = World::with_node().await;
    world.runtime.set_image_script("i", script("hook-error=no"));
    let hooks = json!({"postStart": {"exec": {"command": ["x"]}}});
    world.pod(spec(json!({"lifecycle": hooks}))).await;
    world.until("put off", |pod| state(pod, "c") == "waiting/PostStartHookError").await;
    world.until("put off", |pod| state(pod, "c") == "waiting/CrashLoopBackOff").await;
    let events = world.events().await;
    assert!(messages(&events, "FailedPostStartHook").contains(&"PostStartHook failed".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn readiness_is_watched_until_the_end_and_kept_by_the_next_agent() {
    let mut world = World::with_node().await;
    world.runtime.set_image_script("i", script("unready-after=30s,stop-delay=1h"));
    let mut spec = spec(json!({"readinessProbe": probe(5, 1)}));
    spec["terminationGracePeriodSeconds"] = json!(60);
    world.pod(spec).await;
    world.until("ready", ready).await;
    world.stop_agent().await;
    world.start_agent(vec![world.node("n1")]);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let flapped =
        world.versions().await.iter().skip_while(|pod| !ready(pod)).any(|pod| !ready(pod));
    assert!(!flapped, "a restart of the agent changes nothing");
    world.delete(None).await;
    let pod = world.until("unready", |pod| !ready(pod)).await;
    assert!(pod.metadata.deletion_timestamp.is_some());
    assert_eq!(state(&pod, "c"), "running");
}
