//! The cluster as the scheduler sees it: nodes, what they offer, what their pods take.

mod budgets;
mod change_log;
mod images;
mod node;
mod resources;
mod tally;
mod topology;
mod workloads;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use pinnace_api::quantity::Quantity;
use pinnace_api::selector::Selector;
use pinnace_api::{Object, Typed};

use crate::pod::{PodInfo, PodTerm, PodTerms, Usage};
pub(crate) use budgets::Budgets;
pub(crate) use change_log::{Change, ChangeLog};
pub use images::Images;
pub use node::{NodeIndex, NodeState};
pub(crate) use node::{is_unschedulable, taints};
pub use resources::{Amounts, Resource, ResourceNames};
pub use tally::{Counted, LabelSet, PodTallies, TallyKey, Term, TermKind};
use tally::{Tallied, Tallies};
pub use topology::{Domain, Topology, TopologyKey};
pub(crate) use workloads::Owner;
use workloads::Workloads;

/// Nodes and the pods on them, assumed ones included.
///
/// Numbers that plugins compute with lie in columns, one value per node, so that a plugin that
/// looks at all nodes reads memory in order; everything else of a node is its [`NodeState`]. Every
/// change costs what the change touches, and is noted so that caches per pod class follow by
/// delta.
#[derive(Debug, Default)]
pub struct Cluster {
    resources: ResourceNames,
    by_name: HashMap<Arc<str>, NodeIndex, ahash::RandomState>,
    nodes: Vec<NodeState>,
    free: Vec<NodeIndex>,
    present: usize,
    allocatable: Vec<Vec<i64>>,
    requested: Vec<Vec<i64>>,
    nonzero_cpu: Vec<i64>,
    nonzero_memory: Vec<i64>,
    pods_allowed: Vec<i64>,
    pods: HashMap<Arc<str>, PodRecord, ahash::RandomState>,
    topology: Topology,
    tallies: Tallies,
    workloads: Workloads,
    budgets: Budgets,
    images: Images,
    log: ChangeLog,
    /// Changes are not noted: they are going to be taken back.
    quiet: bool,
}

/// A pod that is on a node, or is taken to be.
#[derive(Debug)]
pub struct PodRecord {
    pod: Typed<Pod>,
    usage: Arc<Usage>,
    tallied: Tallied,
    node: NodeIndex,
    place: usize,
    presence: Presence,
}

/// A pod that was taken away from its node to see what would be without it.
#[derive(Debug)]
pub struct Lifted {
    uid: Arc<str>,
    record: PodRecord,
}

impl Lifted {
    /// Its uid.
    pub fn uid(&self) -> &Arc<str> {
        &self.uid
    }
}

/// In what sense a pod is on its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presence {
    /// Its binding was seen.
    Bound,
    /// It is being bound.
    Assumed,
    /// Room is kept for it there, until it is tried again.
    Nominated,
}

impl PodRecord {
    /// The pod as it was last seen; an assumed one does not name its node yet.
    pub fn pod(&self) -> &Typed<Pod> {
        &self.pod
    }

    /// What it takes of its node.
    pub fn usage(&self) -> &Usage {
        &self.usage
    }

    /// `spec.priority`, 0 when there is none.
    pub fn priority(&self) -> i32 {
        self.pod.spec.as_ref().and_then(|spec| spec.priority).unwrap_or(0)
    }

    /// Its node.
    pub fn node(&self) -> NodeIndex {
        self.node
    }

    /// Whether its binding has not been seen yet.
    pub fn is_assumed(&self) -> bool {
        self.presence == Presence::Assumed
    }

    /// Whether room is only kept for it: it was neither bound nor chosen this node for good.
    pub fn is_nominated(&self) -> bool {
        self.presence == Presence::Nominated
    }
}

impl Cluster {
    /// A cluster without nodes.
    pub fn new() -> Self {
        let mut new = Self::default();
        new.widen();
        new
    }

