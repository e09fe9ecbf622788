use pinnace::{Engine, OnShutdown, Runtime};
use serde_json::json;

use crate::support::{LONG, field, list};

/// From the claim's template to a directory on this machine, and back to nothing.
#[tokio::test]
async fn a_stateful_set_keeps_its_data_in_directories_of_the_default_class() {
    let directory = tempfile::tempdir().unwrap();
    let builder = Engine::builder().runtime(Runtime::process()).data_dir(directory.path());
    let engine = builder.on_shutdown(OnShutdown::StopPods).start().await.unwrap();
    let write = "echo hello > /pinnace-test-data/greeting; exec sleep 1000";
    let set = json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db"},
        "spec": {"serviceName": "db", "selector": {"matchLabels": {"app": "db"}},
            "template": {"metadata": {"labels": {"app": "db"}}, "spec": {
                "terminationGracePeriodSeconds": 0,
                "containers": [{"name": "c", "image": "none", "command": ["sh", "-c", write],
                    "volumeMounts": [{"name": "data", "mountPath": "/pinnace-test-data"}]}]}},
            "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {
                "accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": "1Gi"}}}}]}});
    engine.apply(&set.to_string()).await.unwrap();
    engine.wait("pods/db-0", "Ready", LONG).await.unwrap();
    assert_eq!(field(&engine, "pvc/data-db-0", "/status/phase").await, "Bound");
    let volume = field(&engine, "pvc/data-db-0", "/spec/volumeName").await;
    let path = format!("pv/{}", volume.as_str().unwrap());
    let path = field(&engine, &path, "/spec/local/path").await.as_str().unwrap().to_owned();
    let greeting = std::path::Path::new(&path).join("greeting");
    for _ in 0..500 {
        if std::fs::read_to_string(&greeting).is_ok_and(|text| text == "hello\n") {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(std::fs::read_to_string(&greeting).unwrap(), "hello\n");
    engine.delete("statefulsets/db", Default::default()).await.unwrap();
    engine.wait("pods/db-0", "delete", LONG).await.unwrap();
    assert!(greeting.exists(), "the claim outlives its set");
    engine.delete("pvc/data-db-0", Default::default()).await.unwrap();
    engine.wait("pvc/data-db-0", "delete", LONG).await.unwrap();
    for _ in 0..500 {
        if list(&engine, "pv").await.is_empty() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert!(!std::path::Path::new(&path).exists(), "the directory goes with its claim");
    engine.shutdown().await.unwrap();
}

#[tokio::test]
async fn drivers_register_where_the_host_says() {
    let directory = tempfile::tempdir().unwrap();
    let plugins = directory.path().join("plugins");
    let builder = Engine::builder().runtime(Runtime::process()).plugins_dir(&plugins);
    let engine = builder.start().await.unwrap();
    let made = async {
        while !plugins.is_dir() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(LONG, made).await.expect("the directory is made");
    engine.shutdown().await.unwrap();
}
