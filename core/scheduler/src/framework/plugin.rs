use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Pod;
use pinnace_api::Typed;

use super::{Answer, ClusterEvent, CycleState, Events, Hint, Obstacle, Reasons};
use crate::cluster::{Cluster, NodeIndex};
use crate::decision::Attempt;
use crate::pod::{PodInfo, Signature};
use crate::queue::QueuedPod;

/// A part of the scheduler that takes part in decisions at some extension points: those whose
/// method here gives something.
///
/// # Batches and caches
/// [`Filter`] and [`Score`] see many nodes in one call and the whole [`Cluster`] in columns. One
/// call per node would be simpler to write, but costs a virtual call, and for a plugin in another
/// language a crossing, per node; and a plugin that looks at all nodes could not share work
/// between them. A batch of one node is what the framework asks for when only one node changed.
///
/// Pods that are alike (see [`Signature`]) share what is found out about them. How long an answer
/// about a node stays good is the plugin's [`Scope`]: with [`Scope::NodeObject`] and
/// [`Scope::NodeUsage`] it is asked again only about nodes that changed; with
/// [`Scope::Everything`], the default and always right, about every node for every pod.
pub trait Plugin: Send + Sync + 'static {
    /// The name that configuration uses and that messages give.
    fn name(&self) -> &str;

    /// What answers about a node depend on beside the pod.
    fn scope(&self) -> Scope {
        Scope::Everything
    }

    /// Adds to the signature of a pod what the plugin reads of it and the framework has not added.
    /// Only matters for another scope than [`Scope::Everything`].
    fn sign(&self, pod: &Pod, signature: &mut Signature) {
        let _ = (pod, signature);
    }

    /// Reads what the plugin needs of a pod, once for all attempts, and has the cluster keep the
    /// views that it needs: see [`Cluster::tally`]. What it gives is there in every [`Cycle`] as
    /// [`PodInfo::prepared`].
    fn prepare(&self, pod: &Pod, cluster: &mut Cluster) -> Option<Prepared> {
        let _ = (pod, cluster);
        None
    }

    /// Where a plugin of [`Scope::Everything`] has something to say about a pod. Elsewhere it is not
    /// asked, and when no plugin has to be asked, what is known of pods that are alike is enough.
    fn concern(&self, cycle: &Cycle<'_>) -> Concern {
        let _ = cycle;
        Concern::ALL
    }

    /// What may help a pod that this plugin has rejected.
    fn events(&self) -> Events {
        Events::ALL
    }

    /// Whether one of [`Plugin::events`] is worth another try of a pod that this plugin has
    /// rejected. With another scope than [`Scope::Everything`] it is asked once for all pods of a
    /// class, unless the event is about the pod itself.
    fn hint(&self, pod: &PodInfo, event: &ClusterEvent<'_>) -> Hint {
        let _ = (pod, event);
        Hint::Queue
    }

    /// The order of pods that wait.
    fn as_queue_sort(&self) -> Option<&dyn QueueSort> {
        None
    }
    /// May keep a pod from being tried at all.
    fn as_pre_enqueue(&self) -> Option<&dyn PreEnqueue> {
        None
    }
    /// Looks at a pod before nodes are.
    fn as_pre_filter(&self) -> Option<&dyn PreFilter> {
        None
    }
    /// Excludes nodes.
    fn as_filter(&self) -> Option<&dyn Filter> {
        None
    }
    /// Looks for a way out when no node is left.
    fn as_post_filter(&self) -> Option<&dyn PostFilter> {
        None
    }
    /// Ranks the nodes that are left.
    fn as_score(&self) -> Option<&dyn Score> {
        None
    }
    /// Keeps account of what a pod is going to take.
    fn as_reserve(&self) -> Option<&dyn Reserve> {
        None
    }
    /// Has the last word, and may ask for time.
    fn as_permit(&self) -> Option<&dyn Permit> {
        None
    }
    /// Makes ready what must be there when the pod is bound.
    fn as_pre_bind(&self) -> Option<&dyn PreBind> {
        None
    }
    /// Binds the pod.
    fn as_bind(&self) -> Option<&dyn Bind> {
        None
    }
    /// Hears that a pod was bound.
    fn as_post_bind(&self) -> Option<&dyn PostBind> {
        None
    }
}

/// What a plugin has read of a pod.
pub type Prepared = Arc<dyn Any + Send + Sync>;

