//! What is written with kube-rs runs against an engine in the same process, without a socket.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say so and end")]

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use kube::api::{ObjectMeta, PostParams};
use kube::runtime::controller::Action;
use kube::runtime::{Controller, WatchStreamExt as _, watcher};
use kube::{Api, Resource as _, ResourceExt as _};
use pinnace::k8s_openapi::api::core::v1::{ConfigMap, Secret};
use pinnace::{Engine, Env, Runtime, ServeConfig};

/// Long in virtual time, short in real time.
const LONG: Duration = Duration::from_secs(3600);

async fn engine() -> Engine {
    let builder = Engine::builder().runtime(Runtime::simulated()).nodes(0);
    builder.env(Env::simulated(7)).start().await.unwrap()
}

fn config_map(name: &str) -> ConfigMap {
    let labels = Some([("test".to_owned(), "kube".to_owned())].into());
    let metadata = ObjectMeta { name: Some(name.to_owned()), labels, ..ObjectMeta::default() };
    ConfigMap { metadata, ..ConfigMap::default() }
}

/// The objects that these tests make, and not those that every namespace has.
fn own() -> watcher::Config {
    watcher::Config::default().labels("test=kube")
}

#[tokio::test(start_paused = true)]
async fn a_watcher_sees_what_is_and_what_happens() {
    let engine = engine().await;
    let maps: Api<ConfigMap> = Api::default_namespaced(engine.kube_client().unwrap());
    maps.create(&PostParams::default(), &config_map("a")).await.unwrap();
    let mut seen = watcher(maps.clone(), own()).applied_objects().boxed();
    assert_eq!(seen.try_next().await.unwrap().unwrap().name_any(), "a");
    maps.create(&PostParams::default(), &config_map("b")).await.unwrap();
    assert_eq!(seen.try_next().await.unwrap().unwrap().name_any(), "b");
    let missing = maps.get("c").await.unwrap_err();
    assert!(matches!(missing, kube::Error::Api(status) if status.is_not_found()));
    drop(seen);
    engine.shutdown().await.unwrap();
}

#[tokio::test]
async fn the_same_over_tls_by_a_kubeconfig() {
    let engine = engine().await;
    let address = Some(([127, 0, 0, 1], 0).into());
    let serving = engine.serve(ServeConfig { address, ..ServeConfig::default() }).await.unwrap();
    let text = engine.kubeconfig("ann", &["system:masters"]).unwrap();
    let config = kube::config::Kubeconfig::from_yaml(&text).unwrap();
    let config = kube::Config::from_custom_kubeconfig(config, &Default::default()).await.unwrap();
    let client = kube::Client::try_from(config).unwrap();
    let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
    maps.create(&PostParams::default(), &config_map("a")).await.unwrap();
    let mut seen = watcher(maps.clone(), own()).applied_objects().boxed();
    assert_eq!(seen.try_next().await.unwrap().unwrap().name_any(), "a");
    let ready = http_get("/readyz?verbose");
    let ready = client.request_text(ready).await.unwrap();
    for check in ["etcd", "informer-sync", "poststarthook/rbac/bootstrap-roles", "shutdown"] {
        assert!(ready.contains(&format!("[+]{check} ok\n")), "{ready}");
    }
    drop(seen);
    serving.stop().await;
    engine.shutdown().await.unwrap();
}

fn http_get(path: &str) -> http::Request<Vec<u8>> {
    http::Request::get(path).body(Vec::new()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_controller_reconciles() {
    /// Makes a Secret beside each ConfigMap, owned by it.
    async fn reconcile(
        map: Arc<ConfigMap>,
        secrets: Arc<Api<Secret>>,
    ) -> Result<Action, kube::Error> {
        let metadata = ObjectMeta {
            name: Some(map.name_any()),
            owner_references: map.controller_owner_ref(&()).map(|owner| vec![owner]),
            ..ObjectMeta::default()
        };
        let secret = Secret { metadata, ..Secret::default() };
        match secrets.create(&PostParams::default(), &secret).await {
            Err(kube::Error::Api(status)) if status.is_already_exists() => {}
            made => drop(made?),
        }
        Ok(Action::await_change())
    }

    let engine = engine().await;
    let client = engine.kube_client().unwrap();
    let secrets: Api<Secret> = Api::default_namespaced(client.clone());
    let maps: Api<ConfigMap> = Api::default_namespaced(client);
    let controller =
        Controller::new(maps.clone(), own()).owns(secrets.clone(), watcher::Config::default()).run(
            reconcile,
            |_, _, _| Action::requeue(Duration::from_secs(1)),
            Arc::new(secrets.clone()),
        );
    let running = tokio::spawn(controller.for_each(|_| async {}));
    maps.create(&PostParams::default(), &config_map("a")).await.unwrap();
    engine.wait("secrets/a", "create", LONG).await.unwrap();
    engine.delete("secrets/a", Default::default()).await.unwrap();
    engine.wait("secrets/a", "create", LONG).await.unwrap();
    running.abort();
    engine.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_custom_kind_is_discovered_and_used() {
    use kube::api::{DynamicObject, Patch, PatchParams};
    use pinnace::k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
    let engine = engine().await;
    let client = engine.kube_client().unwrap();
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let definition = serde_json::json!({
        "metadata": {"name": "shirts.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced",
            "names": {"plural": "shirts", "kind": "Shirt"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {
                "openAPIV3Schema": {"type": "object", "properties": {"spec": {
                    "type": "object", "properties": {"size": {"type": "integer", "default": 3}}}}},
            }}]},
    });
    let definition = serde_json::from_value(definition).unwrap();
    definitions.create(&PostParams::default(), &definition).await.unwrap();
    let established = kube::runtime::conditions::is_crd_established();
    kube::runtime::wait::await_condition(definitions, "shirts.example.com", established)
        .await
        .unwrap();
    let kind = kube::core::GroupVersionKind::gvk("example.com", "v1", "Shirt");
    let (resource, _) = kube::discovery::pinned_kind(&client, &kind).await.unwrap();
    assert_eq!(resource.plural, "shirts");
    let shirts: Api<DynamicObject> = Api::default_namespaced_with(client, &resource);
    let wanted = DynamicObject::new("a", &resource).data(serde_json::json!({"spec": {}}));
    let applied = Patch::Apply(&wanted);
    let made = shirts.patch("a", &PatchParams::apply("test"), &applied).await.unwrap();
    assert_eq!(made.data["spec"]["size"], 3);
    engine.shutdown().await.unwrap();
}
