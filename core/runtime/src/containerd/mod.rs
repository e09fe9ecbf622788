//! Containers in containerd, over its native API.
//!
//! There is no pause container: a pod's network, IPC and UTS namespaces are pinned by this crate,
//! and its containers join them. All containers of a pod share one shim. What exists is known from
//! containerd's event stream and never polled; after containerd was away, it is compared once.
//!
//! Everything needed to find the pods again lies in the containers themselves and in a state
//! directory, so a new process of the same namespace adopts what an earlier one left running.

mod addresses;
mod adoption;
mod attach;
mod connection;
mod containers;
mod disposal;
mod events;
mod exec;
mod handlers;
mod image;
mod image_volumes;
mod pods;
mod privileges;
mod records;
mod rootfs;
mod spec;
mod stats;
mod table;
mod tasks;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use containerd_client::services::v1::{CreateNamespaceRequest, Namespace};
use parking_lot::Mutex;
use pinnace_env::Env;
use tokio::sync::{broadcast, watch};
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

use self::connection::{Connection as Channel, exists_is_fine};
use self::containers::Users;
use self::image::Images;
use self::privileges::Privileges;
use self::table::Table;
use crate::cgroup::Cgroups;
use crate::logs::LogPumps;
use crate::{
    Connection, ContainerConfig, ContainerId, ContainerPhase, ContainerState, Error, Features,
    Image, PodConfig, PodId, PodSandbox, PodState, PodStats, RegistryAuth, Resources, Result,
    Runtime, RuntimeEvent, Session, Streams,
};

const NAME: &str = "containerd";
/// Events that a slow subscriber may be behind.
const EVENTS_BEHIND: usize = 4096;
/// How long containerd may take to say that it is there.
const CHECK_TIMEOUT: Duration = Duration::from_secs(3);
/// How long it may take until its events arrive.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// How long work that is under way may hold up a shutdown.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(15);

const COMPLETED: &str = "Completed";
const ERROR: &str = "Error";
const OOM_KILLED: &str = "OOMKilled";
const START_ERROR: &str = "StartError";
const UNKNOWN: &str = "ContainerStatusUnknown";
const REASONS: [&str; 5] = [COMPLETED, ERROR, OOM_KILLED, START_ERROR, UNKNOWN];

/// How to use a containerd.
#[derive(Clone, Debug)]
pub struct ContainerdConfig {
    /// The containerd namespace: one per engine and node. What is in it belongs to this runtime.
    pub namespace: String,
    /// Where pods keep their namespaces, files and raw output. Made when missing.
    pub state_dir: PathBuf,
    /// The snapshotter; `overlayfs` unless told otherwise.
    pub snapshotter: String,
    /// The engine's part of every cgroup hierarchy; the namespace unless told otherwise.
    pub cgroup_root: String,
    /// What carries out pods of a RuntimeClass, by its handler. Beside these there is what is
    /// installed: a shim `containerd-shim-NAME-v2`, or `crun` and `youki`.
    pub handlers: BTreeMap<String, RuntimeHandler>,
    /// Where time and chance come from.
    pub env: Env,
}

/// What carries out the pods of a RuntimeClass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeHandler {
    /// The shim, such as `io.containerd.runc.v2`.
    pub runtime_type: String,
    /// For runc's shim: the program in place of `runc`, by name or path; `runc` when empty.
    pub binary: String,
}

impl ContainerdConfig {
    /// The usual settings for a namespace that keeps its state in `state_dir`.
    pub fn new(namespace: impl Into<String>, state_dir: impl Into<PathBuf>, env: Env) -> Self {
        let namespace = namespace.into();
        Self {
            cgroup_root: namespace.clone(),
            namespace,
            state_dir: state_dir.into(),
            snapshotter: "overlayfs".into(),
            handlers: BTreeMap::new(),
            env,
        }
    }
}

/// The containerd adapter.
///
/// Dropping it ends its background tasks; containers run on and are found again by the next one
/// of the same namespace. Needs root: namespaces, mounts and cgroups are made by this process.
pub struct Containerd {
    core: Arc<Core>,
    follower: Mutex<Option<JoinHandle<()>>>,
}

/// What the background tasks share with the face.
struct Core {
    connection: Channel,
    env: Env,
    state_dir: PathBuf,
    snapshotter: String,
    handlers: BTreeMap<String, RuntimeHandler>,
    /// What OCI runtimes have said of themselves, by program.
    features: Mutex<BTreeMap<String, Features>>,
    /// No container gets an `oom_score_adj` below it.
    privileges: Privileges,
    images: Images,
    cgroups: Cgroups,
    logs: LogPumps,
    users: Users,
    table: Table,
    events: broadcast::Sender<RuntimeEvent>,
    tasks: TaskTracker,
}

