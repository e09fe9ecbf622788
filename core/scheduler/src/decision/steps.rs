//! The decision step by step, for who asks others in between: extenders.

use std::sync::Arc;

use super::evaluate::{Scratch, choose, fit, rank};
use super::{ClassPlan, Decider, Diagnosis};
use crate::cluster::{Cluster, NodeIndex};
use crate::extender::Against;
use crate::framework::{Answer, Cycle, CycleState, Fresh, Profile};
use crate::pod::PodInfo;

/// A decision that is being made.
#[derive(Debug)]
pub(crate) struct Steps {
    plan: ClassPlan,
    fresh: Fresh,
    scratch: Scratch,
}

impl Steps {
    /// The nodes that pass the filters of all plugins, or only this one of them.
    ///
    /// # Errors
    /// When a plugin cannot tell.
    pub(crate) fn begin(
        decider: &Decider,
        cycle: &Cycle<'_>,
        profile: &Profile,
        only: Option<NodeIndex>,
    ) -> Answer<Self> {
        let fresh = profile.fresh(cycle);
        let plan = ClassPlan::of_class(cycle, profile)?.of_pod(cycle, profile, fresh)?;
        let mut scratch = Scratch::default();
        scratch.nodes = match (only, &plan.only) {
            _ if plan.rejection.is_some() => Vec::new(),
            (Some(node), _) => vec![node],
            (None, None) => cycle.cluster.indexes().collect(),
            (None, Some(names)) => {
                let mut nodes: Vec<_> =
                    names.iter().filter_map(|name| cycle.cluster.find(name)).collect();
                nodes.sort_unstable();
                nodes
            }
        };
        fit(cycle, profile, &plan, None, &decider.random, &mut scratch)?;
        Ok(Self { plan, fresh, scratch })
    }

    /// The nodes that are left, in order.
    pub(crate) fn nodes(&self) -> &[NodeIndex] {
        &self.scratch.nodes
    }

    /// Leaves the nodes in these places alone.
    pub(crate) fn keep(&mut self, places: &[usize]) {
        self.scratch.nodes = places.iter().map(|place| self.scratch.nodes[*place]).collect();
    }

    /// Has the plugins rank the nodes that are left.
    ///
    /// # Errors
    /// When a plugin cannot tell.
    pub(crate) fn rank(&mut self, cycle: &Cycle<'_>, profile: &Profile) -> Answer {
        rank(cycle, profile, self.fresh, None, &mut self.scratch)
    }

    /// Adds to what the plugins gave.
    pub(crate) fn add(&mut self, scores: &[i64]) {
        for (total, score) in self.scratch.totals.iter_mut().zip(scores) {
            *total = total.saturating_add(*score);
        }
    }

    /// One of the best.
    pub(crate) fn best(&self, decider: &Decider) -> Option<NodeIndex> {
        choose(&self.scratch.nodes, &self.scratch.totals, &decider.random)
    }

    /// Why no node is left.
    ///
    /// # Errors
    /// When a plugin cannot tell.
    pub(crate) fn diagnosis(
        &self,
        cluster: &Cluster,
        profile: &Profile,
        pod: &PodInfo,
        state: &CycleState,
        against: &[Against],
    ) -> Answer<Arc<Diagnosis>> {
        let cycle = Cycle { pod, cluster, state };
        let mut diagnosis = Diagnosis::of(&cycle, profile, &self.plan)?;
        for one in against {
            if let Some(node) = cluster.find(&one.node) {
                diagnosis.outside(node, &one.reason, one.unresolvable);
            }
        }
        Ok(Arc::new(diagnosis))
    }
}
