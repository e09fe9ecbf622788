//! The decision: which node a pod goes to. No I/O, no clock; chance only to break ties.

mod attempt;
mod best;
mod diagnosis;
mod evaluate;
mod explain;
mod plan;
mod steps;
mod table;
mod why_not;

use std::collections::HashMap;
use std::sync::Arc;

use pinnace_env::Random;

use crate::cluster::{Cluster, NodeIndex};
use crate::framework::{
    Answer, Cycle, CycleState, Fresh, Nomination, PostFiltered, Profile, Refusal,
};
use crate::pod::PodInfo;
pub use attempt::Attempt;
pub use diagnosis::{Diagnosis, NodeRefusal};
use evaluate::{Scratch, draw, evaluate};
pub use explain::{
    Explanation, MAX_RELAXATIONS, NodeExclusion, NodeScore, PluginReasons, PluginScore, Relaxation,
    explain,
};
pub(crate) use plan::ClassPlan;
pub(crate) use steps::Steps;
use table::Table;

/// How many numbers all tables together hold at most: about 32 MB of them. Beyond that, the
/// classes that were not scheduled for longest are forgotten.
const MAX_CELLS: usize = 4_000_000;

/// Where a pod goes.
#[derive(Clone, Debug)]
pub enum Decision {
    /// To this node.
    Node(NodeIndex),
    /// Nowhere, for these reasons.
    Unschedulable(Arc<Diagnosis>),
    /// Nowhere: there are no nodes.
    NoNodes,
    /// A plugin failed.
    Failed(String),
}

/// Decides, and remembers per pod class what it found out about nodes.
#[derive(Debug)]
pub struct Decider {
    random: Random,
    tables: HashMap<u64, Table, ahash::RandomState>,
    decisions: u64,
    scratch: Scratch,
}

impl Decider {
    /// A decider that breaks ties with `random`: uniformly among the best nodes.
    pub fn new(random: Random) -> Self {
        Self { random, tables: HashMap::default(), decisions: 0, scratch: Scratch::default() }
    }

    /// Decides where a pod goes. It is one of the nodes of the highest score among all that pass
    /// the filters, and the result is the same as if every plugin had been asked about every node.
    pub fn decide(
        &mut self,
        cluster: &Cluster,
        profile: &Profile,
        pod: &PodInfo,
        state: &CycleState,
    ) -> Decision {
        if cluster.is_empty() {
            return Decision::NoNodes;
        }
        let cycle = Cycle { pod, cluster, state };
        match self.try_decide(&cycle, profile) {
            Ok(decision) => decision,
            Err(refusal) => {
                self.tables.remove(&pod.class().id());
                Decision::Failed(refusal.to_string())
            }
        }
    }

    /// Looks for a way out for a pod that fits nowhere: asks the plugins that may know one. Gives
    /// the diagnosis with what they say, and what the first of them found.
    pub fn way_out(
        &self,
        cluster: &mut Cluster,
        profile: &Profile,
        pod: &PodInfo,
        state: &CycleState,
        diagnosis: &Arc<Diagnosis>,
    ) -> (Arc<Diagnosis>, PostFiltered) {
        self.ways_out(cluster, profile, pod, state, diagnosis, false)
    }

    /// The same, with all candidates where others choose among them.
    pub(crate) fn ways_out(
        &self,
        cluster: &mut Cluster,
        profile: &Profile,
        pod: &PodInfo,
        state: &CycleState,
        diagnosis: &Arc<Diagnosis>,
        candidates: bool,
    ) -> (Arc<Diagnosis>, PostFiltered) {
        if !profile.has_post_filters {
            return (diagnosis.clone(), PostFiltered::default());
        }
        let cycle = Cycle { pod, cluster, state };
        let fresh = profile.fresh(&cycle);
        let class_plan = pod.class().plan.get().cloned().unwrap_or_default();
        let plan = match fresh.filters.is_empty() {
            true => class_plan,
            false => match class_plan.of_pod(&cycle, profile, fresh) {
                Ok(plan) => plan,
                Err(_) => return (diagnosis.clone(), PostFiltered::default()),
            },
        };
        let (random, alone) = (&self.random, fresh.filters.is_empty());
        let mut attempt =
            Attempt { cluster, profile, pod, state, diagnosis, plan, random, alone, candidates };
        let mut reasons: Vec<String> = Vec::new();
        let mut found = PostFiltered::default();
        for (_, plugin) in profile.plugins() {
            let Some(post_filter) = plugin.as_post_filter() else { continue };
            match post_filter.post_filter(&mut attempt) {
                Ok(way_out) if matches!(way_out.nomination, Nomination::To(_)) => {
                    reasons = vec![way_out.message.clone()];
                    found = way_out;
                    break;
                }
                Ok(nothing) => {
                    reasons.push(nothing.message.clone());
                    if nothing.nomination != Nomination::Keep {
                        found = nothing;
                    }
                }
                Err(refusal @ (Refusal::Unresolvable(_) | Refusal::Error(_))) => {
                    reasons = vec![refusal.to_string()];
                    break;
                }
                Err(refusal) => reasons.push(refusal.to_string()),
            }
        }
        let mut diagnosis = (**diagnosis).clone();
        diagnosis.set_post_filter(reasons.join(", "));
        (Arc::new(diagnosis), found)
    }

