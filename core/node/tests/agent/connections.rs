use std::sync::Arc;

use futures::TryStreamExt as _;
use pinnace_client::nodes::{
    LogOptions, NodeConnection, NodeDirectory as _, PodReference, Streams,
};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::world::World;

const STREAMS: Streams = Streams { stdin: true, stdout: true, stderr: true, tty: false };

/// A pod that runs by a script, how to name it, and the way to its node.
async fn running(world: &World, script: &str) -> (PodReference, Arc<dyn NodeConnection>) {
    let spec = json!({"containers": [{"name": "c", "image": "i"}]});
    let pod = world.pod_with(spec, json!({"pinnace.dev/simulate": script})).await;
    world.until_phase("Running").await;
    let reference = PodReference {
        namespace: "default".to_owned(),
        name: "p".to_owned(),
        uid: pod.object().uid().to_owned(),
    };
    (reference, world.nodes().node("n1").unwrap())
}

#[tokio::test(start_paused = true)]
async fn commands_ports_and_logs_are_reached_through_the_node() {
    let world = World::with_node().await;
    let (pod, node) = running(&world, "exec-out=hi,exec-exit=2,listen=80").await;
    let mut session = node.exec(&pod, "c", vec!["sh".to_owned()], STREAMS).await.unwrap();
    drop(session.stdin.take());
    let mut out = String::new();
    session.stdout.take().unwrap().read_to_string(&mut out).await.unwrap();
    assert_eq!((out.as_str(), session.exit.await.unwrap()), ("hi\n", 2));

    let mut connection = node.connect(&pod, 80).await.unwrap();
    connection.write_all(b"x").await.unwrap();
    assert_eq!(connection.read_u8().await.unwrap(), b'x');
    assert_eq!(node.connect(&pod, 81).await.err().unwrap().code(), 503);

    let follow = LogOptions { follow: true, ..LogOptions::default() };
    let lines: Vec<_> = node.logs(&pod, "c", follow).await.unwrap().try_collect().await.unwrap();
    assert!(lines.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_is_not_there_is_said() {
    let world = World::with_node().await;
    let (pod, node) = running(&world, "run=5s,exit=1").await;
    let command = || vec!["sh".to_owned()];
    let other = PodReference { uid: "another".to_owned(), ..pod.clone() };
    assert_eq!(node.exec(&other, "c", command(), STREAMS).await.unwrap_err().code(), 404);
    let missing = node.exec(&pod, "d", command(), STREAMS).await.unwrap_err();
    assert_eq!((missing.code(), missing.message()), (404, "container not found (\"d\")"));
    world.until("crashed", |pod| crate::world::state(pod, "c").starts_with("waiting")).await;
    assert_eq!(node.attach(&pod, "c", STREAMS).await.unwrap_err().code(), 400);
    assert_eq!(world.nodes().node("n2").err().unwrap().code(), 503);
}
