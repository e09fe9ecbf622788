use std::sync::Arc;

use super::best::{Best, OUT};
use super::evaluate::invalid_score;
use super::why_not::WhyNot;
use super::{ClassPlan, Diagnosis};
use crate::cluster::{Change, NodeIndex};
use crate::framework::{
    Answer, Cycle, MAX_SCORE, Normalization, PluginIndex, Profile, Refusal, Scope, Verdict,
};

/// What is known about every node for the pods of one class, kept up to date by the changes of the
/// cluster: only the nodes that changed are looked at again.
#[derive(Debug)]
pub(super) struct Table {
    position: u64,
    fixed_filters: Vec<PluginIndex>,
    usage_filters: Vec<PluginIndex>,
    scores: Vec<Column>,
    /// Per node, the sum of the scores that need no scaling, times their weights.
    base: Vec<i64>,
    nodes: Vec<NodeCell>,
    pub(super) best: Best,
    pub(super) diagnosis: Option<Arc<Diagnosis>>,
    pub(super) why_not: WhyNot,
    pub(super) used: u64,
}

/// A plugin's scores, as it gave them.
#[derive(Debug)]
struct Column {
    plugin: PluginIndex,
    weight: i64,
    scope: Scope,
    normalization: Normalization,
    raw: Vec<i64>,
    highest: i64,
}

#[derive(Clone, Copy, Debug, Default)]
struct NodeCell {
    /// Passes the filters that look at the Node object alone.
    allowed: bool,
    /// Passes all filters.
    fits: bool,
}

impl Table {
    pub(super) fn new(cycle: &Cycle<'_>, profile: &Profile, plan: &ClassPlan) -> Self {
        let filters = |scope: Scope| {
            let mine = profile.filters.iter().copied();
            mine.filter(|plugin| {
                profile.slot(*plugin).scope == scope && !plan.skip.contains(*plugin)
            })
            .collect()
        };
        let column = |plugin: &PluginIndex| {
            let slot = profile.slot(*plugin);
            let score = slot.plugin.as_score()?;
            let mine = slot.scope != Scope::Everything && score.applies(cycle.pod);
            mine.then(|| Column {
                plugin: *plugin,
                weight: slot.weight,
                scope: slot.scope,
                normalization: score.normalization(),
                raw: Vec::new(),
                highest: 0,
            })
        };
        Self {
            // Before the log's first entry, so that the first look is at everything.
            position: u64::MAX,
            fixed_filters: filters(Scope::NodeObject),
            usage_filters: filters(Scope::NodeUsage),
            scores: profile.scores.iter().filter_map(column).collect(),
            base: Vec::new(),
            nodes: Vec::new(),
            best: Best::default(),
            diagnosis: None,
            why_not: WhyNot::default(),
            used: 0,
        }
    }

    /// How many numbers it holds.
    pub(super) fn cells(&self) -> usize {
        self.nodes.len() * (self.scores.len() + 6) + self.why_not.cells()
    }

