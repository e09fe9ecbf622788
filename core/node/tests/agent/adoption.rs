use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use pinnace_env::{Clock, Env, Random};
use pinnace_runtime::{PodConfig, Runtime as _};
use serde_json::json;

use crate::world::{World, container, phase, settle, state};

#[tokio::test(start_paused = true)]
async fn a_new_agent_takes_over_what_runs_and_restarts_nothing() {
    let mut world = World::with_node().await;
    let annotations = json!({"pinnace.dev/simulate.c": "run=100s,exit=1"});
    let spec = json!({
        "restartPolicy": "OnFailure",
        "containers": [{"name": "c", "image": "i"}, {"name": "d", "image": "i"}]
    });
    world.pod_with(spec, annotations).await;
    world.until("a restart", |pod| container(pod, "c").is_some_and(|c| c.restart_count == 1)).await;
    let before: Vec<_> = world.runtime.running().into_iter().map(|one| one.id).collect();
    let written = world.versions().await.len();
    world.stop_agent().await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    world.start_agent(vec![world.node("n1")]);
    tokio::time::sleep(Duration::from_secs(5)).await;
    let after: Vec<_> = world.runtime.running().into_iter().map(|one| one.id).collect();
    assert_eq!(before, after);
    assert_eq!(world.versions().await.len(), written, "there was nothing to write");
    // It goes on counting where the other ended.
    world.until("another", |pod| container(pod, "c").is_some_and(|c| c.restart_count == 2)).await;
}

#[tokio::test(start_paused = true)]
async fn what_ended_while_no_agent_looked_is_found_out() {
    let mut world = World::with_node().await;
    let spec = json!({"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]});
    world.pod_with(spec, json!({"pinnace.dev/simulate": "run=10s,exit=4"})).await;
    world.until_phase("Running").await;
    world.stop_agent().await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    world.start_agent(vec![world.node("n1")]);
    let pod = world.until_phase("Failed").await;
    assert_eq!(state(&pod, "c"), "terminated/Error/4");
}

#[tokio::test(start_paused = true)]
async fn what_was_lost_runs_again_unless_it_may_not() {
    for (policy, expected) in [("Always", "Running"), ("Never", "Failed")] {
        let mut world = World::with_node().await;
        let spec = json!({
            "restartPolicy": policy, "containers": [{"name": "c", "image": "i"}],
            "initContainers": [{"name": "a", "image": "i"}]
        });
        world.pod_with(spec, json!({"pinnace.dev/simulate.a": "run=1s"})).await;
        let pod = world.until_phase("Running").await;
        world.stop_agent().await;
        let uid = pod.metadata.uid.clone().unwrap();
        world.runtime.remove_pod(&pinnace_runtime::PodId(uid)).await.unwrap();
        world.start_agent(vec![world.node("n1")]);
        let pod = world
            .until("it is found out", |pod| {
                phase(pod) == expected
                    && (policy == "Never"
                        || container(pod, "c").is_some_and(|c| c.restart_count == 1 && c.ready))
            })
            .await;
        if policy == "Never" {
            assert_eq!(state(&pod, "c"), "terminated/ContainerStatusUnknown/137");
        } else {
            assert_eq!(container(&pod, "a").unwrap().restart_count, 1, "init containers run again");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn pods_that_the_api_does_not_have_are_removed() {
    let mut world = World::new().await;
    let config = PodConfig { id: "nobody".to_owned(), ..PodConfig::default() };
    world.runtime.create_pod(&config).await.unwrap();
    world.start_agent(vec![world.node("n1")]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(world.runtime.pod_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_runtime_that_is_lost_costs_no_pod() {
    let world = World::with_node().await;
    world.pod(json!({"containers": [{"name": "c", "image": "i"}]})).await;
    world.until_phase("Running").await;
    world.runtime.fail("socket closed");
    settle().await;
    let ready = world.node_condition("n1", "Ready").await;
    assert_eq!(ready, "False/KubeletNotReady/container runtime is down: socket closed");
    tokio::time::sleep(Duration::from_secs(300)).await;
    world.runtime.recover();
    settle().await;
    let ready = world.node_condition("n1", "Ready").await;
    assert_eq!(ready, "True/KubeletReady/kubelet is posting ready status");
    let pod = world.get().await;
    assert_eq!((phase(&pod), container(&pod, "c").unwrap().restart_count), ("Running", 0));
    assert_eq!(world.versions().await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_container_that_ends_while_the_runtime_is_lost_is_restarted_when_it_is_back() {
    let world = World::with_node().await;
    world.pod(json!({"containers": [{"name": "c", "image": "i"}]})).await;
    world.until_phase("Running").await;
    world.runtime.fail("socket closed");
    let id = world.runtime.running()[0].id.clone();
    world.runtime.kill(&id);
    tokio::time::sleep(Duration::from_secs(30)).await;
    world.runtime.recover();
    world
        .until("it is restarted", |pod| {
            container(pod, "c").is_some_and(|c| c.restart_count == 1 && c.ready)
        })
        .await;
}

/// Whatever the clock of the machine says since the agent was there last.
#[tokio::test(start_paused = true)]
async fn a_clock_that_was_set_changes_nothing_for_those_that_run() {
    for hours in [-5, 5] {
        let mut world = World::with_node().await;
        let probe = json!({"exec": {"command": ["x"]}, "periodSeconds": 5});
        let one = json!({"name": "c", "image": "i", "livenessProbe": probe});
        let spec = json!({"containers": [one, {"name": "d", "image": "i"}]});
        world.pod_with(spec, json!({"pinnace.dev/simulate.d": "run=600s,exit=1"})).await;
        world.until_phase("Running").await;
        world.stop_agent().await;
        let now = world.env.now() + jiff::SignedDuration::from_hours(hours);
        world.env = Env::new(Clock::following(now), Random::seeded(7));
        world.start_agent(vec![world.node("n1")]);
        tokio::time::sleep(Duration::from_secs(500)).await;
        let restarts = |pod: &Pod, name: &str| container(pod, name).unwrap().restart_count;
        let pod = world.get().await;
        assert_eq!((restarts(&pod, "c"), restarts(&pod, "d")), (0, 0));
        // Its back-off is as long as ever.
        tokio::time::sleep(Duration::from_secs(130)).await;
        let pod = world.get().await;
        assert_eq!((restarts(&pod, "c"), restarts(&pod, "d")), (0, 1));
    }
}
