use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{Node, Secret, ServiceAccount};
use k8s_openapi::api::storage::v1::VolumeAttachment;
use parking_lot::Mutex;
use pinnace_api::Key;
use pinnace_client::{DeleteOptions, ListOptions, WatchEvent};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::driver::{Driver, MOUNT_GROUP, STAGE};
use super::{
    claim, claiming, drivers, end, in_use, mounts_below, other_pod, until, until_event,
    until_running, world,
};
use crate::world::World;

fn no_attachment() -> Value {
    json!({"attachRequired": false})
}

#[tokio::test(start_paused = true)]
async fn a_driver_is_shown_while_it_is_there_and_mounts_what_pods_claim() {
    use std::os::unix::fs::MetadataExt as _;
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path();
    let spec = json!({"attachRequired": false, "podInfoOnMount": true, "fsGroupPolicy": "File"});
    let mut world = world(state, spec).await;
    claim(&world, json!({})).await;
    world.pod(claiming()).await;
    let driver = Driver::start(state);
    world.until_phase("Running").await;
    assert_eq!(drivers(&world).await, ["test.csi id1 Some([\"test/top\"]) Some(7)"]);
    let node = world.client.of::<Node>().unwrap().get(&Key::cluster("n1")).await.unwrap();
    assert_eq!(node.metadata.labels.as_ref().unwrap()["test/top"], "z1");
    assert_eq!(in_use(&world).await, ["kubernetes.io/csi/test.csi^v1"]);
    let published = driver.published().unwrap();
    assert_eq!(published.volume_id, "v1");
    assert_eq!(published.context["colour"], "blue");
    assert_eq!(published.context["csi.storage.k8s.io/pod.name"], "p");
    assert_eq!(std::fs::metadata(&published.target).unwrap().gid(), 4321);
    assert_eq!(mounts_below(state), 2);

    // Another agent finds what is mounted, though the pod has gone meanwhile.
    world.stop_agent().await;
    world.delete(Some(0)).await;
    world.start_agent(vec![world.node("n1")]);
    until("the volume is unmounted", async || mounts_below(state) == 0).await;
    let methods = driver.methods();
    let order = ["NodeUnpublishVolume", "NodeUnstageVolume"];
    assert_eq!(methods.iter().rev().take(2).rev().collect::<Vec<_>>(), order);
    drop(driver);
    until("the driver is forgotten", async || drivers(&world).await.is_empty()).await;
    world.stop_agent().await;
}