    fn try_decide(&mut self, cycle: &Cycle<'_>, profile: &Profile) -> Answer<Decision> {
        let class = cycle.pod.class();
        let class_plan = match class.plan.get() {
            Some(plan) => plan,
            None => {
                let plan = ClassPlan::of_class(cycle, profile)?;
                class.plan.get_or_init(|| plan)
            }
        };
        let fresh = profile.fresh(cycle);
        let pod_plan;
        let plan = if fresh.is_empty() {
            class_plan
        } else {
            pod_plan = class_plan.of_pod(cycle, profile, fresh)?;
            &pod_plan
        };
        if plan.rejection.is_some() {
            let diagnosis = Diagnosis::of(cycle, profile, plan)?;
            return Ok(Decision::Unschedulable(Arc::new(diagnosis)));
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        let decision = self.search(cycle, profile, plan, fresh, &mut scratch);
        self.scratch = scratch;
        decision
    }

    fn search(
        &mut self,
        cycle: &Cycle<'_>,
        profile: &Profile,
        plan: &ClassPlan,
        fresh: Fresh,
        scratch: &mut Scratch,
    ) -> Answer<Decision> {
        let cluster = cycle.cluster;
        let random = self.random.clone();
        let pick = |table: Option<&Table>, scratch: &mut Scratch| {
            evaluate(cycle, profile, plan, fresh, table, &random, scratch)
        };
        let status = cycle.pod.pod().status.as_ref();
        let nominated = status.and_then(|status| status.nominated_node_name.as_deref());
        if let Some(node) = nominated.and_then(|name| cluster.find(name)) {
            scratch.nodes.clear();
            scratch.nodes.push(node);
            if let Some(node) = pick(None, scratch)? {
                return Ok(Decision::Node(node));
            }
        }
        if let Some(names) = &plan.only {
            // Few nodes come into question: looking at them is cheaper than a table of all.
            scratch.nodes.clear();
            scratch.nodes.extend(names.iter().filter_map(|name| cluster.find(name)));
            scratch.nodes.sort_unstable();
            return match pick(None, scratch)? {
                Some(node) => Ok(Decision::Node(node)),
                None => Ok(Decision::Unschedulable(Arc::new(Diagnosis::of(cycle, profile, plan)?))),
            };
        }
        self.decisions += 1;
        let class = cycle.pod.class().id();
        if !self.tables.contains_key(&class) {
            self.make_room(cluster.width() * (profile.scores.len() + 5));
        }
        let table = self.tables.entry(class).or_insert_with(|| Table::new(cycle, profile, plan));
        table.used = self.decisions;
        table.refresh(cycle, profile)?;
        let all_ranked = profile.most_ranked(cluster.len()).is_none();
        let chosen = if fresh.is_empty() && all_ranked {
            let ties = table.best.ties();
            (ties > 0).then(|| NodeIndex::new(table.best.nth(draw(&random, ties))))
        } else {
            scratch.nodes.clear();
            scratch.nodes.extend(table.fitting());
            pick(Some(table), scratch)?
        };
        if let Some(node) = chosen {
            return Ok(Decision::Node(node));
        }
        if let Some(known) = table.diagnosis.as_ref().filter(|_| fresh.is_empty()) {
            return Ok(Decision::Unschedulable(known.clone()));
        }
        let diagnosis = match fresh.is_empty() {
            true => table.why_not.diagnosis(cycle, profile, plan)?,
            false => Diagnosis::of(cycle, profile, plan)?,
        };
        let diagnosis = Arc::new(diagnosis);
        table.diagnosis = fresh.is_empty().then(|| diagnosis.clone());
        Ok(Decision::Unschedulable(diagnosis))
    }

    /// Forgets tables until there is room for one more of so many numbers.
    fn make_room(&mut self, needed: usize) {
        let mut cells: usize = self.tables.values().map(Table::cells).sum();
        while cells + needed > MAX_CELLS {
            let oldest = self.tables.iter().min_by_key(|(_, table)| table.used);
            let Some(oldest) = oldest.map(|(class, _)| *class) else { return };
            if let Some(gone) = self.tables.remove(&oldest) {
                cells -= gone.cells();
            }
        }
    }
}
