use std::time::Duration;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use pinnace_api::Key;
use serde_json::{Value, json};

use super::driver::{Driver, EXPAND, STAGE};
use super::{claim, claiming, end, set_status, until, until_event, world};
use crate::world::World;

const GIB: i64 = 1 << 30;

/// The volume has grown in its store, as the driver's resizer says it.
async fn grow_in_store(world: &World) {
    let volumes = world.client.of::<PersistentVolume>().unwrap();
    let grow = |volume: &mut PersistentVolume| {
        let capacity = volume.spec.as_mut().unwrap().capacity.as_mut().unwrap();
        capacity.insert("storage".to_owned(), Quantity("2Gi".to_owned()));
        true
    };
    volumes.modify(&Key::cluster("pv1"), grow).await.unwrap();
    let condition = json!({"type": "FileSystemResizePending", "status": "True"});
    let status = json!({
        "phase": "Bound", "capacity": {"storage": "1Gi"}, "conditions": [condition],
        "allocatedResources": {"storage": "2Gi"},
        "allocatedResourceStatuses": {"storage": "NodeResizePending"}
    });
    set_status(world, status).await;
}

async fn status(world: &World) -> Value {
    let claims = world.client.of::<PersistentVolumeClaim>().unwrap();
    let claim = claims.get(&Key::new("default", "c")).await.unwrap();
    serde_json::to_value(claim.status.as_ref().unwrap()).unwrap()
}

/// A pod with a volume that a driver may make larger.
async fn running(state: &std::path::Path, capabilities: &[u8]) -> (World, Driver) {
    let world = world(state, json!({"attachRequired": false})).await;
    claim(&world, json!({})).await;
    let driver = Driver::able(state, capabilities);
    world.pod(claiming()).await;
    world.until_phase("Running").await;
    (world, driver)
}

async fn until_grown(world: &World) {
    until("the claim says so", async || status(world).await["capacity"]["storage"] == "2Gi").await;
    let status = status(world).await;
    let rest = (&status["conditions"], &status["allocatedResourceStatuses"]);
    assert_eq!(rest, (&Value::Null, &Value::Null));
    assert_eq!(status["allocatedResources"]["storage"], "2Gi");
}

#[tokio::test(start_paused = true)]
async fn a_file_system_grows_while_a_pod_uses_it() {
    let directory = tempfile::tempdir().unwrap();
    let (mut world, driver) = running(directory.path(), &[STAGE, EXPAND]).await;
    assert_eq!(driver.expanded(), None);
    grow_in_store(&world).await;
    until_grown(&world).await;
    let expanded = driver.expanded().unwrap();
    assert_eq!(expanded.range.unwrap().required_bytes, 2 * GIB);
    assert_eq!(expanded.path, driver.published().unwrap().target);
    assert_eq!(expanded.staging, driver.staged().unwrap().staging);
    let told = "MountVolume.NodeExpandVolume succeeded for volume \"pv1\" n1";
    until_event(&world, "FileSystemResizeSuccessful", told).await;
    let events = world.events().await;
    let told = events.iter().filter(|(reason, _)| reason == "FileSystemResizeSuccessful");
    assert_eq!(told.count(), 2, "the pod and the claim say so");
    assert_eq!(driver.count("NodeExpandVolume"), 1);
    end(&mut world, directory.path()).await;
}

#[tokio::test(start_paused = true)]
async fn a_file_system_grows_before_a_pod_gets_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut world = world(directory.path(), json!({"attachRequired": false})).await;
    claim(&world, json!({})).await;
    grow_in_store(&world).await;
    let driver = Driver::able(directory.path(), &[STAGE, EXPAND]);
    driver.fail("NodeExpandVolume", 13);
    world.pod(claiming()).await;
    let why = "MountVolume.Setup failed while expanding volume for volume \"pv1\" : \
               Expander.NodeExpand failed to expand the volume : rpc error: code = Internal";
    until_event(&world, "FailedMount", why).await;
    assert_eq!(
        status(&world).await["allocatedResourceStatuses"]["storage"],
        "NodeResizeInProgress"
    );
    driver.change(|ways| ways.fails.clear());
    world.until_phase("Running").await;
    until_grown(&world).await;
    end(&mut world, directory.path()).await;
}

#[tokio::test(start_paused = true)]
async fn a_driver_that_does_not_make_a_volume_larger_is_asked_again_unless_it_never_will() {
    let directory = tempfile::tempdir().unwrap();
    let (mut world, driver) = running(directory.path(), &[STAGE, EXPAND]).await;
    // It may be at work still, so nothing is said in the claim.
    driver.hang("NodeExpandVolume");
    grow_in_store(&world).await;
    let why = "NodeExpandVolume.NodeExpandVolume failed for volume \"pv1\" : Expander.NodeExpand \
               failed to expand the volume : rpc error: code = DeadlineExceeded";
    until_event(&world, "VolumeResizeFailed", why).await;
    assert_eq!(status(&world).await["conditions"][0]["type"], "FileSystemResizePending");
    let pod = world.get().await;
    assert_eq!(crate::world::phase(&pod), "Running");
    // `InvalidArgument`: that size will never do.
    driver.change(|ways| {
        ways.hangs.clear();
        ways.fails.insert("NodeExpandVolume", 3);
    });
    until("it is given up", async || {
        status(&world).await["allocatedResourceStatuses"]["storage"] == "NodeResizeInfeasible"
    })
    .await;
    let error = status(&world).await["conditions"][1].clone();
    assert_eq!(error["type"], "NodeResizeError");
    let message = error["message"].as_str().unwrap();
    assert!(message.starts_with("failed to expand pvc with Expander.NodeExpand"), "{message}");
    tokio::time::sleep(Duration::from_secs(300)).await;
    let asked = driver.count("NodeExpandVolume");
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(driver.count("NodeExpandVolume"), asked);
    end(&mut world, directory.path()).await;
}

#[tokio::test(start_paused = true)]
async fn a_driver_that_cannot_make_volumes_larger_is_not_asked_to() {
    let directory = tempfile::tempdir().unwrap();
    let (mut world, driver) = running(directory.path(), &[STAGE]).await;
    grow_in_store(&world).await;
    let why = "NodeExpand is not supported by the CSI driver test.csi";
    until_event(&world, "VolumeResizeFailed", why).await;
    assert_eq!(driver.expanded(), None);
    end(&mut world, directory.path()).await;
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_only_reads_does_not_have_its_volume_grow() {
    let directory = tempfile::tempdir().unwrap();
    let mut world = world(directory.path(), json!({"attachRequired": false})).await;
    claim(&world, json!({})).await;
    grow_in_store(&world).await;
    let driver = Driver::able(directory.path(), &[STAGE, EXPAND]);
    let mut pod = claiming();
    pod["volumes"][0]["persistentVolumeClaim"]["readOnly"] = json!(true);
    world.pod(pod).await;
    world.until_phase("Running").await;
    until_event(&world, "FileSystemResizeFailed", "requested read-only file system").await;
    assert_eq!(driver.expanded(), None);
    end(&mut world, directory.path()).await;
}
