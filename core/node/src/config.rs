use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use k8s_openapi::api::core::v1::Taint;
use pinnace_client::{Informers, Recorder};
use pinnace_env::Env;
use pinnace_network::PodNetwork;
use pinnace_runtime::Runtime;

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
    /// Its addresses, the primary first, at most one of each family.
    pub addresses: Vec<IpAddr>,
    /// What runs its containers. Nodes may share one: then what happens is told once for all.
    pub runtime: Arc<dyn Runtime>,
    /// Where its pods get their addresses.
    pub network: Arc<dyn PodNetwork>,
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
    },
}

impl Machine {
    pub(crate) fn state(&self) -> Option<&Path> {
        match self {
            Self::Simulated => None,
            Self::Local { state } => Some(state),
        }
    }
}
