use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use k8s_openapi::api::core::v1::Taint;
use pinnace_client::{Informers, Recorder};
use pinnace_env::Env;
use pinnace_network::PodNetwork;
use pinnace_runtime::Runtime;
use pinnace_runtime::logs::LogLimits;

use crate::eviction::{Eviction, Signal};
use crate::images::ImageCollection;
use crate::static_pods::StaticPods;

/// What a [`NodeAgent`](crate::NodeAgent) works with.
pub struct NodeAgentConfig {
    /// The nodes it serves.
    pub nodes: Vec<NodeConfig>,
    /// Whether the nodes are this machine, or none at all.
    pub machine: Machine,
    /// Where the logs of containers go; made when needed, gone with the pod.
    pub logs: PathBuf,
    /// The caches it reads pods and nodes from, and the client it writes through.
    pub informers: Informers,
    /// Where it records Events.
    pub recorder: Recorder,
    /// Time and chance.
    pub env: Env,
    /// What the agent may read.
    pub sight: Sight,
}

/// What an agent may read of the ConfigMaps and Secrets that its pods refer to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sight {
    /// All there are: they come from caches that others share.
    #[default]
    All,
    /// Those alone that its pods refer to, each watched by itself, as the node authorizer allows.
    Related,
}

/// A node to register.
pub struct NodeConfig {
    /// Its name.
    pub name: String,
    /// Labels beside those that every node has. They are set on a node that exists already, too.
    pub labels: BTreeMap<String, String>,
    /// Taints that the node is created with. A node that exists already keeps its own.
    pub taints: Vec<Taint>,
    /// What its pods may share.
    pub capacity: Capacity,
    /// How it looks after itself.
    pub settings: NodeSettings,
    /// Its addresses, the primary first, at most one of each family.
    pub addresses: Vec<IpAddr>,
    /// Where it listens for the cluster, which its Node says; 0 for one that is reached without.
    pub port: u16,
    /// What runs its containers. Nodes may share one: then what happens is told once for all.
    pub runtime: Arc<dyn Runtime>,
    /// Where its pods get their addresses.
    pub network: Arc<dyn PodNetwork>,
}

/// How a node looks after itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NodeSettings {
    /// What its pods do not get, for there are others: `systemReserved` and `kubeReserved`.
    pub reserved: Reserved,
    /// When it evicts pods; never, and whatever they write, when not set.
    pub eviction: Option<Eviction>,
    /// When it removes images; never, but when it lacks disk and evicts pods, when not set.
    pub images: Option<ImageCollection>,
    /// The pods that it runs without being told by the API.
    pub static_pods: Option<StaticPods>,
    /// How much of its containers' logs it keeps. A pod keeps to what held when it began.
    pub logs: LogLimits,
    /// How many processes and threads a pod may have.
    pub pod_pids: PodPids,
}

/// How many processes and threads a pod may have at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodPids {
    /// As many as the machine takes.
    Unlimited,
    /// So many.
    Limited(u64),
}

impl Default for PodPids {
    /// 4,096. Upstream has no limit, so that one pod that forks without end takes its neighbours
    /// with it.
    fn default() -> Self {
        Self::Limited(4096)
    }
}

impl PodPids {
    /// As runtimes take it: 0 for no limit.
    pub(crate) fn as_limit(self) -> u64 {
        match self {
            Self::Unlimited => 0,
            Self::Limited(most) => most,
        }
    }
}

/// What is kept from pods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reserved {
    /// CPU in thousandths of a core.
    pub cpu_millis: i64,
    /// Memory in bytes.
    pub memory_bytes: i64,
    /// Bytes on disk.
    pub storage_bytes: i64,
}

impl NodeSettings {
    /// What pods may share of a node: all but what is reserved, and what must be left anyway.
    pub(crate) fn allocatable(&self, capacity: &Capacity) -> Capacity {
        let Reserved { cpu_millis, memory_bytes, storage_bytes } = self.reserved;
        let reserved = Capacity { cpu_millis, memory_bytes, storage_bytes, pods: 0 };
        let mut left = capacity.minus(&reserved);
        let whole = |amount: i64| u64::try_from(amount).unwrap_or(0);
        let thresholds = self.eviction.iter().flat_map(|eviction| &eviction.thresholds);
        for threshold in thresholds.filter(|threshold| threshold.is_hard()) {
            let keep = |of: i64| i64::try_from(threshold.amount.of(whole(of))).unwrap_or(i64::MAX);
            match threshold.signal {
                Signal::MemoryAvailable => left.memory_bytes -= keep(capacity.memory_bytes),
                Signal::NodeFsAvailable => left.storage_bytes -= keep(capacity.storage_bytes),
                _ => {}
            }
        }
        left.at_least_nothing()
    }
}

/// What the pods of a node may share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// CPU in thousandths of a core.
    pub cpu_millis: i64,
    /// Memory in bytes.
    pub memory_bytes: i64,
    /// Bytes on disk for what pods write: `ephemeral-storage`.
    pub storage_bytes: i64,
    /// How many pods.
    pub pods: i64,
}

impl Default for Capacity {
    /// A simulated node: 32 CPUs, 256 GiB of memory, 1 TiB of disk and 110 pods.
    fn default() -> Self {
        Self { cpu_millis: 32_000, memory_bytes: 256 << 30, storage_bytes: 1 << 40, pods: MAX_PODS }
    }
}

/// How many pods a node takes unless it is told otherwise, as upstream.
pub(crate) const MAX_PODS: i64 = 110;

/// What stands behind the nodes of an agent.
#[derive(Clone, Debug)]
pub enum Machine {
    /// Nothing: no volume is written, and whatever only a real machine can lack is taken as given.
    Simulated,
    /// The machine that the program runs on.
    Local {
        /// Where volumes and other belongings of pods are kept, gone with the pod. Made when it
        /// does not exist; one agent's alone.
        state: PathBuf,
        /// Where CSI drivers register, by Unix sockets; made when it does not exist.
        /// `plugins_registry` below `state` when not set. The path of a socket has 107 bytes at
        /// most.
        plugins: Option<PathBuf>,
    },
}

impl Machine {
    pub(crate) fn state(&self) -> Option<&Path> {
        match self {
            Self::Simulated => None,
            Self::Local { state, .. } => Some(state),
        }
    }

    /// Where CSI drivers register.
    pub(crate) fn plugins(&self) -> Option<PathBuf> {
        match self {
            Self::Simulated => None,
            Self::Local { plugins: Some(directory), .. } => Some(directory.clone()),
            // As upstream's below the kubelet's directory.
            Self::Local { state, plugins: None } => Some(state.join("plugins_registry")),
        }
    }
}
