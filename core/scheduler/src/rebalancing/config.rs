use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde::Deserialize;
use serde_json::Value;

use super::policy;
use crate::Result;

/// How often is looked for pods that could be placed better, unless said otherwise: as upstream's
/// charts do.
pub(super) const INTERVAL: Duration = Duration::from_secs(5 * 60);

/// When and which pods are evicted because they could be placed better.
///
/// The default has all strategies, and evicts a pod only when the scheduler would place it elsewhere.
#[derive(Clone, Debug, PartialEq)]
pub struct Rebalancing {
    /// How long to wait between two rounds.
    pub interval: Duration,
    /// A selector of labels that says which nodes are looked at; all when it is `None`.
    pub node_selector: Option<String>,
    /// How many pods of one node are evicted in a round at most.
    pub most_per_node: Option<usize>,
    /// How many pods of one namespace are evicted in a round at most.
    pub most_per_namespace: Option<usize>,
    /// How many pods are evicted in a round at most.
    pub most_in_all: Option<usize>,
    /// What is done, one after another.
    pub profiles: Vec<RebalancingProfile>,
}

impl Default for Rebalancing {
    fn default() -> Self {
        Self {
            interval: INTERVAL,
            node_selector: None,
            most_per_node: None,
            most_per_namespace: None,
            most_in_all: None,
            profiles: vec![RebalancingProfile::default()],
        }
    }
}

impl Rebalancing {
    /// Reads a `DeschedulerPolicy` of version `descheduler/v1alpha2`, as files for upstream's
    /// descheduler hold it.
    ///
    /// # Errors
    /// [`Error::Configuration`](crate::Error::Configuration) with all that is wrong.
    pub fn from_policy(policy: &Value) -> Result<Self> {
        policy::read(policy)
    }

    /// The same with other waits between two rounds.
    pub fn every(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }
}

/// Strategies, and which pods they may evict.
#[derive(Clone, Debug, PartialEq)]
pub struct RebalancingProfile {
    /// A name for messages.
    pub name: String,
    /// Which pods may be evicted.
    pub evictor: EvictorSettings,
    /// What is done, one after another.
    pub strategies: Vec<RebalancingStrategy>,
}

impl Default for RebalancingProfile {
    fn default() -> Self {
        Self {
            name: "default".to_owned(),
            evictor: EvictorSettings::default(),
            strategies: vec![
                RebalancingStrategy::ViolatingNodeTaints(NodeTaintSettings::default()),
                RebalancingStrategy::ViolatingNodeAffinity(NodeAffinitySettings::default()),
                RebalancingStrategy::ViolatingInterPodAntiAffinity(AntiAffinitySettings::default()),
                RebalancingStrategy::RemoveDuplicates(DuplicateSettings::default()),
                RebalancingStrategy::ViolatingTopologySpread(SpreadSettings::default()),
                RebalancingStrategy::LowNodeUtilization(UtilizationSettings::default()),
            ],
        }
    }
}

/// Why pods are evicted.
#[derive(Clone, Debug, PartialEq)]
pub enum RebalancingStrategy {
    /// Their node is full while others are empty: `LowNodeUtilization`.
    LowNodeUtilization(UtilizationSettings),
    /// More of their owner's pods are on their node than need be: `RemoveDuplicates`.
    RemoveDuplicates(DuplicateSettings),
    /// Their node is not one that they ask for any more: `RemovePodsViolatingNodeAffinity`.
    ViolatingNodeAffinity(NodeAffinitySettings),
    /// Their node has a taint that they do not tolerate: `RemovePodsViolatingNodeTaints`.
    ViolatingNodeTaints(NodeTaintSettings),
    /// Another pod must not be near them: `RemovePodsViolatingInterPodAntiAffinity`.
    ViolatingInterPodAntiAffinity(AntiAffinitySettings),
    /// Their constraints of spread are violated: `RemovePodsViolatingTopologySpreadConstraint`.
    ViolatingTopologySpread(SpreadSettings),
}

impl RebalancingStrategy {
    /// Upstream's name of it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::LowNodeUtilization(_) => "LowNodeUtilization",
            Self::RemoveDuplicates(_) => "RemoveDuplicates",
            Self::ViolatingNodeAffinity(_) => "RemovePodsViolatingNodeAffinity",
            Self::ViolatingNodeTaints(_) => "RemovePodsViolatingNodeTaints",
            Self::ViolatingInterPodAntiAffinity(_) => "RemovePodsViolatingInterPodAntiAffinity",
            Self::ViolatingTopologySpread(_) => "RemovePodsViolatingTopologySpreadConstraint",
        }
    }
}

/// `DefaultEvictorArgs`: which pods may be evicted.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct EvictorSettings {
    /// A selector of labels that says where pods may go; anywhere when it is empty.
    pub node_selector: String,
    /// Pods with an `emptyDir` or a `hostPath`, too.
    pub evict_local_storage_pods: bool,
    /// DaemonSets' pods, too.
    pub evict_daemon_set_pods: bool,
    /// Pods that the system needs, too.
    pub evict_system_critical_pods: bool,
    /// Failed pods without an owner, too.
    pub evict_failed_bare_pods: bool,
    /// Not those with claims.
    pub ignore_pvc_pods: bool,
    /// Not those that no budget protects.
    #[serde(rename = "ignorePodsWithoutPDB")]
    pub ignore_pods_without_pdb: bool,
    /// Only those that it selects.
    pub label_selector: Option<LabelSelector>,
    /// Only those of lower priority.
    pub priority_threshold: Option<PriorityThreshold>,
    /// Only those that the scheduler would place elsewhere. Upstream's default is `false`: here no pod
    /// goes that has nowhere to go, unless that is asked for.
    pub node_fit: bool,
    /// Only those whose owner has as many.
    pub min_replicas: usize,
    /// Only those that are older, in seconds or as `10m`.
    pub min_pod_age: Option<crate::GoDuration>,
}