impl Containerd {
    /// Connects to a containerd and adopts the pods of the namespace.
    ///
    /// When containerd goes away later, calls fail with [`Error::Unavailable`] and succeed again
    /// once it is back; [`RuntimeEvent::Lost`] and [`RuntimeEvent::Recovered`] say when.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when it does not answer; [`Error::InvalidConfig`] for a namespace
    /// or path that containerd does not take; [`Error::Io`] when the state directory cannot be
    /// made; [`Error::Other`] where this machine has no usable cgroups.
    pub async fn connect(socket: impl AsRef<Path>, config: ContainerdConfig) -> Result<Self> {
        let connection = Channel::new(socket.as_ref(), &config.namespace)?;
        let (logs, clock) = (LogPumps::new, config.env.clock().clone());
        let directory = config.state_dir.clone();
        let state_dir = blocking(move || make_state_dir(&directory)).await?;
        let privileges = Privileges::of(socket.as_ref()).await;
        let core = Arc::new(Core {
            privileges,
            images: Images::new(connection.clone(), config.env.clone(), config.snapshotter.clone()),
            connection,
            handlers: config.handlers,
            features: Mutex::default(),
            cgroups: Cgroups::detect(&config.cgroup_root)?,
            logs: logs(clock)?,
            env: config.env,
            state_dir,
            snapshotter: config.snapshotter,
            users: Users::default(),
            table: Table::default(),
            events: broadcast::Sender::new(EVENTS_BEHIND),
            tasks: TaskTracker::new(),
        });
        core.check().await?;
        core.make_namespace().await?;
        core.adopt().await?;
        let (ready, mut is_ready) = watch::channel(false);
        let follower = tokio::spawn(core.clone().follow(ready));
        let containerd = Self { core, follower: Mutex::new(Some(follower)) };
        match tokio::time::timeout(CONNECT_TIMEOUT, is_ready.wait_for(|ready| *ready)).await {
            Ok(Ok(_)) => Ok(containerd),
            _ => Err(containerd.core.lost("its events do not arrive")),
        }
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        if let Some(follower) = self.follower.lock().take() {
            follower.abort();
        }
    }
}

impl Core {
    async fn check(&self) -> Result<()> {
        self.version().await.map(drop)
    }

    async fn version(&self) -> Result<String> {
        let mut service = self.connection.version();
        let request = self.connection.request(());
        let answer = tokio::time::timeout(CHECK_TIMEOUT, service.version(request)).await;
        let answer = answer.map_err(|_| self.lost("it does not answer in time"))?;
        let answer = answer.map_err(|status| self.connection.unavailable(&status))?;
        Ok(answer.into_inner().version)
    }

    async fn make_namespace(&self) -> Result<()> {
        let name = self.connection.namespace().to_owned();
        let namespace = Namespace { name, ..Namespace::default() };
        let request = CreateNamespaceRequest { namespace: Some(namespace) };
        let made = self.connection.namespaces().create(self.connection.request(request)).await;
        exists_is_fine(made).map_err(|status| self.connection.error("make a namespace", &status))
    }

    fn lost(&self, message: &str) -> Error {
        let socket = self.connection.socket().display();
        Error::Unavailable { runtime: NAME, message: format!("{socket}: {message}") }
    }

    fn emit(&self, event: RuntimeEvent) {
        // Nobody may be listening.
        let _ = self.events.send(event);
    }

    fn known(&self, id: &ContainerId) -> Result<Arc<containers::Container>> {
        self.table.container(id).ok_or_else(|| Error::ContainerNotFound(id.0.clone()))
    }
}

