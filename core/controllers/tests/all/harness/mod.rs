//! A control plane in memory, on virtual time: store, server, caches and every controller. Nodes are
//! what a test makes of them; [`world`] has a scheduler and simulated nodes as well.

pub(crate) mod gate;
mod state;
pub(crate) mod world;

mod credentials;
mod other_server;
mod servers;

use std::time::Duration;

use k8s_openapi::Resource;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Event, Namespace, Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use pinnace_api::{Catalog, Key, Kind, Typed};
use pinnace_client::{
    Api, Client, DeleteOptions, Informers, ListOptions, PropagationPolicy, Recorder,
};
use pinnace_controllers::{Context, Controllers, Credentials};
use pinnace_env::{Clock, Env, Random};
use pinnace_server::authentication::SigningKey;
use pinnace_server::{Server, User};
use pinnace_store::Store;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use credentials::credentials;
pub(crate) use credentials::{CERTIFICATE, request};
pub(crate) use other_server::Flunders;
pub(crate) use servers::BROKEN;
use servers::Servers;

/// Longest virtual time that [`Cluster::until`] waits.
const DEADLINE: Duration = Duration::from_secs(600);

/// A control plane without nodes. Names of objects are `namespace/name`, or `name`.
pub(crate) struct Cluster {
    pub(crate) client: Client,
    pub(crate) env: Env,
    server: Server,
    credentials: Credentials,
    informers: Informers,
    recorder: Recorder,
    stop: CancellationToken,
    running: JoinHandle<()>,
}

impl Cluster {
    /// Starts one with the namespaces `default` and `kube-node-lease`.
    pub(crate) async fn start() -> Self {
        Self::serving(Catalog::builtin()).await
    }

    /// As [`Cluster::start`], with the kinds of a catalog.
    pub(crate) async fn serving(catalog: Catalog) -> Self {
        Self::with(catalog, Env::simulated(1)).await
    }

    /// As [`Cluster::start`], at a moment of its own.
    pub(crate) async fn at(moment: &str) -> Self {
        let clock = Clock::following(moment.parse().unwrap());
        Self::with(Catalog::builtin(), Env::new(clock, Random::seeded(1))).await
    }

    async fn with(catalog: Catalog, env: Env) -> Self {
        let server = Server::builder(Store::memory(), catalog, env.clone())
            .signing_key(SigningKey::generate().unwrap())
            .root_certificate(CERTIFICATE)
            .build();
        let credentials = credentials(&server);
        let client = server.client(User::host());
        let informers = Informers::new(client.clone());
        let recorder = Recorder::new(&client, &env, "test").unwrap();
        let context = Context {
            informers: informers.clone(),
            recorder: recorder.clone(),
            env: env.clone(),
            credentials: credentials.clone(),
            volume_directory: None,
            servers: Some(std::sync::Arc::new(Servers(client.catalog().clone()))),
        };
        let stop = CancellationToken::new();
        let running = tokio::spawn(Controllers::new(&context).unwrap().run(stop.clone()));
        let cluster = Self { client, env, server, credentials, informers, recorder, stop, running };
        for namespace in ["default", "kube-node-lease"] {
            cluster.make::<Namespace>(json!({"metadata": {"name": namespace}})).await;
        }
        cluster
    }