    /// The nodes that all cached filters let pass.
    pub(super) fn fitting(&self) -> impl Iterator<Item = NodeIndex> + '_ {
        let nodes = self.nodes.iter().enumerate();
        nodes.filter(|(_, cell)| cell.fits).map(|(index, _)| NodeIndex::new(index))
    }

    /// The sum of the scores of a node that need no scaling, times their weights.
    pub(super) fn base(&self, node: usize) -> i64 {
        self.base[node]
    }

    /// A plugin's scores as it gave them; `None` when it does not rank nodes for the class.
    pub(super) fn raw(&self, plugin: PluginIndex) -> Option<&[i64]> {
        self.scores.iter().find(|column| column.plugin == plugin).map(|column| &column.raw[..])
    }

    /// Catches up with the cluster.
    pub(super) fn refresh(&mut self, cycle: &Cycle<'_>, profile: &Profile) -> Answer {
        let cluster = cycle.cluster;
        let end = cluster.log().end();
        if self.position == end {
            return Ok(());
        }
        self.diagnosis = None;
        match cluster.log().since(self.position) {
            Some(changes) if self.position <= end => {
                let mut changed: smallvec::SmallVec<[Change; 8]> = changes.collect();
                // Of several changes of a node one will do: the most thorough.
                changed.sort_unstable_by_key(|change| (change.node, !change.object));
                changed.dedup_by_key(|change| change.node);
                self.widen(cluster.width());
                self.update(cycle, profile, &changed)?;
            }
            _ => self.rebuild(cycle, profile)?,
        }
        self.position = end;
        Ok(())
    }

    fn widen(&mut self, width: usize) {
        self.nodes.resize(width, NodeCell::default());
        self.base.resize(width, 0);
        self.scores.iter_mut().for_each(|column| column.raw.resize(width, 0));
        if width > self.best.capacity() {
            self.fill();
        }
    }

    fn rebuild(&mut self, cycle: &Cycle<'_>, profile: &Profile) -> Answer {
        let width = cycle.cluster.width();
        self.nodes.clear();
        self.nodes.resize(width, NodeCell::default());
        self.base.clear();
        self.base.resize(width, 0);
        for column in &mut self.scores {
            column.raw.clear();
            column.raw.resize(width, 0);
        }
        let nodes: Vec<_> = cycle.cluster.indexes().collect();
        self.look(cycle, profile, nodes.clone(), nodes)?;
        for column in 0..self.scores.len() {
            self.scores[column].highest = self.highest(column);
        }
        self.fill();
        Ok(())
    }

    fn update(&mut self, cycle: &Cycle<'_>, profile: &Profile, changes: &[Change]) -> Answer {
        // Whether the highest score of some plugin may have been on a node that changed.
        let mut rescale = changes.iter().any(|change| {
            let index = change.node.index();
            let mut scaled = self.scores.iter().filter(|column| column.is_scaled());
            self.nodes[index].fits
                && scaled.any(|column| column.highest > 0 && column.raw[index] == column.highest)
        });
        let present =
            |change: &&Change| change.object && cycle.cluster.node(change.node).object().is_some();
        for change in changes.iter().filter(|change| change.object) {
            self.nodes[change.node.index()].allowed = false;
        }
        let objects = changes.iter().filter(present).map(|change| change.node).collect();
        self.look(cycle, profile, objects, changes.iter().map(|change| change.node).collect())?;
        rescale |= changes.iter().any(|change| {
            let index = change.node.index();
            let above = |column: &Column| column.is_scaled() && column.raw[index] > column.highest;
            self.nodes[index].fits && self.scores.iter().any(above)
        });
        if rescale {
            let mut moved = false;
            for column in 0..self.scores.len() {
                let highest = self.highest(column);
                moved |= highest != self.scores[column].highest;
                self.scores[column].highest = highest;
            }
            if moved {
                self.fill();
                return Ok(());
            }
        }
        for change in changes {
            let index = change.node.index();
            self.best.set(index, self.total(index));
        }
        Ok(())
    }

    /// Looks again at nodes whose object changed, and at all whose object or pods did.
    fn look(
        &mut self,
        cycle: &Cycle<'_>,
        profile: &Profile,
        mut objects: Vec<NodeIndex>,
        mut nodes: Vec<NodeIndex>,
    ) -> Answer {
        let mut verdicts = Vec::with_capacity(nodes.len());
        for plugin in &self.fixed_filters {
            judge(cycle, profile, *plugin, &mut objects, &mut verdicts)?;
        }
        objects.iter().for_each(|node| self.nodes[node.index()].allowed = true);
        self.score(cycle, profile, Scope::NodeObject, &objects)?;
        nodes.iter().for_each(|node| self.nodes[node.index()].fits = false);
        nodes.retain(|node| self.nodes[node.index()].allowed);
        for plugin in &self.usage_filters {
            judge(cycle, profile, *plugin, &mut nodes, &mut verdicts)?;
        }
        nodes.iter().for_each(|node| self.nodes[node.index()].fits = true);
        self.score(cycle, profile, Scope::NodeUsage, &nodes)?;
        self.check(profile, &nodes)?;
        for node in nodes {
            let index = node.index();
            let fixed = self.scores.iter().filter(|column| !column.is_scaled());
            self.base[index] = fixed.map(|column| column.weight * column.raw[index]).sum();
        }
        Ok(())
    }

    fn score(
        &mut self,
        cycle: &Cycle<'_>,
        profile: &Profile,
        scope: Scope,
        nodes: &[NodeIndex],
    ) -> Answer {
        let mut scores = Vec::new();
        let mine = |column: &&mut Column| column.scope == scope && !nodes.is_empty();
        for column in self.scores.iter_mut().filter(mine) {
            let Some(score) = profile.plugin(column.plugin).as_score() else { continue };
            let failed = score_error(profile, column.plugin);
            if let [node] = nodes {
                let cell = &mut column.raw[node.index()];
                score.score(cycle, nodes, std::slice::from_mut(cell)).map_err(failed)?;
                continue;
            }
            scores.clear();
            scores.resize(nodes.len(), 0);
            score.score(cycle, nodes, &mut scores).map_err(failed)?;
            for (node, score) in nodes.iter().zip(&scores) {
                column.raw[node.index()] = *score;
            }
        }
        Ok(())
    }

    fn highest(&self, column: usize) -> i64 {
        let column = &self.scores[column];
        if !column.is_scaled() {
            return 0;
        }
        let fitting = column.raw.iter().zip(&self.nodes).filter(|(_, cell)| cell.fits);
        fitting.map(|(raw, _)| *raw).max().unwrap_or(0).max(0)
    }

    fn total(&self, index: usize) -> i64 {
        if !self.nodes[index].fits {
            return OUT;
        }
        let scaled = self.scores.iter().filter(|column| column.is_scaled()).map(|column| {
            column.weight * scaled(column.normalization, column.raw[index], column.highest)
        });
        self.base[index] + scaled.sum::<i64>()
    }

    fn fill(&mut self) {
        let mut best = std::mem::take(&mut self.best);
        best.fill((0..self.nodes.len()).map(|index| self.total(index)));
        self.best = best;
    }

    /// Scores that are not scaled must lie in bounds as they are; those that are must not be
    /// negative.
    fn check(&self, profile: &Profile, nodes: &[NodeIndex]) -> Answer {
        let own = |column: &&Column| column.normalization != Normalization::Own;
        for column in self.scores.iter().filter(own) {
            let most = if column.is_scaled() { i64::MAX / (MAX_SCORE + 1) } else { MAX_SCORE };
            for node in nodes {
                let raw = column.raw[node.index()];
                if !(0..=most).contains(&raw) {
                    return Err(invalid_score(profile.plugin(column.plugin).name(), raw));
                }
            }
        }
        Ok(())
    }
}