/// Where a plugin has something to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Concern {
    /// When nodes are excluded: it is asked as [`PreFilter`] and as [`Filter`].
    pub filters: bool,
    /// When nodes are ranked.
    pub scores: bool,
}

impl Concern {
    /// Everywhere.
    pub const ALL: Self = Self { filters: true, scores: true };
    /// Nowhere.
    pub const NONE: Self = Self { filters: false, scores: false };
}

/// What a plugin's answers about a node depend on, beside the pod's class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// The Node object alone: labels, taints.
    NodeObject,
    /// The Node object and what the pods on that node take of it.
    NodeUsage,
    /// Anything: other nodes, other objects, the clock, the pod beyond its class.
    Everything,
}

/// One attempt to schedule a pod.
#[derive(Clone, Copy, Debug)]
pub struct Cycle<'a> {
    /// The pod.
    pub pod: &'a PodInfo,
    /// The cluster as it is; nothing changes during the call.
    pub cluster: &'a Cluster,
    /// What plugins leave for themselves and each other. Plugins of another scope than
    /// [`Scope::Everything`] must not use it when they filter and score: what they find there
    /// would be another pod's.
    pub state: &'a CycleState,
}

/// The order of pods that wait. All profiles use the same one.
pub trait QueueSort: Send + Sync {
    /// Whether `first` is to be tried before `second`.
    fn less(&self, first: &QueuedPod, second: &QueuedPod) -> bool;
}

/// May keep a pod from being tried at all, until an event of the plugin's own helps.
pub trait PreEnqueue: Send + Sync {
    /// Whether the pod may be tried.
    ///
    /// # Errors
    /// Why it may not yet. It is not reported anywhere: the pod counts as not ready.
    fn pre_enqueue(&self, pod: &Pod) -> Answer;
}

/// What a [`PreFilter`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PreFiltered {
    /// Any node may do.
    All,
    /// Only these nodes may do, some of which may not exist.
    Only(Vec<String>),
    /// The plugin's [`Filter`] has nothing to say about this pod.
    Skip,
}

/// Looks at a pod before nodes are. Plugins of another scope than [`Scope::Everything`] are asked
/// once per class and must look at the pod alone.
pub trait PreFilter: Send + Sync {
    /// Looks at the pod.
    ///
    /// # Errors
    /// Why no node will do.
    fn pre_filter(&self, cycle: &Cycle<'_>) -> Answer<PreFiltered>;
}

/// Whether a node will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It will.
    Fits,
    /// Not now; it may if other pods were evicted.
    Unschedulable,
    /// Not, whatever pods are evicted.
    Unresolvable,
}

/// Excludes nodes.
pub trait Filter: Send + Sync {
    /// Judges nodes: `verdicts` has one place per node, all [`Verdict::Fits`] at first.
    ///
    /// # Errors
    /// When the plugin cannot tell; the pod is tried again later.
    fn filter(&self, cycle: &Cycle<'_>, nodes: &[NodeIndex], verdicts: &mut [Verdict]) -> Answer;

    /// Why a node was excluded. Only asked when no node is left.
    fn reasons(&self, cycle: &Cycle<'_>, node: NodeIndex) -> Reasons;

    /// What would have to change so that the plugin lets an excluded node pass; nothing when it
    /// knows of no setting. Only asked when a decision is explained.
    fn obstacles(&self, cycle: &Cycle<'_>, node: NodeIndex) -> Vec<Obstacle> {
        let _ = (cycle, node);
        Vec::new()
    }
}

/// What becomes of `status.nominatedNodeName`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Nomination {
    /// It stays as it is.
    #[default]
    Keep,
    /// It is cleared, and room is no longer kept for the pod.
    Clear,
    /// It becomes this node, where room is kept for the pod.
    To(String),
}

/// What a [`PostFilter`] found.
#[derive(Clone, Debug, Default)]
pub struct PostFiltered {
    /// The node that the plugin makes room on, when it has found a way out.
    pub nomination: Nomination,
    /// What is appended to the message of the pod's condition.
    pub message: String,
    /// The pods that have to go; the scheduler evicts them.
    pub victims: Vec<Typed<Pod>>,
    /// All nodes that it may make room on, the best first: only where
    /// [`Attempt::wants_candidates`] asks for them.
    pub candidates: Vec<Candidate>,
}

/// A node that evictions would make room on.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The node.
    pub node: String,
    /// The pods that have to go, the most important first.
    pub victims: Vec<Typed<Pod>>,
    /// How many disruption budgets their going violates.
    pub violations: usize,
}

