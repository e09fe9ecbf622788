use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod};
use pinnace_api::{Key, Typed};
use pinnace_node::{Amount, Capacity, Eviction, NodeSettings, Reserved, Signal, Threshold};
use serde_json::json;

use crate::world::{World, key, phase};

const MEBI: u64 = 1 << 20;

/// A node of 1000 MiB that keeps 100 free.
async fn world(eviction: Eviction) -> World {
    let mut world = World::new().await;
    let mut node = world.node("n1");
    node.capacity = Capacity { memory_bytes: 1000 << 20, ..Capacity::default() };
    node.settings.eviction = Some(eviction);
    world.start_agent(vec![node]);
    world
}

fn hard() -> Eviction {
    let threshold = Threshold::hard(Signal::MemoryAvailable, Amount::Absolute(100 * MEBI));
    Eviction { thresholds: vec![threshold], ..Eviction::default() }
}

async fn pod(world: &World, name: &str, request: &str, uses: &str, more: serde_json::Value) {
    let mut spec = json!({"nodeName": "n1", "containers": [{
        "name": "c", "image": "i", "resources": {"requests": {"memory": request}}
    }]});
    for (field, value) in more.as_object().into_iter().flatten() {
        spec[field] = value.clone();
    }
    let annotations = json!({"pinnace.dev/simulate": uses});
    let metadata = json!({"name": name, "namespace": "default", "annotations": annotations});
    world.create::<Pod>(json!({"metadata": metadata, "spec": spec})).await;
}

async fn get(world: &World, name: &str) -> Typed<Pod> {
    world.pods().get(&key(name)).await.unwrap()
}

async fn condition(world: &World, name: &str) -> (String, String) {
    let nodes = world.client.of::<Node>().unwrap();
    let node = nodes.get(&Key::cluster("n1")).await.unwrap();
    let conditions = node.status.clone().unwrap().conditions.unwrap();
    let found = conditions.into_iter().find(|one| one.type_ == name).unwrap();
    (found.status, found.reason.unwrap_or_default())
}

#[tokio::test(start_paused = true)]
async fn a_node_that_runs_out_of_memory_evicts_who_uses_most_beyond_its_request() {
    let world = world(hard()).await;
    pod(&world, "modest", "400Mi", "memory=300Mi", json!({})).await;
    pod(&world, "greedy", "100Mi", "memory=450Mi", json!({})).await;
    pod(
        &world,
        "critical",
        "10Mi",
        "memory=90Mi",
        json!({"priorityClassName": "system-node-critical"}),
    )
    .await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(phase(&*get(&world, "greedy").await), "Running");
    assert_eq!(condition(&world, "MemoryPressure").await.0, "False");

    pod(&world, "last", "50Mi", "memory=70Mi", json!({})).await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    let gone = get(&world, "greedy").await;
    let status = gone.status.clone().unwrap();
    assert_eq!((phase(&gone), status.reason.as_deref()), ("Failed", Some("Evicted")));
    let message = "The node was low on resource: memory. Threshold quantity: 100Mi, available: \
                   90Mi. Container c was using 450Mi, request is 100Mi, has larger consumption of \
                   memory. ";
    assert_eq!(status.message.as_deref(), Some(message));
    let target = status.conditions.unwrap();
    let target = target.into_iter().find(|one| one.type_ == "DisruptionTarget").unwrap();
    assert_eq!(target.reason.as_deref(), Some("TerminationByKubelet"));
    for name in ["modest", "critical", "last"] {
        assert_eq!(phase(&*get(&world, name).await), "Running", "{name}");
    }
    let events = world.events().await;
    assert!(events.contains(&("Evicted".to_owned(), message.to_owned())), "{events:?}");

    let pressed = ("True".to_owned(), "KubeletHasInsufficientMemory".to_owned());
    assert_eq!(condition(&world, "MemoryPressure").await, pressed);
    world.pod(json!({"containers": [{"name": "c", "image": "i"}]})).await;
    let refused = world.until_phase("Failed").await.status.clone().unwrap();
    let message = "Pod was rejected: The node had condition: [MemoryPressure]. ";
    assert_eq!(
        (refused.reason.as_deref(), refused.message.as_deref()),
        (Some("Evicted"), Some(message))
    );
    tokio::time::sleep(Duration::from_secs(310)).await;
    assert_eq!(condition(&world, "MemoryPressure").await.0, "False");
}

#[tokio::test(start_paused = true)]
async fn a_soft_threshold_gives_time() {
    let soft = Threshold {
        grace: Duration::from_secs(90),
        ..Threshold::hard(Signal::MemoryAvailable, Amount::Percent(20.0))
    };
    let eviction = Eviction {
        thresholds: vec![soft],
        max_pod_grace: Duration::from_secs(20),
        ..Eviction::default()
    };
    let world = world(eviction).await;
    pod(&world, "p", "1Mi", "memory=900Mi,ignore-term", json!({})).await;
    tokio::time::sleep(Duration::from_secs(85)).await;
    assert_eq!(phase(&*world.get().await), "Running");
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(phase(&*world.get().await), "Running", "it is told, and has its grace");
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(phase(&*world.get().await), "Failed");
}

#[tokio::test(start_paused = true)]
async fn what_is_reserved_or_must_be_left_is_not_for_pods() {
    let mut world = World::new().await;
    let mut node = world.node("n1");
    node.capacity =
        Capacity { cpu_millis: 4000, memory_bytes: 1000 << 20, storage_bytes: 1000, pods: 9 };
    let reserved = Reserved { cpu_millis: 500, memory_bytes: 200 << 20, storage_bytes: 10 };
    node.settings =
        NodeSettings { reserved, eviction: Some(Eviction::default()), ..NodeSettings::default() };
    world.start_agent(vec![node]);
    pod(&world, "p", "701Mi", "", json!({})).await;
    let pod = world.until_phase("Failed").await;
    assert_eq!(pod.status.as_ref().unwrap().reason.as_deref(), Some("OutOfmemory"));
    let nodes = world.client.of::<Node>().unwrap();
    let status = nodes.get(&Key::cluster("n1")).await.unwrap().status.clone().unwrap();
    let shown = |name: &str| {
        let of = |list: &Option<std::collections::BTreeMap<_, _>>| -> String {
            let amount: &k8s_openapi::apimachinery::pkg::api::resource::Quantity =
                &list.as_ref().unwrap()[name];
            amount.0.clone()
        };
        (of(&status.capacity), of(&status.allocatable))
    };
    let is = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(shown("cpu"), is("4", "3500m"));
    assert_eq!(shown("memory"), is("1000Mi", "700Mi"));
    assert_eq!(shown("ephemeral-storage"), is("1k", "890"));
    assert_eq!(shown("pods"), is("9", "9"));
}
