use std::time::Duration;

use k8s_openapi::api::core::v1::{Event, Pod};
use pinnace_client::ListOptions;
use pinnace_node::{Capacity, ImageCollection};
use pinnace_runtime::Runtime as _;
use serde_json::json;

use crate::world::{World, key, script};

async fn images(world: &World) -> String {
    let images = world.runtime.list_images().await.unwrap();
    images.iter().map(|image| image.tags[0].clone()).collect::<Vec<_>>().join(" ")
}

/// A node of 100 GiB, with images of 50, 30 and 20, the first of which a pod uses.
async fn world(collection: ImageCollection) -> World {
    let mut world = World::new().await;
    for (name, size) in [("big", 50), ("old", 30), ("new", 20)] {
        let text = format!("pull-delay=1s,image-size={size}Gi");
        world.runtime.set_image_script(name, script(&text));
    }
    let mut node = world.node("n1");
    node.capacity = Capacity { storage_bytes: 100 << 30, ..Capacity::default() };
    node.settings.images = Some(collection);
    world.start_agent(vec![node]);
    for name in ["big", "old"] {
        let spec = json!({"nodeName": "n1", "containers": [{"name": "c", "image": name}]});
        let metadata = json!({"name": name, "namespace": "default"});
        world.create::<Pod>(json!({"metadata": metadata, "spec": spec})).await;
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    world.pods().delete(&key("old"), Default::default()).await.unwrap();
    world
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_fills_up_loses_the_images_that_were_used_least_lately() {
    let world = world(ImageCollection::default()).await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(images(&world).await, "big old", "there is room");
    world.pod(json!({"containers": [{"name": "c", "image": "new"}]})).await;
    world.until_phase("Running").await;
    world.delete(None).await;
    world.until_gone().await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(images(&world).await, "big new", "one was enough");
}

#[tokio::test(start_paused = true)]
async fn images_that_were_not_used_for_long_go_in_any_case() {
    let collection =
        ImageCollection { max_age: Duration::from_secs(3600), ..ImageCollection::default() };
    let world = world(collection).await;
    tokio::time::sleep(Duration::from_secs(3500)).await;
    assert_eq!(images(&world).await, "big old");
    tokio::time::sleep(Duration::from_secs(900)).await;
    assert_eq!(images(&world).await, "big");
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_stays_full_is_told_of() {
    let collection =
        ImageCollection { high_percent: 40, low_percent: 10, ..ImageCollection::default() };
    let world = world(collection).await;
    tokio::time::sleep(Duration::from_secs(1000)).await;
    assert_eq!(images(&world).await, "big", "it is in use");
    let events = world.client.of::<Event>().unwrap();
    let events = events.list(None, ListOptions::default()).await.unwrap();
    let told = |reason: &str| {
        let found = events.items.iter().find(|one| one.reason.as_deref() == Some(reason));
        found.and_then(|one| one.message.clone()).unwrap_or_default()
    };
    let message = "Insufficient free disk space on the node's image filesystem (50% of 100.0 GiB \
                   used). Failed to free sufficient space by deleting unused images (freed 0 bytes)\
                   . Investigate disk usage, as it could be used by active images, logs, volumes, \
                   or other data.";
    assert!(
        events.items.iter().any(|one| one.message.as_deref() == Some(message)),
        "{:?}",
        events.items.iter().map(|one| one.message.clone()).collect::<Vec<_>>()
    );
    assert!(told("ImageGCFailed").contains("Insufficient free disk space"));
}