impl Default for EvictorSettings {
    fn default() -> Self {
        Self {
            node_selector: String::new(),
            evict_local_storage_pods: false,
            evict_daemon_set_pods: false,
            evict_system_critical_pods: false,
            evict_failed_bare_pods: false,
            ignore_pvc_pods: false,
            ignore_pods_without_pdb: false,
            label_selector: None,
            priority_threshold: None,
            node_fit: true,
            min_replicas: 0,
            min_pod_age: None,
        }
    }
}

/// A priority, by its value or by its class.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct PriorityThreshold {
    /// The value; goes first.
    pub value: Option<i32>,
    /// The name of a PriorityClass.
    pub name: String,
}

/// Namespaces in or out.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct Namespaces {
    /// Only these, when there are any.
    pub include: BTreeSet<String>,
    /// Not these.
    pub exclude: BTreeSet<String>,
}

impl Namespaces {
    pub(super) fn allow(&self, namespace: &str) -> bool {
        !self.exclude.contains(namespace)
            && (self.include.is_empty() || self.include.contains(namespace))
    }
}

/// `LowNodeUtilizationArgs`.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct UtilizationSettings {
    /// The thresholds are deviations from the mean of all nodes.
    pub use_deviation_thresholds: bool,
    /// A node is empty when less than so many percent are asked for of all of these resources.
    pub thresholds: BTreeMap<String, f64>,
    /// A node is full when more than so many percent are asked for of one of these resources.
    pub target_thresholds: BTreeMap<String, f64>,
    /// Nothing is done unless more nodes than this are empty.
    pub number_of_nodes: usize,
    /// Pods of these namespaces are left alone; only `exclude` is taken, as upstream.
    pub evictable_namespaces: Namespaces,
}

impl Default for UtilizationSettings {
    /// Upstream's example: below 20 % a node is empty, above 50 % full.
    fn default() -> Self {
        let all =
            |percent: f64| ["cpu", "memory", "pods"].map(|name| (name.to_owned(), percent)).into();
        Self {
            use_deviation_thresholds: false,
            thresholds: all(20.0),
            target_thresholds: all(50.0),
            number_of_nodes: 0,
            evictable_namespaces: Namespaces::default(),
        }
    }
}

/// `RemoveDuplicatesArgs`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct DuplicateSettings {
    /// Pods of owners of these kinds are left alone.
    pub exclude_owner_kinds: BTreeSet<String>,
    /// Whose pods are looked at.
    pub namespaces: Namespaces,
}

/// `RemovePodsViolatingNodeAffinityArgs`.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct NodeAffinitySettings {
    /// `requiredDuringSchedulingIgnoredDuringExecution`,
    /// `preferredDuringSchedulingIgnoredDuringExecution`.
    pub node_affinity_type: BTreeSet<String>,
    /// Whose pods are looked at.
    pub namespaces: Namespaces,
    /// Which of them.
    pub label_selector: Option<LabelSelector>,
}

pub(super) const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
pub(super) const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

impl Default for NodeAffinitySettings {
    fn default() -> Self {
        Self {
            node_affinity_type: [REQUIRED.to_owned()].into(),
            namespaces: Namespaces::default(),
            label_selector: None,
        }
    }
}

/// `RemovePodsViolatingNodeTaintsArgs`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct NodeTaintSettings {
    /// Taints with the effect `PreferNoSchedule`, too.
    pub include_prefer_no_schedule: bool,
    /// Not these taints: keys, or `key=value`.
    pub excluded_taints: BTreeSet<String>,
    /// Only these taints, when there are any.
    pub included_taints: BTreeSet<String>,
    /// Whose pods are looked at.
    pub namespaces: Namespaces,
    /// Which of them.
    pub label_selector: Option<LabelSelector>,
}

/// `RemovePodsViolatingInterPodAntiAffinityArgs`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct AntiAffinitySettings {
    /// Whose pods are looked at.
    pub namespaces: Namespaces,
    /// Which of them.
    pub label_selector: Option<LabelSelector>,
}

/// `RemovePodsViolatingTopologySpreadConstraintArgs`.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct SpreadSettings {
    /// Which constraints count: `DoNotSchedule`, `ScheduleAnyway`.
    pub constraints: BTreeSet<String>,
    /// A pod goes only where the scheduler would place it elsewhere, whatever `nodeFit` says.
    pub topology_balance_node_fit: bool,
    /// Whose pods are looked at.
    pub namespaces: Namespaces,
    /// Which of them.
    pub label_selector: Option<LabelSelector>,
}

impl Default for SpreadSettings {
    fn default() -> Self {
        Self {
            constraints: ["DoNotSchedule".to_owned()].into(),
            topology_balance_node_fit: true,
            namespaces: Namespaces::default(),
            label_selector: None,
        }
    }
}
