//! A whole cluster on simulated nodes, and the verbs of scenarios: apply, pass, kill, stop a node,
//! expect. It can be killed after every so many writes, of controllers, scheduler, nodes and tester, and
//! goes on from what is stored, as an engine that crashes does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use pinnace_api::patch::Patch;
use pinnace_api::{Catalog, Key, Resource};
use pinnace_client::{
    Client, DeleteOptions, Informers, ListOptions, PropagationPolicy, Recorder, WriteOptions,
};
use pinnace_controllers::{Context, Controllers, Credentials};
use pinnace_env::Env;
use pinnace_network::{Ipv4Net, PodNetwork, SimulatedNetwork};
use pinnace_node::{
    Capacity, Machine, NodeAgent, NodeAgentConfig, NodeConfig, NodeSettings, Sight,
};
use pinnace_runtime::ContainerId;
use pinnace_runtime::simulated::{Simulated, SimulatedConfig};
use pinnace_scheduler::{Scheduler, SchedulerConfig};
use pinnace_server::{InProcess, Server, User};
use pinnace_store::Store;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::gate::{Gate, Life};
use super::key;
use super::state;

/// Longest virtual time that [`World::expect`] waits.
const DEADLINE: Duration = Duration::from_secs(1800);
/// What nodes write again and again for as long as they live, and so in every life at once.
const SIGNS_OF_LIFE: [&str; 2] = ["Lease", "Node"];
/// How often it looks.
const LOOK: Duration = Duration::from_millis(250);

pub(crate) struct World {
    server: Server,
    store: Store,
    /// The tester's own, which outlives crashes.
    pub(crate) client: Client,
    pub(crate) env: Env,
    pub(crate) runtime: Simulated,
    networks: BTreeMap<String, Arc<dyn PodNetwork>>,
    /// After how many writes the engine is killed each time: its own, and those that are made to it.
    every: usize,
    writes: usize,
    alive: Option<Alive>,
}

/// What dies with the engine.
struct Alive {
    life: Arc<Life>,
    informers: [Informers; 2],
    recorder: Recorder,
    stop: CancellationToken,
    running: Vec<JoinHandle<()>>,
    nodes: BTreeMap<String, (CancellationToken, JoinHandle<()>)>,
}

impl World {
    /// A cluster of so many nodes: `n1`, `n2`, …
    pub(crate) async fn start(nodes: usize) -> Self {
        Self::killed_every(usize::MAX, nodes).await
    }

    /// As [`World::start`], killed after every so many writes.
    pub(crate) async fn killed_every(every: usize, nodes: usize) -> Self {
        let env = Env::simulated(1);
        let store = Store::memory();
        let server = Server::builder(store.clone(), Catalog::builtin(), env.clone()).build();
        let client = server.client(User::host());
        let runtime = Simulated::new(SimulatedConfig::new(env.clone()));
        let networks = (1..=nodes).map(|number| {
            let range = Ipv4Net::new_assert([10, 0, u8::try_from(number).unwrap(), 0].into(), 24);
            let network: Arc<dyn PodNetwork> = Arc::new(SimulatedNetwork::new(range).unwrap());
            (format!("n{number}"), network)
        });
        let networks = networks.collect();
        let mut world =
            Self { server, store, client, env, runtime, networks, every, writes: 0, alive: None };
        for name in ["default", "kube-system", "kube-node-lease"] {
            let namespace = json!({"apiVersion": "v1", "kind": "Namespace",
                "metadata": {"name": name}});
            world.create(namespace).await;
            let account = json!({"apiVersion": "v1", "kind": "ServiceAccount",
                "metadata": {"name": "default", "namespace": name}});
            world.create(account).await;
        }
        let class = serde_json::to_value(pinnace_controllers::default_storage_class()).unwrap();
        world.create(class).await;
        world.live().await;
        world.pass(5).await;
        world
    }

