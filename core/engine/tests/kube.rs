//! What is written with kube-rs runs against an engine in the same process, without a socket.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say so and end")]

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use kube::api::{ApiResource, DynamicObject, ObjectMeta, Patch, PatchParams, PostParams};
use kube::runtime::controller::Action;
use kube::runtime::{Controller, WatchStreamExt as _, finalizer, watcher};
use kube::{Api, Resource as _, ResourceExt as _};
use pinnace::k8s_openapi::api::core::v1::{ConfigMap, Secret};
use pinnace::k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
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

/// Defines shirts, which have a size and a status, and waits until they can be had.
async fn define_shirts(client: &kube::Client) -> ApiResource {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let definition = serde_json::json!({
        "metadata": {"name": "shirts.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced",
            "names": {"plural": "shirts", "kind": "Shirt"},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                    "spec": {"type": "object", "properties": {
                        "size": {"type": "integer", "default": 3}}},
                    "status": {"type": "object", "properties": {"sewn": {"type": "integer"}}}}}},
            }]},
    });
    let definition = serde_json::from_value(definition).unwrap();
    definitions.create(&PostParams::default(), &definition).await.unwrap();
    let established = kube::runtime::conditions::is_crd_established();
    kube::runtime::wait::await_condition(definitions, "shirts.example.com", established)
        .await
        .unwrap();
    let kind = kube::core::GroupVersionKind::gvk("example.com", "v1", "Shirt");
    kube::discovery::pinned_kind(client, &kind).await.unwrap().0
}

#[tokio::test(start_paused = true)]
async fn a_custom_kind_is_discovered_and_used() {
    let engine = engine().await;
    let client = engine.kube_client().unwrap();
    let resource = define_shirts(&client).await;
    assert_eq!(resource.plural, "shirts");
    let shirts: Api<DynamicObject> = Api::default_namespaced_with(client, &resource);
    let wanted = DynamicObject::new("a", &resource).data(serde_json::json!({"spec": {}}));
    let applied = Patch::Apply(&wanted);
    let made = shirts.patch("a", &PatchParams::apply("test"), &applied).await.unwrap();
    assert_eq!(made.data["spec"]["size"], 3);
    engine.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_custom_kind_is_published_within_a_second_and_taken_back_as_soon() {
    /// Waits until every document of discovery knows of shirts, or none.
    async fn published(client: &kube::Client, wanted: bool) {
        let since = tokio::time::Instant::now();
        let documents = [
            ("/apis", "example.com"),
            ("/apis/example.com/v1", "shirts"),
            ("/openapi/v3", "apis/example.com/v1"),
            ("/openapi/v3/apis/example.com/v1", "com.example.v1.Shirt"),
            ("/openapi/v2", "com.example.v1.Shirt"),
        ];
        for (path, names) in documents {
            loop {
                let found = client.request_text(http_get(path)).await.unwrap_or_default();
                if found.contains(names) == wanted {
                    break;
                }
                assert!(since.elapsed() < Duration::from_secs(1), "{path}, {wanted}: {found}");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }

    let engine = engine().await;
    let client = engine.kube_client().unwrap();
    published(&client, false).await;
    define_shirts(&client).await;
    published(&client, true).await;
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    definitions.delete("shirts.example.com", &Default::default()).await.unwrap();
    published(&client, false).await;
    engine.shutdown().await.unwrap();
}

/// What a controller of shirts works with.
struct Sewing {
    shirts: Api<DynamicObject>,
    maps: Api<ConfigMap>,
    resource: ApiResource,
}

impl Sewing {
    /// Notes a shirt's size in a ConfigMap of its own, and says so in its status; one that goes
    /// leaves a note.
    async fn reconcile(
        shirt: Arc<DynamicObject>,
        sewing: Arc<Self>,
    ) -> Result<Action, finalizer::Error<kube::Error>> {
        let shirts = sewing.shirts.clone();
        finalizer(&shirts, "example.com/sewing", shirt, async |event| match event {
            finalizer::Event::Apply(shirt) => {
                let size = &shirt.data["spec"]["size"];
                let mut map = config_map(&shirt.name_any());
                map.data = Some([("size".to_owned(), size.to_string())].into());
                map.metadata.owner_references =
                    shirt.controller_owner_ref(&sewing.resource).map(|owner| vec![owner]);
                let params = PatchParams::apply("sewing").force();
                sewing.maps.patch(&shirt.name_any(), &params, &Patch::Apply(map)).await?;
                let status = serde_json::json!({"status": {"sewn": size}});
                let params = PatchParams::default();
                let patch = Patch::Merge(status);
                sewing.shirts.patch_status(&shirt.name_any(), &params, &patch).await?;
                Ok(Action::await_change())
            }
            finalizer::Event::Cleanup(shirt) => {
                let note = config_map(&format!("{}-gone", shirt.name_any()));
                sewing.maps.create(&PostParams::default(), &note).await?;
                Ok(Action::await_change())
            }
        })
        .await
    }
}

#[tokio::test(start_paused = true)]
async fn a_controller_of_a_custom_kind_reconciles() {
    let engine = engine().await;
    let client = engine.kube_client().unwrap();
    let resource = define_shirts(&client).await;
    let shirts: Api<DynamicObject> = Api::default_namespaced_with(client.clone(), &resource);
    let maps: Api<ConfigMap> = Api::default_namespaced(client);
    let all = watcher::Config::default();
    let sewing = Sewing { shirts: shirts.clone(), maps: maps.clone(), resource: resource.clone() };
    let controller = Controller::new_with(shirts.clone(), all.clone(), resource.clone())
        .owns(maps.clone(), own())
        .run(
            Sewing::reconcile,
            |_, _, _| Action::requeue(Duration::from_secs(1)),
            Arc::new(sewing),
        );
    let running = tokio::spawn(controller.for_each(|_| async {}));
    let wanted = DynamicObject::new("a", &resource).data(serde_json::json!({"spec": {"size": 4}}));
    shirts.create(&PostParams::default(), &wanted).await.unwrap();
    engine.wait("shirts/a", "jsonpath={.status.sewn}=4", LONG).await.unwrap();
    assert_eq!(maps.get("a").await.unwrap().data.unwrap()["size"], "4");
    // What somebody else changes or takes away is put right.
    engine.delete("configmaps/a", Default::default()).await.unwrap();
    engine.wait("configmaps/a", "create", LONG).await.unwrap();
    let larger = Patch::Merge(serde_json::json!({"spec": {"size": 5}}));
    shirts.patch("a", &PatchParams::default(), &larger).await.unwrap();
    engine.wait("shirts/a", "jsonpath={.status.sewn}=5", LONG).await.unwrap();
    // It goes when the controller has let it go, and what it owns goes with it.
    shirts.delete("a", &Default::default()).await.unwrap();
    engine.wait("shirts/a", "delete", LONG).await.unwrap();
    engine.wait("configmaps/a-gone", "create", LONG).await.unwrap();
    engine.wait("configmaps/a", "delete", LONG).await.unwrap();
    running.abort();
    engine.shutdown().await.unwrap();
}
