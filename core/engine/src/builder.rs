use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pinnace_env::Env;
use pinnace_runtime::simulated::Simulated;
use pinnace_scheduler::{BatchPlugin, Plugin, Rebalancing, SchedulerConfig, batched_within};
#[cfg(feature = "disk")]
use pinnace_store::EncryptionConfiguration;

use crate::access::Access;
use crate::nodes::NodeOptions;
use crate::startup;
use crate::{Engine, Error, Result};

/// Where a machine's own containerd listens.
#[cfg(feature = "containerd")]
pub(crate) const CONTAINERD_SOCKET: &str = "/run/containerd/containerd.sock";

/// A plugin of the host for the scheduler.
#[derive(Clone)]
pub(crate) struct SchedulerPlugin {
    pub(crate) name: String,
    pub(crate) weight: i64,
    pub(crate) plugin: Arc<dyn Plugin>,
}

impl SchedulerPlugin {
    fn new(plugin: impl BatchPlugin, weight: i64, limit: Duration) -> Self {
        let name = plugin.name().to_owned();
        Self { name, weight, plugin: batched_within(plugin, limit) }
    }

    /// Adds it to all profiles that do not have it yet.
    pub(crate) fn add_to(self, config: &mut SchedulerConfig) {
        let Self { name, weight, plugin } = self;
        config.registry.add(&name, move |_| Ok(plugin.clone()));
        for profile in &mut config.profiles {
            if !profile.plugins.iter().any(|(known, _)| *known == name) {
                profile.plugins.push((name.clone(), weight));
            }
        }
    }
}

impl std::fmt::Debug for SchedulerPlugin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SchedulerPlugin({})", self.name)
    }
}

/// What is to run the containers of an engine.
#[derive(Clone)]
pub struct Runtime(pub(crate) Choice);

#[derive(Clone)]
pub(crate) enum Choice {
    Auto,
    #[cfg(feature = "containerd")]
    Containerd {
        socket: PathBuf,
    },
    Process,
    Simulated(Option<Simulated>),
    Custom(CustomRuntime),
}

#[derive(Clone)]
pub(crate) struct CustomRuntime(pub(crate) Arc<dyn pinnace_runtime::Runtime>);

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = match &self.0 {
            Choice::Auto => "auto",
            #[cfg(feature = "containerd")]
            Choice::Containerd { .. } => "containerd",
            Choice::Process => "process",
            Choice::Simulated(_) => "simulated",
            Choice::Custom(custom) => custom.0.name(),
        };
        write!(f, "Runtime({name})")
    }
}

impl Runtime {
    /// containerd where its socket answers, else processes of this machine. [`Engine::runtime`]
    /// tells which it became, and why.
    pub fn auto() -> Self {
        Self(Choice::Auto)
    }

    /// Containers of the containerd at its usual socket, `/run/containerd/containerd.sock`.
    #[cfg(feature = "containerd")]
    pub fn containerd() -> Self {
        Self::containerd_at(CONTAINERD_SOCKET)
    }

    /// Containers of the containerd at a socket.
    #[cfg(feature = "containerd")]
    pub fn containerd_at(socket: impl Into<PathBuf>) -> Self {
        Self(Choice::Containerd { socket: socket.into() })
    }

    /// Processes on this machine's own file system: images are not unpacked.
    pub fn process() -> Self {
        Self(Choice::Process)
    }

    /// No containers at all: pods start, run and end as scripted, in Tokio's time.
    pub fn simulated() -> Self {
        Self(Choice::Simulated(None))
    }

    /// As [`Runtime::simulated`], with a runtime that the host holds too, to script it and to kill
    /// containers behind the engine's back.
    pub fn simulated_by(runtime: Simulated) -> Self {
        Self(Choice::Simulated(Some(runtime)))
    }

    /// A runtime of the host's own making.
    pub fn custom(runtime: Arc<dyn pinnace_runtime::Runtime>) -> Self {
        Self(Choice::Custom(CustomRuntime(runtime)))
    }

    /// A runtime by its name: `auto`, `containerd`, `process` or `simulated`; or the address of a
    /// containerd, as `containerd:///run/other/containerd.sock`.
    ///
    /// # Errors
    /// [`Error::Config`] for any other name.
    pub fn named(name: &str) -> Result<Self> {
        #[cfg(feature = "containerd")]
        if let Some(socket) = name.strip_prefix("containerd://") {
            return Ok(Self::containerd_at(socket));
        }
        match name {
            "auto" => Ok(Self::auto()),
            #[cfg(feature = "containerd")]
            "containerd" => Ok(Self::containerd()),
            #[cfg(not(feature = "containerd"))]
            "containerd" => Err(Error::Config(
                "this build has no containerd: it was made without the feature `containerd`".into(),
            )),
            "process" => Ok(Self::process()),
            "simulated" => Ok(Self::simulated()),
            other => Err(Error::Config(format!(
                "unknown runtime {other:?}: expected auto, containerd, process or simulated"
            ))),
        }
    }
}