    fn through(&self, life: &Arc<Life>, uncounted: &'static [&'static str]) -> Client {
        let inner = InProcess::new(self.server.clone(), User::host());
        Client::new(Gate { inner, life: life.clone(), uncounted, store: self.store.clone() })
    }

    /// Counts a write of the tester's.
    fn count(&self) {
        if let Some(alive) = &self.alive {
            alive.life.count();
        }
    }

    /// Begins a life of the engine.
    async fn live(&mut self) {
        let life = Life::until(self.every);
        let stop = CancellationToken::new();
        let informers = Informers::new(self.through(&life, &[]));
        let others = Informers::new(self.through(&life, &SIGNS_OF_LIFE));
        let recorder = Recorder::new(&self.client, &self.env, "test").unwrap();
        let context = Context {
            informers: informers.clone(),
            recorder: recorder.clone(),
            env: self.env.clone(),
            credentials: Credentials::default(),
            volume_directory: None,
            servers: None,
        };
        let controllers = Controllers::new(&context).unwrap().run(stop.clone());
        let scheduler = Scheduler::new(
            &others,
            recorder.component("default-scheduler"),
            self.env.clone(),
            SchedulerConfig::default(),
        );
        let scheduler = scheduler.unwrap().run(stop.clone());
        let mut nodes = BTreeMap::new();
        for (name, network) in &self.networks {
            let config = NodeAgentConfig {
                nodes: vec![NodeConfig {
                    name: name.clone(),
                    labels: BTreeMap::new(),
                    taints: Vec::new(),
                    capacity: Capacity::default(),
                    settings: NodeSettings::default(),
                    addresses: vec!["127.0.0.1".parse().unwrap()],
                    port: 0,
                    runtime: Arc::new(self.runtime.node(name)),
                    network: network.clone(),
                }],
                machine: Machine::Simulated,
                logs: std::env::temp_dir(),
                informers: others.clone(),
                recorder: recorder.clone(),
                env: self.env.clone(),
                sight: Sight::All,
            };
            let agent = NodeAgent::new(config).unwrap();
            let stop = CancellationToken::new();
            let run = agent.run(stop.clone());
            let running = tokio::spawn(async move { run.await.unwrap() });
            nodes.insert(name.clone(), (stop, running));
        }
        let running = vec![tokio::spawn(controllers), tokio::spawn(scheduler)];
        let informers = [informers, others];
        self.alive = Some(Alive { life, informers, recorder, stop, running, nodes });
    }

    /// Ends the life, and waits until nothing of it is left.
    async fn die(&mut self) {
        let Some(alive) = self.alive.take() else { return };
        self.writes += alive.life.writes();
        alive.life.over.cancel();
        alive.stop.cancel();
        for (stop, running) in alive.nodes.into_values() {
            stop.cancel();
            running.await.unwrap();
        }
        for running in alive.running {
            running.await.unwrap();
        }
        alive.recorder.shutdown().await;
        for informers in alive.informers {
            informers.shutdown().await;
        }
    }

    fn over(&self) -> CancellationToken {
        self.alive.as_ref().unwrap().life.over.clone()
    }

    /// Lets so many seconds pass.
    pub(crate) async fn pass(&mut self, seconds: u64) {
        self.pass_time(Duration::from_secs(seconds)).await;
    }

    async fn pass_time(&mut self, time: Duration) {
        let end = tokio::time::Instant::now() + time;
        while !self.lives_for(end.saturating_duration_since(tokio::time::Instant::now())).await {}
    }

    /// Lets time pass until nothing has been killed for so many seconds.
    pub(crate) async fn settle(&mut self, seconds: u64) {
        let start = tokio::time::Instant::now();
        while !self.lives_for(Duration::from_secs(seconds)).await {
            assert!(start.elapsed() < DEADLINE, "the controllers find no rest");
        }
    }

    /// Lets time pass; ends early, and with `false`, when the engine had to be started anew.
    async fn lives_for(&mut self, time: Duration) -> bool {
        let over = self.over();
        let lived = over.run_until_cancelled(tokio::time::sleep(time)).await.is_some();
        if !lived {
            self.die().await;
            self.live().await;
        }
        lived
    }

    /// How many writes were made.
    pub(crate) fn writes(&self) -> usize {
        self.writes + self.alive.as_ref().map_or(0, |alive| alive.life.writes())
    }

    /// Ends the cluster.
    pub(crate) async fn stop(mut self) {
        self.die().await;
    }

    fn kind_of(&self, object: &Value) -> (Arc<Resource>, Key) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let kind = self.client.catalog();
        let kind = kind.by_kind(&text(&object["apiVersion"]), &text(&object["kind"])).unwrap();
        let name = text(&object["metadata"]["name"]);
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or("default");
        let key = if kind.is_namespaced() { Key::new(namespace, name) } else { Key::cluster(name) };
        (kind, key)
    }

    async fn create(&self, object: Value) {
        let (kind, key) = self.kind_of(&object);
        let options =
            WriteOptions { field_manager: Some("test".into()), ..WriteOptions::default() };
        let api = self.client.resource(kind);
        api.patch(&key, Patch::Apply(object), options).await.unwrap();
        self.count();
    }

    /// Applies an object, in `default` unless it says otherwise, and lets a second pass.
    pub(crate) async fn apply(&mut self, object: Value) {
        self.create(object).await;
        self.pass(1).await;
    }

    /// Deletes an object, such as `pods` `default/web-0`.
    pub(crate) async fn delete(&mut self, kind: &str, name: &str, policy: PropagationPolicy) {
        let options = DeleteOptions { propagation: Some(policy), ..DeleteOptions::default() };
        self.client.named(kind).unwrap().delete(&key(name), options).await.unwrap();
        self.count();
        self.pass(1).await;
    }

    /// Ends the containers of a pod with an exit code.
    pub(crate) async fn kill(&mut self, pod: &str, code: i32) {
        let found = self.get("pods", pod).await;
        let containers = found["status"]["containerStatuses"].as_array().cloned();
        for container in containers.unwrap_or_default() {
            let id = container["containerID"].as_str().unwrap_or_default();
            let id = id.split_once("://").map_or(id, |(_, id)| id);
            self.runtime.exit(&ContainerId(id.to_owned()), code);
        }
        self.pass(1).await;
    }

    /// Has a node fall silent for good.
    pub(crate) async fn stop_node(&mut self, name: &str) {
        self.networks.remove(name).unwrap();
        let (stop, running) = self.alive.as_mut().unwrap().nodes.remove(name).unwrap();
        stop.cancel();
        running.await.unwrap();
    }

    pub(crate) async fn get(&self, kind: &str, name: &str) -> Value {
        let found = self.client.named(kind).unwrap().find(&key(name)).await.unwrap();
        found.map_or(Value::Null, |object| object.to_value().unwrap())
    }

    /// The names of all objects of a kind that are not going, with namespaces.
    pub(crate) async fn names(&self, kind: &str) -> Vec<String> {
        let api = self.client.named(kind).unwrap();
        let all = api.list(None, ListOptions::default()).await.unwrap().items;
        all.iter().filter(|one| !one.is_deleting()).map(|one| one.key().to_string()).collect()
    }

    /// Lets time pass until what a JSON pointer finds in an object is as given: null when there is
    /// no such object.
    pub(crate) async fn expect(&mut self, kind: &str, name: &str, pointer: &str, value: Value) {
        let start = tokio::time::Instant::now();
        loop {
            let object = self.get(kind, name).await;
            if *object.pointer(pointer).unwrap_or(&Value::Null) == value {
                return;
            }
            assert!(start.elapsed() < DEADLINE, "{kind} {name} has no {pointer} {value}: {object}");
            self.pass_time(LOOK).await;
        }
    }

    /// Lets time pass until there are so many objects of a kind.
    pub(crate) async fn expect_count(&mut self, kind: &str, count: usize) {
        let start = tokio::time::Instant::now();
        while self.names(kind).await.len() != count {
            assert!(start.elapsed() < DEADLINE, "{kind}: {:?}", self.names(kind).await);
            self.pass_time(LOOK).await;
        }
    }

    /// All that is stored, without what differs from one run to the next: see [`state`].
    pub(crate) async fn state(&self) -> Vec<String> {
        state::of(&self.client).await
    }
}
