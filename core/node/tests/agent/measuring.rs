use pinnace_client::nodes::{Document, NodeDirectory as _};
use serde_json::{Value, json};

use crate::world::World;

async fn page(world: &World, path: &str) -> Option<Document> {
    world.nodes().node("n1").unwrap().document(path).await.unwrap()
}

async fn busy(world: &World) {
    let requests = json!({"requests": {"cpu": "250m"}, "limits": {"memory": "64Mi"}});
    let spec = json!({"containers": [
        {"name": "main", "image": "web:1", "resources": requests},
        {"name": "side", "image": "side:1"},
    ]});
    let annotations = json!({"pinnace.dev/simulate.side": "cpu=50m,memory=3Mi"});
    world.pod_with(spec, annotations).await;
    world.until_phase("Running").await;
    tokio::time::sleep(std::time::Duration::from_secs(100)).await;
}

#[tokio::test(start_paused = true)]
async fn a_node_says_what_its_pods_use() {
    let world = World::with_node().await;
    busy(&world).await;
    let found = page(&world, "/stats/summary").await.unwrap();
    assert_eq!(found.media_type, "application/json");
    let summary: Value = serde_json::from_str(&found.body).unwrap();
    let pod = &summary["pods"][0];
    assert_eq!(
        (&pod["podRef"]["name"], &pod["podRef"]["namespace"]),
        (&"p".into(), &"default".into())
    );
    let container = |index: usize| {
        let one = &pod["containers"][index];
        let memory = &one["memory"];
        let cores = one["cpu"]["usageNanoCores"].clone();
        (
            one["name"].clone(),
            cores,
            memory["workingSetBytes"].clone(),
            memory["availableBytes"].clone(),
        )
    };
    assert_eq!(container(0), ("main".into(), 250_000_000.into(), (64 << 20).into(), 0.into()));
    assert_eq!(container(1), ("side".into(), 50_000_000.into(), (3 << 20).into(), Value::Null));
    assert_eq!(pod["cpu"]["usageNanoCores"], 300_000_000);
    assert_eq!(summary["node"]["nodeName"], "n1");
    assert_eq!(summary["node"]["memory"]["workingSetBytes"], 67 << 20);
    assert_eq!(summary["node"]["memory"]["availableBytes"], (256u64 << 30) - (67 << 20));
    let only = page(&world, "/stats/summary?only_cpu_and_memory=true").await.unwrap().body;
    let only: Value = serde_json::from_str(&only).unwrap();
    assert_eq!((&only["node"]["fs"], &only["pods"][0]["cpu"]), (&Value::Null, &pod["cpu"]));
}

#[tokio::test(start_paused = true)]
async fn a_node_has_the_pages_of_a_kubelet() {
    let world = World::with_node().await;
    busy(&world).await;
    assert_eq!(page(&world, "/healthz").await.unwrap().body, "ok");
    assert_eq!(page(&world, "/nothing").await, None);
    let pods: Value = serde_json::from_str(&page(&world, "/pods").await.unwrap().body).unwrap();
    assert_eq!(
        (&pods["kind"], &pods["items"][0]["metadata"]["name"]),
        (&"PodList".into(), &"p".into())
    );
    let settings = page(&world, "/configz").await.unwrap().body;
    assert!(settings.contains("\"maxPods\":110"), "{settings}");
    let figures = page(&world, "/metrics/resource").await.unwrap().body;
    let has = |line: &str| assert!(figures.lines().any(|one| one.starts_with(line)), "{figures}");
    has("# TYPE container_cpu_usage_seconds_total counter");
    has(
        "container_memory_working_set_bytes{container=\"side\",namespace=\"default\",pod=\"p\"} 3145728 ",
    );
    has("container_cpu_usage_seconds_total{container=\"main\",namespace=\"default\",pod=\"p\"} 25");
    has("node_memory_working_set_bytes 70254592 ");
    has("pod_cpu_usage_seconds_total{namespace=\"default\",pod=\"p\"} 30");
    has("resource_scrape_error 0");
    let figures = page(&world, "/metrics/cadvisor").await.unwrap().body;
    assert!(figures.contains("container_memory_usage_bytes{container=\"main\""), "{figures}");
}
