use pinnace_env::Random;

use super::{ClassPlan, Diagnosis};
use crate::cluster::{Cluster, Lifted, NodeIndex};
use crate::framework::{Answer, Cycle, CycleState, Profile, Reasons, Verdict};
use crate::pod::PodInfo;

/// A pod that fits nowhere, for plugins that look for a way out: they may try what would be if
/// pods went. All that was lifted is put back at the end.
#[derive(Debug)]
pub struct Attempt<'a> {
    pub(super) cluster: &'a mut Cluster,
    pub(super) profile: &'a Profile,
    pub(super) pod: &'a PodInfo,
    pub(super) state: &'a CycleState,
    pub(super) diagnosis: &'a Diagnosis,
    pub(super) plan: ClassPlan,
    pub(super) random: &'a Random,
    pub(super) alone: bool,
    pub(super) candidates: bool,
}

impl Attempt<'_> {
    /// The pod.
    pub fn pod(&self) -> &PodInfo {
        self.pod
    }

    /// The cluster as it is, without what was lifted.
    pub fn cluster(&self) -> &Cluster {
        self.cluster
    }

    /// Why no node will do.
    pub fn diagnosis(&self) -> &Diagnosis {
        self.diagnosis
    }

    /// Chance.
    pub fn random(&self) -> &Random {
        self.random
    }

    /// Whether what is found out about a node depends on that node and the pod's class alone, so
    /// that it holds for other pods of the class until the node changes.
    pub fn is_alone(&self) -> bool {
        self.alone
    }

    /// Whether others choose among the nodes that evictions would make room on, so that all of them
    /// have to be told.
    pub fn wants_candidates(&self) -> bool {
        self.candidates
    }

    /// The nodes that may come into question at all.
    pub fn nodes(&self) -> Vec<NodeIndex> {
        match &self.plan.only {
            _ if self.plan.rejection.is_some() => Vec::new(),
            None => self.cluster.indexes().collect(),
            Some(names) => names.iter().filter_map(|name| self.cluster.find(name)).collect(),
        }
    }

    /// Whether all nodes may come into question.
    pub fn takes_all_nodes(&self) -> bool {
        self.plan.only.is_none() && self.plan.rejection.is_none()
    }

    /// Whether and why a node is excluded, by the first plugin that does.
    ///
    /// # Errors
    /// When a plugin cannot tell.
    pub fn excluded(&self, node: NodeIndex) -> Answer<Option<(Verdict, Reasons)>> {
        let cycle = Cycle { pod: self.pod, cluster: self.cluster, state: self.state };
        for &plugin in &self.profile.filters {
            let Some(filter) = self.profile.plugin(plugin).as_filter() else { continue };
            if self.plan.skip.contains(plugin) {
                continue;
            }
            let mut verdict = [Verdict::Fits];
            filter.filter(&cycle, &[node], &mut verdict)?;
            if verdict[0] != Verdict::Fits {
                return Ok(Some((verdict[0], filter.reasons(&cycle, node))));
            }
        }
        Ok(None)
    }

    /// Takes pods away for a while; those that are not on a node are left out.
    pub fn lift(&mut self, uid: &str) -> Option<Lifted> {
        self.quietly(|cluster| cluster.lift(uid))
    }

    /// Puts a pod back.
    pub fn put_back(&mut self, pod: Lifted) {
        self.quietly(|cluster| cluster.put_back(pod));
    }

    /// What is put back in the end is no change, as long as nobody keeps counts that go beyond the
    /// node.
    fn quietly<T>(&mut self, change: impl FnOnce(&mut Cluster) -> T) -> T {
        let quiet = self.alone;
        self.cluster.set_quiet(quiet);
        let result = change(self.cluster);
        self.cluster.set_quiet(false);
        result
    }
}
