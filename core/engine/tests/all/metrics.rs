use pinnace::{ListOptions, Object};
use serde_json::{Value, json};

use crate::support::{LONG, deployment, engine};

fn used(object: &Object, path: &str) -> String {
    let value = object.to_value().unwrap();
    value.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned()
}

#[tokio::test(start_paused = true)]
async fn what_pods_and_nodes_use_is_told_when_somebody_asks() {
    let (engine, world) = engine(2).await;
    let more = json!({"template": {"spec": {"containers": [
        {"name": "web", "image": "web:1", "resources": {"requests": {"cpu": "100m"}}}
    ]}}});
    engine.apply(&deployment("web", 3, more)).await.unwrap();
    engine.apply(&deployment("other", 1, json!({}))).await.unwrap();
    for name in ["web", "other"] {
        engine.wait(&format!("deployments/{name}"), "Available", LONG).await.unwrap();
    }
    let labels = Some(pinnace::Selector::parse("app=web").unwrap());
    let options = ListOptions { labels, ..ListOptions::default() };
    let list = || engine.list("pods.metrics.k8s.io", options.clone());
    let pods = list().await.unwrap().items;
    assert_eq!(pods.len(), 3, "{pods:?}");
    for pod in &pods {
        assert_eq!(used(pod, "/containers/0/name"), "web");
        assert_eq!(used(pod, "/containers/0/usage/cpu"), "100m");
        assert_eq!(used(pod, "/containers/0/usage/memory"), "1Mi");
        assert_eq!((used(pod, "/kind"), used(pod, "/window")), ("PodMetrics".into(), "10s".into()));
    }
    world.set_image_usage("web:1", 750, 5 << 20);
    let pod = &list().await.unwrap().items[0];
    assert_eq!(used(pod, "/containers/0/usage/cpu"), "750m");
    assert_eq!(used(pod, "/containers/0/usage/memory"), "5Mi");
    let nodes = engine.list("nodes.metrics.k8s.io", ListOptions::default()).await.unwrap().items;
    let names: Vec<_> = nodes.iter().map(Object::name).collect();
    assert_eq!(names, ["node-0", "node-1"]);
    assert!(nodes.iter().all(|node| !used(node, "/usage/cpu").is_empty()), "{nodes:?}");
    let one = engine.get("nodes.metrics.k8s.io/node-1").await.unwrap();
    assert_eq!(used(&one, "/usage/memory"), used(&nodes[1], "/usage/memory"));
    let none = engine.get("pods.metrics.k8s.io/nobody").await.unwrap_err();
    assert!(none.to_string().contains("pods.metrics.k8s.io \"nobody\" not found"), "{none}");
    engine.shutdown().await.unwrap();
}
