use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A pod's identity in a runtime: the `uid` of the Kubernetes object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PodId(pub String);

impl fmt::Display for PodId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A container's identity in a runtime, as `status.containerStatuses[].containerID` shows it
/// after the runtime's name and `://`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ContainerId(pub String);

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What the containers of a pod share.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PodConfig {
    /// The pod's uid.
    pub id: String,
    /// `metadata.name`.
    pub name: String,
    /// `metadata.namespace`.
    pub namespace: String,
    /// Host name inside the pod; the machine's own when `host_network` is set.
    pub hostname: String,
    /// The domain in which the pod has a name of its own, behind its host name; none when empty.
    #[serde(default)]
    pub domain: String,
    /// Which namespaces are the machine's instead of the pod's own.
    pub host_network: bool,
    /// See `host_network`.
    pub host_pid: bool,
    /// See `host_network`.
    pub host_ipc: bool,
    /// Whether all containers of the pod see each other's processes.
    pub share_process_namespace: bool,
    /// Limits on the pod as a whole; the cgroup of every container is below the pod's.
    pub resources: Resources,
    /// `Guaranteed`, `Burstable` or `BestEffort`: the branch of the cgroup tree.
    pub qos_class: QosClass,
    /// `/etc/resolv.conf` for the containers; the machine's own when empty.
    pub resolv_conf: String,
    /// `/etc/hosts` for the containers, without the line of the pod itself.
    pub hosts: String,
    /// Kernel parameters of the pod's namespaces.
    pub sysctls: BTreeMap<String, String>,
    /// The handler of the pod's RuntimeClass; the runtime's usual one when empty.
    #[serde(default)]
    pub runtime_handler: String,
    /// Where the logs of the pod's containers go: `<log_directory>/<container>/<attempt>.log`.
    pub log_directory: PathBuf,
    /// How much of each of them is kept.
    #[serde(default)]
    pub log_limits: crate::logs::LogLimits,
    /// Kept with the pod and given back by `list_pods`.
    pub annotations: BTreeMap<String, String>,
}

impl PodConfig {
    /// The names of the pod as its `/etc/hosts` has them behind its address: in its domain, if it
    /// has one, and the short one.
    pub(crate) fn host_names(&self) -> String {
        let (name, domain) = (&self.hostname, &self.domain);
        let whole = name.strip_suffix(domain.as_str()).and_then(|rest| rest.strip_suffix('.'));
        match whole {
            _ if domain.is_empty() => name.clone(),
            // Its host name is the whole name.
            Some(short) => format!("{name}\t{short}"),
            None => format!("{name}.{domain}\t{name}"),
        }
    }
}

/// Quality of service, by which cgroups are grouped and pods are evicted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum QosClass {
    /// Every container has equal requests and limits of CPU and memory.
    Guaranteed,
    /// Some container requests something.
    Burstable,
    /// Nothing is requested or limited.
    #[default]
    BestEffort,
}

/// What exists once a pod has been made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PodSandbox {
    /// The pod.
    pub id: PodId,
    /// The pinned network namespace, `None` when the pod uses the machine's.
    pub network_namespace: Option<PathBuf>,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A pod as a runtime finds it, for adoption.
#[derive(Clone, Debug, PartialEq)]
pub struct PodState {
    /// What it was made from.
    pub config: PodConfig,
    /// What exists of it.
    pub sandbox: PodSandbox,
    /// Whether that is still there: a restart of the machine takes it, and whoever unmounts its
    /// namespaces. [`Runtime::create_pod`](crate::Runtime::create_pod) makes it anew then.
    pub whole: bool,
    /// Its containers, every attempt that has not been removed.
    pub containers: Vec<ContainerState>,
}

