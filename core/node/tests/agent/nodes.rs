use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Taint};
use pinnace_api::Key;
use pinnace_client::{ListOptions, WatchEvent};
use serde_json::json;

use crate::world::{World, settle};

impl World {
    pub(crate) async fn node_object(&self, name: &str) -> Node {
        self.client.of::<Node>().unwrap().get(&Key::cluster(name)).await.unwrap().to_owned()
    }

    pub(crate) async fn node_condition(&self, name: &str, kind: &str) -> String {
        let node = self.node_object(name).await;
        let conditions = node.status.unwrap().conditions.unwrap();
        let found = conditions.into_iter().find(|condition| condition.type_ == kind).unwrap();
        let text = |text: Option<String>| text.unwrap_or_default();
        format!("{}/{}/{}", found.status, text(found.reason), text(found.message))
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_registers_itself() {
    let mut world = World::new().await;
    let mut config = world.node("n1");
    let taint = Taint { key: "t".into(), effect: "NoSchedule".into(), ..Taint::default() };
    config.taints = vec![taint.clone()];
    world.start_agent(vec![config]);
    settle().await;
    let node = world.node_object("n1").await;
    let labels = node.metadata.labels.unwrap();
    assert_eq!(labels["kubernetes.io/hostname"], "n1");
    assert_eq!(labels["kubernetes.io/os"], "linux");
    assert_eq!(labels["zone"], "a");
    let spec = node.spec.unwrap();
    let taints = spec.taints.unwrap();
    // Beside it there is what the API adds until the node is ready.
    assert_eq!(taints.first(), Some(&taint), "{taints:?}");
    assert_eq!(spec.pod_cidr.as_deref(), Some("10.1.0.0/24"));
    let status = node.status.unwrap();
    let allocatable = status.allocatable.unwrap();
    assert_eq!((allocatable["cpu"].0.as_str(), allocatable["pods"].0.as_str()), ("32", "110"));
    assert_eq!(allocatable["memory"].0, "256Gi");
    let info = status.node_info.unwrap();
    assert!(info.kubelet_version.starts_with("v1.36.0-pinnace"));
    assert!(info.container_runtime_version.starts_with("simulated://"));
    let addresses: Vec<_> =
        status.addresses.unwrap().into_iter().map(|one| (one.type_, one.address)).collect();
    assert_eq!(
        addresses,
        [("InternalIP".into(), "192.0.2.7".into()), ("Hostname".to_owned(), "n1".to_owned())]
    );
    let ready = world.node_condition("n1", "Ready").await;
    assert_eq!(ready, "True/KubeletReady/kubelet is posting ready status");
    let pressure = world.node_condition("n1", "DiskPressure").await;
    assert_eq!(pressure, "False/KubeletHasNoDiskPressure/kubelet has no disk pressure");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_exists_keeps_what_its_user_has_set() {
    let mut world = World::new().await;
    world
        .create::<Node>(json!({
            "metadata": {"name": "n1", "labels": {"mine": "yes"}},
            "spec": {"taints": [{"key": "mine", "effect": "NoSchedule"}], "unschedulable": true}
        }))
        .await;
    world.start_agent(vec![world.node("n1")]);
    settle().await;
    let node = world.node_object("n1").await;
    assert_eq!(node.metadata.labels.as_ref().unwrap()["mine"], "yes");
    assert_eq!(node.metadata.labels.as_ref().unwrap()["kubernetes.io/hostname"], "n1");
    let spec = node.spec.unwrap();
    assert_eq!((spec.taints.unwrap()[0].key.as_str(), spec.unschedulable), ("mine", Some(true)));
    assert!(node.status.unwrap().capacity.is_some());
}

#[tokio::test(start_paused = true)]
async fn leases_are_renewed_every_ten_seconds_and_status_every_five_minutes() {
    let mut world = World::new().await;
    let nodes = (0..7).map(|number| world.node(&format!("n{number}"))).collect();
    world.start_agent(nodes);
    settle().await;
    let api = world.client.of::<Lease>().unwrap();
    let leases = api.list(Some("kube-node-lease"), ListOptions::default()).await.unwrap();
    assert_eq!(leases.items.len(), 7);
    let lease = &leases.items[3];
    let spec = lease.spec.as_ref().unwrap();
    assert_eq!(spec.holder_identity.as_deref(), Some("n3"));
    assert_eq!(spec.lease_duration_seconds, Some(40));
    assert_eq!(lease.metadata.owner_references.as_ref().unwrap()[0].kind, "Node");
    let count = |kind: &'static str| {
        let client = world.client.clone();
        async move {
            let mut events =
                client.named(kind).unwrap().watch(None, ListOptions::default()).await.unwrap();
            let (mut renewed, until) = (0, tokio::time::sleep(Duration::from_secs(605)));
            tokio::pin!(until);
            loop {
                let event = tokio::select! {
                    () = &mut until => return renewed,
                    event = events.next() => event,
                };
                renewed += usize::from(matches!(event, Some(Ok(WatchEvent::Modified(_)))));
            }
        }
    };
    let (renewed, reported) = tokio::join!(count("leases"), count("nodes"));
    assert!((7 * 60..=7 * 61).contains(&renewed), "{renewed}");
    assert_eq!(reported, 7 * 2);
}

#[tokio::test(start_paused = true)]
async fn many_nodes_share_one_agent() {
    let mut world = World::new().await;
    let nodes = (0..100).map(|number| world.node(&format!("n{number}"))).collect();
    world.start_agent(nodes);
    settle().await;
    for number in 0..1000 {
        let metadata = json!({"name": format!("p{number}"), "namespace": "default"});
        let spec = json!({
            "nodeName": format!("n{}", number % 100), "containers": [{"name": "c", "image": "i"}]
        });
        world
            .create::<k8s_openapi::api::core::v1::Pod>(json!({"metadata": metadata, "spec": spec}))
            .await;
    }
    settle().await;
    let list = world.pods().list(None, ListOptions::default()).await.unwrap();
    let running = list.items.iter().filter(|pod| crate::world::phase(pod) == "Running").count();
    assert_eq!(running, 1000);
    assert_eq!(world.runtime.running().len(), 1000);
}
