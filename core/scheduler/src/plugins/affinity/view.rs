use std::sync::Arc;

use smallvec::SmallVec;

use super::super::domain_counts::{DomainCounts, View};
use super::PodAffinity;
use crate::cluster::{Cluster, Counted, Domain, NodeIndex, TallyKey, TermKind, TopologyKey};
use crate::framework::Verdict;

/// What a count means for the pod that is to be placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// There must be some.
    Near,
    /// There must be none.
    Far,
    /// There must be none, because those that are there say so.
    FarFromThem,
    /// Each counts so much.
    Liked(i64),
}

#[derive(Debug)]
struct Part {
    role: Role,
    tally: Arc<TallyKey>,
    key: TopologyKey,
    counts: DomainCounts,
}

/// Why a node is excluded, in the order in which it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Excluded {
    Affinity,
    AntiAffinity,
    ExistingAntiAffinity,
}

/// The counts of all terms that a pod has, and of those of others that speak of it.
#[derive(Debug)]
pub(super) struct AffinityView {
    position: u64,
    used: u64,
    parts: Vec<Part>,
    /// Whether the pod satisfies its own terms, so that it may be the first of its sort.
    first_may_come: bool,
}

/// What tells a view apart: the pod's own terms, and those of others by number.
pub(super) type ViewKey = (u64, SmallVec<[u32; 8]>);

impl AffinityView {
    pub(super) fn new(
        own: Option<&PodAffinity>,
        others: &[Arc<TallyKey>],
        hard_weight: i64,
    ) -> Self {
        let part = |role, tally: &Arc<TallyKey>, key| Part {
            role,
            tally: tally.clone(),
            key,
            counts: DomainCounts::default(),
        };
        let mut parts = Vec::new();
        if let Some(own) = own {
            let near = own
                .near
                .iter()
                .flat_map(|(tally, keys)| keys.iter().map(|key| part(Role::Near, tally, *key)));
            parts.extend(near);
            parts.extend(own.far.iter().map(|(tally, key)| part(Role::Far, tally, *key)));
            let liked = own.liked.iter();
            parts.extend(liked.map(|(weight, tally, key)| part(Role::Liked(*weight), tally, *key)));
        }
        for tally in others {
            let Counted::Term(term) = tally.what() else { continue };
            let role = match term.kind {
                TermKind::AntiAffinity => Role::FarFromThem,
                TermKind::Affinity => Role::Liked(hard_weight),
                TermKind::Preferred(weight) => Role::Liked(weight),
            };
            parts.push(part(role, tally, term.topology));
        }
        Self {
            position: 0,
            used: 0,
            parts,
            first_may_come: own.is_some_and(|own| own.satisfies_itself),
        }
    }

    /// Why a node is excluded; `None` when it is not.
    pub(super) fn excluded(&self, cluster: &Cluster, node: NodeIndex) -> Option<Excluded> {
        let first = self.first_may_come && self.nobody_near();
        let domain = |part: &Part| {
            let domain_of = cluster.topology().domain_of(part.key);
            domain_of.get(node.index()).copied().unwrap_or(Domain::NONE)
        };
        let with = |role: Role| self.parts.iter().filter(move |part| part.role == role);
        let missing = with(Role::Near).any(|part| domain(part) == Domain::NONE);
        if missing || !first && with(Role::Near).any(|part| part.counts.get(domain(part)) == 0) {
            return Some(Excluded::Affinity);
        }
        let some = |role| with(role).any(|part| part.counts.get(domain(part)) > 0);
        if some(Role::Far) {
            return Some(Excluded::AntiAffinity);
        }
        some(Role::FarFromThem).then_some(Excluded::ExistingAntiAffinity)
    }

    fn nobody_near(&self) -> bool {
        let mut near = self.parts.iter().filter(|part| part.role == Role::Near);
        near.all(|part| part.counts.present().all(|pods| pods == 0))
    }

    /// Judges nodes: by the pod's own affinity first, since no eviction helps against that.
    pub(super) fn filter(&self, cluster: &Cluster, nodes: &[NodeIndex], verdicts: &mut [Verdict]) {
        let first = self.first_may_come && self.nobody_near();
        let order = |part: &&Part| match part.role {
            Role::Near => 0,
            Role::Far => 1,
            _ => 2,
        };
        let mut parts: Vec<&Part> =
            self.parts.iter().filter(|part| !matches!(part.role, Role::Liked(_))).collect();
        parts.sort_by_key(order);
        for part in parts {
            let domain_of = cluster.topology().domain_of(part.key);
            for (node, verdict) in nodes.iter().zip(&mut *verdicts) {
                if *verdict != Verdict::Fits {
                    continue;
                }
                let domain = domain_of.get(node.index()).copied().unwrap_or(Domain::NONE);
                match part.role {
                    Role::Near => {
                        let wrong =
                            domain == Domain::NONE || (!first && part.counts.get(domain) == 0);
                        if wrong {
                            *verdict = Verdict::Unresolvable;
                        }
                    }
                    _ if part.counts.get(domain) > 0 => *verdict = Verdict::Unschedulable,
                    _ => {}
                }
            }
        }
    }

    /// Adds up what the pods near each node are worth.
    pub(super) fn score(&self, cluster: &Cluster, nodes: &[NodeIndex], scores: &mut [i64]) {
        scores.fill(0);
        for part in &self.parts {
            let Role::Liked(weight) = part.role else { continue };
            let domain_of = cluster.topology().domain_of(part.key);
            for (node, score) in nodes.iter().zip(&mut *scores) {
                let domain = domain_of.get(node.index()).copied().unwrap_or(Domain::NONE);
                *score += weight * part.counts.get(domain);
            }
        }
    }
}

impl View for AffinityView {
    fn position(&mut self) -> &mut u64 {
        &mut self.position
    }

    fn used(&mut self) -> &mut u64 {
        &mut self.used
    }

    fn cells(&self) -> usize {
        self.parts.iter().map(|part| part.counts.cells()).sum()
    }

    fn clear(&mut self) {
        self.parts.iter_mut().for_each(|part| part.counts.clear());
    }

    fn look(&mut self, cluster: &Cluster, node: NodeIndex, object: bool) {
        let there = cluster.node(node).object().is_some();
        for Part { key, tally, counts, .. } in &mut self.parts {
            match object {
                true => counts.set(cluster, *key, tally, node, there),
                false => counts.set_pods(cluster, tally, node),
            }
        }
    }
}
