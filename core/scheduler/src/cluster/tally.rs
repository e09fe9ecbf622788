use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher as _, Hash, Hasher as _};
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use smallvec::SmallVec;

use super::{NodeIndex, TopologyKey};
use crate::pod::PodSelector;

/// How many label sets and how many tallies are kept at least before unused ones are dropped.
const KEPT: usize = 4096;

type Labels = BTreeMap<String, String>;

/// Pods of one namespace with the same labels are alike to every selector.
#[derive(Debug)]
pub struct LabelSet {
    id: u32,
    namespace: Arc<str>,
    labels: Labels,
}

impl LabelSet {
    /// A number that no other set of the same cluster ever has.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// The namespace of the pods.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Their labels.
    pub fn labels(&self) -> &Labels {
        &self.labels
    }
}

/// What is counted per node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Counted {
    /// Pods that all of the selectors select.
    Pods {
        /// The selectors.
        selectors: Vec<PodSelector>,
        /// Whether those that are being deleted are left out.
        skip_deleting: bool,
    },
    /// Pods that carry a term which says something about other pods.
    Term(Term),
}

/// A term of pods that are there, which matters to those that come.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Term {
    /// What it says.
    pub kind: TermKind,
    /// Which nodes belong together.
    pub topology: TopologyKey,
    /// The pods that it speaks of.
    pub pods: PodSelector,
}

/// What a term of a pod says about the pods that it selects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TermKind {
    /// They must be near.
    Affinity,
    /// They must not be near.
    AntiAffinity,
    /// They are liked near by this weight; disliked when it is negative.
    Preferred(i64),
}

/// Names a tally, and keeps it up to date as long as it is held.
#[derive(Debug)]
pub struct TallyKey {
    id: u32,
    what: Counted,
}

impl TallyKey {
    /// A number that no other tally of the same cluster ever has.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// What is counted.
    pub fn what(&self) -> &Counted {
        &self.what
    }
}

#[derive(Debug)]
struct Tally {
    key: Arc<TallyKey>,
    per_node: Vec<u32>,
    total: u64,
}

#[derive(Debug)]
struct Known {
    set: Arc<LabelSet>,
    /// The tallies that count such pods.
    counted_by: Vec<u32>,
    /// The terms of other pods that speak of such pods.
    spoken_of_by: Vec<Arc<TallyKey>>,
    /// How many such pods are on nodes.
    pods: u32,
}

/// What a pod on a node has to do with tallies.
#[derive(Clone, Debug)]
pub(super) struct Tallied {
    pub(super) labels: Arc<LabelSet>,
    pub(super) terms: PodTallies,
    pub(super) deleting: bool,
}

/// The terms that a pod carries.
pub type PodTallies = SmallVec<[Arc<TallyKey>; 0]>;

/// Counts of pods per node, each kept up to date pod by pod. Selectors are matched once for each
/// set of labels, not for each pod.
#[derive(Debug, Default)]
pub(super) struct Tallies {
    hasher: ahash::RandomState,
    sets: HashMap<u32, Known, ahash::RandomState>,
    sets_by_hash: HashMap<u64, SmallVec<[u32; 1]>, ahash::RandomState>,
    tallies: HashMap<u32, Tally, ahash::RandomState>,
    by_what: HashMap<Counted, u32, ahash::RandomState>,
    namespaces: HashMap<String, Labels, ahash::RandomState>,
    made: u32,
    most_sets: usize,
    most_tallies: usize,
}

