use std::sync::Arc;

use super::super::domain_counts::{DomainCounts, View};
use super::constraints::{Constraint, Spread};
use crate::cluster::{Cluster, Domain, NodeIndex};
use crate::framework::Verdict;
use crate::pod::{PodClass, untolerated};

/// Up to how many different scores are brought into bounds by a list.
const FEW: i64 = 1024;

/// A node that is not ranked because it lacks a label.
const IGNORED: i64 = -1;

/// How many matching pods there are in every domain, as the constraints of some pods count them.
#[derive(Debug)]
pub(super) struct SpreadView {
    position: u64,
    used: u64,
    class: Arc<PodClass>,
    spread: Arc<Spread>,
    hard: Vec<DomainCounts>,
    soft: Vec<DomainCounts>,
    /// Buffers that are used again, one value per domain.
    excluded: Vec<bool>,
    worth: Vec<f64>,
    sums: Vec<f64>,
}

impl SpreadView {
    pub(super) fn new(class: &Arc<PodClass>, spread: &Arc<Spread>) -> Self {
        let counts = |many: &[Constraint]| many.iter().map(|_| DomainCounts::default()).collect();
        Self {
            position: 0,
            used: 0,
            class: class.clone(),
            hard: counts(&spread.hard),
            soft: counts(&spread.soft),
            spread: spread.clone(),
            excluded: Vec::new(),
            worth: Vec::new(),
            sums: Vec::new(),
        }
    }

    /// Judges nodes by the constraints that must hold.
    pub(super) fn filter(
        &mut self,
        cluster: &Cluster,
        nodes: &[NodeIndex],
        verdicts: &mut [Verdict],
    ) {
        let Self { spread, hard, excluded, .. } = self;
        for (constraint, counts) in spread.hard.iter().zip(hard) {
            let most = most_allowed(constraint, counts);
            let domains = cluster.topology().domains(constraint.key);
            excluded.clear();
            excluded.extend((0..domains).map(|index| counts.at(index) > most));
            let domain_of = cluster.topology().domain_of(constraint.key);
            for (node, verdict) in nodes.iter().zip(&mut *verdicts) {
                if *verdict != Verdict::Fits {
                    continue;
                }
                let domain = domain_of.get(node.index()).copied().unwrap_or(Domain::NONE);
                match excluded.get(domain.index()) {
                    None => *verdict = Verdict::Unresolvable,
                    Some(true) => *verdict = Verdict::Unschedulable,
                    Some(false) => {}
                }
            }
        }
    }

    /// Whether a node lacks the label of the first constraint that excludes it.
    pub(super) fn lacks_label(&self, cluster: &Cluster, node: NodeIndex) -> bool {
        for (constraint, counts) in self.spread.hard.iter().zip(&self.hard) {
            let domain_of = cluster.topology().domain_of(constraint.key);
            let domain = domain_of.get(node.index()).copied().unwrap_or(Domain::NONE);
            if domain == Domain::NONE {
                return true;
            }
            if counts.get(domain) > most_allowed(constraint, counts) {
                return false;
            }
        }
        false
    }

    /// Scores nodes by how many matching pods their domains have, weighed by how many domains
    /// there are: the more, the worse.
    pub(super) fn score(&mut self, cluster: &Cluster, nodes: &[NodeIndex], scores: &mut [i64]) {
        let topology = cluster.topology();
        let Self { spread, soft, worth, sums, .. } = self;
        scores.fill(0);
        let mut ignored = 0;
        for constraint in spread.soft.iter().filter(|_| spread.all_labels) {
            let domain_of = topology.domain_of(constraint.key);
            for (node, score) in nodes.iter().zip(&mut *scores) {
                let domain = domain_of.get(node.index()).copied().unwrap_or(Domain::NONE);
                if domain == Domain::NONE && *score != IGNORED {
                    *score = IGNORED;
                    ignored += 1;
                }
            }
        }
        sums.clear();
        sums.resize(nodes.len(), 0.0);
        for (constraint, counts) in spread.soft.iter().zip(soft) {
            let skew = (constraint.max_skew - 1) as f64;
            let domain_of = topology.domain_of(constraint.key);
            if constraint.is_hostname {
                let weight = weight_of(nodes.len() - ignored);
                let pods = cluster.tallied(&constraint.tally);
                for (node, sum) in nodes.iter().zip(&mut *sums) {
                    let domain = domain_of.get(node.index()).copied().unwrap_or(Domain::NONE);
                    if domain != Domain::NONE {
                        let here = pods.get(node.index()).copied().unwrap_or(0);
                        *sum += f64::from(here) * weight + skew;
                    }
                }
                continue;
            }
            let weight = weight_of(domains_among(domain_of, nodes, scores, worth));
            worth.clear();
            let domains = topology.domains(constraint.key);
            worth.extend((0..domains).map(|index| counts.at(index) as f64 * weight + skew));
            for (node, sum) in nodes.iter().zip(&mut *sums) {
                let domain = domain_of.get(node.index()).copied().unwrap_or(Domain::NONE);
                *sum += worth.get(domain.index()).copied().unwrap_or(0.0);
            }
        }
        for (score, sum) in scores.iter_mut().zip(sums).filter(|(score, _)| **score != IGNORED) {
            *score = rounded(*sum);
        }
    }

