use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Node, Pod};
use pinnace_api::Typed;
use pinnace_api::selector::Selector;

use super::{EvictorSettings, Move, Rebalancer, RebalancingProfile};
use crate::cluster::{Cluster, NodeIndex};
use crate::decision::{Decider, Decision};
use crate::framework::CycleState;
use crate::pod::PodClasses;

/// One look at the cluster, and what comes of it.
pub(super) struct Round<'a> {
    pub(super) rebalancer: &'a Rebalancer,
    pub(super) cluster: Cluster,
    pub(super) moves: Vec<Move>,
    /// How many pods each owner has, by its uid.
    pub(super) replicas: BTreeMap<String, usize>,
    nodes: Vec<NodeIndex>,
    classes: PodClasses,
    decider: Decider,
    evict: bool,
    per_node: BTreeMap<NodeIndex, usize>,
    per_namespace: BTreeMap<String, usize>,
}

/// Who asks for a pod to go.
#[derive(Clone, Copy)]
pub(super) struct Asks<'a> {
    pub(super) profile: &'a RebalancingProfile,
    pub(super) strategy: &'static str,
    /// A pod goes only where the scheduler would place it elsewhere, whatever the evictor says.
    pub(super) must_fit: bool,
}

/// A pod that has gone, and where the scheduler would place it if anybody asked.
pub(super) struct Moved {
    pub(super) to: Option<NodeIndex>,
}

impl<'a> Round<'a> {
    pub(super) async fn new(rebalancer: &'a Rebalancer, evict: bool) -> Self {
        let mut cluster = rebalancer.sources.cluster().await;
        // Who is on the way out leaves room, and is not to be made room for once more.
        let going = cluster.pods().filter(|record| record.pod().object().is_deleting());
        let going: Vec<_> = going.map(|one| one.pod().object().uid().to_owned()).collect();
        going.iter().for_each(|uid| _ = cluster.remove_pod(uid));
        let selector = selector(rebalancer.config.node_selector.as_deref());
        let wanted = |node: &NodeIndex| {
            let object = cluster.node(*node).object();
            object.is_some_and(|node| {
                selector.matches(node.metadata.labels.as_ref()) && is_ready(node)
            })
        };
        Self {
            rebalancer,
            nodes: cluster.indexes().filter(wanted).collect(),
            replicas: replicas(&cluster),
            cluster,
            moves: Vec::new(),
            classes: PodClasses::default(),
            decider: Decider::new(rebalancer.env.random().fork()),
            evict,
            per_node: BTreeMap::new(),
            per_namespace: BTreeMap::new(),
        }
    }

    /// The nodes that are looked at.
    pub(super) fn nodes(&self) -> Vec<NodeIndex> {
        self.nodes.clone()
    }

    /// The pods of a node that were there when the round began, and still are: the least important
    /// first.
    pub(super) fn pods_on(&self, node: NodeIndex) -> Vec<Typed<Pod>> {
        let records = self.cluster.node(node).pods().iter().filter_map(|uid| self.cluster.pod(uid));
        let mut pods: Vec<_> =
            records.filter(|record| !record.is_assumed()).map(|one| one.pod().clone()).collect();
        pods.sort_by_cached_key(importance);
        pods
    }

