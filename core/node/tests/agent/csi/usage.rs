use std::time::Duration;

use pinnace_client::nodes::NodeDirectory as _;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::driver::{CONDITION, Condition, Driver, STAGE, STATS, Stats, Usage};
use super::{claim, claiming, end, until_event, world};
use crate::world::World;

async fn page(world: &World, path: &str) -> String {
    world.nodes().node("n1").unwrap().document(path).await.unwrap().unwrap().body
}

/// The volume `v` of pod `p` among the statistics.
async fn volume(world: &World) -> Value {
    let summary: Value = serde_json::from_str(&page(world, "/stats/summary").await).unwrap();
    let volumes = summary["pods"][0]["volume"].as_array().cloned().unwrap_or_default();
    volumes.into_iter().find(|one| one["name"] == "v").unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn drivers_say_how_full_volumes_are_and_keep_nobody_waiting() {
    let directory = tempfile::tempdir().unwrap();
    let mut world = world(directory.path(), json!({"attachRequired": false})).await;
    claim(&world, json!({})).await;
    let driver = Driver::able(directory.path(), &[STAGE, STATS, CONDITION]);
    let bytes = Usage { available: 700, total: 1000, used: 300, unit: 1 };
    let inodes = Usage { available: 60, total: 100, used: 40, unit: 2 };
    let condition = Condition { abnormal: true, message: "a disk is lost".to_owned() };
    let stats = Stats { usage: vec![bytes, inodes], condition: Some(condition) };
    driver.change(|ways| ways.stats = stats);
    world.pod(claiming()).await;
    world.until_phase("Running").await;
    let found = volume(&world).await;
    assert_eq!(found["pvcRef"], json!({"name": "c", "namespace": "default"}));
    let names =
        ["availableBytes", "capacityBytes", "usedBytes", "inodesFree", "inodes", "inodesUsed"];
    assert_eq!(names.map(|name| found[name].as_u64().unwrap()), [700, 1000, 300, 60, 100, 40]);
    assert_eq!(found["volumeHealthStats"]["abnormal"], true);
    until_event(&world, "VolumeConditionAbnormal", "Volume v: a disk is lost").await;
    let figures = page(&world, "/metrics").await;
    let labels = "{namespace=\"default\",persistentvolumeclaim=\"c\"}";
    for (name, value) in [("used_bytes", 300), ("inodes_free", 60), ("health_status_abnormal", 1)] {
        let line = format!("kubelet_volume_stats_{name}{labels} {value}");
        assert!(figures.lines().any(|one| one == line), "{line}: {figures}");
    }
    assert_eq!(driver.count("NodeGetVolumeStats"), 1, "an answer is good for a minute");

    driver.hang("NodeGetVolumeStats");
    tokio::time::sleep(Duration::from_secs(61)).await;
    let begun = Instant::now();
    assert_eq!(volume(&world).await["usedBytes"], 300, "what was known is said");
    assert!(begun.elapsed() <= Duration::from_secs(3), "{:?}", begun.elapsed());
    assert_eq!(driver.count("NodeGetVolumeStats"), 2);
    let begun = Instant::now();
    volume(&world).await;
    assert!(begun.elapsed() < Duration::from_secs(1), "nobody waits for it twice");
    end(&mut world, directory.path()).await;
}

#[tokio::test(start_paused = true)]
async fn a_driver_that_cannot_say_how_full_volumes_are_is_not_asked() {
    let directory = tempfile::tempdir().unwrap();
    let mut world = world(directory.path(), json!({"attachRequired": false})).await;
    claim(&world, json!({})).await;
    let driver = Driver::start(directory.path());
    world.pod(claiming()).await;
    world.until_phase("Running").await;
    assert_eq!(volume(&world).await, Value::Null);
    assert_eq!(driver.count("NodeGetVolumeStats"), 0);
    end(&mut world, directory.path()).await;
}

#[tokio::test(start_paused = true)]
async fn local_volumes_of_claims_are_measured_and_those_of_host_paths_not() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("data");
    std::fs::create_dir(&path).unwrap();
    for (kind, is_measured) in [("local", true), ("hostPath", false)] {
        let mut world = world(directory.path(), json!({"attachRequired": false})).await;
        let mut more = json!({"source": {kind: {"path": path}}});
        if kind == "local" {
            more["nodeAffinity"] = json!({"required": {"nodeSelectorTerms": [{"matchExpressions":
                [{"key": "zone", "operator": "In", "values": ["a"]}]}]}});
        }
        claim(&world, more).await;
        world.pod(claiming()).await;
        world.until_phase("Running").await;
        let found = volume(&world).await;
        assert_eq!(found["capacityBytes"].as_u64().is_some_and(|bytes| bytes > 0), is_measured);
        assert_eq!(found["pvcRef"]["name"] == "c", is_measured, "{kind}: {found}");
        world.delete(Some(0)).await;
        world.until_gone().await;
        world.stop_agent().await;
    }
}
