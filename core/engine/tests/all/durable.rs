use std::path::Path;

use futures::StreamExt as _;
use pinnace::store::StoreError;
use pinnace::{Engine, Error, LogOptions, OnShutdown, Runtime, ServeConfig};
use serde_json::json;

use crate::support::{LONG, deployment, field, list};

async fn open(directory: &Path) -> Result<Engine, Error> {
    Engine::builder().runtime(Runtime::simulated()).data_dir(directory).start().await
}

#[tokio::test]
async fn objects_outlive_the_engine() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open(directory.path()).await.unwrap();
    engine.apply(&deployment("web", 2, json!({}))).await.unwrap();
    engine.wait("deploy/web", "Available", LONG).await.unwrap();
    engine.shutdown().await.unwrap();
    let uid = engine.get("deploy/web").await;
    assert!(matches!(uid, Err(Error::Closed)));

    let engine = open(directory.path()).await.unwrap();
    engine.wait("deploy/web", "Available", LONG).await.unwrap();
    assert_eq!(list(&engine, "rs").await.len(), 1);
    engine.scale("deploy/web", 3).await.unwrap();
    engine.wait("deploy/web", "jsonpath={.status.availableReplicas}=3", LONG).await.unwrap();
    engine.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_data_directory_serves_one_engine_at_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open(directory.path()).await.unwrap();
    let second = open(directory.path()).await.unwrap_err();
    assert!(matches!(second, Error::Store(StoreError::Locked { .. })), "{second}");
    engine.apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}").await.unwrap();
    engine.shutdown().await.unwrap();
    open(directory.path()).await.unwrap().shutdown().await.unwrap();
}

/// The process runtime stands for the real ones here: it needs nothing to be installed.
#[tokio::test]
async fn running_containers_are_adopted_by_the_next_engine() {
    let directory = tempfile::tempdir().unwrap();
    let start = |end| {
        let builder = Engine::builder().runtime(Runtime::process()).data_dir(directory.path());
        builder.on_shutdown(end).start()
    };
    let engine = start(OnShutdown::LeavePods).await.unwrap();
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "sleeper"},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [
            {"name": "c", "image": "none", "command": ["sleep", "1000"]}]}});
    engine.create(pod.to_string().as_bytes()).await.unwrap();
    engine.wait("pods/sleeper", "Ready", LONG).await.unwrap();
    let id = field(&engine, "pods/sleeper", "/status/containerStatuses/0/containerID").await;
    engine.shutdown().await.unwrap();

    let engine = start(OnShutdown::StopPods).await.unwrap();
    engine.wait("pods/sleeper", "Ready", LONG).await.unwrap();
    assert_eq!(field(&engine, "pods/sleeper", "/status/containerStatuses/0/containerID").await, id);
    assert_eq!(field(&engine, "pods/sleeper", "/status/containerStatuses/0/restartCount").await, 0);
    engine.delete("pods/sleeper", Default::default()).await.unwrap();
    engine.wait("pods/sleeper", "delete", LONG).await.unwrap();
    engine.shutdown().await.unwrap();
}

#[tokio::test]
async fn an_engine_in_memory_takes_pods_and_volumes_with_it() {
    let start = Engine::builder().runtime(Runtime::process()).start();
    let engine = start.await.unwrap();
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "sleeper"},
        "spec": {"terminationGracePeriodSeconds": 1,
            "containers": [{"name": "c", "image": "none", "command": ["sleep", "1000"],
                "env": [{"name": "WHO", "value": "sleeper of volumes"}]}],
            "volumes": [{"name": "scratch", "emptyDir": {"medium": "Memory"}}]}});
    engine.create(pod.to_string().as_bytes()).await.unwrap();
    engine.wait("pods/sleeper", "Ready", LONG).await.unwrap();
    let uid = engine.get("pods/sleeper").await.unwrap().uid().to_owned();
    assert!(processes_of_sleeper() > 0);
    engine.shutdown().await.unwrap();
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(&uid), "a mount of the pod is left");
    assert_eq!(processes_of_sleeper(), 0, "a process of the pod is left");
}

fn processes_of_sleeper() -> usize {
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    all.filter(|entry| {
        let environ = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        environ.split(|byte| *byte == 0).any(|entry| entry == b"WHO=sleeper of volumes")
    })
    .count()
}

#[tokio::test]
async fn logs_are_read_after_the_end_and_followed_until_it() {
    let engine = Engine::builder().runtime(Runtime::process()).start().await.unwrap();
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "talker"},
        "spec": {"restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "containers": [
            {"name": "c", "image": "none", "command": ["sh", "-c", "echo one; echo two; sleep 0.2; echo three"]}]}});
    engine.create(pod.to_string().as_bytes()).await.unwrap();
    let started = "jsonpath={.status.containerStatuses.0.containerID}";
    engine.wait("pods/talker", started, LONG).await.unwrap();
    let read = async |options| {
        let lines = engine.logs("talker", options).await.unwrap();
        let lines: Vec<_> = lines.map(|line| line.unwrap().text).collect().await;
        String::from_utf8(lines.concat()).unwrap()
    };
    let follow = LogOptions { follow: true, ..LogOptions::default() };
    assert_eq!(read(follow).await, "one\ntwo\nthree\n");
    engine.wait("pods/talker", "jsonpath={.status.phase}=Succeeded", LONG).await.unwrap();
    let tail = LogOptions { tail_lines: Some(1), ..LogOptions::default() };
    assert_eq!(read(tail).await, "three\n");
    assert_eq!(
        engine.logs("nobody", LogOptions::default()).await.err().unwrap().reason(),
        "NotFound"
    );
    engine.shutdown().await.unwrap();
}

#[tokio::test]
async fn an_engine_starts_and_serves_where_a_webhook_lets_nobody_write() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open(directory.path()).await.unwrap();
    let all = ["*"];
    let webhook = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "w"}, "webhooks": [{
            "name": "a.example.com", "clientConfig": {"url": "https://127.0.0.1:1/"}, "sideEffects": "None",
            "admissionReviewVersions": ["v1"], "timeoutSeconds": 1,
            "rules": [{"operations": all, "apiGroups": all, "apiVersions": all, "resources": ["*/*"]}],
        }],
    });
    engine.apply(&webhook.to_string()).await.unwrap();
    let refused = engine.apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}").await;
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("failed calling webhook \"a.example.com\""), "{refused}");
    engine.shutdown().await.unwrap();

    let engine = open(directory.path()).await.unwrap();
    let address = Some(([127, 0, 0, 1], 0).into());
    let config = ServeConfig { address, ..ServeConfig::default() };
    let serving = engine.serve(config).await.unwrap();
    engine.delete("validatingwebhookconfigurations/w", Default::default()).await.unwrap();
    engine.apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}").await.unwrap();
    serving.stop().await;
    engine.shutdown().await.unwrap();
}