/// Which runtime an engine has, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discovered {
    /// `containerd`, `process`, `simulated` or a host's own name.
    pub name: &'static str,
    /// Why this one, for people.
    pub why: String,
}

/// What becomes of the pods of real runtimes when an engine is shut down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnShutdown {
    /// They are stopped, and everything of theirs is removed.
    StopPods,
    /// They go on running; an engine on the same data directory adopts them.
    LeavePods,
}

/// Configures an [`Engine`]. Nothing is checked or touched before [`EngineBuilder::start`].
#[derive(Clone, Debug)]
pub struct EngineBuilder {
    pub(crate) runtime: Runtime,
    pub(crate) nodes: Option<usize>,
    pub(crate) node_name: Option<String>,
    pub(crate) data_dir: Option<PathBuf>,
    pub(crate) plugins_dir: Option<PathBuf>,
    pub(crate) kubelet: Option<Vec<u8>>,
    pub(crate) on_shutdown: Option<OnShutdown>,
    pub(crate) env: Option<Env>,
    pub(crate) access: Access,
    pub(crate) scheduler: Option<SchedulerConfig>,
    pub(crate) scheduler_plugins: Vec<SchedulerPlugin>,
    pub(crate) rebalancing: Option<Rebalancing>,
    #[cfg(feature = "disk")]
    pub(crate) encryption: Option<EncryptionConfiguration>,
}

impl EngineBuilder {
    pub(crate) fn new() -> Self {
        Self {
            runtime: Runtime::auto(),
            nodes: None,
            node_name: None,
            data_dir: None,
            plugins_dir: None,
            kubelet: None,
            on_shutdown: None,
            env: None,
            access: Access::default(),
            scheduler: None,
            scheduler_plugins: Vec::new(),
            rebalancing: None,
            #[cfg(feature = "disk")]
            encryption: None,
        }
    }

    pub(crate) fn node_options(&self) -> NodeOptions {
        NodeOptions {
            runtime: self.runtime.clone(),
            count: self.nodes,
            name: self.node_name.clone(),
            data_dir: self.data_dir.clone(),
            plugins_dir: self.plugins_dir.clone(),
            kubelet: self.kubelet.clone(),
            addresses: Vec::new(),
            pod_range: None,
        }
    }

    /// Sets what runs the containers; [`Runtime::auto`] if this is not called.
    pub fn runtime(mut self, runtime: Runtime) -> Self {
        self.runtime = runtime;
        self
    }

    /// Sets how many nodes there are: any number of simulated ones, or this machine as the one
    /// node of a real runtime. One if this is not called; 0 makes a control plane without nodes.
    pub fn nodes(mut self, nodes: usize) -> Self {
        self.nodes = Some(nodes);
        self
    }

    /// Sets the name of this machine's node; its host name if this is not called.
    pub fn node_name(mut self, name: impl Into<String>) -> Self {
        self.node_name = Some(name.into());
        self
    }

    /// Sets how nodes look after themselves, by a `KubeletConfiguration` of
    /// `kubelet.config.k8s.io/v1beta1` in YAML or JSON: when they evict pods and remove images, what
    /// is reserved, and where static pods are. What it does not say is as upstream has it; fields
    /// about other things are passed over. Without one a machine keeps 100 MiB of memory free, ends
    /// pods that write more than they may, and takes its disk as it is; simulated nodes do nothing.
    pub fn kubelet(mut self, configuration: impl AsRef<[u8]>) -> Self {
        self.kubelet = Some(configuration.as_ref().to_vec());
        self
    }

