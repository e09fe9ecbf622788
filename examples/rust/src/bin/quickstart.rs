//! Ten lines: three simulated nodes, a Deployment, and its pods.

use std::time::Duration;

use pinnace::{Engine, ListOptions, Runtime};

#[tokio::main]
async fn main() -> Result<(), pinnace::Error> {
    let engine = Engine::builder().runtime(Runtime::simulated()).nodes(3).start().await?;
    engine.apply(include_str!("../../../manifests/web.yaml")).await?;
    engine.wait("deployments/web", "Available", Duration::from_secs(30)).await?;
    engine.scale("deployments/web", 5).await?;
    let five = "jsonpath={.status.availableReplicas}=5";
    engine.wait("deployments/web", five, Duration::from_secs(30)).await?;
    for pod in engine.list("pods", ListOptions::default().labels("app=web")?).await?.items {
        let pod = pod.to_value()?;
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        println!(
            "{} {} {}",
            text(&pod["metadata"]["name"]),
            text(&pod["spec"]["nodeName"]),
            text(&pod["status"]["phase"])
        );
    }
    engine.shutdown().await
}
