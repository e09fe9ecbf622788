//! Containers as processes of the host: the default where there is no containerd.
//!
//! A container is a process group on the machine's own file system, run by its `command` and
//! `args`; the image is recorded, not unpacked. There is no image to isolate it, so this is for
//! programs that one trusts as far as the host itself. What the user may do decides the rest:
//!
//! - As root every pod has network, IPC and UTS namespaces of its own and cgroups with its
//!   limits, containers run as the user they ask for, and volumes appear where they should in a
//!   private view of the file system.
//! - Otherwise pods share the machine's namespaces, limits count where a cgroup is delegated, and
//!   a container that asks for volumes or another user is refused.
//!
//! [`Process::restrictions`] says what is missing.
//!
//! Each container has a tiny supervisor of its own (`/bin/sh`), which outlives the host and notes
//! the exit code: a later [`Process`] in the same directory finds what runs and what has ended.
//! Stopping signals the process group; killing reaches everything in the container's cgroup, or
//! in its process group where there is none.

mod command;
mod container;
mod credentials;
mod exec;
mod identity;
mod mounts;
mod records;
mod runtime;
mod spawn;
mod start;
mod supervisor;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use pinnace_env::Env;
use rustix::fs::{FlockOperation, flock};
use rustix::process::{DumpableBehavior, Signal, dumpable_behavior};
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cgroup::Cgroups;
use crate::logs::LogPumps;
use crate::namespaces::{self, NamespaceConfig, Namespaces};
use crate::{
    ContainerId, ContainerPhase, Error, PodConfig, PodId, PodSandbox, QosClass, Result,
    RuntimeEvent,
};
use container::Container;
use records::{ContainerFiles, ContainerRecord, PodRecord};

/// The directory in the state directory that is this runtime's.
pub(crate) const DIRECTORY: &str = "process";
/// Events that a subscriber may be behind before it has to look at everything again.
const EVENT_CAPACITY: usize = 1024;

/// Where a process runtime keeps its things.
#[derive(Clone, Debug)]
pub struct ProcessConfig {
    /// One per engine and node. Letters, digits, `-`, `_` and `.`.
    pub namespace: String,
    /// Where pods and the ends of containers are kept, in a directory `process`. Made when
    /// missing. What is in it belongs to this runtime.
    pub state_dir: PathBuf,
    /// The engine's part of every cgroup hierarchy; the namespace unless told otherwise.
    pub cgroup_root: String,
    /// Time and chance.
    pub env: Env,
}

impl ProcessConfig {
    /// The usual settings for a namespace that keeps its state in `state_dir`.
    pub fn new(namespace: impl Into<String>, state_dir: impl Into<PathBuf>, env: Env) -> Self {
        let namespace = namespace.into();
        Self { cgroup_root: namespace.clone(), namespace, state_dir: state_dir.into(), env }
    }
}

/// The runtime of processes. See [`crate::process`].
///
/// Dropping it does what [`Runtime::shutdown`] does, without waiting.
pub struct Process {
    shared: Arc<Shared>,
}

struct Shared {
    directory: PathBuf,
    env: Env,
    cgroups: Option<Cgroups>,
    may_pin: bool,
    restrictions: Vec<String>,
    pumps: LogPumps,
    pods: RwLock<BTreeMap<PodId, Arc<Pod>>>,
    events: broadcast::Sender<RuntimeEvent>,
    /// What callers have asked for and is still being done.
    operations: TaskTracker,
    /// One task per running container.
    watchers: TaskTracker,
    ended: CancellationToken,
    /// Before anything here has changed it.
    dumpable: Option<DumpableBehavior>,
    /// Held for as long as this runtime works in the directory.
    lock: Mutex<Option<Lock>>,
}

struct Pod {
    directory: PathBuf,
    record: PodRecord,
    namespaces: Namespaces,
    containers: RwLock<BTreeMap<ContainerId, Arc<Container>>>,
    /// One creation or removal of the pod or its containers at a time.
    operation: tokio::sync::Mutex<()>,
}

