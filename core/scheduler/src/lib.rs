//! The scheduler: a framework of plugins that picks a node for each pod.
//!
//! - [`Scheduler`]: follows the cluster, decides, binds; owns all its tasks.
//! - [`Plugin`] and the traits beside it: the extension points, for the host's own plugins too;
//!   [`Registry`] and [`SchedulerConfig`] say which take part.
//! - [`plugins`]: the built-in plugins, with upstream's names, reasons, scores and weights.
//! - [`Extender`]: a server outside that has a say, as upstream's extenders do.
//! - [`Rebalancer`]: evicts pods that could be placed better, as upstream's descheduler does.
//! - [`Decider`], [`Cluster`] and [`PodClasses`]: the decision itself, without I/O or clock.
//!
//! All nodes are looked at, none are sampled. It is fast all the same because work is
//! proportional to what changes: pods that are alike share a table of what every node is worth to
//! them, and a pod that is placed changes one row of it. A decision costs the rows that changed
//! since the last pod of the class, and the logarithm of the number of nodes.
//!
//! Follows <https://kubernetes.io/docs/concepts/scheduling-eviction/scheduling-framework/>.

mod asking;
mod binding;
mod cluster;
mod config;
mod decision;
mod error;
mod evictions;
mod explainer;
mod extender;
mod framework;
mod inbox;
mod kube_config;
mod nominations;
pub mod plugins;
mod pod;
mod queue;
mod rebalancing;
mod report;
mod scheduler;
mod scheduling;
mod sources;

pub use cluster::{
    Amounts, Cluster, Counted, Domain, Images, LabelSet, Lifted, NodeIndex, NodeState, PodRecord,
    PodTallies, Resource, ResourceNames, TallyKey, Term, TermKind, Topology, TopologyKey,
};
pub use config::{DEFAULT_SCHEDULER, MAX_WEIGHT, ProfileConfig, SchedulerConfig};
pub use decision::{
    Attempt, Decider, Decision, Diagnosis, Explanation, MAX_RELAXATIONS, NodeExclusion,
    NodeRefusal, NodeScore, PluginReasons, PluginScore, Relaxation, explain,
};
pub use error::{Error, Result};
pub use explainer::{Explainer, explain_pod};
pub use extender::{
    Extender, ExtenderConfig, ExtenderTls, ExtenderTransport, GoDuration, ManagedResource,
};
pub use framework::{
    Answer, BatchNodes, BatchPlugin, Bind, Bound, Candidate, ClusterEvent, Concern, Cycle,
    CycleState, Events, Filter, Handle, Hint, MAX_BINDING_TIME, MAX_PERMIT_WAIT, MAX_PLUGINS,
    MAX_SCORE, Nomination, Normalization, Obstacle, Permit, Permitted, Plugin, PluginFactory,
    PluginIndex, PluginSet, PostBind, PostFilter, PostFiltered, PreBind, PreEnqueue, PreFilter,
    PreFiltered, Prepared, Profile, QueueSort, Reasons, Refusal, Registry, Reserve, Scope, Score,
    Verdict, batched, batched_within,
};
pub use pod::{
    Affinity, HostPort, PodClass, PodClasses, PodInfo, PodSelector, PodTerm, PodTerms, Signature,
    Usage, tolerated, tolerates_unschedulable, untolerated,
};
pub use queue::QueuedPod;
pub use rebalancing::{
    AntiAffinitySettings, DuplicateSettings, EvictorSettings, Move, Namespaces,
    NodeAffinitySettings, NodeTaintSettings, PriorityThreshold, Rebalancer, Rebalancing,
    RebalancingProfile, RebalancingStrategy, SpreadSettings, UtilizationSettings,
};
pub use scheduler::Scheduler;
