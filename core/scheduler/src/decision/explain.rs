use std::collections::BTreeMap;

use serde::Serialize;

use super::ClassPlan;
use super::evaluate::score_of;
use crate::cluster::{Cluster, NodeIndex};
use crate::framework::{Answer, Cycle, CycleState, Obstacle, Profile, Refusal, Verdict};
use crate::pod::PodInfo;

/// How many of the cheapest ways out an [`Explanation`] names at most.
pub const MAX_RELAXATIONS: usize = 10;

/// Why a pod goes where it goes, or nowhere: what every plugin says about every node.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// Namespace and name of the pod.
    pub pod: String,
    /// The `schedulerName` that it is scheduled by.
    pub scheduler: String,
    /// The nodes that it may go to, the best first; those of the same total are as good.
    pub fitting: Vec<NodeScore>,
    /// The nodes that it may not go to.
    pub excluded: Vec<NodeExclusion>,
    /// What the pod's condition says when no node will do.
    pub message: Option<String>,
    /// What would have to change so that an excluded node would do, the cheapest first; at most
    /// [`MAX_RELAXATIONS`].
    pub relaxations: Vec<Relaxation>,
}

/// What a node is worth to a pod.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeScore {
    /// The node.
    pub node: String,
    /// What the plugins give it together.
    pub total: i64,
    /// What each of them gives it.
    pub scores: Vec<PluginScore>,
}

/// What a plugin gives a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PluginScore {
    /// The plugin.
    pub plugin: String,
    /// From 0 to [`MAX_SCORE`](crate::MAX_SCORE).
    pub score: i64,
    /// By which it counts.
    pub weight: i64,
}

/// Why a node will not do.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeExclusion {
    /// The node.
    pub node: String,
    /// What every plugin says that excludes it, not only the first.
    pub reasons: Vec<PluginReasons>,
}

/// What a plugin has against a node.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PluginReasons {
    /// The plugin.
    pub plugin: String,
    /// Its reasons.
    pub reasons: Vec<String>,
    /// Whether evicting pods may help.
    pub evicting_may_help: bool,
}

/// A way out: all of this has to change.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Relaxation {
    /// The node that would do then.
    pub node: String,
    /// What has to change.
    pub changes: Vec<Obstacle>,
    /// How much that is: 1 for each setting that changes, and for resources the part of the node
    /// that must become free.
    pub effort: f64,
}

/// Explains what would be decided about a pod, which need not exist. Looks at every node with every
/// plugin and changes nothing.
///
/// # Errors
/// When a plugin cannot tell.
pub fn explain(cluster: &Cluster, profile: &Profile, pod: &PodInfo) -> Answer<Explanation> {
    let state = CycleState::default();
    let cycle = Cycle { pod, cluster, state: &state };
    let fresh = profile.fresh(&cycle);
    let plan = ClassPlan::of_class(&cycle, profile)?.of_pod(&cycle, profile, fresh)?;
    let mut explanation = Explanation {
        pod: pod.key().to_string(),
        scheduler: profile.name().to_owned(),
        fitting: Vec::new(),
        excluded: Vec::new(),
        message: None,
        relaxations: Vec::new(),
    };
    let mut against: BTreeMap<NodeIndex, NodeExclusion> = BTreeMap::new();
    let mut ways: BTreeMap<NodeIndex, Vec<Obstacle>> = BTreeMap::new();
    let nodes: Vec<NodeIndex> = cluster.indexes().collect();
    let mut exclude = |node: NodeIndex, plugin: &str, verdict: Verdict, reasons: Vec<String>| {
        let name = cluster.node(node).name().to_owned();
        let exclusion = against
            .entry(node)
            .or_insert_with(|| NodeExclusion { node: name, reasons: Vec::new() });
        exclusion.reasons.push(PluginReasons {
            plugin: plugin.to_owned(),
            reasons,
            evicting_may_help: verdict == Verdict::Unschedulable,
        });
    };
    if let Some((plugin, refusal)) = &plan.rejection {
        let name = plugin.map_or("", |plugin| profile.plugin(plugin).name());
        let verdict = match refusal {
            Refusal::Unschedulable(_) => Verdict::Unschedulable,
            _ => Verdict::Unresolvable,
        };
        let reasons: Vec<String> = refusal.reasons().iter().map(ToString::to_string).collect();
        for node in &nodes {
            exclude(*node, name, verdict, reasons.clone());
        }
    }
    for &index in &profile.filters {
        let plugin = profile.plugin(index);
        let Some(filter) = plugin.as_filter().filter(|_| !plan.skip.contains(index)) else {
            continue;
        };
        let mut verdicts = vec![Verdict::Fits; nodes.len()];
        filter.filter(&cycle, &nodes, &mut verdicts)?;
        for (node, verdict) in nodes.iter().zip(verdicts) {
            if verdict == Verdict::Fits {
                continue;
            }
            let reasons = filter.reasons(&cycle, *node);
            let reasons: Vec<String> = reasons.iter().map(ToString::to_string).collect();
            let obstacles = filter.obstacles(&cycle, *node);
            let ways = ways.entry(*node).or_default();
            if obstacles.is_empty() {
                let plugin = plugin.name().to_owned();
                ways.push(Obstacle::Other { plugin, reasons: reasons.clone() });
            }
            ways.extend(obstacles);
            exclude(*node, plugin.name(), verdict, reasons);
        }
    }
    explanation.fitting =
        scores(&cycle, profile, fresh, &nodes, |node| !against.contains_key(&node))?;
    if explanation.fitting.is_empty() && !nodes.is_empty() {
        explanation.message = Some(super::Diagnosis::of(&cycle, profile, &plan)?.message());
    }
    explanation.excluded = against.into_values().collect();
    explanation.relaxations = relaxations(cluster, ways);
    Ok(explanation)
}

fn scores(
    cycle: &Cycle<'_>,
    profile: &Profile,
    fresh: crate::framework::Fresh,
    nodes: &[NodeIndex],
    fits: impl Fn(NodeIndex) -> bool,
) -> Answer<Vec<NodeScore>> {
    let nodes: Vec<NodeIndex> = nodes.iter().copied().filter(|node| fits(*node)).collect();
    let name = |node: &NodeIndex| cycle.cluster.node(*node).name().to_owned();
    let mut sheets: Vec<NodeScore> = nodes
        .iter()
        .map(|node| NodeScore { node: name(node), total: 0, scores: Vec::new() })
        .collect();
    for &plugin in profile.scores.iter().filter(|_| !nodes.is_empty()) {
        let mut scores = Vec::new();
        if !score_of(cycle, profile, plugin, fresh, None, &nodes, &mut scores)? {
            continue;
        }
        let slot = profile.slot(plugin);
        for (sheet, score) in sheets.iter_mut().zip(scores) {
            let plugin = slot.plugin.name().to_owned();
            sheet.total += score * slot.weight;
            sheet.scores.push(PluginScore { plugin, score, weight: slot.weight });
        }
    }
    sheets.sort_by_key(|sheet| std::cmp::Reverse(sheet.total));
    Ok(sheets)
}

fn relaxations(cluster: &Cluster, ways: BTreeMap<NodeIndex, Vec<Obstacle>>) -> Vec<Relaxation> {
    let mut found: Vec<Relaxation> = ways
        .into_iter()
        .map(|(node, changes)| Relaxation {
            node: cluster.node(node).name().to_owned(),
            effort: changes.iter().map(Obstacle::effort).sum(),
            changes,
        })
        .collect();
    found.sort_by(|a, b| a.effort.total_cmp(&b.effort));
    found.truncate(MAX_RELAXATIONS);
    found
}