impl Process {
    /// Opens a process runtime and adopts what an earlier one in the same directory has left.
    /// Needs a Tokio runtime.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when another runtime works in the directory, [`Error::Io`] when it
    /// can't be used, [`Error::InvalidConfig`] for an impossible namespace.
    pub async fn open(config: ProcessConfig) -> Result<Self> {
        if !records::is_plain_name(&config.namespace) {
            return Err(Error::InvalidConfig(format!("{:?} is not a name", config.namespace)));
        }
        let shared = blocking(move || Shared::open(config)).await?;
        let process = Self { shared: Arc::new(shared) };
        process.adopt().await?;
        Ok(process)
    }

    /// What this user may not do here, a sentence each; none for root.
    pub fn restrictions(&self) -> &[String] {
        &self.shared.restrictions
    }

    async fn adopt(&self) -> Result<()> {
        let shared = Arc::clone(&self.shared);
        let found = blocking(move || shared.find_pods()).await?;
        for pod in found {
            let containers: Vec<_> = pod.containers.read().values().cloned().collect();
            self.shared.pods.write().insert(pod.id(), pod);
            for container in containers {
                container.adopt(&self.shared)?;
                let started = !matches!(*container.phase.borrow(), ContainerPhase::Created);
                if !started {
                    continue;
                }
                let log = container.log_files();
                let pump = self.shared.pumps.start(log).await?;
                // It may have ended just now, and then nobody would finish the log.
                let ended = {
                    let mut slot = container.pump.lock();
                    *slot = Some(pump);
                    if container.is_running() { None } else { slot.take() }
                };
                if let Some(pump) = ended {
                    pump.finish().await?;
                }
            }
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.shared.operations.close();
        self.shared.ended.cancel();
        self.shared.watchers.close();
        self.shared.leave();
    }
}

impl Shared {
    fn open(config: ProcessConfig) -> Result<Self> {
        let ProcessConfig { state_dir, cgroup_root, env, .. } = config;
        let directory = state_dir.join(DIRECTORY);
        let io = |what: &'static str, path: &Path| {
            let operation = format!("{what} {}", path.display());
            move |source| Error::Io { operation, source }
        };
        let pods = directory.join("pods");
        fs::create_dir_all(&pods).map_err(io("make", &pods))?;
        let directory = directory.canonicalize().map_err(io("find", &directory))?;
        let lock = Lock::take(&directory)?;
        let mut restrictions = Vec::new();
        let may_pin = match namespaces::can_pin() {
            Ok(()) => true,
            Err(error) => {
                restrictions.push(format!("pods use the machine's network: {error}"));
                false
            }
        };
        let cgroups =
            Cgroups::detect(&cgroup_root).and_then(|cgroups| cgroups.can_write().map(|()| cgroups));
        let cgroups = match cgroups {
            Ok(cgroups) => Some(cgroups),
            Err(error) => {
                restrictions.push(format!("CPU and memory limits do not count: {error}"));
                None
            }
        };
        for restriction in &restrictions {
            tracing::warn!(runtime = "process", "{restriction}");
        }
        Ok(Self {
            pumps: LogPumps::new(env.clock().clone())?,
            directory,
            env,
            cgroups,
            may_pin,
            restrictions,
            pods: RwLock::default(),
            events: broadcast::channel(EVENT_CAPACITY).0,
            operations: TaskTracker::new(),
            watchers: TaskTracker::new(),
            ended: CancellationToken::new(),
            dumpable: dumpable_behavior().ok(),
            lock: Mutex::new(Some(lock)),
        })
    }

    fn send(&self, event: RuntimeEvent) {
        // Fails only when nobody listens.
        let _ = self.events.send(event);
    }

    fn pods_directory(&self) -> PathBuf {
        self.directory.join("pods")
    }

    fn pod_directory(&self, id: &str) -> PathBuf {
        self.pods_directory().join(id)
    }

    /// Takes back what was made for all pods together, once there are none.
    fn leave(&self) {
        if !self.pods.read().is_empty() {
            return;
        }
        namespaces::unshare_empty(&self.pods_directory());
        if let Some(cgroups) = &self.cgroups {
            // Empty groups; one that cannot be removed now does no harm.
            let _ = cgroups.all().remove();
        }
    }