    /// Has a pod go, if it may and there is a better place for it. `accept` says of the place that the
    /// scheduler would choose whether it is one.
    pub(super) async fn go(
        &mut self,
        asks: Asks<'_>,
        pod: &Typed<Pod>,
        accept: impl Fn(&Cluster, NodeIndex) -> bool + Send,
    ) -> Option<Moved> {
        let uid = pod.object().uid();
        let from = self.cluster.pod(uid).filter(|record| !record.is_assumed())?.node();
        let evictor = &asks.profile.evictor;
        if !self.has_room(pod, from) || !self.may_go(evictor, pod) {
            return None;
        }
        let lifted = self.cluster.lift(uid)?;
        let (info, place) = self.place(pod);
        let fits = |node: &NodeIndex| {
            *node != from && self.is_target(evictor, *node) && accept(&self.cluster, *node)
        };
        let place = place.filter(fits);
        if place.is_none() && (evictor.node_fit || asks.must_fit) {
            self.cluster.put_back(lifted);
            return None;
        }
        if self.evict && !self.rebalancer.evict(pod, asks.strategy).await {
            self.cluster.put_back(lifted);
            return None;
        }
        if let Some(node) = place {
            self.cluster.assume(&info, node);
        }
        let key = pod.object().key();
        *self.per_node.entry(from).or_default() += 1;
        *self.per_namespace.entry(key.namespace().to_owned()).or_default() += 1;
        let name = |node: NodeIndex| self.cluster.node(node).name().to_owned();
        let (from, to) = (name(from), place.map(name));
        self.moves.push(Move { pod: key, from, to, strategy: asks.strategy });
        Some(Moved { to: place })
    }

    /// Where the scheduler would place a pod that is on no node.
    fn place(&mut self, pod: &Typed<Pod>) -> (crate::PodInfo, Option<NodeIndex>) {
        let mut unplaced = pod.to_owned();
        if let Some(spec) = &mut unplaced.spec {
            spec.node_name = None;
        }
        let profile = self.rebalancer.profile_of(pod);
        let info = self.classes.read(&mut self.cluster, profile, &Typed::new(unplaced));
        let state = CycleState::default();
        let place = match self.decider.decide(&self.cluster, profile, &info, &state) {
            Decision::Node(node) => Some(node),
            _ => None,
        };
        (info, place)
    }

    fn is_target(&self, evictor: &EvictorSettings, node: NodeIndex) -> bool {
        let object = self.cluster.node(node).object();
        let selector = selector(Some(&evictor.node_selector));
        object.is_some_and(|node| selector.matches(node.metadata.labels.as_ref()))
    }

    fn has_room(&self, pod: &Typed<Pod>, node: NodeIndex) -> bool {
        let config = &self.rebalancer.config;
        let below = |most: Option<usize>, many: usize| most.is_none_or(|most| many < most);
        let namespace = self.per_namespace.get(pod.object().namespace());
        below(config.most_in_all, self.moves.len())
            && below(config.most_per_node, self.per_node.get(&node).copied().unwrap_or(0))
            && below(config.most_per_namespace, namespace.copied().unwrap_or(0))
    }
}

/// A selector that was checked when it was read; nothing matches one that is none.
fn selector(text: Option<&str>) -> Selector {
    let text = text.unwrap_or_default();
    Selector::parse(text).unwrap_or_else(|_| Selector::nothing())
}

/// One whose condition says that it is not ready is left alone: what ails it is others' concern.
fn is_ready(node: &Node) -> bool {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let mut ready = conditions.filter(|one| one.type_ == "Ready");
    ready.all(|one| one.status == "True")
}

/// Orders pods by what is lost when they go: by priority, then by what they are promised, the
/// youngest first.
fn importance(pod: &Typed<Pod>) -> impl Ord + use<> {
    let priority = pod.spec.as_ref().and_then(|spec| spec.priority).unwrap_or(0);
    let class = pod.status.as_ref().and_then(|status| status.qos_class.as_deref());
    let promised = match class {
        Some("Guaranteed") => 2,
        Some("Burstable") => 1,
        _ => 0,
    };
    let made = pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
    (priority, promised, std::cmp::Reverse(made), pod.object().key())
}

/// How many pods each owner has, by its uid.
fn replicas(cluster: &Cluster) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for pod in cluster.pods() {
        for owner in owners(pod.pod()) {
            *counts.entry(owner.to_owned()).or_default() += 1;
        }
    }
    counts
}

fn owners(pod: &Typed<Pod>) -> impl Iterator<Item = &str> {
    pod.metadata.owner_references.iter().flatten().map(|owner| &owner.uid[..])
}
