//! A server with a store in memory and what the scheduler reads it through.

use k8s_openapi::Resource;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use pinnace_api::{Catalog, Key, Kind};
use pinnace_client::{Api, Client, Informers, Recorder};
use pinnace_env::Env;
use pinnace_server::{Server, User};
use pinnace_store::Store;
use serde_json::{Value, json};
use tokio::sync::watch;

#[derive(Clone)]
pub(crate) struct World {
    pub(crate) env: Env,
    pub(crate) client: Client,
    pub(crate) informers: Informers,
    pub(crate) recorder: Recorder,
}

impl World {
    pub(crate) async fn start() -> Self {
        let env = Env::simulated(1);
        let server = Server::builder(Store::memory(), Catalog::builtin(), env.clone()).build();
        let client = server.client(User::host());
        let informers = Informers::new(client.clone());
        let recorder = Recorder::new(&client, &env, "bench").unwrap();
        let world = Self { env, client, informers, recorder };
        world.namespace("default", &json!({})).await;
        world
    }

    pub(crate) fn nodes(&self) -> Api<Node> {
        self.client.of::<Node>().unwrap()
    }

    pub(crate) async fn namespace(&self, name: &str, more: &Value) {
        let mut namespace = more.clone();
        namespace["metadata"]["name"] = name.into();
        self.client.of::<Namespace>().unwrap().create(read(namespace)).await.unwrap();
    }

    /// A node that is ready.
    pub(crate) async fn node(&self, name: &str, labels: &Value, amount: &Value) {
        let nodes = self.nodes();
        let node: Node = read(json!({"metadata": {"name": name, "labels": labels}}));
        nodes.create(node).await.unwrap();
        let status = json!({"allocatable": amount, "capacity": amount});
        let set = |node: &mut Node| {
            node.status = Some(serde_json::from_value(status.clone()).unwrap());
            true
        };
        nodes.modify_status(&Key::cluster(name), set).await.unwrap();
        // As the controller of nodes does with one that is ready.
        let free = |node: &mut Node| {
            node.spec = None;
            true
        };
        nodes.modify(&Key::cluster(name), free).await.unwrap();
    }

    /// How many times a pod was seen that has got a node.
    pub(crate) fn placed(&self) -> watch::Receiver<usize> {
        let (counted, placed) = watch::channel(0);
        let node = |pod: &Pod| pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some());
        self.informers.of::<Pod>().unwrap().informer().on_change(move |delta| {
            let bound = |pod: Option<&pinnace_api::Object>| {
                pod.and_then(|pod| Some(node(pod.get::<Pod>().ok()?))).unwrap_or(false)
            };
            if bound(delta.new.as_ref()) && !bound(delta.old.as_ref()) {
                counted.send_modify(|count| *count += 1);
            }
        });
        placed
    }

    /// The cache of pods shows what was written at this revision of one.
    pub(crate) async fn caught_up(&self, revision: u64) {
        self.informers.of::<Pod>().unwrap().informer().caught_up(revision).await;
    }

    pub(crate) async fn shutdown(self) {
        self.recorder.shutdown().await;
        self.informers.shutdown().await;
    }
}

pub(crate) fn read<K: Kind + Resource>(mut value: Value) -> K {
    value["apiVersion"] = K::API_VERSION.into();
    value["kind"] = K::KIND.into();
    serde_json::from_value(value).unwrap()
}