    /// Reads the directory; what was left half made is removed.
    fn find_pods(&self) -> Result<Vec<Arc<Pod>>> {
        let mut found = Vec::new();
        for name in records::directories(&self.pods_directory())? {
            let directory = self.pod_directory(&name);
            match records::read::<PodRecord>(&directory.join("pod.json"))? {
                Some(record) => found.push(Arc::new(self.find_pod(directory, record)?)),
                None => self.remove_half_made(&name)?,
            }
        }
        Ok(found)
    }

    fn find_pod(&self, directory: PathBuf, record: PodRecord) -> Result<Pod> {
        let mut containers = BTreeMap::new();
        let id = PodId(record.config.id.clone());
        for name in records::directories(&directory)? {
            let files = ContainerFiles(directory.join(&name));
            let Some(of_container) = records::read(&files.record())? else { continue };
            let container = self.container(&record.config, ContainerId(name), files, of_container);
            containers.insert(container.id.clone(), Arc::new(container));
        }
        // A restart of the machine has taken the namespaces and cgroups.
        let namespaces = self.equip(&directory, &record.config)?;
        tracing::debug!(pod = %id, containers = containers.len(), "found a pod");
        Ok(Pod {
            directory,
            record,
            namespaces,
            containers: RwLock::new(containers),
            operation: tokio::sync::Mutex::default(),
        })
    }

    fn container(
        &self,
        pod: &PodConfig,
        id: ContainerId,
        files: ContainerFiles,
        record: ContainerRecord,
    ) -> Container {
        let cgroup = self.cgroups.as_ref().map(|all| all.pod(&pod.id, pod.qos_class).child(&id.0));
        let log_name = format!("{}.log", record.config.attempt);
        Container {
            pod: PodId(pod.id.clone()),
            log_path: pod.log_directory.join(&record.config.name).join(log_name),
            log_limits: pod.log_limits,
            id,
            record,
            files,
            cgroup,
            phase: watch::Sender::new(ContainerPhase::Created),
            operation: tokio::sync::Mutex::default(),
            alive: Mutex::default(),
            pump: Mutex::default(),
            ended: self.ended.clone(),
        }
    }

    fn make_pod(&self, config: &PodConfig) -> Result<Pod> {
        let directory = self.pod_directory(&config.id);
        fs::create_dir_all(&directory).map_err(|source| Error::Io {
            operation: format!("make {}", directory.display()),
            source,
        })?;
        let namespaces = self.equip(&directory, config)?;
        let record = PodRecord { config: config.clone(), created_at: self.env.now() };
        let pod = Pod {
            directory,
            record,
            namespaces,
            containers: RwLock::default(),
            operation: tokio::sync::Mutex::default(),
        };
        let resolv_conf = pod.resolv_conf();
        fs::write(&resolv_conf, &config.resolv_conf).map_err(|source| Error::Io {
            operation: format!("write {}", resolv_conf.display()),
            source,
        })?;
        records::write(&pod.directory.join("pod.json"), &pod.record)?;
        Ok(pod)
    }

    /// Makes what the machine holds for a pod, as far as it isn't there.
    fn equip(&self, directory: &Path, config: &PodConfig) -> Result<Namespaces> {
        if let Some(cgroups) = &self.cgroups {
            cgroups.create_pod(&config.id, config.qos_class, &config.resources)?;
        }
        if self.may_pin {
            let own_network = !config.host_network;
            let hostname = if own_network { config.hostname.clone() } else { String::new() };
            let wanted = NamespaceConfig {
                network: own_network,
                ipc: !config.host_ipc,
                hostname,
                sysctls: config.sysctls.clone(),
            };
            namespaces::share(&self.pods_directory())?;
            return namespaces::pin(&directory.join("ns"), &wanted);
        }
        if config.sysctls.is_empty() {
            return Ok(Namespaces::default());
        }
        let message = "sysctls of processes need CAP_SYS_ADMIN (run as root)";
        Err(Error::InvalidConfig(message.into()))
    }