/// Attaches the volume, as the driver's attacher would.
async fn attach(world: &World) {
    // Upstream's name: the hash of the handle, the driver and the node.
    let name = "csi-501575ef2162beb9211312b16f6fa2e67ed893689735a49071f13f29afabf8c0";
    world
        .create::<VolumeAttachment>(json!({"metadata": {"name": name}, "spec": {
            "attacher": "test.csi", "nodeName": "n1", "source": {"persistentVolumeName": "pv1"}
        }}))
        .await;
    let attach = |one: &mut VolumeAttachment| {
        let metadata = [("device".to_owned(), "d1".to_owned())].into();
        let status = one.status.get_or_insert_default();
        (status.attached, status.attachment_metadata) = (true, Some(metadata));
        true
    };
    let api = world.client.of::<VolumeAttachment>().unwrap();
    api.modify_status(&Key::cluster(name), attach).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_volume_waits_for_its_attachment_and_no_longer() {
    let directory = tempfile::tempdir().unwrap();
    let mut world = world(directory.path(), json!({"attachRequired": true})).await;
    let driver = Driver::start(directory.path());
    until("the driver is there", async || !drivers(&world).await.is_empty()).await;
    claim(&world, json!({})).await;
    world.pod(claiming()).await;
    until_event(&world, "FailedMount", "waiting for external-attacher of test.csi").await;
    // Now it is tried seldom.
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert_eq!(driver.staged(), None);
    let begun = Instant::now();
    attach(&world).await;
    world.until_phase("Running").await;
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    assert_eq!(driver.staged().unwrap().publish_context["device"], "d1");
    end(&mut world, directory.path()).await;
}

async fn secret(world: &World) {
    let data = json!({"key": "c2VjcmV0"});
    let metadata = json!({"name": "s", "namespace": "default"});
    world.create::<Secret>(json!({"metadata": metadata, "data": data})).await;
}

#[tokio::test(start_paused = true)]
async fn an_inline_volume_is_published_with_secrets_and_never_staged() {
    let directory = tempfile::tempdir().unwrap();
    let spec = json!({"podInfoOnMount": true, "volumeLifecycleModes": ["Ephemeral"]});
    let mut world = world(directory.path(), spec).await;
    secret(&world).await;
    let csi =
        json!({"driver": "test.csi", "readOnly": true, "nodePublishSecretRef": {"name": "s"}});
    world
        .pod(json!({
            "volumes": [{"name": "v", "csi": csi}],
            "containers": [{"name": "c", "image": "i:1"}]
        }))
        .await;
    until_event(&world, "FailedMount", "test.csi not found in the list of registered").await;
    let driver = Driver::start(directory.path());
    world.until_phase("Running").await;
    assert_eq!(driver.staged(), None);
    let published = driver.published().unwrap();
    assert!(published.volume_id.starts_with("csi-"), "{}", published.volume_id);
    assert_eq!(published.context["csi.storage.k8s.io/ephemeral"], "true");
    assert_eq!(published.secrets["key"], "secret");
    world.delete(Some(0)).await;
    until("it is unpublished", async || driver.count("NodeUnpublishVolume") > 0).await;
    assert_eq!(driver.count("NodeUnstageVolume"), 0);
    world.stop_agent().await;
}

#[tokio::test(start_paused = true)]
async fn a_volume_without_a_file_system_is_staged_and_published_as_a_device() {
    let directory = tempfile::tempdir().unwrap();
    let mut world = world(directory.path(), no_attachment()).await;
    secret(&world).await;
    let stage = json!({"nodeStageSecretRef": {"name": "s", "namespace": "default"}});
    claim(&world, json!({"volumeMode": "Block", "csi": stage})).await;
    let driver = Driver::start(directory.path());
    let mut pod = claiming();
    pod["containers"][0] = json!({"name": "c", "image": "i:1",
        "volumeDevices": [{"name": "v", "devicePath": "/dev/v"}]});
    driver.fail("NodeStageVolume", 13);
    let uid = world.pod(pod).await.metadata.uid.clone().unwrap();
    until_event(&world, "FailedMapVolume", "MapVolume.SetUpDevice failed for volume").await;
    driver.change(|ways| ways.fails.clear());
    world.until_phase("Running").await;
    let staged = driver.staged().unwrap();
    assert_eq!(staged.secrets["key"], "secret");
    let published = driver.published().unwrap();
    for capability in [staged.capability, published.capability] {
        let capability = capability.unwrap();
        assert!(capability.block.is_some() && capability.mount.is_none());
    }
    let devices = directory.path().join("plugins/kubernetes.io/csi/volumeDevices");
    assert_eq!(Path::new(&staged.staging), devices.join("staging/pv1"));
    let device = devices.join("publish/pv1").join(uid);
    assert_eq!(Path::new(&published.target), device);
    assert!(device.is_file());
    end(&mut world, directory.path()).await;
    assert!(!device.exists() && driver.count("NodeUnstageVolume") == 1);
}

#[tokio::test(start_paused = true)]
async fn a_driver_gives_files_to_a_group_that_can_do_it_itself() {
    use std::os::unix::fs::MetadataExt as _;
    let directory = tempfile::tempdir().unwrap();
    let spec = json!({"attachRequired": false, "fsGroupPolicy": "File"});
    let mut world = world(directory.path(), spec).await;
    claim(&world, json!({})).await;
    let driver = Driver::able(directory.path(), &[STAGE, MOUNT_GROUP]);
    world.pod(claiming()).await;
    world.until_phase("Running").await;
    let published = driver.published().unwrap();
    assert_eq!(published.capability.unwrap().mount.unwrap().group, "4321");
    assert_ne!(std::fs::metadata(&published.target).unwrap().gid(), 4321);
    end(&mut world, directory.path()).await;
}

#[tokio::test(start_paused = true)]
async fn a_volume_of_two_pods_is_staged_until_both_have_gone_and_in_use_throughout() {
    let directory = tempfile::tempdir().unwrap();
    let mut world = world(directory.path(), no_attachment()).await;
    claim(&world, json!({})).await;
    let driver = Driver::start(directory.path());
    world.pod(claiming()).await;
    other_pod(&world, "q", claiming()).await;
    world.until_phase("Running").await;
    until_running(&world, "q").await;
    assert_eq!(mounts_below(directory.path()), 3);
    assert_eq!(driver.count("NodeGetCapabilities"), 1, "it is asked once what it can do");

    let nodes = world.client.of::<Node>().unwrap();
    let mut versions = nodes.watch(None, ListOptions::default()).await.unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let told = seen.clone();
    tokio::spawn(async move {
        while let Some(Ok(WatchEvent::Modified(node) | WatchEvent::Added(node))) =
            versions.next().await
        {
            let node = node.typed::<Node>().unwrap();
            let in_use = node.status.as_ref().and_then(|status| status.volumes_in_use.clone());
            told.lock().push(in_use.unwrap_or_default());
        }
    });
    let options = DeleteOptions { grace_period_seconds: Some(0), ..DeleteOptions::default() };
    world.pods().delete(&Key::new("default", "q"), options).await.unwrap();
    until("one is unmounted", async || mounts_below(directory.path()) == 2).await;
    assert_eq!(driver.count("NodeUnstageVolume"), 0);
    // A status that is written for another reason.
    tokio::time::sleep(Duration::from_secs(400)).await;
    let seen = std::mem::take(&mut *seen.lock());
    assert!(!seen.is_empty());
    for in_use in seen {
        assert_eq!(in_use, ["kubernetes.io/csi/test.csi^v1"]);
    }
    end(&mut world, directory.path()).await;
    assert_eq!(driver.count("NodeUnstageVolume"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_driver_that_hangs_holds_up_its_own_pods_alone() {
    let directory = tempfile::tempdir().unwrap();
    let mut world = world(directory.path(), no_attachment()).await;
    claim(&world, json!({})).await;
    let driver = Driver::start(directory.path());
    driver.hang("NodePublishVolume");
    let registry = directory.path().join("plugins_registry");
    let neighbour = Driver::named(&registry, "other.csi", &[]);
    let modes = json!({"volumeLifecycleModes": ["Ephemeral"]});
    let metadata = json!({"name": "other.csi"});
    let object = json!({"metadata": metadata, "spec": modes});
    world.create::<k8s_openapi::api::storage::v1::CSIDriver>(object).await;
    world.pod(claiming()).await;
    until("it is asked", async || driver.published().is_some()).await;
    let begun = Instant::now();
    let inline = json!({"volumes": [{"name": "v", "csi": {"driver": "other.csi"}}],
        "containers": [{"name": "c", "image": "i:1"}]});
    other_pod(&world, "q", inline).await;
    until_running(&world, "q").await;
    assert!(begun.elapsed() < Duration::from_secs(10) && neighbour.published().is_some());
    let why = "MountVolume.SetUp failed for volume \"pv1\" : rpc error: code = DeadlineExceeded \
               desc = context deadline exceeded";
    until_event(&world, "FailedMount", why).await;
    driver.change(|ways| ways.hangs.clear());
    world.until_phase("Running").await;
    let options = DeleteOptions { grace_period_seconds: Some(0), ..DeleteOptions::default() };
    world.pods().delete(&Key::new("default", "q"), options).await.unwrap();
    end(&mut world, directory.path()).await;
}

#[tokio::test(start_paused = true)]
async fn a_driver_that_wants_it_is_asked_again_with_tokens_that_are_good() {
    let directory = tempfile::tempdir().unwrap();
    let tokens = json!([{"audience": "store", "expirationSeconds": 600}]);
    let spec = json!({"attachRequired": false, "requiresRepublish": true, "tokenRequests": tokens});
    let mut world = world(directory.path(), spec).await;
    let account = json!({"metadata": {"name": "default", "namespace": "default"}});
    world.create::<ServiceAccount>(account).await;
    claim(&world, json!({})).await;
    let driver = Driver::start(directory.path());
    let mut pod = claiming();
    pod["serviceAccountName"] = json!("default");
    world.pod(pod).await;
    world.until_phase("Running").await;
    let token = || {
        let context = driver.published().unwrap().context;
        let shown = context["csi.storage.k8s.io/serviceAccount.tokens"].clone();
        let tokens: Value = serde_json::from_str(&shown).unwrap();
        assert!(tokens["store"]["expirationTimestamp"].is_string(), "{tokens}");
        tokens["store"]["token"].as_str().unwrap().to_owned()
    };
    let first = token();
    let begun = Instant::now();
    until("it is published anew", async || driver.count("NodePublishVolume") == 2).await;
    let passed = begun.elapsed();
    let period = Duration::from_secs(59)..Duration::from_secs(92);
    assert!(period.contains(&passed), "{passed:?}");
    assert_eq!(token(), first, "it is good for long enough");
    tokio::time::sleep(Duration::from_secs(560)).await;
    assert_ne!(token(), first);
    assert_eq!(driver.count("NodeStageVolume"), 1);

    // A publication that fails leaves the pod what it has.
    driver.fail("NodePublishVolume", 13);
    until_event(&world, "FailedMount", "code = Internal desc = it does not want to").await;
    assert_eq!(mounts_below(directory.path()), 2);
    let pod = world.get().await;
    assert_eq!(crate::world::phase(&pod), "Running");
    end(&mut world, directory.path()).await;
}
