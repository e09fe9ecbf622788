use std::collections::{BTreeMap, BTreeSet};

use super::super::UtilizationSettings;
use super::super::round::{Asks, Round};
use crate::cluster::{Cluster, NodeIndex};

/// How much is asked of a node, by resource, in percent of what it has.
type Usage = BTreeMap<String, f64>;

/// Pods of full nodes, as long as others are empty.
pub(super) async fn run(round: &mut Round<'_>, asks: Asks<'_>, settings: &UtilizationSettings) {
    let nodes = round.nodes();
    let names: Vec<String> = settings.thresholds.keys().cloned().collect();
    let usage = |cluster: &Cluster, node: NodeIndex| usage(cluster, node, &names);
    let all: Vec<Usage> = nodes.iter().map(|node| usage(&round.cluster, *node)).collect();
    let (low, high) = thresholds(settings, &all);
    let is_empty = |node: &NodeIndex, used: &Usage| {
        !round.cluster.node(*node).is_unschedulable()
            && used.iter().all(|(name, percent)| low.get(name).is_none_or(|low| percent <= low))
    };
    let measured = || nodes.iter().zip(&all);
    let empty: BTreeSet<NodeIndex> =
        measured().filter(|(node, used)| is_empty(node, used)).map(|(node, _)| *node).collect();
    let mut full: Vec<(f64, NodeIndex)> = measured()
        .filter(|(node, used)| !empty.contains(node) && is_above(used, &high))
        .map(|(node, used)| (used.values().sum(), *node))
        .collect();
    if empty.is_empty() || empty.len() <= settings.number_of_nodes || full.is_empty() {
        return;
    }
    full.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    for (_, node) in full {
        for pod in round.pods_on(node) {
            if !is_above(&usage(&round.cluster, node), &high) {
                break;
            }
            if !settings.evictable_namespaces.allow(pod.object().namespace()) {
                continue;
            }
            let has_room = |cluster: &Cluster, node: NodeIndex| {
                empty.contains(&node) && !is_above(&usage(cluster, node), &high)
            };
            round.go(Asks { must_fit: true, ..asks }, &pod, has_room).await;
        }
    }
}

fn is_above(used: &Usage, high: &Usage) -> bool {
    used.iter().any(|(name, percent)| high.get(name).is_some_and(|high| percent > high))
}

/// What is empty and what is full.
fn thresholds(settings: &UtilizationSettings, all: &[Usage]) -> (Usage, Usage) {
    let UtilizationSettings { thresholds, target_thresholds, .. } = settings;
    if !settings.use_deviation_thresholds {
        return (thresholds.clone(), target_thresholds.clone());
    }
    let mean = |name: &str| {
        let sum: f64 = all.iter().filter_map(|used| used.get(name)).sum();
        sum / (all.len().max(1) as f64)
    };
    let shifted = |by: &Usage, sign: f64| -> Usage {
        by.iter()
            .map(|(name, percent)| (name.clone(), (mean(name) + sign * percent).clamp(0.0, 100.0)))
            .collect()
    };
    (shifted(thresholds, -1.0), shifted(target_thresholds, 1.0))
}

fn usage(cluster: &Cluster, node: NodeIndex, names: &[String]) -> Usage {
    let percent = |used: i64, there: i64| match there {
        1.. => 100.0 * used as f64 / there as f64,
        _ => 0.0,
    };
    let of = |name: &String| {
        let place = node.index();
        let (used, there) = match &name[..] {
            "pods" => {
                let count = i64::try_from(cluster.pod_count(node)).unwrap_or(i64::MAX);
                (count, cluster.pods_allowed()[place])
            }
            name => {
                let resource = cluster.resources().get(name)?;
                (cluster.requested(resource)[place], cluster.allocatable(resource)[place])
            }
        };
        Some((name.clone(), percent(used, there)))
    };
    names.iter().filter_map(of).collect()
}