impl Column {
    fn is_scaled(&self) -> bool {
        self.normalization != Normalization::None
    }
}

/// A score between 0 and [`MAX_SCORE`], given the highest that a plugin gave to a node that fits.
pub(super) fn scaled(normalization: Normalization, raw: i64, highest: i64) -> i64 {
    match (normalization, highest) {
        (Normalization::None | Normalization::Own, _) => raw,
        (Normalization::ToHighest, 0) => raw,
        (Normalization::ToHighest, _) => MAX_SCORE * raw / highest,
        (Normalization::ToHighestReversed, 0) => MAX_SCORE,
        (Normalization::ToHighestReversed, _) => MAX_SCORE - MAX_SCORE * raw / highest,
    }
}

/// Takes out of `nodes` those that a filter excludes.
pub(super) fn judge(
    cycle: &Cycle<'_>,
    profile: &Profile,
    plugin: PluginIndex,
    nodes: &mut Vec<NodeIndex>,
    verdicts: &mut Vec<Verdict>,
) -> Answer {
    let Some(filter) = profile.plugin(plugin).as_filter() else { return Ok(()) };
    if nodes.is_empty() {
        return Ok(());
    }
    verdicts.clear();
    verdicts.resize(nodes.len(), Verdict::Fits);
    filter.filter(cycle, nodes, verdicts).map_err(filter_error(profile, plugin))?;
    let mut judged = verdicts.iter();
    nodes.retain(|_| judged.next().is_none_or(|verdict| *verdict == Verdict::Fits));
    Ok(())
}

fn filter_error(profile: &Profile, plugin: PluginIndex) -> impl Fn(Refusal) -> Refusal {
    move |refusal| {
        let name = profile.plugin(plugin).name();
        Refusal::Error(format!("running {name:?} filter plugin: {refusal}"))
    }
}

pub(super) fn score_error(profile: &Profile, plugin: PluginIndex) -> impl Fn(Refusal) -> Refusal {
    move |refusal| {
        let name = profile.plugin(plugin).name();
        Refusal::Error(format!("running Score plugins: plugin {name:?} failed with: {refusal}"))
    }
}