    /// Keeps objects on disk, in a directory that is made when needed and that one engine at a
    /// time may use. Without this everything is kept in memory.
    pub fn data_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.data_dir = Some(directory.into());
        self
    }

    /// Sets where CSI drivers register, by Unix sockets: a directory that is made when needed and
    /// that is for one engine, such as upstream's `/var/lib/kubelet/plugins_registry`, where drivers
    /// look by default. If this is not called it is `node/pods/plugins_registry` in the data
    /// directory. The path of a socket has 107 bytes at most, so it should not be long. Simulated
    /// nodes have no drivers.
    pub fn plugins_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.plugins_dir = Some(directory.into());
        self
    }

    /// Keeps secrets encrypted in the data directory, by AES in Galois/Counter Mode with a key of
    /// 32 bytes. An engine on that directory does not start with another key, or without.
    #[cfg(feature = "disk")]
    pub fn encryption_key(self, key: &[u8; 32]) -> Self {
        self.encryption(EncryptionConfiguration::secrets(key))
    }

    /// Keeps objects encrypted in the data directory as a configuration says: other kinds than
    /// secrets, and several keys, to go from one to another.
    #[cfg(feature = "disk")]
    pub fn encryption(mut self, config: EncryptionConfiguration) -> Self {
        self.encryption = Some(config);
        self
    }

    /// Sets how the scheduler decides: profiles, plugins of the host's own. Upstream's defaults if
    /// this is not called.
    pub fn scheduler(mut self, config: SchedulerConfig) -> Self {
        self.scheduler = Some(config);
        self
    }

    /// As [`EngineBuilder::scheduler`], by a `KubeSchedulerConfiguration` in YAML or JSON
    /// (`kubescheduler.config.k8s.io/v1`), as files for upstream's scheduler hold it.
    ///
    /// # Errors
    /// [`Error::Scheduler`] with all that is wrong, in upstream's words.
    pub fn scheduler_configuration(self, text: &str) -> Result<Self> {
        let document = pinnace_api::manifest::read_one(text.as_bytes());
        let document = document.map_err(|error| Error::Scheduler(error.to_string()))?;
        let config = SchedulerConfig::from_kube(&document);
        Ok(self.scheduler(config.map_err(|error| Error::Scheduler(error.to_string()))?))
    }

    /// Adds a plugin of the host's own to every profile of the scheduler, after the others: it excludes
    /// and ranks nodes in one call per pod, on a thread of its own. While it does not answer within
    /// `limit`, pods that need its word wait, with an error in their condition that names it. Its
    /// scores count times `weight`; 0 means 1.
    pub fn scheduler_plugin(
        mut self,
        plugin: impl BatchPlugin,
        weight: i64,
        limit: Duration,
    ) -> Self {
        self.scheduler_plugins.push(SchedulerPlugin::new(plugin, weight, limit));
        self
    }

    /// Has pods evicted that could be placed better: the descheduler, which is off if this is not
    /// called. `Rebalancing::default()` has all strategies, every five minutes.
    pub fn rebalancing(mut self, config: Rebalancing) -> Self {
        self.rebalancing = Some(config);
        self
    }

    /// As [`EngineBuilder::rebalancing`], by a `DeschedulerPolicy` in YAML or JSON
    /// (`descheduler/v1alpha2`), as files for upstream's descheduler hold it.
    ///
    /// # Errors
    /// [`Error::Scheduler`] with all that is wrong.
    pub fn descheduler_policy(self, text: &str) -> Result<Self> {
        let document = pinnace_api::manifest::read_one(text.as_bytes());
        let document = document.map_err(|error| Error::Scheduler(error.to_string()))?;
        let config = Rebalancing::from_policy(&document);
        Ok(self.rebalancing(config.map_err(|error| Error::Scheduler(error.to_string()))?))
    }

    /// Sets what becomes of pods at the shutdown: by default they are stopped with an engine in
    /// memory, and left to be adopted with one on disk.
    pub fn on_shutdown(mut self, what: OnShutdown) -> Self {
        self.on_shutdown = Some(what);
        self
    }

    /// Sets where time and randomness come from: [`Env::simulated`] under Tokio's paused time makes
    /// runs repeatable.
    pub fn env(mut self, env: Env) -> Self {
        self.env = Some(env);
        self
    }

    /// Starts the engine on the Tokio runtime of the caller.
    ///
    /// # Errors
    /// [`Error::Config`] for a configuration that cannot be, [`Error::Store`] when the data
    /// directory is in use, damaged or from a newer version, [`Error::Runtime`] when the runtime
    /// does not answer.
    pub async fn start(self) -> Result<Engine> {
        startup::start(self).await
    }

    /// Starts the engine on a Tokio runtime of its own, for programs that have none.
    ///
    /// # Errors
    /// As [`EngineBuilder::start`].
    pub fn start_blocking(self) -> Result<crate::blocking::Engine> {
        crate::blocking::Engine::start(self)
    }
}

impl Default for EngineBuilder {
    fn default() -> Self {
        Self::new()
    }
}

/// A message about a configuration that cannot be.
pub(crate) fn config(message: impl Into<String>) -> Error {
    Error::Config(message.into())
}