impl Tallies {
    /// The label set of a pod.
    pub(super) fn labels(&mut self, namespace: &str, labels: Option<&Labels>) -> Arc<LabelSet> {
        let none = Labels::new();
        let labels = labels.unwrap_or(&none);
        let mut hasher = self.hasher.build_hasher();
        namespace.hash(&mut hasher);
        labels.hash(&mut hasher);
        let hash = hasher.finish();
        let same = |id: &&u32| {
            let known = self.sets.get(id);
            known.is_some_and(|one| *one.set.namespace == *namespace && one.set.labels == *labels)
        };
        if let Some(id) = self.sets_by_hash.get(&hash).and_then(|ids| ids.iter().find(same)) {
            return self.sets[id].set.clone();
        }
        if self.sets.len() >= self.most_sets.max(KEPT) {
            self.drop_unused_sets();
        }
        self.made += 1;
        let set = Arc::new(LabelSet {
            id: self.made,
            namespace: namespace.into(),
            labels: labels.clone(),
        });
        let mut known =
            Known { set: set.clone(), counted_by: Vec::new(), spoken_of_by: Vec::new(), pods: 0 };
        for (id, tally) in &self.tallies {
            known.note(*id, &tally.key, concerns(&tally.key.what, &set, &self.namespaces));
        }
        known.sort();
        self.sets.insert(set.id, known);
        self.sets_by_hash.entry(hash).or_default().push(set.id);
        set
    }

    /// Whether a selector means a pod.
    pub(super) fn selects(&self, pods: &PodSelector, pod: &Pod) -> bool {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let none = Labels::new();
        let labels = pod.metadata.labels.as_ref().unwrap_or(&none);
        pods.selects(namespace, self.namespaces.get(namespace), labels)
    }

    /// The terms of other pods that speak of pods of a label set, in the order they came up.
    pub(super) fn spoken_of_by(&self, labels: &LabelSet) -> &[Arc<TallyKey>] {
        self.sets.get(&labels.id).map_or(&[], |known| &known.spoken_of_by)
    }

    /// The tally of a term or of pods that are selected; `pods` are all pods on nodes, for a tally
    /// that is new.
    pub(super) fn tally<'a>(
        &mut self,
        what: Counted,
        pods: impl Iterator<Item = (&'a Tallied, NodeIndex)>,
    ) -> Arc<TallyKey> {
        if let Some(known) = self.by_what.get(&what) {
            return self.tallies[known].key.clone();
        }
        if self.tallies.len() >= self.most_tallies.max(KEPT) {
            self.drop_unused_tallies();
        }
        self.made += 1;
        let key = Arc::new(TallyKey { id: self.made, what: what.clone() });
        let mut there = 0;
        for known in self.sets.values_mut() {
            if concerns(&what, &known.set, &self.namespaces) {
                known.note(key.id, &key, true);
                there += known.pods;
            }
        }
        let mut tally = Tally { key: key.clone(), per_node: Vec::new(), total: 0 };
        if there > 0 && matches!(what, Counted::Pods { .. }) {
            for (pod, node) in pods {
                let counted = self.sets.get(&pod.labels.id);
                if counted.is_some_and(|known| known.counted_by.contains(&key.id)) {
                    tally.count(node, pod, true);
                }
            }
        }
        self.tallies.insert(key.id, tally);
        self.by_what.insert(what, key.id);
        key
    }

    /// How many there are on each node, by its number; nodes beyond the end have none.
    pub(super) fn per_node(&self, tally: &TallyKey) -> &[u32] {
        self.tallies.get(&tally.id).map_or(&[], |tally| &tally.per_node)
    }

    /// How many there are on all nodes.
    pub(super) fn total(&self, tally: &TallyKey) -> u64 {
        self.tallies.get(&tally.id).map_or(0, |tally| tally.total)
    }

    /// A pod came to a node, or went.
    pub(super) fn count(&mut self, pod: &Tallied, node: NodeIndex, comes: bool) {
        let known = self.sets.get_mut(&pod.labels.id);
        let counted = known.map_or(&[][..], |known| {
            known.pods = if comes { known.pods + 1 } else { known.pods.saturating_sub(1) };
            &known.counted_by
        });
        for id in counted.iter().copied().chain(pod.terms.iter().map(|term| term.id)) {
            if let Some(tally) = self.tallies.get_mut(&id) {
                tally.count(node, pod, comes);
            }
        }
    }