#[async_trait]
impl Runtime for Containerd {
    fn name(&self) -> &'static str {
        NAME
    }

    fn restrictions(&self) -> Vec<String> {
        self.core.privileges.restriction.clone().into_iter().collect()
    }

    async fn version(&self) -> Result<String> {
        Ok(format!("{NAME}://{}", self.core.version().await?))
    }

    async fn check(&self) -> Result<()> {
        self.core.check().await
    }

    fn events(&self) -> broadcast::Receiver<RuntimeEvent> {
        self.core.events.subscribe()
    }

    async fn create_pod(&self, config: &PodConfig) -> Result<PodSandbox> {
        self.core.create_pod(config).await
    }

    async fn remove_pod(&self, pod: &PodId) -> Result<()> {
        self.core.remove_pod(pod).await
    }

    async fn list_pods(&self) -> Result<Vec<PodState>> {
        let states = self.core.table.pods().into_iter().map(|pod| PodState {
            config: pod.config().clone(),
            sandbox: pod.sandbox(),
            whole: pod.is_whole(),
            containers: self.containers_of(&pod.id()),
        });
        Ok(states.collect())
    }

    async fn update_pod(&self, pod: &PodId, resources: &Resources) -> Result<()> {
        let missing = || Error::PodNotFound(pod.0.clone());
        let pod = self.core.table.pod(pod).ok_or_else(missing)?;
        self.core.update_pod(&pod, resources).await
    }

    async fn update_container(&self, container: &ContainerId, resources: &Resources) -> Result<()> {
        let container = self.core.known(container)?;
        self.core.update_container(&container, resources).await
    }

    async fn features(&self, handler: &str) -> Features {
        self.core.features(handler).await
    }

    async fn create_container(&self, pod: &PodId, config: &ContainerConfig) -> Result<ContainerId> {
        self.core.create_container(pod, config).await
    }

    async fn start_container(&self, container: &ContainerId) -> Result<()> {
        self.core.start_container(&self.core.known(container)?).await
    }

    async fn stop_container(&self, container: &ContainerId, grace: Duration) -> Result<()> {
        match self.core.table.container(container) {
            Some(container) => self.core.stop_container(&container, grace).await,
            None => Ok(()),
        }
    }

    async fn remove_container(&self, container: &ContainerId) -> Result<()> {
        match self.core.table.container(container) {
            Some(container) => self.core.remove(&container).await,
            None => Ok(()),
        }
    }

    async fn container(&self, container: &ContainerId) -> Result<Option<ContainerState>> {
        Ok(self.core.table.container(container).map(|container| container.state()))
    }

    async fn wait_container(&self, container: &ContainerId) -> Result<()> {
        if let Some(container) = self.core.table.container(container)
            && *container.phase.borrow() != ContainerPhase::Created
        {
            container.ended().await;
        }
        Ok(())
    }

    async fn stats(&self, pods: &[PodId], written: bool) -> Result<Vec<PodStats>> {
        self.core.stats(pods, written).await
    }

    async fn exec(
        &self,
        container: &ContainerId,
        command: &[String],
        streams: Streams,
    ) -> Result<Session> {
        self.core.exec(&self.core.known(container)?, command, streams).await
    }

    async fn attach(&self, container: &ContainerId, streams: Streams) -> Result<Session> {
        self.core.attach(&self.core.known(container)?, streams).await
    }

    async fn connect(&self, pod: &PodId, port: u16) -> Result<Box<dyn Connection>> {
        let found = self.core.table.pod(pod).ok_or_else(|| Error::PodNotFound(pod.0.clone()))?;
        let network = found.namespaces.lock().network.clone();
        Ok(Box::new(crate::namespaces::connect(network, port).await?))
    }

    async fn image(&self, reference: &str) -> Result<Option<Image>> {
        self.core.images.image(reference).await
    }

    async fn pull_image(&self, reference: &str, auth: Option<&RegistryAuth>) -> Result<Image> {
        self.core.images.pull(reference, auth).await
    }

    async fn import_image(&self, path: &Path) -> Result<Vec<Image>> {
        self.core.images.import(path).await
    }

    async fn mount_image(&self, pod: &PodId, reference: &str) -> Result<PathBuf> {
        self.core.mount_image(pod, reference).await
    }

    async fn list_images(&self) -> Result<Vec<Image>> {
        self.core.images.list().await
    }

    async fn remove_image(&self, id: &str) -> Result<()> {
        self.core.images.remove(id).await
    }

    async fn image_directory(&self) -> Result<Option<PathBuf>> {
        self.core.images.directory().await
    }

    async fn dispose(&self) -> Result<()> {
        self.core.dispose().await
    }

    async fn shutdown(&self) {
        let follower = self.follower.lock().take();
        if let Some(follower) = follower {
            follower.abort();
            // It was cancelled, which is what was asked for.
            let _ = follower.await;
        }
        self.core.tasks.close();
        if tokio::time::timeout(SHUTDOWN_TIMEOUT, self.core.tasks.wait()).await.is_err() {
            tracing::warn!("containers are still being cleaned up at shutdown");
        }
    }
}

impl Containerd {
    fn containers_of(&self, pod: &PodId) -> Vec<ContainerState> {
        let mut states: Vec<ContainerState> =
            self.core.table.containers_of(pod).iter().map(|container| container.state()).collect();
        states.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
        states
    }
}

/// Runs what may block where it does no harm.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
        Err(Error::Other { operation: "run blocking work".into(), message: error.to_string() })
    })
}

/// Makes the state directory and gives its absolute path: containerd's processes have another
/// working directory.
fn make_state_dir(directory: &Path) -> Result<PathBuf> {
    let failed = |source| Error::Io { operation: format!("make {}", directory.display()), source };
    std::fs::create_dir_all(directory.join("pods")).map_err(failed)?;
    directory.canonicalize().map_err(failed)
}
