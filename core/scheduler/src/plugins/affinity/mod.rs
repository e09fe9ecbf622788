//! Keeps pods near to and far from other pods.

mod view;

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod};
use parking_lot::Mutex;

use super::domain_counts::Views;
use crate::cluster::{Cluster, Counted, NodeIndex, TallyKey, TermKind, TopologyKey};
use crate::framework::{
    Answer, ClusterEvent, Concern, Cycle, Events, Filter, Hint, MAX_SCORE, Normalization, Plugin,
    Prepared, Reasons, Score, Verdict,
};
use crate::pod::{PodInfo, PodTerms};
use view::{AffinityView, Excluded, ViewKey};

/// Largest weight that the required affinity of pods which are there has for others.
pub const MAX_HARD_POD_AFFINITY_WEIGHT: i64 = 100;

/// Keeps to `podAffinity` and `podAntiAffinity`, those of the pod and those of the pods that are
/// there: required terms exclude nodes, preferred ones rank them.
///
/// Counts are kept per term and group of nodes and follow every pod that comes or goes; a decision
/// costs as many steps as there are terms and nodes, however many pods there are.
#[derive(Debug)]
pub struct InterPodAffinity {
    hard_weight: i64,
    ignore_preferred_of_others: bool,
    made: Mutex<Known>,
    views: Mutex<Views<ViewKey, AffinityView>>,
}

/// The terms of pods, each list once.
#[derive(Debug, Default)]
struct Known {
    lists: std::collections::HashMap<
        Vec<(i64, u32, TopologyKey)>,
        Arc<PodAffinity>,
        ahash::RandomState,
    >,
    made: u64,
}

/// How many different lists of terms are remembered without a pod of theirs.
const REMEMBERED: usize = 4096;

/// What a pod says about others, ready to be counted.
#[derive(Debug)]
struct PodAffinity {
    /// A number that no other list of the plugin has; never 0.
    id: u64,
    /// Pods that match all terms, and the groups in each of which some must be.
    near: Option<(Arc<TallyKey>, Vec<TopologyKey>)>,
    satisfies_itself: bool,
    far: Vec<(Arc<TallyKey>, TopologyKey)>,
    liked: Vec<(i64, Arc<TallyKey>, TopologyKey)>,
}

impl Default for InterPodAffinity {
    fn default() -> Self {
        Self::new(1, false)
    }
}

impl InterPodAffinity {
    /// The plugin's name.
    pub const NAME: &'static str = "InterPodAffinity";

    /// `hard_pod_affinity_weight` is what a pod's required affinity is worth to others that it
    /// speaks of, 0 to [`MAX_HARD_POD_AFFINITY_WEIGHT`]. `ignore_preferred_terms_of_existing_pods`
    /// leaves the terms of other pods out for pods that have no preferred terms of their own.
    pub fn new(
        hard_pod_affinity_weight: i64,
        ignore_preferred_terms_of_existing_pods: bool,
    ) -> Self {
        Self {
            hard_weight: hard_pod_affinity_weight,
            ignore_preferred_of_others: ignore_preferred_terms_of_existing_pods,
            made: Mutex::default(),
            views: Mutex::default(),
        }
    }

    /// The terms of others that matter to a pod.
    fn others<'a>(&self, cycle: &Cycle<'a>) -> impl Iterator<Item = &'a Arc<TallyKey>> + use<'a> {
        let own = cycle.pod.prepared::<PodAffinity>();
        let deaf = self.ignore_preferred_of_others && own.is_none_or(|own| own.liked.is_empty());
        let hard_weight = self.hard_weight;
        let cluster = cycle.cluster;
        cluster.terms_about(cycle.pod.labels()).iter().filter(move |tally| {
            let matters = match tally.what() {
                Counted::Term(term) => match term.kind {
                    TermKind::AntiAffinity => true,
                    TermKind::Affinity => hard_weight > 0 && !deaf,
                    TermKind::Preferred(_) => !deaf,
                },
                Counted::Pods { .. } => false,
            };
            matters && cluster.tallied_in_all(tally) > 0
        })
    }

    fn view<T>(&self, cycle: &Cycle<'_>, look: impl FnOnce(&AffinityView) -> T) -> T {
        let own = cycle.pod.prepared::<PodAffinity>();
        let others = self.others(cycle).map(|tally| tally.id()).collect();
        let key: ViewKey = (own.map_or(0, |own| own.id), others);
        let mut views = self.views.lock();
        let view = views.get(&key, cycle.cluster, || {
            let others: Vec<_> = self.others(cycle).cloned().collect();
            AffinityView::new(own, &others, self.hard_weight)
        });
        look(view)
    }
}

