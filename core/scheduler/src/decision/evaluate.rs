use pinnace_env::Random;

use super::ClassPlan;
use super::table::{Table, judge, scaled, score_error};
use crate::cluster::NodeIndex;
use crate::framework::{
    Answer, Cycle, Fresh, MAX_SCORE, Normalization, PluginIndex, Profile, Refusal, Scope, Verdict,
};

/// Buffers that are used again.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    pub(super) nodes: Vec<NodeIndex>,
    verdicts: Vec<Verdict>,
    scores: Vec<i64>,
    pub(super) totals: Vec<i64>,
}

/// Which of the best nodes to take.
pub(super) fn draw(random: &Random, ties: u32) -> u32 {
    if ties < 2 { 0 } else { u32::try_from(random.below(ties.into())).unwrap_or(0) }
}

/// Picks the best of `scratch.nodes`, which must be in order; `None` when no node passes the
/// filters. What a table knows is taken from it, and then the nodes are those it lets pass.
pub(super) fn evaluate(
    cycle: &Cycle<'_>,
    profile: &Profile,
    plan: &ClassPlan,
    fresh: Fresh,
    table: Option<&Table>,
    random: &Random,
    scratch: &mut Scratch,
) -> Answer<Option<NodeIndex>> {
    fit(cycle, profile, plan, table, random, scratch)?;
    if scratch.nodes.len() < 2 {
        return Ok(scratch.nodes.first().copied());
    }
    rank(cycle, profile, fresh, table, scratch)?;
    Ok(choose(&scratch.nodes, &scratch.totals, random))
}

/// Leaves the nodes that pass the filters, or as many of them as are ranked.
pub(super) fn fit(
    cycle: &Cycle<'_>,
    profile: &Profile,
    plan: &ClassPlan,
    table: Option<&Table>,
    random: &Random,
    scratch: &mut Scratch,
) -> Answer {
    for &plugin in &profile.filters {
        let known = table.is_some() && profile.slot(plugin).scope != Scope::Everything;
        if !known && !plan.skip.contains(plugin) {
            judge(cycle, profile, plugin, &mut scratch.nodes, &mut scratch.verdicts)?;
        }
    }
    if let Some(most) = profile.most_ranked(cycle.cluster.len())
        && scratch.nodes.len() > most
    {
        // Wherever it begins, every node gets its turn.
        let start = draw(random, u32::try_from(scratch.nodes.len()).unwrap_or(u32::MAX));
        scratch.nodes.rotate_left(start as usize);
        scratch.nodes.truncate(most);
        scratch.nodes.sort_unstable();
    }
    Ok(())
}

/// Sums up what the plugins give each of the nodes.
pub(super) fn rank(
    cycle: &Cycle<'_>,
    profile: &Profile,
    fresh: Fresh,
    table: Option<&Table>,
    scratch: &mut Scratch,
) -> Answer {
    scratch.totals.clear();
    match table {
        Some(table) => {
            scratch.totals.extend(scratch.nodes.iter().map(|node| table.base(node.index())));
        }
        None => scratch.totals.resize(scratch.nodes.len(), 0),
    }
    for &plugin in &profile.scores {
        add_scores(cycle, profile, plugin, fresh, table, scratch)?;
    }
    Ok(())
}

/// Takes one of the best.
pub(super) fn choose(nodes: &[NodeIndex], totals: &[i64], random: &Random) -> Option<NodeIndex> {
    let best = totals.iter().copied().max()?;
    let ties = totals.iter().filter(|total| **total == best).count();
    let which = draw(random, u32::try_from(ties).unwrap_or(u32::MAX));
    let mut tied = nodes.iter().zip(totals).filter(|(_, total)| **total == best);
    tied.nth(which as usize).map(|(node, _)| *node)
}

/// Adds what a plugin gives the nodes, unless the table has it in its sum.
fn add_scores(
    cycle: &Cycle<'_>,
    profile: &Profile,
    plugin: PluginIndex,
    fresh: Fresh,
    table: Option<&Table>,
    scratch: &mut Scratch,
) -> Answer {
    let Scratch { nodes, scores, totals, .. } = scratch;
    if score_of(cycle, profile, plugin, fresh, table, nodes, scores)? {
        let weight = profile.slot(plugin).weight;
        totals.iter_mut().zip(&*scores).for_each(|(total, score)| *total += score * weight);
    }
    Ok(())
}

/// What a plugin gives each node, from 0 to [`MAX_SCORE`]. `false` when it does not rank nodes for
/// this pod, or when the table has it in its sum.
pub(super) fn score_of(
    cycle: &Cycle<'_>,
    profile: &Profile,
    plugin: PluginIndex,
    fresh: Fresh,
    table: Option<&Table>,
    nodes: &[NodeIndex],
    scores: &mut Vec<i64>,
) -> Answer<bool> {
    let slot = profile.slot(plugin);
    let everything = slot.scope == Scope::Everything;
    let Some(score) = slot.plugin.as_score().filter(|score| match everything {
        true => fresh.scores.contains(plugin),
        false => score.applies(cycle.pod),
    }) else {
        return Ok(false);
    };
    let normalization = score.normalization();
    scores.clear();
    match table.filter(|_| !everything) {
        Some(_) if normalization == Normalization::None => return Ok(false),
        Some(table) => match table.raw(plugin) {
            Some(raw) => scores.extend(nodes.iter().map(|node| raw[node.index()])),
            None => return Ok(false),
        },
        None => {
            scores.resize(nodes.len(), 0);
            score.score(cycle, nodes, scores).map_err(score_error(profile, plugin))?;
        }
    }
    if normalization == Normalization::Own {
        score.normalize(cycle, scores).map_err(score_error(profile, plugin))?;
    }
    let highest = scores.iter().copied().max().unwrap_or(0).max(0);
    for score in scores.iter_mut() {
        *score = scaled(normalization, *score, highest);
        if !(0..=MAX_SCORE).contains(score) {
            return Err(invalid_score(slot.plugin.name(), *score));
        }
    }
    Ok(true)
}

pub(super) fn invalid_score(plugin: &str, score: i64) -> Refusal {
    Refusal::Error(format!(
        "applying score defaultWeights on Score plugins: plugin {plugin:?} returns an invalid \
         score {score}, it should in the range of [0, {MAX_SCORE}] after normalizing"
    ))
}
