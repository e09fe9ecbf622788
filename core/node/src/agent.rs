use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Weak};

use k8s_openapi::api::core::v1::{Node, Pod};
use parking_lot::Mutex;
use pinnace_api::{Key, Object, Reason, Typed};
use pinnace_client::{Api, Client, Delta, Informers, Lister};
use pinnace_env::Env;
use pinnace_runtime::PodState;
use tokio::sync::{Semaphore, SemaphorePermit, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::alarms::Alarms;
use crate::config::{Machine, NodeAgentConfig};
use crate::directory::Nodes;
use crate::host::{Host, HostRuntime};
use crate::references::References;
use crate::slot::{Signals, Slot};
use crate::{Error, Result, csi, eviction, heartbeat, images, runtimes, static_pods};

/// How many pods a real machine sets up at once, and how many images it pulls at once.
const STARTS_AT_ONCE: usize = 16;
const PULLS_AT_ONCE: usize = 4;
/// How many pods begin to be worked at in one round of all tasks that are ready.
const PACES_AT_ONCE: usize = 1;

/// Runs the pods that are bound to its nodes.
///
/// One agent serves one real machine, or any number of simulated nodes in one process: all of them
/// share its caches, its timer and its few tasks. A node costs what its name, labels and addresses
/// take, and a pod at rest what its records take.
///
/// See the [crate documentation](crate) for an example.
pub struct NodeAgent {
    shared: Arc<Shared>,
    runtimes: Vec<Arc<HostRuntime>>,
    pods_cache: Lister<Pod>,
}

/// What the parts of an agent share.
pub(crate) struct Shared {
    /// In order, so that a seeded run registers them in the same order each time.
    pub(crate) hosts: BTreeMap<Arc<str>, Arc<Host>>,
    pub(crate) machine: Machine,
    pub(crate) logs: PathBuf,
    pub(crate) client: Client,
    pub(crate) pods: Api<Pod>,
    pub(crate) nodes: Api<Node>,
    pub(crate) nodes_cache: Lister<Node>,
    pub(crate) env: Env,
    pub(crate) csi: csi::Drivers,
    pub(crate) alarms: Alarms,
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
    pub(crate) pulls: Semaphore,
    starts: Option<Semaphore>,
    paces: Semaphore,
    pub(crate) informers: Informers,
    slots: Mutex<HashMap<Arc<str>, Arc<Slot>, ahash::RandomState>>,
    /// What runtimes had when the agent began, by uid, until its pod's worker takes it over.
    found: Mutex<HashMap<String, (Arc<HostRuntime>, PodState)>>,
    /// Pulls under way, by image.
    pulling: Mutex<HashMap<String, Weak<tokio::sync::Mutex<()>>>>,
    pub(crate) references: References,
}

impl NodeAgent {
    /// An agent for the nodes of `config`. It does nothing until it is [run](NodeAgent::run).
    ///
    /// # Errors
    /// [`Error::InvalidConfig`] when two nodes have one name, or a real machine is to be several
    /// nodes; [`Error::Api`] when the API does not serve pods or nodes.
    pub fn new(config: NodeAgentConfig) -> Result<Self> {
        let client = config.informers.client().clone();
        let invalid = |field, reason: String| Err(Error::InvalidConfig { field, reason });
        let local = matches!(config.machine, Machine::Local { .. });
        if local && config.nodes.len() > 1 {
            return invalid("machine", "a machine is one node, not several".to_owned());
        }
        let mut runtimes: Vec<Arc<HostRuntime>> = Vec::new();
        let mut by_address = HashMap::new();
        let mut hosts = BTreeMap::new();
        for node in config.nodes {
            let address = Arc::as_ptr(&node.runtime).cast::<()>();
            let runtime = by_address.entry(address).or_insert_with(|| {
                let runtime = Arc::new(HostRuntime::new(node.runtime.clone()));
                runtimes.push(runtime.clone());
                runtime
            });
            let host = Arc::new(Host::new(node, runtime.clone(), &config.recorder));
            if let Some(twin) = hosts.insert(host.name.clone(), host) {
                return invalid("nodes", format!("two nodes are named {:?}", twin.name));
            }
        }
        let shared = Shared {
            hosts,
            machine: config.machine,
            logs: config.logs,
            pods: client.of()?,
            nodes: client.of()?,
            nodes_cache: config.informers.of()?,
            client,
            env: config.env,
            csi: csi::Drivers::default(),
            alarms: Alarms::default(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            pulls: Semaphore::new(PULLS_AT_ONCE),
            starts: local.then(|| Semaphore::new(STARTS_AT_ONCE)),
            paces: Semaphore::new(PACES_AT_ONCE),
            informers: config.informers.clone(),
            slots: Mutex::default(),
            found: Mutex::default(),
            pulling: Mutex::default(),
            references: References::new(config.sight),
        };
        let pods_cache = config.informers.of()?;
        Ok(Self { shared: Arc::new(shared), runtimes, pods_cache })
    }

    /// The way to the agent's pods, for whoever serves the API.
    pub fn nodes(&self) -> Nodes {
        Nodes::new(&self.shared)
    }

    /// Registers the nodes and runs their pods until `stop` is cancelled. Then everything of the
    /// agent has ended when this returns; containers go on, to be taken over by the next agent.
    ///
    /// # Errors
    /// [`Error::Io`] when its directories cannot be made. What fails later is shown in the API and
    /// tried again.
    pub async fn run(self, stop: CancellationToken) -> Result<()> {
        let Self { shared, runtimes, pods_cache } = self;
        make_directories(&shared).await?;
        let work = serve(shared.clone(), runtimes, pods_cache);
        stop.run_until_cancelled(work).await;
        shared.stop.cancel();
        shared.tasks.close();
        shared.tasks.wait().await;
        shared.slots.lock().clear();
        Ok(())
    }
}

async fn make_directories(shared: &Shared) -> Result<()> {
    if let Machine::Local { state, .. } = &shared.machine {
        for directory in [state.join("pods"), shared.logs.clone()] {
            let made = tokio::fs::create_dir_all(&directory).await;
            made.map_err(Error::io("making the directory", directory))?;
        }
        shared.csi.recall(state);
    }
    Ok(())
}

async fn serve(shared: Arc<Shared>, runtimes: Vec<Arc<HostRuntime>>, pods: Lister<Pod>) {
    let (synced, is_synced) = watch::channel(false);
    runtimes::ask(&runtimes).await;
    let begin = async {
        // Pods are admitted by what their nodes say.
        heartbeat::register(&shared).await;
        shared.nodes_cache.informer().synced().await;
        static_pods::prepare(&shared).await;
        let weak = Arc::downgrade(&shared);
        pods.informer().on_change(move |delta| {
            if let Some(shared) = weak.upgrade() {
                shared.pod_changed(delta);
            }
        });
        pods.informer().synced().await;
        synced.send_replace(true);
    };
    let follow =
        runtimes.iter().map(|runtime| runtimes::follow(&shared, runtime, is_synced.clone()));
    tokio::join!(
        begin,
        futures::future::join_all(follow),
        shared.alarms.run(|slot| slot.ring(&shared)),
        heartbeat::run(&shared, &runtimes, is_synced.clone()),
        eviction::run(&shared, is_synced.clone()),
        images::run(&shared, is_synced.clone()),
        static_pods::run(&shared, is_synced.clone()),
        csi::registration::run(&shared, is_synced.clone()),
        csi::upkeep::run(&shared),
    );
}

impl Shared {
    /// Waits for the pod's turn to be set up: a real machine does only so much at once.
    pub(crate) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        self.starts.as_ref()?.acquire().await.ok()
    }

    /// Lets everything else that is ready have a turn first. A thousand pods that are bound at
    /// once are a thousand tasks, and would otherwise have the processors nearly to themselves,
    /// while the scheduler waits to bind the next.
    pub(crate) async fn pace(&self) {
        if let Ok(_permit) = self.paces.acquire().await {
            tokio::task::yield_now().await;
        }
    }

    /// The lock of all pulls of an image.
    pub(crate) fn pulling(&self, reference: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut pulling = self.pulling.lock();
        if let Some(lock) = pulling.get(reference).and_then(Weak::upgrade) {
            return lock;
        }
        pulling.retain(|_, lock| lock.strong_count() > 0);
        let lock = Arc::new(tokio::sync::Mutex::new(()));
        pulling.insert(reference.to_owned(), Arc::downgrade(&lock));
        lock
    }

    fn pod_changed(self: &Arc<Self>, delta: &Delta) {
        if let (Some(old), new) = (&delta.old, &delta.new)
            && new.as_ref().is_none_or(|new| new.uid() != old.uid())
        {
            self.pod_gone(old);
        }
        let Some(pod) = &delta.new else { return };
        let Some(host) = self.host_of(pod) else { return };
        let Some(pod) = static_pods::as_known(self, host, pod) else { return };
        let mut slots = self.slots.lock();
        match slots.get(pod.uid()) {
            Some(slot) => {
                let slot = slot.clone();
                drop(slots);
                slot.offer(self, pod);
            }
            None => {
                let slot = Arc::new(Slot::new(pod, host.clone()));
                slots.insert(slot.uid.clone(), slot.clone());
                drop(slots);
                slot.signal(self, |signals| signals.pod = true);
            }
        }
    }

    fn host_of(&self, pod: &Object) -> Option<&Arc<Host>> {
        self.hosts.get(Slot::is_for(pod)?)
    }

    fn pod_gone(self: &Arc<Self>, pod: &Object) {
        let Some(host) = self.host_of(pod) else { return };
        if let Some(hash) = static_pods::mirrored_on(host, pod)
            && host.mirrors.lost(&hash, pod)
        {
            return;
        }
        let Some(pod) = static_pods::as_known(self, host, pod) else { return };
        if let Some(slot) = self.slot(pod.uid()) {
            slot.offer(self, pod);
            slot.signal(self, |signals| signals.gone = true);
        }
    }

    /// The pods of all nodes of a runtime.
    pub(crate) fn slots_of(&self, runtime: &Arc<HostRuntime>) -> Vec<Arc<Slot>> {
        let slots = self.slots.lock();
        let mine = |slot: &&Arc<Slot>| Arc::ptr_eq(&slot.host.runtime, runtime);
        slots.values().filter(mine).cloned().collect()
    }

    /// Has all pods of a runtime looked at.
    pub(crate) fn signal_all(
        self: &Arc<Self>,
        runtime: &Arc<HostRuntime>,
        change: impl Fn(&mut Signals),
    ) {
        for slot in self.slots_of(runtime) {
            slot.signal(self, &change);
        }
    }

    /// The place of a pod.
    pub(crate) fn slot(&self, uid: &str) -> Option<Arc<Slot>> {
        self.slots.lock().get(uid).cloned()
    }

    /// A pod as the API has it now; `None` for one that is not there, or that a node may not read: it is
    /// none of this agent's then.
    pub(crate) async fn find_pod(&self, key: &Key) -> pinnace_api::Result<Option<Typed<Pod>>> {
        match self.pods.find(key).await {
            Err(error) if error.reason() == Reason::Forbidden => Ok(None),
            found => found,
        }
    }

    /// Has one pod looked at.
    pub(crate) fn signal(self: &Arc<Self>, uid: &str, change: impl FnOnce(&mut Signals)) {
        if let Some(slot) = self.slot(uid) {
            slot.signal(self, change);
        }
    }

    /// The uids of all pods of this agent.
    pub(crate) fn known_uids(&self) -> HashSet<String> {
        self.slots.lock().keys().map(|uid| uid.to_string()).collect()
    }

    /// Lets go of a pod of which nothing is left.
    pub(crate) fn forget(&self, slot: &Arc<Slot>) {
        self.unwatch_references(slot);
        self.slots.lock().remove(&slot.uid);
    }

    /// Keeps what a runtime had when the agent began.
    pub(crate) fn keep_found(&self, runtime: &Arc<HostRuntime>, pods: Vec<PodState>) {
        let entry = |pod: PodState| (pod.config.id.clone(), (runtime.clone(), pod));
        self.found.lock().extend(pods.into_iter().map(entry));
    }

    /// What the runtime had of a pod when the agent began; given once.
    pub(crate) fn adopted(&self, uid: &str) -> Option<PodState> {
        self.found.lock().remove(uid).map(|(_, pod)| pod)
    }

    /// Takes what a runtime had when the agent began and no pod has asked for.
    pub(crate) fn take_orphans(&self, runtime: &Arc<HostRuntime>) -> Vec<PodState> {
        let slots = self.slots.lock();
        let mut found = self.found.lock();
        let orphan = |(uid, (of, _)): &(&String, &(Arc<HostRuntime>, PodState))| {
            Arc::ptr_eq(of, runtime) && !slots.contains_key(uid.as_str())
        };
        let orphans: Vec<String> =
            found.iter().filter(orphan).map(|(uid, _)| uid.clone()).collect();
        orphans.iter().filter_map(|uid| found.remove(uid)).map(|(_, pod)| pod).collect()
    }

    /// Whether a pod of this agent's has this uid.
    pub(crate) fn knows(&self, uid: &str) -> bool {
        self.slots.lock().contains_key(uid)
    }
}