impl Known {
    fn read(&mut self, pod: &Pod, cluster: &mut Cluster) -> Option<Arc<PodAffinity>> {
        let terms = PodTerms::of(pod)?;
        let mut count =
            |selectors| cluster.tally(Counted::Pods { selectors, skip_deleting: false });
        let near = (!terms.affinity.is_empty())
            .then(|| count(terms.affinity.iter().map(|term| term.pods.clone()).collect()));
        let far: Vec<_> =
            terms.anti_affinity.iter().map(|term| count(vec![term.pods.clone()])).collect();
        let liked: Vec<_> =
            terms.preferred.iter().map(|(_, term)| count(vec![term.pods.clone()])).collect();
        let mut key = |name: &String| cluster.topology_key(name);
        let near = near.map(|tally| {
            (tally, terms.affinity.iter().map(|term| key(&term.topology_key)).collect::<Vec<_>>())
        });
        let far: Vec<_> = far
            .into_iter()
            .zip(&terms.anti_affinity)
            .map(|(tally, term)| (tally, key(&term.topology_key)))
            .collect();
        let liked: Vec<_> = liked
            .into_iter()
            .zip(&terms.preferred)
            .map(|(tally, (weight, term))| (*weight, tally, key(&term.topology_key)))
            .collect();
        let satisfies_itself = cluster.satisfies(pod, &terms.affinity);
        let mut signature = vec![(i64::from(satisfies_itself), 0, TopologyKey::default())];
        // Weights are at most 100, so that these cannot be mistaken for one.
        if let Some((tally, keys)) = &near {
            signature.extend(keys.iter().map(|key| (i64::MAX, tally.id(), *key)));
        }
        signature.extend(far.iter().map(|(tally, key)| (i64::MIN, tally.id(), *key)));
        signature.extend(liked.iter().map(|(weight, tally, key)| (*weight, tally.id(), *key)));
        if let Some(known) = self.lists.get(&signature) {
            return Some(known.clone());
        }
        if self.lists.len() >= REMEMBERED {
            self.lists.retain(|_, list| Arc::strong_count(list) > 1);
        }
        self.made += 1;
        let list = Arc::new(PodAffinity { id: self.made, near, satisfies_itself, far, liked });
        if self.lists.len() < REMEMBERED {
            self.lists.insert(signature, list.clone());
        }
        Some(list)
    }
}

impl Plugin for InterPodAffinity {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn prepare(&self, pod: &Pod, cluster: &mut Cluster) -> Option<Prepared> {
        let list = self.made.lock().read(pod, cluster)?;
        Some(list)
    }

    fn concern(&self, cycle: &Cycle<'_>) -> Concern {
        let own = cycle.pod.prepared::<PodAffinity>();
        let mut concern = own.map_or(Concern::NONE, |own| Concern {
            filters: own.near.is_some() || !own.far.is_empty(),
            scores: !own.liked.is_empty(),
        });
        for tally in self.others(cycle) {
            let Counted::Term(term) = tally.what() else { continue };
            match term.kind {
                TermKind::AntiAffinity => concern.filters = true,
                _ => concern.scores = true,
            }
        }
        concern
    }

    fn events(&self) -> Events {
        Events::POD_ADD
            | Events::POD_DELETE
            | Events::POD_LABEL
            | Events::NODE_ADD
            | Events::NODE_LABEL
            | Events::OWN_LABEL
    }

    fn hint(&self, pod: &PodInfo, event: &ClusterEvent<'_>) -> Hint {
        let Some(terms) = PodTerms::of(pod.pod()) else {
            // It was others that did not want it near.
            let goes = Events::POD_DELETE | Events::NODE_ADD | Events::NODE_LABEL;
            let helps = event.what.overlaps(goes | Events::OWN_LABEL);
            return if helps { Hint::Queue } else { Hint::Skip };
        };
        let helps = if event.what.overlaps(Events::OWN_LABEL | Events::POD_DELETE) {
            true
        } else if event.what.overlaps(Events::POD_ADD | Events::POD_LABEL) {
            // The labels of its namespace are not at hand here: a term that asks for them may
            // select it.
            let (_, new) = event.read::<Pod>();
            event.what.overlaps(Events::POD_LABEL)
                || new.is_some_and(|new| terms.affinity.iter().any(|term| term.may_select(new)))
        } else {
            let (_, new) = event.read::<Node>();
            let labels = new.and_then(|node| node.metadata.labels.as_ref());
            let has = |key: &String| labels.is_some_and(|labels| labels.contains_key(key));
            terms.affinity.iter().all(|term| has(&term.topology_key))
        };
        if helps { Hint::Queue } else { Hint::Skip }
    }

    fn as_filter(&self) -> Option<&dyn Filter> {
        Some(self)
    }

    fn as_score(&self) -> Option<&dyn Score> {
        Some(self)
    }
}

impl Filter for InterPodAffinity {
    fn filter(&self, cycle: &Cycle<'_>, nodes: &[NodeIndex], verdicts: &mut [Verdict]) -> Answer {
        self.view(cycle, |view| view.filter(cycle.cluster, nodes, verdicts));
        Ok(())
    }

    fn reasons(&self, cycle: &Cycle<'_>, node: NodeIndex) -> Reasons {
        let reason = match self.view(cycle, |view| view.excluded(cycle.cluster, node)) {
            Some(Excluded::Affinity) => "node(s) didn't match pod affinity rules",
            Some(Excluded::AntiAffinity) => "node(s) didn't match pod anti-affinity rules",
            Some(Excluded::ExistingAntiAffinity) | None => {
                "node(s) didn't satisfy existing pods anti-affinity rules"
            }
        };
        vec![reason.into()]
    }
}

impl Score for InterPodAffinity {
    fn score(&self, cycle: &Cycle<'_>, nodes: &[NodeIndex], scores: &mut [i64]) -> Answer {
        self.view(cycle, |view| view.score(cycle.cluster, nodes, scores));
        Ok(())
    }

    fn normalization(&self) -> Normalization {
        Normalization::Own
    }

    fn normalize(&self, _: &Cycle<'_>, scores: &mut [i64]) -> Answer {
        let lowest = scores.iter().copied().min().unwrap_or(0);
        let highest = scores.iter().copied().max().unwrap_or(0);
        if highest == lowest {
            scores.fill(0);
            return Ok(());
        }
        let span = (highest - lowest) as f64;
        let value = |score: i64| (MAX_SCORE as f64 * ((score - lowest) as f64 / span)) as i64;
        // Pods far away, as most are, change nothing: their nodes are worth the same.
        let (mut last, mut worth) = (lowest, value(lowest));
        for score in scores {
            if *score != last {
                (last, worth) = (*score, value(*score));
            }
            *score = worth;
        }
        Ok(())
    }
}
