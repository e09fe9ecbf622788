use std::time::Duration;

use pinnace::k8s_openapi::api::core::v1::Pod;
use pinnace::runtime::simulated::{Simulated, SimulatedConfig};
use pinnace::{Engine, Env, ListOptions, Object, Runtime};
use serde_json::{Value, json};

/// Long in virtual time, short in real time.
pub(crate) const LONG: Duration = Duration::from_secs(3600);

/// An engine on simulated nodes whose world the test may meddle with.
pub(crate) async fn engine(nodes: usize) -> (Engine, Simulated) {
    let env = Env::simulated(7);
    let world = Simulated::new(SimulatedConfig::new(env.clone()));
    let builder = Engine::builder().runtime(Runtime::simulated_by(world.clone())).nodes(nodes);
    (builder.env(env).start().await.unwrap(), world)
}

/// The manifest of a Deployment; `change` lays more over its `spec`.
pub(crate) fn deployment(name: &str, replicas: i32, change: Value) -> String {
    let mut manifest = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "web", "image": "web:1"}]}
            }
        }
    });
    let overlay = json!({"spec": change});
    merge(&mut manifest, &overlay);
    manifest.to_string()
}

/// Changes the image of the Deployment's template.
pub(crate) fn image(image: &str) -> Value {
    json!({"template": {"spec": {"containers": [{"name": "web", "image": image}]}}})
}

fn merge(base: &mut Value, over: &Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                merge(base.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (base, over) => *base = over.clone(),
    }
}

pub(crate) async fn list(engine: &Engine, kind: &str) -> Vec<Object> {
    engine.list(kind, ListOptions::default()).await.unwrap().items
}

/// Pods that are not going.
pub(crate) async fn pods(engine: &Engine) -> Vec<Object> {
    list(engine, "pods").await.into_iter().filter(|pod| !pod.is_deleting()).collect()
}

pub(crate) fn is_ready(pod: &Object) -> bool {
    let pod = pod.get::<Pod>().unwrap();
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|c| c.type_ == "Ready" && c.status == "True")
}

pub(crate) fn image_of(pod: &Object) -> String {
    let pod = pod.get::<Pod>().unwrap();
    pod.spec.as_ref().unwrap().containers[0].image.clone().unwrap()
}

/// A value within an object, by a JSON pointer.
pub(crate) async fn field(engine: &Engine, object: &str, pointer: &str) -> Value {
    let value = engine.get(object).await.unwrap().to_value().unwrap();
    value.pointer(pointer).cloned().unwrap_or(Value::Null)
}

/// Waits until a rollout is done.
pub(crate) async fn rolled_out(engine: &Engine, name: &str) {
    let waited = tokio::time::timeout(LONG, async {
        while !engine.rollout_status(name).await.unwrap().done {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    let status = waited.await.err().map(|_| engine.get(name));
    if let Some(status) = status {
        panic!("not rolled out: {}", status.await.unwrap().to_value().unwrap()["status"]);
    }
}

/// The reasons of all Events about an object.
pub(crate) async fn events(engine: &Engine, name: &str) -> Vec<(String, String)> {
    // Events are written in the background.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let events = list(engine, "events").await.into_iter().map(|event| event.to_value().unwrap());
    let about = events.filter(|event| event["involvedObject"]["name"] == name);
    about
        .map(|event| {
            let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
            (text("reason"), text("message"))
        })
        .collect()
}
