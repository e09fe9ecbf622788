//! What is there: nodes, and the pods of a DaemonSet on each.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{Node, Pod};
use pinnace_api::Typed;

use super::placement::{NAME_FIELD, Placement, Verdict};
use crate::history::HASH_LABEL;
use crate::pods::{self, Availability};

/// The label that says of a pod how often the template had changed when it was made.
pub(super) const GENERATION_LABEL: &str = "pod-template-generation";
/// The annotation that keeps how often a set's template has changed.
const GENERATION: &str = "deprecated.daemonset.template.generation";

/// One look at a DaemonSet.
pub(super) struct Look {
    pub(super) set: Typed<DaemonSet>,
    /// The hash of the template as it is now.
    pub(super) hash: String,
    pub(super) seats: Vec<Seat>,
    /// Pods that wait for a node that is not there any more.
    pub(super) lost: Vec<Typed<Pod>>,
    pub(super) now: Timestamp,
    min_ready: Duration,
}

/// A node, and the set's pods on it or on their way there; the one that counts first.
pub(super) struct Seat {
    pub(super) node: String,
    pub(super) verdict: Verdict,
    pub(super) pods: Vec<Typed<Pod>>,
}

/// How often a set's template has changed.
pub(super) fn generation(set: &DaemonSet) -> Option<&String> {
    set.metadata.annotations.as_ref()?.get(GENERATION)
}

impl Look {
    pub(super) fn new(
        set: Typed<DaemonSet>,
        hash: String,
        nodes: &[Typed<Node>],
        owned: Vec<Typed<Pod>>,
        now: Timestamp,
    ) -> Self {
        let mut by_node: HashMap<String, Vec<Typed<Pod>>, ahash::RandomState> = HashMap::default();
        // What is deleted and has ended is somebody else's: a finalizer's, or the node's.
        let live = owned
            .into_iter()
            .filter(|pod| pod.metadata.deletion_timestamp.is_none() || !pods::is_terminal(pod));
        for pod in live {
            if let Some(node) = target(&pod) {
                by_node.entry(node.to_owned()).or_default().push(pod);
            }
        }
        let placement = Placement::of(&set);
        let seats = nodes.iter().map(|node| {
            let name = node.object().name();
            let mut pods = by_node.remove(name).unwrap_or_default();
            pods.sort_by_cached_key(|pod| {
                let created = pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
                (pods::node_name(pod).is_empty(), created, pod.object().name().to_owned())
            });
            let verdict = placement.as_ref().map_or(Verdict::Leave, |all| all.verdict(node));
            Seat { node: name.to_owned(), verdict, pods }
        });
        let seats = seats.collect();
        let lost = by_node.into_values().flatten();
        let lost = lost.filter(|pod| pods::node_name(pod).is_empty() && !is_going(pod)).collect();
        let min_ready = set.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or(0);
        let min_ready = Duration::from_secs(u64::try_from(min_ready).unwrap_or(0));
        Self { set, hash, seats, lost, now, min_ready }
    }

    /// On how many nodes a pod should run.
    pub(super) fn desired(&self) -> usize {
        self.seats.iter().filter(|seat| seat.verdict == Verdict::Run).count()
    }

    /// Whether a pod is of the template as it is now.
    pub(super) fn is_updated(&self, pod: &Pod) -> bool {
        let label = |name: &str| pod.metadata.labels.as_ref().and_then(|all| all.get(name));
        let generation = generation(&self.set);
        label(HASH_LABEL) == Some(&self.hash)
            || (generation.is_some() && label(GENERATION_LABEL) == generation)
    }

    pub(super) fn availability(&self, pod: &Pod) -> Availability {
        pods::availability(pod, self.min_ready, self.now)
    }

    pub(super) fn is_available(&self, pod: &Pod) -> bool {
        self.availability(pod) == Availability::Available
    }

    /// The time after which the next pod becomes available, if nothing changes before.
    pub(super) fn wait(&self) -> Option<Duration> {
        if self.min_ready.is_zero() {
            return None;
        }
        let pods = self.seats.iter().flat_map(|seat| &seat.pods);
        let waits = pods.filter_map(|pod| match self.availability(pod) {
            Availability::In(left) => Some(left),
            _ => None,
        });
        waits.min()
    }
}

pub(super) fn is_going(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

/// The node that a pod is bound to, or was made for.
fn target(pod: &Pod) -> Option<&str> {
    let spec = pod.spec.as_ref()?;
    if let Some(node) = spec.node_name.as_deref().filter(|node| !node.is_empty()) {
        return Some(node);
    }
    let node = spec.affinity.as_ref()?.node_affinity.as_ref()?;
    let required = node.required_during_scheduling_ignored_during_execution.as_ref()?;
    let fields = required.node_selector_terms.iter().flat_map(|term| term.match_fields.iter());
    let by_name = fields.flatten().find(|one| one.key == NAME_FIELD && one.operator == "In")?;
    match by_name.values.as_deref()? {
        [node] => Some(node),
        _ => None,
    }
}
