use std::borrow::Cow;
use std::collections::BTreeMap;

use super::{ClassPlan, Diagnosis, NodeRefusal};
use crate::cluster::NodeIndex;
use crate::framework::{Answer, Cycle, Profile, Reasons, Verdict};

/// Why no node will do for the pods of one class, kept up to date node by node: a pod that fits
/// nowhere need not ask again about nodes that have not changed.
#[derive(Debug, Default)]
pub(super) struct WhyNot {
    /// Up to which change it knows the cluster.
    position: Option<u64>,
    nodes: Vec<Option<(NodeRefusal, Reasons)>>,
    reasons: BTreeMap<Cow<'static, str>, usize>,
}

impl WhyNot {
    /// How many numbers it holds.
    pub(super) fn cells(&self) -> usize {
        4 * self.nodes.len()
    }

    /// What is known now. Only for pods all of whose nodes come into question and which no plugin
    /// has to be asked about in particular.
    pub(super) fn diagnosis(
        &mut self,
        cycle: &Cycle<'_>,
        profile: &Profile,
        plan: &ClassPlan,
    ) -> Answer<Diagnosis> {
        let log = cycle.cluster.log();
        let since = self.position.and_then(|position| log.since(position));
        // Should a plugin fail half-way, everything is looked at the next time.
        self.position = None;
        match since {
            Some(changes) => {
                let mut nodes: Vec<NodeIndex> = changes.map(|change| change.node).collect();
                nodes.sort_unstable();
                nodes.dedup();
                self.look(cycle, profile, plan, &nodes)?;
            }
            None => {
                self.nodes.clear();
                self.reasons.clear();
                let nodes: Vec<NodeIndex> = cycle.cluster.indexes().collect();
                self.look(cycle, profile, plan, &nodes)?;
            }
        }
        self.position = Some(log.end());
        let refusals = self.nodes.iter().flatten().map(|(refusal, _)| *refusal).collect();
        Ok(Diagnosis::known(cycle.cluster.len(), refusals, self.reasons.clone()))
    }

    fn look(
        &mut self,
        cycle: &Cycle<'_>,
        profile: &Profile,
        plan: &ClassPlan,
        nodes: &[NodeIndex],
    ) -> Answer {
        self.nodes.resize(cycle.cluster.width().max(self.nodes.len()), None);
        let mut left = Vec::with_capacity(nodes.len());
        for node in nodes {
            for reason in self.nodes[node.index()].take().into_iter().flat_map(|(_, why)| why) {
                if let Some(count) = self.reasons.get_mut(&reason) {
                    *count -= 1;
                    if *count == 0 {
                        self.reasons.remove(&reason);
                    }
                }
            }
            if cycle.cluster.node(*node).object().is_some() {
                left.push(*node);
            }
        }
        let mut verdicts = Vec::new();
        for &plugin in &profile.filters {
            let Some(filter) = profile.plugin(plugin).as_filter() else { continue };
            if left.is_empty() || plan.skip.contains(plugin) {
                continue;
            }
            verdicts.clear();
            verdicts.resize(left.len(), Verdict::Fits);
            filter.filter(cycle, &left, &mut verdicts)?;
            let mut judged = verdicts.iter();
            left.retain(|&node| match judged.next() {
                None | Some(Verdict::Fits) => true,
                Some(&verdict) => {
                    let why = filter.reasons(cycle, node);
                    for reason in &why {
                        match self.reasons.get_mut(reason) {
                            Some(count) => *count += 1,
                            None => _ = self.reasons.insert(reason.clone(), 1),
                        }
                    }
                    let refusal = NodeRefusal { node, plugin, verdict };
                    self.nodes[node.index()] = Some((refusal, why));
                    false
                }
            });
        }
        Ok(())
    }
}