/// Looks for a way out when no node is left, for example by evicting pods.
pub trait PostFilter: Send + Sync {
    /// Looks for a way out. The first plugin that finds one is the last that is asked.
    ///
    /// # Errors
    /// Why there is none; the reasons are appended to the message of the pod's condition.
    fn post_filter(&self, attempt: &mut Attempt<'_>) -> Answer<PostFiltered>;
}

/// The best that a node can score with one plugin; the worst is 0.
pub const MAX_SCORE: i64 = 100;

/// How the scores of a plugin come to lie between 0 and [`MAX_SCORE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Normalization {
    /// They do already.
    None,
    /// The highest becomes [`MAX_SCORE`], 0 stays 0.
    ToHighest,
    /// The highest becomes 0, 0 becomes [`MAX_SCORE`].
    ToHighestReversed,
    /// By [`Score::normalize`].
    Own,
}

/// Ranks nodes.
pub trait Score: Send + Sync {
    /// Whether the plugin ranks nodes for this pod at all; if not, it counts for nothing.
    fn applies(&self, pod: &PodInfo) -> bool {
        let _ = pod;
        true
    }

    /// Scores nodes: `scores` has one place per node.
    ///
    /// # Errors
    /// When the plugin cannot tell; the pod is tried again later.
    fn score(&self, cycle: &Cycle<'_>, nodes: &[NodeIndex], scores: &mut [i64]) -> Answer;

    /// How the scores come to lie between 0 and [`MAX_SCORE`].
    fn normalization(&self) -> Normalization {
        Normalization::None
    }

    /// For [`Normalization::Own`]: brings the scores of all nodes that are left between 0 and
    /// [`MAX_SCORE`].
    ///
    /// # Errors
    /// When the plugin cannot tell; the pod is tried again later.
    fn normalize(&self, cycle: &Cycle<'_>, scores: &mut [i64]) -> Answer {
        let _ = (cycle, scores);
        Ok(())
    }
}

/// Keeps account of what a pod is going to take.
pub trait Reserve: Send + Sync {
    /// Takes it.
    ///
    /// # Errors
    /// Why the pod cannot have it.
    fn reserve(&self, cycle: &Cycle<'_>, node: &str) -> Answer;

    /// Gives it back. Also called when [`Reserve::reserve`] was not, and maybe twice.
    fn unreserve(&self, pod: &PodInfo, node: &str, state: &CycleState);
}

/// A [`Permit`] plugin's yes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permitted {
    /// The pod may be bound.
    Now,
    /// It may when the plugin says so through [`Handle::allow`](crate::Handle::allow), and must not
    /// after this time, at most [`MAX_PERMIT_WAIT`].
    Wait(Duration),
}

/// Longest time that a pod waits for a [`Permit`] plugin.
pub const MAX_PERMIT_WAIT: Duration = Duration::from_secs(15 * 60);

/// Has the last word, and may ask for time.
pub trait Permit: Send + Sync {
    /// Whether the pod may be bound.
    ///
    /// # Errors
    /// Why it may not.
    fn permit(&self, cycle: &Cycle<'_>, node: &str) -> Answer<Permitted>;
}

/// Makes ready what must be there when a pod is bound.
#[async_trait]
pub trait PreBind: Send + Sync {
    /// Makes it ready.
    ///
    /// # Errors
    /// Why it cannot be; the pod is tried again later.
    async fn pre_bind(&self, pod: &PodInfo, node: &str, state: &CycleState) -> Answer;
}

/// What a [`Bind`] plugin did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// It bound the pod.
    Done,
    /// Nothing: the next plugin is to bind it.
    Skip,
}

/// Binds pods. The first plugin that does is the last that is asked.
#[async_trait]
pub trait Bind: Send + Sync {
    /// Binds the pod.
    ///
    /// # Errors
    /// Why it cannot be bound; the pod is tried again later.
    async fn bind(&self, pod: &PodInfo, node: &str, state: &CycleState) -> Answer<Bound>;
}

/// Hears that a pod was bound.
pub trait PostBind: Send + Sync {
    /// The pod was bound.
    fn post_bind(&self, pod: &PodInfo, node: &str, state: &CycleState);
}