    /// The numbers of resources.
    pub fn resources(&self) -> &ResourceNames {
        &self.resources
    }

    /// Lets `read` give numbers to resources that had none.
    pub(crate) fn name_resources<T>(&mut self, read: impl FnOnce(&mut ResourceNames) -> T) -> T {
        let result = read(&mut self.resources);
        self.widen();
        result
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.present
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.present == 0
    }

    /// The length of the columns: one more than the largest number of a node.
    pub fn width(&self) -> usize {
        self.nodes.len()
    }

    /// The numbers of all nodes, in order.
    pub fn indexes(&self) -> impl Iterator<Item = NodeIndex> + '_ {
        let present = |(index, node): (usize, &NodeState)| {
            node.object.is_some().then_some(NodeIndex::new(index))
        };
        self.nodes.iter().enumerate().filter_map(present)
    }

    /// A node.
    pub fn node(&self, index: NodeIndex) -> &NodeState {
        &self.nodes[index.index()]
    }

    /// The number of the node of a name.
    pub fn find(&self, name: &str) -> Option<NodeIndex> {
        let index = *self.by_name.get(name)?;
        self.node(index).object.is_some().then_some(index)
    }

    /// What each node has of a resource.
    pub fn allocatable(&self, resource: Resource) -> &[i64] {
        &self.allocatable[resource.index()]
    }

    /// What the pods of each node ask of a resource.
    pub fn requested(&self, resource: Resource) -> &[i64] {
        &self.requested[resource.index()]
    }

    /// As [`Cluster::requested`], but containers that ask for no CPU or memory count with a small
    /// default, so that they too spread out. For other resources it is the same.
    pub fn nonzero_requested(&self, resource: Resource) -> &[i64] {
        match resource {
            Resource::CPU => &self.nonzero_cpu,
            Resource::MEMORY => &self.nonzero_memory,
            other => self.requested(other),
        }
    }

    /// How many pods each node takes.
    pub fn pods_allowed(&self) -> &[i64] {
        &self.pods_allowed
    }

    /// How many pods a node has.
    pub fn pod_count(&self, node: NodeIndex) -> usize {
        self.node(node).pods.len()
    }

    /// A pod that is on a node, by its uid.
    pub fn pod(&self, uid: &str) -> Option<&PodRecord> {
        self.pods.get(uid)
    }

    /// All pods that are on nodes, in no particular order.
    pub(crate) fn pods(&self) -> impl Iterator<Item = &PodRecord> {
        self.pods.values()
    }

    /// Which nodes belong together.
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// The number of a label key by which nodes are grouped.
    pub fn topology_key(&mut self, name: &str) -> TopologyKey {
        let (key, is_new) = self.topology.intern(name);
        if is_new {
            for (index, node) in self.nodes.iter().enumerate() {
                self.topology.set(NodeIndex::new(index), node.labels());
            }
        }
        key
    }

    /// The label set of a pod.
    pub fn label_set(&mut self, pod: &Pod) -> Arc<LabelSet> {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        self.tallies.labels(namespace, pod.metadata.labels.as_ref())
    }

    /// Keeps count of pods on nodes, as long as the key is held.
    pub fn tally(&mut self, what: Counted) -> Arc<TallyKey> {
        let pods = self.pods.values().map(|record| (&record.tallied, record.node));
        self.tallies.tally(what, pods)
    }

    /// How many of what is counted there are on each node, by its number; nodes beyond the end
    /// have none.
    pub fn tallied(&self, tally: &TallyKey) -> &[u32] {
        self.tallies.per_node(tally)
    }

    /// How many of what is counted there are on all nodes.
    pub fn tallied_in_all(&self, tally: &TallyKey) -> u64 {
        self.tallies.total(tally)
    }

    /// The terms of pods on nodes that speak of pods with these labels, in the order in which they
    /// came up. Pods that carry them need not be there any more.
    pub fn terms_about(&self, labels: &LabelSet) -> &[Arc<TallyKey>] {
        self.tallies.spoken_of_by(labels)
    }

    /// Whether terms speak of a pod, all of them.
    pub(crate) fn satisfies(&self, pod: &Pod, terms: &[PodTerm]) -> bool {
        terms.iter().all(|term| self.tallies.selects(&term.pods, pod))
    }

    /// The terms that a pod carries.
    pub(crate) fn terms_of(&mut self, pod: &Pod) -> PodTallies {
        let Some(PodTerms { affinity, anti_affinity, preferred }) = PodTerms::of(pod) else {
            return PodTallies::new();
        };
        let affinity = affinity.into_iter().map(|term| (TermKind::Affinity, term));
        let anti_affinity = anti_affinity.into_iter().map(|term| (TermKind::AntiAffinity, term));
        let preferred =
            preferred.into_iter().map(|(weight, term)| (TermKind::Preferred(weight), term));
        affinity
            .chain(anti_affinity)
            .chain(preferred)
            .map(|(kind, PodTerm { topology_key, pods })| {
                let topology = self.topology_key(&topology_key);
                self.tally(Counted::Term(Term { kind, topology, pods }))
            })
            .collect()
    }

    /// What selects the pods of the Services and the owner of a pod; `None` when it has neither.
    pub fn related(&self, pod: &Pod) -> Option<Selector> {
        self.workloads.selector(pod)
    }

    /// Counts the changes of what [`Cluster::related`] depends on.
    pub(crate) fn generation(&self) -> u64 {
        self.workloads.generation
    }

    /// `spec.selector` of a Service; `None` when it went or selects nothing.
    pub fn set_service(
        &mut self,
        namespace: &str,
        name: &str,
        selector: Option<&BTreeMap<String, String>>,
    ) {
        self.workloads.set_service(namespace, name, selector);
    }

    /// What an owner of pods selects; `None` when it went.
    pub(crate) fn set_owner(&mut self, kind: Owner, object: &Object, selector: Option<Selector>) {
        self.workloads.set_owner(kind, object, selector);
    }

    /// The labels of a namespace; `None` when it went.
    pub fn set_namespace(&mut self, name: &str, labels: Option<&BTreeMap<String, String>>) {
        let pods = self.pods.values().map(|record| (&record.tallied, record.node));
        if self.tallies.set_namespace(name, labels, pods) {
            for index in 0..self.nodes.len() {
                self.changed(NodeIndex::new(index), false);
            }
        }
    }

    pub(crate) fn log(&self) -> &ChangeLog {
        &self.log
    }

    /// Adds a node or brings it up to date.
    pub fn set_node(&mut self, node: &Typed<Node>) {
        let index = self.slot(node.object().name());
        let place = index.index();
        for column in &mut self.allocatable {
            column[place] = 0;
        }
        self.pods_allowed[place] = 0;
        let allocatable = node.status.as_ref().and_then(|status| status.allocatable.as_ref());
        for (name, text) in allocatable.into_iter().flatten() {
            let quantity = Quantity::try_from(text).unwrap_or_default();
            if name == "pods" {
                self.pods_allowed[place] = quantity.value();
            } else if let Some(resource) = self.resources.accept(name) {
                self.widen();
                self.allocatable[resource.index()][place] = amount(resource, quantity);
            }
        }
        let images = |node: &Node| node.status.as_ref().and_then(|status| status.images.clone());
        let state = &mut self.nodes[place];
        let old = state.set_object(node);
        if old.is_none() {
            self.present += 1;
        }
        if old.is_none_or(|old| images(&old) != images(node)) {
            self.images.set(index, Some(node));
        }
        let state = &self.nodes[place];
        self.topology.set(index, state.labels());
        self.changed(index, true);
    }

    /// Removes a node; its pods stay until they are removed themselves.
    pub fn remove_node(&mut self, name: &str) {
        let Some(index) = self.find(name) else { return };
        if self.nodes[index.index()].object.take().is_some() {
            self.present -= 1;
        }
        self.topology.set(index, None);
        self.images.set(index, None);
        self.changed(index, true);
        self.release(index);
    }

    /// Counts a pod on a node before its binding is seen. `false` when it is on one already.
    pub fn assume(&mut self, pod: &PodInfo, node: NodeIndex) -> bool {
        self.put(pod, node, Presence::Assumed)
    }

    /// Keeps room for a pod on a node until it is assumed or removed. `false` when it is on one
    /// already.
    pub fn nominate(&mut self, pod: &PodInfo, node: NodeIndex) -> bool {
        self.put(pod, node, Presence::Nominated)
    }

    fn put(&mut self, pod: &PodInfo, node: NodeIndex, presence: Presence) -> bool {
        match self.pods.get(pod.uid()) {
            Some(record) if !record.is_nominated() => return false,
            Some(_) => _ = self.remove_pod(pod.uid()),
            None => {}
        }
        let tallied =
            Tallied { labels: pod.labels().clone(), terms: pod.terms().clone(), deleting: false };
        let record = PodRecord {
            pod: pod.pod().clone(),
            usage: pod.class().usage().clone(),
            tallied,
            node,
            place: 0,
            presence,
        };
        self.add(pod.uid().clone(), record);
        true
    }

    /// Takes an assumption back; `true` when there was one.
    pub fn forget(&mut self, uid: &str) -> bool {
        let assumed = self.pods.get(uid).is_some_and(PodRecord::is_assumed);
        if assumed {
            self.remove_pod(uid);
        }
        assumed
    }

    /// Gives up the room that was kept for a pod; its node if there was some.
    pub fn unnominate(&mut self, uid: &str) -> Option<NodeIndex> {
        let node = self.pods.get(uid).filter(|record| record.is_nominated())?.node;
        self.remove_pod(uid);
        Some(node)
    }

    /// Counts a bound pod, and confirms an assumption. A pod that names no node is not counted.
    pub fn set_pod(&mut self, pod: &Typed<Pod>) {
        let Some(name) = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()) else {
            return;
        };
        let usage = self.name_resources(|names| Usage::of(pod, names));
        let labels = self.label_set(pod);
        let deleting = pod.object().is_deleting();
        if let Some(record) = self.pods.get_mut(pod.object().uid())
            && &*self.nodes[record.node.index()].name == name
            && *record.usage == usage
            && record.tallied.labels.id() == labels.id()
            && record.tallied.deleting == deleting
        {
            record.pod = pod.clone();
            record.presence = Presence::Bound;
            return;
        }
        self.remove_pod(pod.object().uid());
        let tallied = Tallied { labels, terms: self.terms_of(pod), deleting };
        let record = PodRecord {
            pod: pod.clone(),
            usage: Arc::new(usage),
            tallied,
            node: self.slot(name),
            place: 0,
            presence: Presence::Bound,
        };
        self.add(pod.object().uid().into(), record);
    }

    /// Stops counting a pod; `true` when it was counted.
    pub fn remove_pod(&mut self, uid: &str) -> bool {
        let Some((_, record)) = self.take(uid) else { return false };
        self.release(record.node);
        true
    }

    fn take(&mut self, uid: &str) -> Option<(Arc<str>, PodRecord)> {
        let (uid, record) = self.pods.remove_entry(uid)?;
        let index = record.node;
        let node = &mut self.nodes[index.index()];
        node.pods.swap_remove(record.place);
        if let Some(moved) = node.pods.get(record.place)
            && let Some(moved) = self.pods.get_mut(moved)
        {
            moved.place = record.place;
        }
        for port in record.usage.ports() {
            if let Some(found) = node.ports.iter().position(|one| one == port) {
                node.ports.swap_remove(found);
            }
        }
        self.count(index, &record.usage, i64::saturating_sub);
        self.tallies.count(&record.tallied, index, false);
        self.changed(index, false);
        Some((uid, record))
    }

    /// Takes a pod away that is to be put back.
    pub(crate) fn lift(&mut self, uid: &str) -> Option<Lifted> {
        let (uid, record) = self.take(uid)?;
        Some(Lifted { uid, record })
    }

    /// Puts a pod back.
    pub(crate) fn put_back(&mut self, pod: Lifted) {
        self.add(pod.uid, pod.record);
    }

    /// Whether changes are to go unnoted for a while.
    pub(crate) fn set_quiet(&mut self, quiet: bool) {
        self.quiet = quiet;
    }

    /// Which images are on which nodes.
    pub fn images(&self) -> &Images {
        &self.images
    }

    /// The disruption budgets.
    pub(crate) fn budgets(&self) -> &Budgets {
        &self.budgets
    }

    /// A disruption budget as it is now; `None` when it went.
    pub fn set_budget(
        &mut self,
        namespace: &str,
        name: &str,
        budget: Option<&PodDisruptionBudget>,
    ) {
        self.budgets.set(namespace, name, budget);
    }

    fn add(&mut self, uid: Arc<str>, mut record: PodRecord) {
        let node = record.node;
        self.count(node, &record.usage, i64::saturating_add);
        self.tallies.count(&record.tallied, node, true);
        let state = &mut self.nodes[node.index()];
        state.ports.extend_from_slice(record.usage.ports());
        record.place = state.pods.len();
        state.pods.push(uid.clone());
        self.pods.insert(uid, record);
        self.changed(node, false);
    }

    fn count(&mut self, node: NodeIndex, usage: &Usage, apply: fn(i64, i64) -> i64) {
        let place = node.index();
        for (resource, amount) in usage.requests().iter() {
            let cell = &mut self.requested[resource.index()][place];
            *cell = apply(*cell, amount);
        }
        let cells = [
            (&mut self.nonzero_cpu[place], usage.nonzero_cpu()),
            (&mut self.nonzero_memory[place], usage.nonzero_memory()),
        ];
        for (cell, amount) in cells {
            *cell = apply(*cell, amount);
        }
    }

    /// The place of a node, made when it has none.
    fn slot(&mut self, name: &str) -> NodeIndex {
        if let Some(index) = self.by_name.get(name) {
            return *index;
        }
        let name: Arc<str> = name.into();
        let index = match self.free.pop() {
            Some(index) => {
                self.nodes[index.index()] = NodeState::new(name.clone());
                index
            }
            None => {
                self.nodes.push(NodeState::new(name.clone()));
                self.widen();
                NodeIndex::new(self.nodes.len() - 1)
            }
        };
        self.by_name.insert(name, index);
        index
    }

    /// Gives the place of a node away that nothing is left of.
    fn release(&mut self, index: NodeIndex) {
        let node = &self.nodes[index.index()];
        if node.object.is_some() || !node.pods.is_empty() {
            return;
        }
        self.by_name.remove(&node.name);
        let place = index.index();
        for column in self.columns() {
            column[place] = 0;
        }
        self.free.push(index);
    }

    /// Makes the columns as many as there are resources and as long as there are nodes.
    fn widen(&mut self) {
        let (width, resources) = (self.nodes.len(), self.resources.len());
        self.allocatable.resize_with(resources, Vec::new);
        self.requested.resize_with(resources, Vec::new);
        for column in self.columns() {
            column.resize(width, 0);
        }
    }

    fn columns(&mut self) -> impl Iterator<Item = &mut Vec<i64>> {
        let single = [&mut self.nonzero_cpu, &mut self.nonzero_memory, &mut self.pods_allowed];
        self.allocatable.iter_mut().chain(&mut self.requested).chain(single)
    }

    fn changed(&mut self, node: NodeIndex, object: bool) {
        if self.quiet {
            return;
        }
        self.log.push(Change { node, object }, self.nodes.len());
    }
}

/// A quantity in the unit that the resource is counted in.
pub(crate) fn amount(resource: Resource, quantity: Quantity) -> i64 {
    if resource == Resource::CPU { quantity.millis() } else { quantity.value() }
}
