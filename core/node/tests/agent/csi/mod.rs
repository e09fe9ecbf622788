//! Volumes of drivers, which mount for real; the agent's containers are simulated.

mod driver;
mod growth;
mod mounting;
mod usage;

use std::path::Path;
use std::time::Duration;

use k8s_openapi::api::core::v1::{
    Node, PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimStatus, Pod,
};
use k8s_openapi::api::storage::v1::{CSIDriver, CSINode};
use pinnace_api::{Key, Typed};
use pinnace_node::Machine;
use serde_json::{Value, json};

use crate::world::{World, from};

/// An agent for this machine, whose containers are simulated but whose volumes are not.
async fn world(state: &Path, spec: Value) -> World {
    let mut world = World::new().await;
    world.machine = Machine::Local { state: state.to_owned(), plugins: None };
    world.logs = state.join("logs");
    world.start_agent(vec![world.node("n1")]);
    world.create::<CSIDriver>(json!({"metadata": {"name": "test.csi"}, "spec": spec})).await;
    world
}

async fn until<F: Future<Output = bool>>(what: &str, holds: impl Fn() -> F) {
    let wait = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(1000), wait).await.expect(what);
}

async fn until_event(world: &World, reason: &str, text: &str) {
    until(text, async || {
        let told = world.events().await;
        told.iter().any(|(known, message)| known == reason && message.contains(text))
    })
    .await;
}

async fn drivers(world: &World) -> Vec<String> {
    let node = world.client.of::<CSINode>().unwrap().find(&Key::cluster("n1")).await.unwrap();
    let drivers = node.map(|node| node.spec.drivers.clone()).unwrap_or_default();
    let count = |driver: &k8s_openapi::api::storage::v1::CSINodeDriver| {
        driver.allocatable.as_ref().and_then(|all| all.count)
    };
    drivers
        .iter()
        .map(|one| format!("{} {} {:?} {:?}", one.name, one.node_id, one.topology_keys, count(one)))
        .collect()
}

async fn in_use(world: &World) -> Vec<String> {
    let node = world.client.of::<Node>().unwrap().get(&Key::cluster("n1")).await.unwrap();
    node.status.as_ref().and_then(|status| status.volumes_in_use.clone()).unwrap_or_default()
}

/// The volume `v1` of the driver, for the claim `c`; `more` is about the volume.
async fn claim(world: &World, more: Value) {
    let size = json!({"storage": "1Gi"});
    let csi = json!({
        "driver": "test.csi", "volumeHandle": "v1", "fsType": "tmpfs",
        "volumeAttributes": {"colour": "blue"}
    });
    let reference = json!({"namespace": "default", "name": "c"});
    let mut spec = json!({
        "capacity": size, "accessModes": ["ReadWriteOnce"], "csi": csi, "claimRef": reference
    });
    for (field, value) in more.as_object().unwrap() {
        match field.as_str() {
            "csi" => value.as_object().unwrap().iter().for_each(|(field, value)| {
                spec["csi"][field] = value.clone();
            }),
            "source" => {
                spec.as_object_mut().unwrap().remove("csi");
                let (kind, source) = value.as_object().unwrap().iter().next().unwrap();
                spec[kind] = source.clone();
            }
            _ => spec[field] = value.clone(),
        }
    }
    let (modes, mode) = (spec["accessModes"].clone(), spec["volumeMode"].clone());
    let metadata = json!({"name": "pv1"});
    world.create::<PersistentVolume>(json!({"metadata": metadata, "spec": spec})).await;
    world
        .create::<PersistentVolumeClaim>(json!({"metadata": reference, "spec": {
            "accessModes": modes, "volumeName": "pv1", "storageClassName": "",
            "volumeMode": mode, "resources": {"requests": {"storage": "2Gi"}}
        }}))
        .await;
    set_status(world, json!({"phase": "Bound", "capacity": {"storage": "1Gi"}})).await;
}

/// Says in the claim's status what controllers would.
async fn set_status(world: &World, status: Value) {
    let claims = world.client.of::<PersistentVolumeClaim>().unwrap();
    let status: PersistentVolumeClaimStatus = serde_json::from_value(status).unwrap();
    let set = |claim: &mut PersistentVolumeClaim| {
        claim.status = Some(status.clone());
        true
    };
    claims.modify_status(&Key::new("default", "c"), set).await.unwrap();
}

/// What a pod is that has the claim `c`.
fn claiming() -> Value {
    json!({
        "securityContext": {"fsGroup": 4321},
        "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}],
        "containers": [{"name": "c", "image": "i:1",
            "volumeMounts": [{"name": "v", "mountPath": "/v"}]}]
    })
}

async fn other_pod(world: &World, name: &str, spec: Value) -> Typed<Pod> {
    let mut spec = spec;
    spec["nodeName"] = json!("n1");
    let metadata = json!({"name": name, "namespace": "default"});
    let pod: Pod = from(json!({"metadata": metadata, "spec": spec}));
    world.pods().create(pod).await.unwrap()
}

async fn until_running(world: &World, name: &str) {
    until(name, async || {
        let pod = world.pods().get(&Key::new("default", name)).await.unwrap();
        crate::world::phase(&pod) == "Running"
    })
    .await;
}

fn mounts_below(directory: &Path) -> usize {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    table.lines().filter(|line| line.contains(&*directory.to_string_lossy())).count()
}

/// Ends pod `p`, and waits until nothing of it is mounted.
async fn end(world: &mut World, directory: &Path) {
    world.delete(Some(0)).await;
    until("the volume is unmounted", async || {
        mounts_below(directory) == 0 && in_use(world).await.is_empty()
    })
    .await;
    world.stop_agent().await;
}

#[tokio::test(start_paused = true)]
async fn a_driver_that_hangs_keeps_no_other_waiting() {
    let directory = tempfile::tempdir().unwrap();
    let mut world = world(directory.path(), json!({})).await;
    let plugins = directory.path().join("plugins_registry");
    let silent = driver::Driver::named(&plugins, "silent.csi", &[]);
    silent.hang("NodeGetInfo");
    until("it is asked", async || silent.count("NodeGetInfo") > 0).await;
    let asked = tokio::time::Instant::now();
    let _other = driver::Driver::named(&plugins, "other.csi", &[]);
    until("the other is registered", async || !drivers(&world).await.is_empty()).await;
    assert!(asked.elapsed() < Duration::from_secs(30), "{:?}", asked.elapsed());
    assert!(drivers(&world).await[0].starts_with("other.csi"));
    world.stop_agent().await;
}
