use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Pod, TopologySpreadConstraint};
use pinnace_api::selector::Selector;

use crate::cluster::{Cluster, Counted, TallyKey, Topology, TopologyKey};
use crate::pod::{PodSelector, merged};

/// How many different lists of constraints are remembered without a pod of theirs.
const REMEMBERED: usize = 4096;
pub(super) const HOSTNAME: &str = "kubernetes.io/hostname";

/// A constraint, ready to be compared with numbers.
#[derive(Clone, Debug)]
pub(super) struct Constraint {
    pub(super) tally: Arc<TallyKey>,
    pub(super) key: TopologyKey,
    pub(super) is_hostname: bool,
    pub(super) max_skew: i64,
    pub(super) min_domains: usize,
    pub(super) honor_affinity: bool,
    pub(super) honor_taints: bool,
    /// 1 when the pod counts itself.
    pub(super) own: i64,
}

/// The constraints of pods that are spread alike.
#[derive(Debug)]
pub(super) struct Spread {
    /// A number that no other list of the plugin has.
    pub(super) id: u64,
    /// What must hold.
    pub(super) hard: Vec<Constraint>,
    /// What ranks nodes.
    pub(super) soft: Vec<Constraint>,
    /// The label keys of what must hold.
    pub(super) keys: Vec<String>,
    /// Whether nodes that lack one of the soft constraints' labels are left out of all of them.
    pub(super) all_labels: bool,
}

type Signature = (bool, bool, u32, TopologyKey, i64, usize, bool, bool, i64);

/// Every list of constraints once.
#[derive(Debug, Default)]
pub(super) struct Spreads {
    known: HashMap<Vec<Signature>, Arc<Spread>, ahash::RandomState>,
    made: u64,
}

impl Spreads {
    /// Reads the constraints of a pod; `None` when it has none. `defaults` are for pods without
    /// constraints of their own that belong to a Service or an owner; `lenient` says that they do not
    /// leave out nodes that lack labels.
    pub(super) fn read(
        &mut self,
        pod: &Pod,
        cluster: &mut Cluster,
        defaults: &[TopologySpreadConstraint],
        lenient: bool,
    ) -> Option<Arc<Spread>> {
        let spec = pod.spec.as_ref()?;
        let own = spec.topology_spread_constraints.as_deref().unwrap_or_default();
        let (mut hard, mut soft) = (Vec::new(), Vec::new());
        let mut add = |cluster: &mut Cluster, one: &TopologySpreadConstraint, selector| {
            let list = match &one.when_unsatisfiable[..] {
                "DoNotSchedule" => &mut hard,
                _ => &mut soft,
            };
            list.push(Constraint::read(pod, cluster, one, selector));
        };
        for one in own {
            let keys = one.match_label_keys.as_deref().unwrap_or_default();
            let labels = pod.metadata.labels.as_ref();
            // One that cannot be read is left out: the API lets none of them in.
            if let Some(selector) = merged(one.label_selector.as_ref(), labels, keys, &[]) {
                add(cluster, one, selector);
            }
        }
        if own.is_empty() && !defaults.is_empty() {
            let selector = cluster.related(pod)?;
            defaults.iter().for_each(|one| add(cluster, one, selector.clone()));
        }
        if hard.is_empty() && soft.is_empty() {
            return None;
        }
        let all_labels = !own.is_empty() || !lenient;
        Some(self.intern(hard, soft, all_labels, cluster.topology()))
    }

    fn intern(
        &mut self,
        hard: Vec<Constraint>,
        soft: Vec<Constraint>,
        all_labels: bool,
        topology: &Topology,
    ) -> Arc<Spread> {
        let lists = [(true, &hard), (false, &soft)].into_iter();
        let signature: Vec<Signature> = lists
            .flat_map(|(is_hard, list)| {
                list.iter().map(move |one| one.signature(is_hard, all_labels))
            })
            .collect();
        if let Some(known) = self.known.get(&signature) {
            return known.clone();
        }
        if self.known.len() >= REMEMBERED {
            self.known.retain(|_, one| Arc::strong_count(one) > 1);
        }
        self.made += 1;
        let keys = hard.iter().map(|one| topology.name(one.key).to_owned()).collect();
        let spread = Arc::new(Spread { id: self.made, hard, soft, keys, all_labels });
        if self.known.len() < REMEMBERED {
            self.known.insert(signature, spread.clone());
        }
        spread
    }
}

impl Constraint {
    fn read(
        pod: &Pod,
        cluster: &mut Cluster,
        constraint: &TopologySpreadConstraint,
        selector: Selector,
    ) -> Self {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let own = selector.matches(pod.metadata.labels.as_ref());
        let honors = |policy: &Option<String>, default: bool| {
            policy.as_deref().map_or(default, |policy| policy == "Honor")
        };
        Self {
            tally: cluster.tally(Counted::Pods {
                selectors: vec![PodSelector::within(namespace, selector)],
                skip_deleting: true,
            }),
            key: cluster.topology_key(&constraint.topology_key),
            is_hostname: constraint.topology_key == HOSTNAME,
            max_skew: constraint.max_skew.into(),
            min_domains: constraint.min_domains.map_or(1, |many| many.max(0) as usize),
            honor_affinity: honors(&constraint.node_affinity_policy, true),
            honor_taints: honors(&constraint.node_taints_policy, false),
            own: own.into(),
        }
    }

    /// Whether a pod counts.
    pub(super) fn selects(&self, pod: &Pod) -> bool {
        let Counted::Pods { selectors, .. } = self.tally.what() else { return false };
        selectors.iter().all(|one| one.may_select(pod))
    }

    fn signature(&self, is_hard: bool, all_labels: bool) -> Signature {
        let (tally, skew) = (self.tally.id(), self.max_skew);
        let policies = (self.honor_affinity, self.honor_taints);
        let domains = self.min_domains;
        (is_hard, all_labels, tally, self.key, skew, domains, policies.0, policies.1, self.own)
    }
}
