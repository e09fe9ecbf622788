//! What a node, its pods and their containers use: `Summary` of upstream's `stats/v1alpha1`, which
//! a kubelet answers at `/stats/summary`. What is not known is left out.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Everything that a node measures.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The node itself.
    pub node: NodeUse,
    /// Its pods, in order of namespace and name.
    #[serde(default)]
    pub pods: Vec<PodUse>,
}

/// What a node uses.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeUse {
    /// Its name.
    pub node_name: String,
    /// Since when it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Timestamp>,
    /// CPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<CpuUse>,
    /// Memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<MemoryUse>,
    /// Its network interfaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkUse>,
    /// The file system of volumes and logs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fs: Option<FsUse>,
    /// What the container runtime uses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<RuntimeUse>,
    /// Processes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rlimit: Option<ProcessLimits>,
}

/// What the container runtime of a node uses.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RuntimeUse {
    /// The file system of images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_fs: Option<FsUse>,
    /// The file system of what containers write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_fs: Option<FsUse>,
}

/// How many processes there may be and are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessLimits {
    /// When this was so.
    pub time: Timestamp,
    /// The most that the kernel allows.
    #[serde(rename = "maxpid")]
    pub max: i64,
    /// Those that there are.
    #[serde(rename = "curproc")]
    pub current: i64,
}

/// What a pod uses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodUse {
    /// Which.
    pub pod_ref: PodRef,
    /// When it was made.
    pub start_time: Timestamp,
    /// Its containers that run.
    pub containers: Vec<ContainerUse>,
    /// CPU of the pod as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<CpuUse>,
    /// Memory of the pod as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<MemoryUse>,
    /// Its network interfaces; none on the machine's network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkUse>,
    /// Its volumes of which the content is counted.
    #[serde(default, rename = "volume", skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<VolumeUse>,
    /// What its containers, logs and `emptyDir` volumes have written to the node's disk.
    #[serde(default, rename = "ephemeral-storage", skip_serializing_if = "Option::is_none")]
    pub ephemeral_storage: Option<FsUse>,
    /// Its processes.
    #[serde(default, rename = "process_stats", skip_serializing_if = "Option::is_none")]
    pub processes: Option<ProcessUse>,
}

/// Which pod is meant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodRef {
    /// `metadata.name`.
    pub name: String,
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.uid`.
    pub uid: String,
}

/// How many processes a pod has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessUse {
    /// Processes and threads.
    #[serde(rename = "process_count")]
    pub count: u64,
}

/// What a container uses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerUse {
    /// Its name in the pod.
    pub name: String,
    /// When it started.
    pub start_time: Timestamp,
    /// CPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<CpuUse>,
    /// Memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<MemoryUse>,
    /// What it has written to its root file system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rootfs: Option<FsUse>,
    /// What it has logged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logs: Option<FsUse>,
}

/// CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CpuUse {
    /// When this was so.
    pub time: Timestamp,
    /// Billionths of a core in use lately.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage_nano_cores: Option<u64>,
    /// Core-nanoseconds used so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage_core_nano_seconds: Option<u64>,
    /// How long "lately" is. Not among what upstream shows.
    #[serde(skip)]
    pub window: Duration,
}

/// Memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MemoryUse {
    /// When this was so.
    pub time: Timestamp,
    /// What is left, where there is a limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub available_bytes: Option<u64>,
    /// In use, page cache included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage_bytes: Option<u64>,
    /// In use without what the kernel can drop at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_set_bytes: Option<u64>,
    /// What belongs to no file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rss_bytes: Option<u64>,
    /// Page faults so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page_faults: Option<u64>,
    /// Page faults so far that had to be read from a disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub major_page_faults: Option<u64>,
}

/// The network: the usual interface, and all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkUse {
    /// When this was so.
    pub time: Timestamp,
    /// The usual one.
    #[serde(flatten)]
    pub usual: Option<InterfaceUse>,
    /// All but for `lo`.
    #[serde(default)]
    pub interfaces: Vec<InterfaceUse>,
}

/// What has gone through a network interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InterfaceUse {
    /// Its name.
    pub name: String,
    /// Bytes that came in.
    pub rx_bytes: u64,
    /// What came in wrong.
    pub rx_errors: u64,
    /// Bytes that went out.
    pub tx_bytes: u64,
    /// What could not go out.
    pub tx_errors: u64,
}

/// A file system, or what is used of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FsUse {
    /// When this was so.
    pub time: Timestamp,
    /// Bytes that are free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub available_bytes: Option<u64>,
    /// Bytes that there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity_bytes: Option<u64>,
    /// Bytes that are used by whom this is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_bytes: Option<u64>,
    /// Inodes that are free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inodes_free: Option<u64>,
    /// Inodes that there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inodes: Option<u64>,
    /// Inodes that are used by whom this is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inodes_used: Option<u64>,
}

impl FsUse {
    /// Of which nothing is known yet.
    pub fn at(time: Timestamp) -> Self {
        Self {
            time,
            available_bytes: None,
            capacity_bytes: None,
            used_bytes: None,
            inodes_free: None,
            inodes: None,
            inodes_used: None,
        }
    }
}

/// A volume of a pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VolumeUse {
    /// What is in it, and its file system.
    #[serde(flatten)]
    pub fs: FsUse,
    /// Its name in the pod.
    pub name: String,
    /// The claim that it is of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pvc_ref: Option<ClaimRef>,
    /// Whether it is well, where its driver says so.
    #[serde(default, rename = "volumeHealthStats", skip_serializing_if = "Option::is_none")]
    pub health: Option<VolumeHealth>,
}

/// Whether a volume is well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeHealth {
    /// It is not.
    pub abnormal: bool,
}

/// A claim.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ClaimRef {
    /// `metadata.name`.
    pub name: String,
    /// `metadata.namespace`.
    pub namespace: String,
}
