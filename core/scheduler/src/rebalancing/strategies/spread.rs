use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Pod, TopologySpreadConstraint};
use pinnace_api::Typed;
use pinnace_api::selector::Selector;

use super::super::SpreadSettings;
use super::super::evictor::selects;
use super::super::round::{Asks, Round};
use crate::cluster::{Cluster, Domain, NodeIndex};
use crate::pod::{Affinity, merged, tolerates_unschedulable, untolerated};

/// A constraint with one of the pods that have it.
struct Spread {
    constraint: TopologySpreadConstraint,
    selector: Selector,
    pod: Typed<Pod>,
}

/// Pods of the fullest domains, until constraints of spread hold again.
pub(super) async fn run(round: &mut Round<'_>, asks: Asks<'_>, settings: &SpreadSettings) {
    for spread in constraints(round, settings) {
        balance(round, asks, settings, &spread).await;
    }
}

/// Every constraint of a namespace once.
fn constraints(round: &Round<'_>, settings: &SpreadSettings) -> Vec<Spread> {
    let mut found: BTreeMap<String, Spread> = BTreeMap::new();
    for pod in round.nodes().into_iter().flat_map(|node| round.pods_on(node)) {
        if !settings.namespaces.allow(pod.object().namespace()) {
            continue;
        }
        let own =
            pod.spec.iter().flat_map(|spec| spec.topology_spread_constraints.iter().flatten());
        for one in own.filter(|one| settings.constraints.contains(&one.when_unsatisfiable)) {
            let keys = one.match_label_keys.as_deref().unwrap_or_default();
            let labels = pod.metadata.labels.as_ref();
            let Some(selector) = merged(one.label_selector.as_ref(), labels, keys, &[]) else {
                continue;
            };
            let signature = format!("{} {one:?} {selector:?}", pod.object().namespace());
            found.entry(signature).or_insert_with(|| Spread {
                constraint: one.clone(),
                selector,
                pod: pod.clone(),
            });
        }
    }
    found.into_values().collect()
}

async fn balance(
    round: &mut Round<'_>,
    asks: Asks<'_>,
    settings: &SpreadSettings,
    spread: &Spread,
) {
    let key = round.cluster.topology_key(&spread.constraint.topology_key);
    let nodes: Vec<NodeIndex> =
        round.nodes().into_iter().filter(|node| spread.counts(round, *node)).collect();
    let domain = |cluster: &Cluster, node: NodeIndex| {
        let domains = cluster.topology().domain_of(key);
        domains.get(node.index()).copied().unwrap_or(Domain::NONE)
    };
    let mut pods: BTreeMap<Domain, Vec<Typed<Pod>>> = BTreeMap::new();
    for node in nodes {
        let domain = domain(&round.cluster, node);
        if domain != Domain::NONE {
            let here = round.pods_on(node).into_iter().filter(|pod| spread.selects(pod));
            pods.entry(domain).or_default().extend(here);
        }
    }
    let skew = i64::from(spread.constraint.max_skew);
    let few = spread.constraint.min_domains.is_some_and(|least| (pods.len() as i64) < least.into());
    let mut counts: BTreeMap<Domain, i64> =
        pods.iter().map(|(domain, pods)| (*domain, pods.len() as i64)).collect();
    loop {
        let least = if few { 0 } else { counts.values().copied().min().unwrap_or(0) };
        let mut full: Vec<(i64, Domain)> =
            counts.iter().map(|(domain, count)| (*count, *domain)).collect();
        full.sort_unstable_by_key(|one| std::cmp::Reverse(*one));
        let mut moved = false;
        for (count, from) in full.into_iter().filter(|(count, _)| count - least > skew) {
            let left = pods.get_mut(&from).map(std::mem::take).unwrap_or_default();
            let mut left = left.into_iter();
            for pod in left.by_ref() {
                if !selects(settings.label_selector.as_ref(), &pod) {
                    continue;
                }
                let counted = counts.clone();
                let emptier = move |cluster: &Cluster, node: NodeIndex| {
                    let there = counted.get(&domain(cluster, node));
                    there.is_some_and(|there| there + 1 < count)
                };
                if let Some(gone) = round.go(asks, &pod, emptier).await {
                    *counts.entry(from).or_default() -= 1;
                    if let Some(to) = gone.to {
                        *counts.entry(domain(&round.cluster, to)).or_default() += 1;
                    }
                    moved = true;
                    break;
                }
            }
            // Those that could not go will not go later either.
            pods.insert(from, left.collect());
            if moved {
                break;
            }
        }
        if !moved {
            return;
        }
    }
}

impl Spread {
    fn selects(&self, pod: &Typed<Pod>) -> bool {
        pod.object().namespace() == self.pod.object().namespace()
            && !pod.object().is_deleting()
            && self.selector.matches(pod.object().labels())
    }

    /// Whether pods of a node count, by the policies of inclusion.
    fn counts(&self, round: &Round<'_>, node: NodeIndex) -> bool {
        let state = round.cluster.node(node);
        let (Some(object), Some(spec)) = (state.object(), &self.pod.spec) else { return false };
        let honors = |policy: &Option<String>, default: bool| {
            policy.as_deref().map_or(default, |policy| policy == "Honor")
        };
        let tolerations = spec.tolerations.as_deref().unwrap_or_default();
        let tolerated = || {
            untolerated(tolerations, state.taints()).is_none()
                && (!state.is_unschedulable() || tolerates_unschedulable(tolerations))
        };
        (!honors(&self.constraint.node_affinity_policy, true) || Affinity::of(spec).allows(object))
            && (!honors(&self.constraint.node_taints_policy, false) || tolerated())
    }
}
