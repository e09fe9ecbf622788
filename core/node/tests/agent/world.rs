//! A cluster of one API and one agent with simulated nodes, in virtual time.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{ContainerStatus, Event, Namespace, Pod};
use parking_lot::Mutex;
use pinnace_api::{Catalog, Key, Kind, Typed};
use pinnace_client::{Api, Client, DeleteOptions, Informers, ListOptions, Recorder, WatchEvent};
use pinnace_env::Env;
use pinnace_network::SimulatedNetwork;
use pinnace_node::{
    Capacity, Machine, NodeAgent, NodeAgentConfig, NodeConfig, NodeSettings, Nodes, Sight,
};
use pinnace_runtime::Script;
use pinnace_runtime::simulated::{Simulated, SimulatedConfig};
use pinnace_server::{Server, User};
use pinnace_store::Store;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// How long a test waits for what must happen, in virtual time.
const PATIENCE: Duration = Duration::from_secs(24 * 3600);

pub(crate) struct World {
    pub(crate) env: Env,
    pub(crate) client: Client,
    pub(crate) runtime: Simulated,
    pub(crate) machine: Machine,
    pub(crate) logs: PathBuf,
    /// Every version of every pod, as a watch has told it.
    history: Arc<Mutex<Vec<Typed<Pod>>>>,
    agent: Option<Agent>,
}

struct Agent {
    nodes: Nodes,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
    informers: Informers,
    recorder: Recorder,
}

impl World {
    /// An API with its namespaces and a simulated runtime, and no agent yet.
    pub(crate) async fn new() -> Self {
        Self::over(Store::memory(), Env::simulated(7)).await
    }

    /// The same with what is in a store.
    pub(crate) async fn over(store: Store, env: Env) -> Self {
        let server = Server::builder(store, Catalog::builtin(), env.clone()).build();
        let client = server.client(User::host());
        for name in ["default", "kube-node-lease"] {
            let namespace: Namespace = from(json!({"metadata": {"name": name}}));
            match client.of::<Namespace>().unwrap().create(namespace).await {
                Err(error) if error.is_already_exists() => {}
                made => drop(made.unwrap()),
            }
        }
        let runtime = Simulated::new(SimulatedConfig::new(env.clone()));
        let history = Arc::new(Mutex::new(Vec::new()));
        let mut events =
            client.of::<Pod>().unwrap().watch(None, ListOptions::default()).await.unwrap();
        let told = history.clone();
        tokio::spawn(async move {
            while let Some(Ok(event)) = events.next().await {
                if let WatchEvent::Added(pod) | WatchEvent::Modified(pod) = event {
                    told.lock().push(pod.typed::<Pod>().unwrap());
                }
            }
        });
        let logs = std::env::temp_dir().join("pinnace-node-test-never-made");
        Self { env, client, runtime, machine: Machine::Simulated, logs, history, agent: None }
    }

    /// The same, with an agent that serves one node, `n1`.
    pub(crate) async fn with_node() -> Self {
        let mut world = Self::new().await;
        world.start_agent(vec![world.node("n1")]);
        world
    }

    pub(crate) fn node(&self, name: &str) -> NodeConfig {
        NodeConfig {
            name: name.to_owned(),
            labels: BTreeMap::from([("zone".to_owned(), "a".to_owned())]),
            taints: Vec::new(),
            capacity: Capacity::default(),
            settings: NodeSettings::default(),
            addresses: vec!["192.0.2.7".parse().unwrap()],
            port: 0,
            runtime: Arc::new(self.runtime.clone()),
            network: Arc::new(SimulatedNetwork::new("10.1.0.0/24".parse().unwrap()).unwrap()),
        }
    }

    pub(crate) fn start_agent(&mut self, nodes: Vec<NodeConfig>) {
        let informers = Informers::new(self.client.clone());
        let recorder = Recorder::new(&self.client, &self.env, "test").unwrap();
        let agent = NodeAgent::new(NodeAgentConfig {
            nodes,
            machine: self.machine.clone(),
            logs: self.logs.clone(),
            informers: informers.clone(),
            recorder: recorder.clone(),
            env: self.env.clone(),
            sight: Sight::All,
        })
        .unwrap();
        let stop = CancellationToken::new();
        let nodes = agent.nodes();
        let run = agent.run(stop.clone());
        let task = tokio::spawn(async move { run.await.unwrap() });
        self.agent = Some(Agent { nodes, stop, task, informers, recorder });
    }

    /// Ends the agent as a restart of its program would; what runs goes on.
    pub(crate) async fn stop_agent(&mut self) {
        let agent = self.agent.take().unwrap();
        agent.stop.cancel();
        agent.task.await.unwrap();
        agent.informers.shutdown().await;
        agent.recorder.shutdown().await;
    }

    /// The way to the agent's pods.
    pub(crate) fn nodes(&self) -> &Nodes {
        &self.agent.as_ref().unwrap().nodes
    }

    pub(crate) fn pods(&self) -> Api<Pod> {
        self.client.of().unwrap()
    }

