use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

use crate::world::{World, condition, container, phase, script, state};

#[tokio::test(start_paused = true)]
async fn a_crashing_container_is_restarted_ever_more_slowly() {
    let world = World::with_node().await;
    let annotations = json!({"pinnace.dev/simulate": "run=1s,exit=1"});
    world.pod_with(json!({"containers": [{"name": "c", "image": "i"}]}), annotations).await;
    let pod =
        world.until("it backs off", |pod| state(pod, "c") == "waiting/CrashLoopBackOff").await;
    assert_eq!(phase(&pod), "Running");
    let status = container(&pod, "c").unwrap();
    assert_eq!(status.restart_count, 1, "the first restart is at once");
    let uid = pod.metadata.uid.as_deref().unwrap();
    let waiting = status.state.clone().unwrap().waiting.unwrap();
    assert_eq!(
        waiting.message,
        Some(format!("back-off 10s restarting failed container=c pod=p_default({uid})"))
    );
    let last = status.last_state.clone().unwrap().terminated.unwrap();
    assert_eq!((last.exit_code, last.reason.as_deref()), (1, Some("Error")));

    let mut starts = Vec::new();
    let begun = tokio::time::Instant::now();
    for restart in 2..6 {
        world
            .until("the next start", |pod| {
                state(pod, "c") == "running"
                    && container(pod, "c").unwrap().restart_count == restart
            })
            .await;
        starts.push(begun.elapsed().as_secs());
    }
    assert_eq!(starts, [10, 31, 72, 153]);
    let events = world.events().await;
    let message = format!("Back-off restarting failed container c in pod p_default({uid})");
    assert!(events.contains(&("BackOff".to_owned(), message)), "{events:?}");
}