    /// Stops everything and waits until it has.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.running.await.unwrap();
        self.recorder.shutdown().await;
        self.informers.shutdown().await;
    }

    pub(crate) fn api<K: Kind + Resource>(&self) -> Api<K> {
        self.client.of().unwrap()
    }

    /// Lets virtual time pass.
    pub(crate) async fn pass(&self, seconds: u64) {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }

    /// A client that acts as `user`.
    pub(crate) fn as_user(&self, user: User) -> Client {
        self.server.client(user)
    }

    /// Has another server be there, for when an `APIService` names it.
    pub(crate) fn serve_flunders(&self) -> Flunders {
        let flunders = Flunders::default();
        self.server.send_on_by(std::sync::Arc::new(flunders.clone()));
        flunders
    }

    /// Creates an object.
    pub(crate) async fn make<K: Kind + Resource>(&self, value: Value) -> Typed<K> {
        self.api::<K>().create(serde_json::from_value(value).unwrap()).await.unwrap()
    }

    /// Reads an object.
    pub(crate) async fn find<K: Kind + Resource>(&self, name: &str) -> Option<Typed<K>> {
        self.api::<K>().find(&key(name)).await.unwrap()
    }

    /// Reads an object that must be there.
    pub(crate) async fn get<K: Kind + Resource>(&self, name: &str) -> Typed<K> {
        self.find(name).await.unwrap_or_else(|| panic!("there is no {} {name}", K::KIND))
    }

    /// All objects of a kind.
    pub(crate) async fn all<K: Kind + Resource>(&self) -> Vec<Typed<K>> {
        self.api::<K>().list(None, ListOptions::default()).await.unwrap().items
    }

    /// Changes an object.
    pub(crate) async fn edit<K: Kind + Resource>(
        &self,
        name: &str,
        change: impl FnMut(&mut K) + Send,
    ) {
        let mut change = change;
        let change = |object: &mut K| {
            change(object);
            true
        };
        self.api::<K>().modify(&key(name), change).await.unwrap();
    }

    /// Changes the status of an object.
    pub(crate) async fn report<K: Kind + Resource>(
        &self,
        name: &str,
        change: impl FnMut(&mut K) + Send,
    ) {
        let mut change = change;
        let change = |object: &mut K| {
            change(object);
            true
        };
        self.api::<K>().modify_status(&key(name), change).await.unwrap();
    }

    /// Deletes an object.
    pub(crate) async fn delete<K: Kind + Resource>(&self, name: &str, policy: PropagationPolicy) {
        let options = DeleteOptions { propagation: Some(policy), ..DeleteOptions::default() };
        self.api::<K>().delete(&key(name), options).await.unwrap();
    }

    /// Lets time pass until an object is as it should be; panics with what it is after ten
    /// minutes.
    pub(crate) async fn until<K: Kind + Resource>(
        &self,
        name: &str,
        is: impl Fn(Option<&K>) -> bool,
    ) {
        let waited = tokio::time::timeout(DEADLINE, async {
            while !is(self.find::<K>(name).await.as_deref()) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        if waited.await.is_err() {
            let found = self.find::<K>(name).await.map(|object| object.object().to_value());
            panic!("{} {name} is {found:?}", K::KIND);
        }
    }

    /// Lets time pass until an object is gone.
    pub(crate) async fn gone<K: Kind + Resource>(&self, name: &str) {
        self.until::<K>(name, |found| found.is_none()).await;
    }

    /// Whose token it is, or what is wrong with it.
    pub(crate) fn user_of(&self, token: &str) -> Result<String, String> {
        let proven = self.server.authenticate_token(token, &[])?;
        Ok(proven.map(|proven| proven.user.name.to_string()).unwrap_or_default())
    }

    /// The messages of all events of a reason, in order.
    pub(crate) async fn events(&self, reason: &str) -> Vec<String> {
        let events = self.all::<Event>().await;
        let events = events.iter().filter(|event| event.reason.as_deref() == Some(reason));
        let mut events: Vec<_> = events.filter_map(|event| event.message.clone()).collect();
        events.sort();
        events
    }

    /// Creates a node that is ready, and its lease.
    pub(crate) async fn node(&self, name: &str) {
        self.make::<Node>(json!({"metadata": {"name": name}, "status": {"conditions": [
            {"type": "Ready", "status": "True", "lastHeartbeatTime": "2030-01-01T00:00:00Z"}]}}))
            .await;
        self.make::<Lease>(json!({"metadata": {"name": name, "namespace": "kube-node-lease"}}))
            .await;
    }

    /// Lets time pass while some nodes renew their leases every ten seconds.
    pub(crate) async fn beat(&self, nodes: &[&str], seconds: u64) {
        for _ in 0..seconds.div_ceil(10) {
            for node in nodes {
                let now = MicroTime(self.env.clock().now_micros());
                self.edit::<Lease>(&format!("kube-node-lease/{node}"), |lease| {
                    lease.spec.get_or_insert_default().renew_time = Some(now.clone());
                })
                .await;
            }
            self.pass(seconds.min(10)).await;
        }
    }

    /// Creates a pod in `default` that runs on a node and is ready; `more` is merged into its
    /// `spec`.
    pub(crate) async fn pod_on(&self, node: &str, name: &str, more: Value) {
        let mut spec = json!({"nodeName": node, "containers": [{"name": "c", "image": "i"}]});
        for (field, value) in more.as_object().into_iter().flatten() {
            spec[field] = value.clone();
        }
        self.make::<Pod>(json!({"metadata": {"name": name, "namespace": "default"}, "spec": spec}))
            .await;
        let status: Value = json!({"phase": "Running", "conditions": [
            {"type": "Ready", "status": "True"}]});
        self.report::<Pod>(&format!("default/{name}"), |pod| {
            pod.status = serde_json::from_value(status.clone()).unwrap();
        })
        .await;
    }
}

impl Cluster {
    /// Does what scheduler and nodes would: binds every pod to the node that it asks for, or else
    /// to `node`, makes it ready, and takes it away when it is to go. Those in `broken` start and
    /// do not become ready.
    pub(crate) async fn run_pods(&self, node: &str, broken: impl Fn(&Pod) -> bool) {
        for pod in self.all::<Pod>().await {
            let key = pod.object().key();
            if pod.object().is_deleting() {
                let options =
                    DeleteOptions { grace_period_seconds: Some(0), ..DeleteOptions::default() };
                self.api::<Pod>().delete(&key, options).await.unwrap();
                continue;
            }
            if pod.spec.as_ref().unwrap().node_name.is_none() {
                let node = asked_node(&pod).unwrap_or_else(|| node.to_owned());
                let binding = serde_json::from_value(json!({
                    "metadata": {"name": key.name()}, "target": {"kind": "Node", "name": node}}));
                self.api::<Pod>().bind(&key, binding.unwrap()).await.unwrap();
            }
            let ready = if broken(&pod) { "False" } else { "True" };
            let before = condition(&*pod, "Ready");
            let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
            if !before.starts_with(ready) && matches!(phase, None | Some("Pending" | "Running")) {
                let now = self.env.clock().now_seconds().to_string();
                let status: Value = json!({"phase": "Running", "conditions": [
                    {"type": "Ready", "status": ready, "lastTransitionTime": now}]});
                self.report::<Pod>(&key.to_string(), |pod| {
                    pod.status = serde_json::from_value(status.clone()).unwrap();
                })
                .await;
            }
        }
    }

    /// [`Cluster::run_pods`] again and again, a second apart.
    pub(crate) async fn run_pods_for(&self, rounds: usize) {
        for _ in 0..rounds {
            self.run_pods("n1", |_| false).await;
            self.pass(1).await;
        }
    }

    /// Starts the controllers anew, with empty caches.
    pub(crate) async fn restart_controllers(&mut self) {
        self.stop.cancel();
        (&mut self.running).await.unwrap();
        self.informers.shutdown().await;
        self.stop = CancellationToken::new();
        self.informers = Informers::new(self.client.clone());
        let context = Context {
            informers: self.informers.clone(),
            recorder: self.recorder.clone(),
            env: self.env.clone(),
            credentials: self.credentials.clone(),
            volume_directory: None,
            servers: Some(std::sync::Arc::new(Servers(self.client.catalog().clone()))),
        };
        self.running = tokio::spawn(Controllers::new(&context).unwrap().run(self.stop.clone()));
    }
}

/// The node that a pod's affinity names.
fn asked_node(pod: &Pod) -> Option<String> {
    let value = serde_json::to_value(pod).unwrap();
    let terms = &value["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        ["nodeSelectorTerms"];
    terms[0]["matchFields"][0]["values"][0].as_str().map(str::to_owned)
}

/// `namespace/name` or `name`.
pub(crate) fn key(name: &str) -> Key {
    match name.split_once('/') {
        Some((namespace, name)) => Key::new(namespace, name),
        None => Key::cluster(name),
    }
}

/// A condition of an object, as `status reason message`; empty when there is none.
pub(crate) fn condition<K: Kind>(object: &K, type_: &str) -> String {
    let value = serde_json::to_value(object).unwrap();
    let conditions = value["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let found = conditions.into_iter().find(|condition| condition["type"] == type_);
    let text =
        |name: &str| found.as_ref().and_then(|found| found[name].as_str().map(str::to_owned));
    [text("status"), text("reason"), text("message")]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(" ")
}