    /// Creates an object.
    pub(crate) async fn create<K>(&self, object: Value) -> Typed<K>
    where
        K: Kind + k8s_openapi::Resource,
    {
        self.client.of::<K>().unwrap().create(from(object)).await.unwrap()
    }

    /// Creates a pod named `p` on node `n1`.
    pub(crate) async fn pod(&self, spec: Value) -> Typed<Pod> {
        self.pod_with(spec, json!({})).await
    }

    pub(crate) async fn pod_with(&self, spec: Value, annotations: Value) -> Typed<Pod> {
        let mut spec = spec;
        if spec.get("nodeName").is_none() {
            spec["nodeName"] = json!("n1");
        }
        let metadata = json!({"name": "p", "namespace": "default", "annotations": annotations});
        self.create(json!({"metadata": metadata, "spec": spec})).await
    }

    pub(crate) async fn get(&self) -> Typed<Pod> {
        self.pods().get(&key("p")).await.unwrap()
    }

    pub(crate) async fn delete(&self, grace: Option<i64>) {
        let options = DeleteOptions { grace_period_seconds: grace, ..DeleteOptions::default() };
        self.pods().delete(&key("p"), options).await.unwrap();
    }

    /// Waits until `holds` of pod `p`.
    pub(crate) async fn until(&self, what: &str, holds: impl Fn(&Pod) -> bool) -> Typed<Pod> {
        let options = ListOptions { initial_events: Some(true), ..ListOptions::default() };
        let mut events = self.pods().watch(Some("default"), options).await.unwrap();
        let found = tokio::time::timeout(PATIENCE, async {
            while let Some(event) = events.next().await {
                if let WatchEvent::Added(pod) | WatchEvent::Modified(pod) = event.unwrap()
                    && pod.name() == "p"
                {
                    let pod = pod.typed::<Pod>().unwrap();
                    if holds(&pod) {
                        return pod;
                    }
                }
            }
            panic!("the watch ended before: {what}")
        });
        match found.await {
            Ok(pod) => pod,
            Err(_) => panic!("never happened: {what}; last: {:#?}", self.history.lock().last()),
        }
    }

    /// Waits until the API no longer has pod `p`.
    pub(crate) async fn until_gone(&self) {
        let gone = tokio::time::timeout(PATIENCE, async {
            while self.pods().find(&key("p")).await.unwrap().is_some() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        gone.await.expect("the pod goes");
    }

    pub(crate) async fn until_phase(&self, phase: &str) -> Typed<Pod> {
        self.until(phase, |pod| self::phase(pod) == phase).await
    }

    /// All versions of pod `p` until now.
    pub(crate) async fn versions(&self) -> Vec<Typed<Pod>> {
        settle().await;
        self.history.lock().iter().filter(|pod| pod.object().name() == "p").cloned().collect()
    }

    /// The reasons of all Events, each with its message.
    pub(crate) async fn events(&self) -> Vec<(String, String)> {
        // The recorder lets what it tells of go first.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let list = self.client.of::<Event>().unwrap();
        let list = list.list(Some("default"), ListOptions::default()).await.unwrap();
        let mut events: Vec<_> =
            list.items.iter().map(|event| (event.object().revision(), event)).collect();
        events.sort_by_key(|(revision, _)| *revision);
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        events.iter().map(|(_, event)| (text(&event.reason), text(&event.message))).collect()
    }
}

/// Lets everything that is ready to run do so.
pub(crate) async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

pub(crate) fn from<K: Kind>(value: Value) -> K {
    serde_json::from_value(value).unwrap()
}

pub(crate) fn key(name: &str) -> Key {
    Key::new("default", name)
}

pub(crate) fn script(text: &str) -> Script {
    text.parse().unwrap()
}

pub(crate) fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

/// The status of a container, init containers included.
pub(crate) fn container<'a>(pod: &'a Pod, name: &str) -> Option<&'a ContainerStatus> {
    let status = pod.status.as_ref()?;
    let init = status.init_container_statuses.iter().flatten();
    init.chain(status.container_statuses.iter().flatten()).find(|status| status.name == name)
}

/// `waiting/Reason`, `running`, `terminated/Reason/code`; empty for no state.
pub(crate) fn state(pod: &Pod, name: &str) -> String {
    let Some(state) = container(pod, name).and_then(|status| status.state.as_ref()) else {
        return String::new();
    };
    if let Some(waiting) = &state.waiting {
        return format!("waiting/{}", waiting.reason.clone().unwrap_or_default());
    }
    match &state.terminated {
        Some(end) => {
            format!("terminated/{}/{}", end.reason.clone().unwrap_or_default(), end.exit_code)
        }
        None if state.running.is_some() => "running".to_owned(),
        None => String::new(),
    }
}

pub(crate) fn condition(pod: &Pod, name: &str) -> String {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    let found = conditions.into_iter().flatten().find(|condition| condition.type_ == name);
    found.map_or_else(String::new, |found| {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        [found.status.clone(), text(&found.reason), text(&found.message)]
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join("/")
    })
}