#[tokio::test(start_paused = true)]
async fn restart_policies_say_which_end_is_the_last() {
    for (policy, run, expected) in [
        ("OnFailure", "run=1s", "Succeeded"),
        ("Never", "run=1s", "Succeeded"),
        ("Never", "run=1s,exit=2", "Failed"),
        ("Never", "oom,run=1s", "Failed"),
    ] {
        let world = World::with_node().await;
        let spec = json!({"restartPolicy": policy, "containers": [{"name": "c", "image": "i"}]});
        world.pod_with(spec, json!({"pinnace.dev/simulate": run})).await;
        let pod = world.until("it ends", |pod| matches!(phase(pod), "Succeeded" | "Failed")).await;
        assert_eq!(phase(&pod), expected, "{policy} {run}");
        assert_eq!(container(&pod, "c").unwrap().restart_count, 0);
        if run.starts_with("oom") {
            assert_eq!(state(&pod, "c"), "terminated/OOMKilled/137");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_init_container_is_the_end_of_a_pod_that_never_restarts() {
    let world = World::with_node().await;
    let spec = json!({
        "restartPolicy": "Never",
        "initContainers": [{"name": "a", "image": "i"}],
        "containers": [{"name": "c", "image": "i"}]
    });
    world.pod_with(spec, json!({"pinnace.dev/simulate.a": "run=1s,exit=1"})).await;
    let pod = world.until_phase("Failed").await;
    assert_eq!(state(&pod, "a"), "terminated/Error/1");
    assert_eq!(state(&pod, "c"), "waiting/PodInitializing");
}

#[tokio::test(start_paused = true)]
async fn a_container_killed_behind_the_agents_back_is_restarted() {
    let world = World::with_node().await;
    world.pod(json!({"containers": [{"name": "c", "image": "i"}]})).await;
    world.until_phase("Running").await;
    let id = world.runtime.running()[0].id.clone();
    assert!(world.runtime.kill(&id));
    let pod = world
        .until("it is restarted", |pod| container(pod, "c").is_some_and(|c| c.restart_count == 1))
        .await;
    assert_eq!(state(&pod, "c"), "running");
    let last = container(&pod, "c").unwrap().last_state.clone().unwrap().terminated.unwrap();
    assert_eq!(last.exit_code, 137);
    assert_eq!(world.versions().await.len(), 3, "created, running, running again");
}

#[tokio::test(start_paused = true)]
async fn a_command_that_does_not_exist_is_a_start_error() {
    let world = World::with_node().await;
    let annotations = json!({"pinnace.dev/simulate": "start-error=exec: \"nope\": not found"});
    world.pod_with(json!({"containers": [{"name": "c", "image": "i"}]}), annotations).await;
    world.until("it says why", |pod| state(pod, "c") == "waiting/RunContainerError").await;
    let pod =
        world.until("it backs off", |pod| state(pod, "c") == "waiting/CrashLoopBackOff").await;
    let last = container(&pod, "c").unwrap().last_state.clone().unwrap().terminated.unwrap();
    assert_eq!((last.exit_code, last.reason.as_deref()), (128, Some("StartError")));
    assert!(last.message.unwrap().contains("\"nope\": not found"));
}

#[tokio::test(start_paused = true)]
async fn another_image_replaces_the_container() {
    let world = World::with_node().await;
    world.runtime.set_image_script("i:2", script("pull-delay=1s"));
    world.pod(json!({"containers": [{"name": "c", "image": "i:1"}]})).await;
    world.until_phase("Running").await;
    world
        .pods()
        .modify(&crate::world::key("p"), |pod| {
            pod.spec.as_mut().unwrap().containers[0].image = Some("i:2".to_owned());
            true
        })
        .await
        .unwrap();
    let pod = world
        .until("it runs the new image", |pod| {
            container(pod, "c").is_some_and(|c| c.image == "i:2" && c.restart_count == 1)
                && state(pod, "c") == "running"
        })
        .await;
    assert_eq!(pod.status.as_ref().unwrap().observed_generation, Some(2));
    assert_eq!(world.runtime.running()[0].config.image, "i:2");
    let versions = world.versions().await;
    let mut running = versions.iter().skip_while(|pod| condition(pod, "Ready") != "True");
    assert!(running.all(|pod| condition(pod, "Ready") == "True"), "the change is told when done");
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_is_deleted_while_a_container_is_replaced_goes() {
    let world = World::with_node().await;
    world.runtime.set_image_script("i:2", script("pull-delay=2s"));
    world.pod(json!({"containers": [{"name": "c", "image": "i:1"}]})).await;
    world.until_phase("Running").await;
    let change = |pod: &mut Pod| {
        pod.spec.as_mut().unwrap().containers[0].image = Some("i:2".to_owned());
        true
    };
    world.pods().modify(&crate::world::key("p"), change).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.delete(None).await;
    world.until_gone().await;
}

#[tokio::test(start_paused = true)]
async fn images_that_cannot_be_pulled_are_tried_ever_more_slowly() {
    let world = World::with_node().await;
    world.runtime.set_image_script("gone:1", script("pull-error=no such tag"));
    world.pod(json!({"containers": [{"name": "c", "image": "gone:1"}]})).await;
    let pod = world.until("it fails", |pod| state(pod, "c") == "waiting/ErrImagePull").await;
    let begun = tokio::time::Instant::now();
    assert_eq!(phase(&pod), "Pending");
    let pod =
        world.until("it backs off", |pod| state(pod, "c") == "waiting/ImagePullBackOff").await;
    let waiting = container(&pod, "c").unwrap().state.clone().unwrap().waiting.unwrap();
    let message = waiting.message.unwrap();
    assert!(message.starts_with("Back-off pulling image \"gone:1\": ErrImagePull: "), "{message}");
    let events = world.events().await;
    for expected in ["Pulling", "Failed", "BackOff"] {
        assert!(events.iter().any(|(reason, _)| reason == expected), "{expected}");
    }
    world.runtime.set_image_script("gone:1", script("pull-delay=1s"));
    world.until_phase("Running").await;
    assert_eq!(begun.elapsed().as_secs_f64().round() as u64, 11);
}

#[tokio::test(start_paused = true)]
async fn pull_policies_and_bad_names_have_their_own_reasons() {
    for (image, policy, expected) in [
        ("absent:1", "Never", "waiting/ErrImageNeverPull"),
        ("Not A Name", "IfNotPresent", "waiting/InvalidImageName"),
    ] {
        let world = World::with_node().await;
        world.runtime.set_image_script("absent:1", script("pull-delay=1s"));
        let one = json!({"name": "c", "image": image, "imagePullPolicy": policy});
        world.pod(json!({"containers": [one]})).await;
        world.until(expected, |pod| state(pod, "c") == expected).await;
    }
    let world = World::with_node().await;
    world
        .pod(json!({"containers": [{"name": "c", "image": "i", "imagePullPolicy": "Always"}]}))
        .await;
    world.until_phase("Running").await;
    let events = world.events().await;
    assert!(events[1].1.starts_with("Successfully pulled image \"i\" in "), "{events:?}");
}

#[tokio::test(start_paused = true)]
async fn a_pod_deleted_while_its_image_is_pulled_goes_at_once() {
    let world = World::with_node().await;
    world.runtime.set_image_script("large", script("pull-delay=1h"));
    world.pod(json!({"containers": [{"name": "c", "image": "large"}]})).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let begun = tokio::time::Instant::now();
    world.delete(None).await;
    world.until_gone().await;
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
}