    /// The labels of a namespace; `None` when it went. Gives whether selectors of namespaces now
    /// select otherwise; then `pods` have to be counted anew.
    pub(super) fn set_namespace<'a>(
        &mut self,
        name: &str,
        labels: Option<&Labels>,
        pods: impl Iterator<Item = (&'a Tallied, NodeIndex)> + Clone,
    ) -> bool {
        let known = self.namespaces.get(name);
        if known == labels {
            return false;
        }
        match labels {
            Some(labels) => self.namespaces.insert(name.to_owned(), labels.clone()),
            None => self.namespaces.remove(name),
        };
        let sensitive = |tally: &&mut Tally| tally.key.what.reads_namespaces();
        let mut changed = false;
        for tally in self.tallies.values_mut().filter(sensitive) {
            changed = true;
            let key = tally.key.clone();
            for known in self.sets.values_mut().filter(|known| *known.set.namespace == *name) {
                known.counted_by.retain(|id| *id != key.id);
                known.spoken_of_by.retain(|term| term.id != key.id);
                known.note(key.id, &key, concerns(&key.what, &known.set, &self.namespaces));
                known.sort();
            }
            if matches!(key.what, Counted::Pods { .. }) {
                (tally.per_node, tally.total) = (Vec::new(), 0);
                for (pod, node) in pods.clone() {
                    let counted = self.sets.get(&pod.labels.id);
                    if counted.is_some_and(|known| known.counted_by.contains(&key.id)) {
                        tally.count(node, pod, true);
                    }
                }
            }
        }
        changed
    }

    fn drop_unused_sets(&mut self) {
        self.sets.retain(|_, known| Arc::strong_count(&known.set) > 1);
        let sets = &self.sets;
        self.sets_by_hash.retain(|_, ids| {
            ids.retain(|id| sets.contains_key(id));
            !ids.is_empty()
        });
        self.most_sets = 2 * self.sets.len();
    }

    fn drop_unused_tallies(&mut self) {
        // What speaks of pods holds on to the key too, but is no user of it.
        let mut own: HashMap<u32, usize, ahash::RandomState> = HashMap::default();
        for term in self.sets.values().flat_map(|known| &known.spoken_of_by) {
            *own.entry(term.id).or_default() += 1;
        }
        let by_what = &mut self.by_what;
        self.tallies.retain(|id, tally| {
            let users = Arc::strong_count(&tally.key) - 1 - own.get(id).copied().unwrap_or(0);
            if users == 0 {
                by_what.remove(&tally.key.what);
            }
            users > 0
        });
        let tallies = &self.tallies;
        for known in self.sets.values_mut() {
            known.counted_by.retain(|id| tallies.contains_key(id));
            known.spoken_of_by.retain(|term| tallies.contains_key(&term.id));
        }
        self.most_tallies = 2 * self.tallies.len();
    }
}

impl Known {
    fn note(&mut self, id: u32, key: &Arc<TallyKey>, concerned: bool) {
        match key.what {
            _ if !concerned => {}
            Counted::Pods { .. } => self.counted_by.push(id),
            Counted::Term(_) => self.spoken_of_by.push(key.clone()),
        }
    }

    fn sort(&mut self) {
        self.counted_by.sort_unstable();
        self.spoken_of_by.sort_unstable_by_key(|term| term.id);
    }
}

impl Tally {
    fn count(&mut self, node: NodeIndex, pod: &Tallied, comes: bool) {
        if pod.deleting && matches!(self.key.what, Counted::Pods { skip_deleting: true, .. }) {
            return;
        }
        if self.per_node.len() <= node.index() {
            self.per_node.resize(node.index() + 1, 0);
        }
        let cell = &mut self.per_node[node.index()];
        if comes {
            *cell += 1;
            self.total += 1;
        } else {
            *cell = cell.saturating_sub(1);
            self.total = self.total.saturating_sub(1);
        }
    }
}

impl Counted {
    fn selectors(&self) -> &[PodSelector] {
        match self {
            Self::Pods { selectors, .. } => selectors,
            Self::Term(term) => std::slice::from_ref(&term.pods),
        }
    }

    fn reads_namespaces(&self) -> bool {
        self.selectors().iter().any(PodSelector::reads_namespaces)
    }
}

fn concerns(
    what: &Counted,
    set: &LabelSet,
    namespaces: &HashMap<String, Labels, ahash::RandomState>,
) -> bool {
    let labels = namespaces.get(&*set.namespace);
    what.selectors().iter().all(|pods| pods.selects(&set.namespace, labels, &set.labels))
}
