//! The decision: which node a pod goes to. No I/O, no clock; chance only to break ties.

mod best;
mod diagnosis;
mod plan;
mod table;

use std::collections::HashMap;
use std::sync::Arc;

use pinnace_env::Random;

use crate::cluster::{Cluster, NodeIndex};
use crate::framework::{
    Answer, Cycle, CycleState, MAX_SCORE, Normalization, PluginIndex, Profile, Refusal, Scope,
    Verdict,
};
use crate::pod::PodInfo;
pub use diagnosis::{Diagnosis, NodeRefusal};
pub(crate) use plan::ClassPlan;
use table::{Table, judge, scaled, score_error};

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

/// Buffers that are used again.
#[derive(Debug, Default)]
struct Scratch {
    nodes: Vec<NodeIndex>,
    verdicts: Vec<Verdict>,
    scores: Vec<i64>,
    totals: Vec<i64>,
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

    fn try_decide(&mut self, cycle: &Cycle<'_>, profile: &Profile) -> Answer<Decision> {
        let class = cycle.pod.class();
        let class_plan = match class.plan.get() {
            Some(plan) => plan,
            None => {
                let plan = ClassPlan::of_class(cycle, profile)?;
                class.plan.get_or_init(|| plan)
            }
        };
        let pod_plan;
        let plan = if profile.is_cacheable {
            class_plan
        } else {
            pod_plan = class_plan.of_pod(cycle, profile)?;
            &pod_plan
        };
        if plan.rejection.is_some() {
            let diagnosis = Diagnosis::of(cycle, profile, plan)?;
            return Ok(Decision::Unschedulable(Arc::new(diagnosis)));
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        let decision = self.search(cycle, profile, plan, &mut scratch);
        self.scratch = scratch;
        decision
    }

    fn search(
        &mut self,
        cycle: &Cycle<'_>,
        profile: &Profile,
        plan: &ClassPlan,
        scratch: &mut Scratch,
    ) -> Answer<Decision> {
        let cluster = cycle.cluster;
        let status = cycle.pod.pod().status.as_ref();
        let nominated = status.and_then(|status| status.nominated_node_name.as_deref());
        if let Some(node) = nominated.and_then(|name| cluster.find(name)) {
            scratch.nodes.clear();
            scratch.nodes.push(node);
            if let Some(node) = evaluate(cycle, profile, plan, None, &self.random, scratch)? {
                return Ok(Decision::Node(node));
            }
        }
        if let Some(names) = &plan.only {
            // Few nodes come into question: looking at them is cheaper than a table of all.
            scratch.nodes.clear();
            scratch.nodes.extend(names.iter().filter_map(|name| cluster.find(name)));
            scratch.nodes.sort_unstable();
            return match evaluate(cycle, profile, plan, None, &self.random, scratch)? {
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
        let chosen = if profile.is_cacheable {
            let ties = table.best.ties();
            (ties > 0).then(|| NodeIndex::new(table.best.nth(draw(&self.random, ties))))
        } else {
            scratch.nodes.clear();
            scratch.nodes.extend(table.fitting());
            evaluate(cycle, profile, plan, Some(table), &self.random, scratch)?
        };
        if let Some(node) = chosen {
            return Ok(Decision::Node(node));
        }
        if let Some(known) = &table.diagnosis {
            return Ok(Decision::Unschedulable(known.clone()));
        }
        let diagnosis = Arc::new(Diagnosis::of(cycle, profile, plan)?);
        table.diagnosis = profile.is_cacheable.then(|| diagnosis.clone());
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

/// Which of the best nodes to take.
fn draw(random: &Random, ties: u32) -> u32 {
    if ties < 2 { 0 } else { u32::try_from(random.below(ties.into())).unwrap_or(0) }
}

/// Picks the best of `scratch.nodes`, which must be in order; `None` when no node passes the
/// filters. What a table knows is taken from it, and then the nodes are those it lets pass.
fn evaluate(
    cycle: &Cycle<'_>,
    profile: &Profile,
    plan: &ClassPlan,
    table: Option<&Table>,
    random: &Random,
    scratch: &mut Scratch,
) -> Answer<Option<NodeIndex>> {
    let Scratch { nodes, verdicts, scores, totals } = scratch;
    let cached =
        |plugin: PluginIndex| table.filter(|_| profile.slot(plugin).scope != Scope::Everything);
    for &plugin in &profile.filters {
        if cached(plugin).is_none() && !plan.skip.contains(plugin) {
            judge(cycle, profile, plugin, nodes, verdicts)?;
        }
    }
    totals.clear();
    totals.resize(nodes.len(), 0);
    for &plugin in profile.scores.iter().filter(|_| nodes.len() > 1) {
        let slot = profile.slot(plugin);
        let Some(score) = slot.plugin.as_score().filter(|score| score.applies(cycle.pod)) else {
            continue;
        };
        scores.clear();
        match cached(plugin).and_then(|table| table.raw(plugin)) {
            Some(raw) => scores.extend(nodes.iter().map(|node| raw[node.index()])),
            None => {
                scores.resize(nodes.len(), 0);
                score.score(cycle, nodes, scores).map_err(score_error(profile, plugin))?;
            }
        }
        let normalization = score.normalization();
        if normalization == Normalization::Own {
            score.normalize(cycle, scores).map_err(score_error(profile, plugin))?;
        }
        let highest = scores.iter().copied().max().unwrap_or(0).max(0);
        for (total, raw) in totals.iter_mut().zip(&*scores) {
            let one = scaled(normalization, *raw, highest);
            if !(0..=MAX_SCORE).contains(&one) {
                return Err(invalid_score(slot.plugin.name(), one));
            }
            *total += one * slot.weight;
        }
    }
    let Some(best) = totals.iter().copied().max() else { return Ok(None) };
    let ties = totals.iter().filter(|total| **total == best).count();
    let which = draw(random, u32::try_from(ties).unwrap_or(u32::MAX));
    let mut tied = nodes.iter().zip(totals).filter(|(_, total)| **total == best);
    Ok(tied.nth(which as usize).map(|(node, _)| *node))
}

fn invalid_score(plugin: &str, score: i64) -> Refusal {
    Refusal::Error(format!(
        "applying score defaultWeights on Score plugins: plugin {plugin:?} returns an invalid \
         score {score}, it should in the range of [0, {MAX_SCORE}] after normalizing"
    ))
}
