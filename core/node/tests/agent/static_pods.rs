use std::path::Path;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod};
use pinnace_api::{Key, Typed};
use pinnace_client::DeleteOptions;
use pinnace_node::StaticPods;

use crate::world::{World, key, phase};

fn write(directory: &Path, image: &str) {
    let text = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: web, labels: {{app: web}}}}\n\
         spec: {{containers: [{{name: c, image: {image}}}]}}\n"
    );
    std::fs::write(directory.join("web.yaml"), text).unwrap();
}

async fn world(directory: &Path) -> World {
    let mut world = World::new().await;
    let mut node = world.node("n1");
    node.settings.static_pods = Some(StaticPods::new(directory));
    world.start_agent(vec![node]);
    world
}

/// Waits until the mirror is as `holds` wants it.
async fn until(world: &World, what: &str, holds: impl Fn(Option<&Typed<Pod>>) -> bool) {
    for _ in 0..600 {
        if holds(world.pods().find(&key("web-n1")).await.unwrap().as_ref()) {
            return;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    panic!("never happened: {what}");
}

fn runs(pod: Option<&Typed<Pod>>, image: &str) -> bool {
    pod.is_some_and(|pod| {
        let container = &pod.spec.as_ref().unwrap().containers[0];
        !pod.object().is_deleting()
            && phase(pod) == "Running"
            && container.image.as_deref() == Some(image)
    })
}

fn container(pod: &Pod) -> Option<String> {
    pod.status.as_ref()?.container_statuses.as_ref()?.first()?.container_id.clone()
}

fn container_is(pod: &Pod, expected: &Option<String>) -> bool {
    expected.is_some() && container(pod) == *expected
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_only_says_it_is_a_mirror_goes() {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), "web:1");
    let world = world(directory.path()).await;
    until(&world, "it runs", |pod| runs(pod, "web:1")).await;
    let mut false_one = (*world.pods().get(&key("web-n1")).await.unwrap()).clone();
    let meta = &mut false_one.metadata;
    (meta.uid, meta.resource_version, meta.name) = (None, None, Some("false".to_owned()));
    let annotations = meta.annotations.get_or_insert_default();
    annotations.insert("kubernetes.io/config.mirror".to_owned(), "../../etc".to_owned());
    world.pods().create(false_one).await.unwrap();
    for _ in 0..60 {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert!(world.pods().find(&key("false")).await.unwrap().is_none());
    assert!(runs(world.pods().find(&key("web-n1")).await.unwrap().as_ref(), "web:1"));
}

#[tokio::test(start_paused = true)]
async fn pods_of_files_run_as_long_as_their_file_is_there() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("broken.yaml"), "kind: [").unwrap();
    std::fs::write(directory.path().join(".hidden"), "kind: Pod").unwrap();
    write(directory.path(), "web:1");
    let world = world(directory.path()).await;
    until(&world, "it runs", |pod| runs(pod, "web:1")).await;

    let pod = world.pods().get(&key("web-n1")).await.unwrap();
    let nodes = world.client.of::<Node>().unwrap();
    let node = nodes.get(&Key::cluster("n1")).await.unwrap();
    let owner = &pod.metadata.owner_references.as_ref().unwrap()[0];
    assert_eq!((&*owner.kind, &*owner.uid), ("Node", node.object().uid()));
    let annotations = pod.metadata.annotations.as_ref().unwrap();
    let of = |name: &str| annotations.get(&format!("kubernetes.io/config.{name}")).unwrap();
    assert_eq!((of("source").as_str(), of("hash")), ("file", of("mirror")));
    let container = container(&pod);
    for grace in [None, Some(0)] {
        let before = world.pods().get(&key("web-n1")).await.unwrap().object().uid().to_owned();
        let options = DeleteOptions { grace_period_seconds: grace, ..Default::default() };
        world.pods().delete(&key("web-n1"), options).await.unwrap();
        let again = |pod: Option<&Typed<Pod>>| {
            pod.is_some_and(|pod| pod.object().uid() != before && container_is(pod, &container))
        };
        until(&world, "its mirror comes back", |pod| again(pod) && runs(pod, "web:1")).await;
    }

    write(directory.path(), "web:2");
    until(&world, "it is made anew", |pod| runs(pod, "web:2")).await;

    std::fs::remove_file(directory.path().join("web.yaml")).unwrap();
    until(&world, "it goes", |pod| pod.is_none()).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(world.pods().find(&key("web-n1")).await.unwrap().is_none());
}