    fn counts(&self, cluster: &Cluster, node: NodeIndex, constraint: &Constraint) -> bool {
        let state = cluster.node(node);
        let Some(object) = state.object() else { return false };
        (!constraint.honor_affinity || self.class.affinity().allows(object))
            && (!constraint.honor_taints
                || untolerated(self.class.tolerations(), state.taints()).is_none())
    }
}

/// The nearest whole number of one that is not negative. On the usual processors the library's
/// function is a call, which costs more than all the rest.
fn rounded(sum: f64) -> i64 {
    let whole = sum as i64;
    whole + i64::from(sum - whole as f64 >= 0.5)
}

/// How many matching pods a domain may have before the pod comes.
fn most_allowed(constraint: &Constraint, counts: &DomainCounts) -> i64 {
    let (mut fewest, mut domains) = (i64::MAX, 0);
    for pods in counts.present() {
        fewest = fewest.min(pods);
        domains += 1;
    }
    if domains < constraint.min_domains || domains == 0 {
        fewest = 0;
    }
    constraint.max_skew - constraint.own + fewest
}

/// How many domains the nodes lie in that are ranked; those without the label are one more.
fn domains_among(
    domain_of: &[Domain],
    nodes: &[NodeIndex],
    scores: &[i64],
    seen: &mut Vec<f64>,
) -> usize {
    seen.clear();
    let (mut count, mut without) = (0, false);
    for (node, _) in nodes.iter().zip(scores).filter(|(_, score)| **score != IGNORED) {
        let domain = domain_of.get(node.index()).copied().unwrap_or(Domain::NONE);
        if domain == Domain::NONE {
            without = true;
            continue;
        }
        if seen.len() <= domain.index() {
            seen.resize(domain.index() + 1, 0.0);
        }
        if seen[domain.index()] == 0.0 {
            seen[domain.index()] = 1.0;
            count += 1;
        }
    }
    count + usize::from(without)
}

/// Keeps constraints of few domains from being watered down by those of many.
fn weight_of(domains: usize) -> f64 {
    ((domains + 2) as f64).ln()
}

/// The fewer matching pods, the higher; nodes that are not ranked get nothing.
pub(super) fn normalize(scores: &mut [i64], most: i64) {
    let ranked = || scores.iter().copied().filter(|score| *score != IGNORED);
    let (lowest, highest) = (ranked().min().unwrap_or(0), ranked().max().unwrap_or(0).max(0));
    // There are few different scores as a rule, and a division takes longer than a look into a list.
    let value = |score: i64| match highest {
        0 => most,
        _ => most * (highest + lowest - score) / highest,
    };
    let known: Vec<i64> = match highest - lowest {
        span if span < FEW => (lowest..=highest).map(value).collect(),
        _ => Vec::new(),
    };
    for score in scores.iter_mut() {
        *score = match *score {
            IGNORED => 0,
            score => match known.get((score - lowest) as usize) {
                Some(known) => *known,
                None => value(score),
            },
        };
    }
}

impl View for SpreadView {
    fn position(&mut self) -> &mut u64 {
        &mut self.position
    }

    fn used(&mut self) -> &mut u64 {
        &mut self.used
    }

    fn cells(&self) -> usize {
        self.hard.iter().chain(&self.soft).map(DomainCounts::cells).sum()
    }

    fn clear(&mut self) {
        self.hard.iter_mut().chain(&mut self.soft).for_each(DomainCounts::clear);
    }

    fn look(&mut self, cluster: &Cluster, node: NodeIndex, object: bool) {
        let spread = self.spread.clone();
        let topology = cluster.topology();
        let labelled = |constraint: &Constraint| {
            let domain_of = topology.domain_of(constraint.key);
            domain_of.get(node.index()).is_some_and(|domain| *domain != Domain::NONE)
        };
        let lists = [(&spread.hard, true), (&spread.soft, spread.all_labels)];
        for (which, (list, all_labels)) in lists.into_iter().enumerate() {
            let complete = !object || !all_labels || list.iter().all(labelled);
            for (place, constraint) in list.iter().enumerate() {
                let counts = object && complete && self.counts(cluster, node, constraint);
                let mine = if which == 0 { &mut self.hard[place] } else { &mut self.soft[place] };
                match object {
                    true => mine.set(cluster, constraint.key, &constraint.tally, node, counts),
                    false => mine.set_pods(cluster, &constraint.tally, node),
                }
            }
        }
    }
}