/// How to make a container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ContainerConfig {
    /// Name within the pod.
    pub name: String,
    /// Counts restarts; names the log file.
    pub attempt: u32,
    /// The image reference as the pod gives it.
    pub image: String,
    /// Replaces the image's entry point when not empty.
    pub command: Vec<String>,
    /// Replaces the image's command when not empty, or when `command` is not empty.
    pub args: Vec<String>,
    /// Environment, on top of the image's; later entries win.
    pub env: Vec<(String, String)>,
    /// Replaces the image's working directory when not empty.
    pub working_dir: String,
    /// Volumes, already prepared on the machine.
    pub mounts: Vec<Mount>,
    /// Devices of the machine that it has.
    #[serde(default)]
    pub devices: Vec<Device>,
    /// CPU and memory.
    pub resources: Resources,
    /// User, capabilities and the like.
    pub security: Security,
    /// The container of the pod, by name, whose processes it sees as its own; none when empty.
    #[serde(default)]
    pub target: String,
    /// Whether standard input stays open.
    pub stdin: bool,
    /// Whether standard input closes when the first who attached to it leaves.
    #[serde(default)]
    pub stdin_once: bool,
    /// Whether the container has a terminal.
    pub tty: bool,
    /// The signal that asks the container to stop, for example `SIGTERM`; the image's, else
    /// `SIGTERM`, when empty.
    pub stop_signal: String,
    /// A file on the machine that receives `terminationMessagePath`, empty for none.
    pub termination_message: PathBuf,
    /// Where `termination_message` appears inside the container.
    pub termination_message_path: PathBuf,
    /// Kept with the container and given back by `list_pods`.
    pub annotations: BTreeMap<String, String>,
}

/// A directory or file of the machine inside a container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mount {
    /// On the machine; exists.
    pub host_path: PathBuf,
    /// In the container.
    pub container_path: PathBuf,
    /// Whether writing fails.
    pub read_only: bool,
    /// Whether it fails in what is mounted below it, too; only where the runtime can do that (see
    /// [`Features`]).
    #[serde(default)]
    pub recursive_read_only: bool,
    /// Whether mounts made later are seen on the other side.
    pub propagation: Propagation,
}

/// A device of the machine inside a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// On the machine; exists.
    pub host_path: PathBuf,
    /// In the container.
    pub container_path: PathBuf,
    /// Whether writing fails.
    pub read_only: bool,
}

/// Mount propagation as `volumeMounts[].mountPropagation` names it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Propagation {
    /// Private both ways.
    #[default]
    None,
    /// Mounts of the machine appear in the container.
    HostToContainer,
    /// And the other way round.
    Bidirectional,
}

/// Limits and weights of a cgroup. Zero means not set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// Requested CPU in thousandths of a core: the weight.
    pub cpu_request_millis: u64,
    /// Limit of CPU in thousandths of a core: the quota.
    pub cpu_limit_millis: u64,
    /// Requested memory in bytes.
    pub memory_request_bytes: u64,
    /// Limit of memory in bytes.
    pub memory_limit_bytes: u64,
    /// Limit of processes and threads.
    pub pids_limit: u64,
    /// `oom_score_adj` of the container's processes.
    pub oom_score_adj: i32,
}

/// Who a container runs as and what it may do.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Security {
    /// `runAsUser`; the image's user when not set.
    pub user: Option<i64>,
    /// `runAsGroup`.
    pub group: Option<i64>,
    /// `supplementalGroups` and `fsGroup`.
    pub supplemental_groups: Vec<i64>,
    /// `runAsNonRoot`: refuse to start as user 0.
    pub run_as_non_root: bool,
    /// All capabilities, all devices, no masks.
    pub privileged: bool,
    /// Capabilities on top of the default set, without `CAP_`; `ALL` means every one.
    pub add_capabilities: Vec<String>,
    /// Capabilities to take away, without `CAP_`; `ALL` means every one.
    pub drop_capabilities: Vec<String>,
    /// Whether the root file system refuses writes.
    pub read_only_root: bool,
    /// `allowPrivilegeEscalation: false`.
    pub no_new_privileges: bool,
    /// Which system calls it may make.
    #[serde(default)]
    pub seccomp: Seccomp,
    /// `procMount: Unmasked`: all of `/proc` shows.
    #[serde(default)]
    pub unmasked_proc: bool,
    /// `supplementalGroupsPolicy: Strict`: not the groups that the image gives its user.
    #[serde(default)]
    pub strict_groups: bool,
    /// The AppArmor profile of the machine that confines it; none when empty.
    #[serde(default)]
    pub app_armor: String,
    /// The SELinux label, where the kernel has that; none when empty.
    #[serde(default)]
    pub selinux_label: String,
}