    /// A pod without a record: its making was interrupted.
    fn remove_half_made(&self, name: &str) -> Result<()> {
        for qos in [QosClass::Guaranteed, QosClass::Burstable, QosClass::BestEffort] {
            if let Some(cgroups) = &self.cgroups {
                cgroups.remove_pod(name, qos)?;
            }
        }
        let directory = self.pod_directory(name);
        namespaces::unpin(&directory.join("ns"))?;
        records::remove_directory(&directory)
    }

    fn pod(&self, id: &PodId) -> Result<Arc<Pod>> {
        let pods = self.pods.read();
        pods.get(id).map(Arc::clone).ok_or_else(|| Error::PodNotFound(id.0.clone()))
    }

    /// A container and its pod.
    fn find(&self, id: &ContainerId) -> Option<(Arc<Pod>, Arc<Container>)> {
        // The id begins with the pod's.
        let pods = self.pods.read();
        let mut of_pods = pods.values();
        of_pods.find_map(|pod| {
            let container = Arc::clone(pod.containers.read().get(id)?);
            Some((Arc::clone(pod), container))
        })
    }
}

/// The right to work in a directory.
struct Lock(File);

impl Lock {
    fn take(directory: &Path) -> Result<Self> {
        let path = directory.join("lock");
        let file = File::create(&path).map_err(|source| Error::Io {
            operation: format!("make {}", path.display()),
            source,
        })?;
        flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|_| {
            let message = format!("another runtime works in {}", directory.display());
            Error::Unavailable { runtime: "process", message }
        })?;
        Ok(Self(file))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing is not enough: a process that somebody is just starting has a copy for as long
        // as it has not executed anything.
        let _ = flock(&self.0, FlockOperation::Unlock);
    }
}

impl Pod {
    fn id(&self) -> PodId {
        PodId(self.record.config.id.clone())
    }

    fn resolv_conf(&self) -> PathBuf {
        self.directory.join("resolv.conf")
    }

    fn sandbox(&self) -> PodSandbox {
        PodSandbox {
            id: self.id(),
            network_namespace: self.namespaces.network.clone(),
            created_at: self.record.created_at,
        }
    }
}

/// Kills the container if it runs, and removes what exists of it but its log.
async fn remove(pod: Arc<Pod>, container: Arc<Container>) -> Result<()> {
    let _operation = container.operation.lock().await;
    container.stop(Signal::KILL, Duration::ZERO).await?;
    let gone = Arc::clone(&container);
    blocking(move || {
        if let Some(cgroup) = &gone.cgroup {
            cgroup.remove()?;
        }
        records::remove_directory(&gone.files.0)
    })
    .await?;
    pod.containers.write().remove(&container.id);
    Ok(())
}

async fn remove_pod(shared: Arc<Shared>, pod: Arc<Pod>) -> Result<()> {
    let _operation = pod.operation.lock().await;
    let containers: Vec<_> = pod.containers.read().values().cloned().collect();
    let removals = containers.into_iter().map(|container| remove(Arc::clone(&pod), container));
    futures::future::try_join_all(removals).await?;
    let (gone, of) = (Arc::clone(&pod), Arc::clone(&shared));
    blocking(move || {
        if let Some(cgroups) = &of.cgroups {
            cgroups.remove_pod(&gone.record.config.id, gone.record.config.qos_class)?;
        }
        namespaces::unpin(&gone.directory.join("ns"))?;
        records::remove_directory(&gone.directory)
    })
    .await?;
    shared.pods.write().remove(&pod.id());
    if shared.pods.read().is_empty() {
        namespaces::unshare_empty(&shared.pods_directory());
    }
    Ok(())
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let joined = tokio::task::spawn_blocking(work).await;
    joined.unwrap_or_else(|error| {
        Err(Error::Other { operation: "run a container".into(), message: error.to_string() })
    })
}

impl Process {
    /// Runs work as a task of the runtime, so that a caller who stops waiting doesn't leave it
    /// half done.
    async fn own<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        if self.shared.operations.is_closed() {
            let message = "it has been shut down".into();
            return Err(Error::Unavailable { runtime: "process", message });
        }
        self.shared.operations.spawn(work).await.unwrap_or_else(|error| {
            Err(Error::Other { operation: "run a container".into(), message: error.to_string() })
        })
    }
}