/// Which system calls a container may make. A privileged one may make all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Seccomp {
    /// All that its capabilities permit.
    #[default]
    Unconfined,
    /// Those of the runtime's own profile. Processes of the host have none: that runtime does not
    /// confine what it runs.
    RuntimeDefault,
    /// Those of a profile on the machine, an OCI document in JSON.
    Localhost(PathBuf),
}

/// A container as it is now.
#[derive(Clone, Debug, PartialEq)]
pub struct ContainerState {
    /// Its identity.
    pub id: ContainerId,
    /// Its pod.
    pub pod: PodId,
    /// What it was made from.
    pub config: ContainerConfig,
    /// The image's identity, `sha256:…`.
    pub image_id: String,
    /// Where it stands.
    pub phase: ContainerPhase,
    /// Where its log is, in the CRI log format.
    pub log_path: PathBuf,
    /// When it was made.
    pub created_at: Timestamp,
}

/// What not every runtime can do for containers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// Mounts whose submounts are read-only, too.
    pub recursive_read_only: bool,
}

/// Where a container stands.
#[derive(Clone, Debug, PartialEq)]
pub enum ContainerPhase {
    /// Made, not started.
    Created,
    /// Running since a moment, with its first process's id on the machine.
    Running {
        /// When it started.
        started_at: Timestamp,
        /// Its first process; 0 where there is none (simulated).
        pid: u32,
    },
    /// Ended.
    Exited(Exit),
}

/// How a container ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Exit {
    /// The exit code; 128 plus the signal's number when a signal ended it.
    pub code: i32,
    /// `Completed`, `Error`, `OOMKilled`, `StartError`, `ContainerCannotRun` or
    /// `ContainerStatusUnknown`.
    pub reason: &'static str,
    /// What there is to say beyond it.
    pub message: String,
    /// When it had started.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Timestamp,
}

/// What happened to a container or to the runtime.
#[derive(Clone, Debug, PartialEq)]
pub enum RuntimeEvent {
    /// A container's process was executed.
    Started {
        /// Its pod.
        pod: PodId,
        /// Which.
        container: ContainerId,
    },
    /// A container ended; `Runtime::container` gives the details.
    Exited {
        /// Its pod.
        pod: PodId,
        /// Which.
        container: ContainerId,
    },
    /// The runtime stopped answering.
    Lost {
        /// Why.
        message: String,
    },
    /// The runtime answers again: look at `list_pods`.
    Recovered,
}

/// What a probe wants to know of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Probing {
    /// Whether it has started.
    Startup,
    /// Whether it is alive; one that is not is started again.
    Liveness,
    /// Whether it takes requests.
    Readiness,
}

/// A hook of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acting {
    /// Right after its start.
    PostStart,
    /// Before it is told to stop.
    PreStop,
}

/// An image on this machine.
#[derive(Clone, Debug, PartialEq)]
pub struct Image {
    /// Digest of its configuration, `sha256:…`.
    pub id: String,
    /// Names with tags.
    pub tags: Vec<String>,
    /// Names with the manifest's digest.
    pub digests: Vec<String>,
    /// Bytes of its compressed content.
    pub size: u64,
}

/// What a registry wants to see.
#[derive(Clone, PartialEq, Eq)]
pub enum RegistryAuth {
    /// User name and password.
    Basic {
        /// User name.
        username: String,
        /// Password.
        password: String,
    },
    /// A bearer token.
    Bearer(String),
}

impl fmt::Debug for RegistryAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Basic { username, .. } => write!(f, "Basic({username}, …)"),
            Self::Bearer(_) => f.write_str("Bearer(…)"),
        }
    }
}
