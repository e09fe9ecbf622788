use serde::Deserialize;

use crate::cluster::{Cluster, Resource};
use crate::framework::MAX_SCORE;

/// The best score of a point of a utilization shape.
pub const MAX_SHAPE_SCORE: i64 = 10;

/// How [`NodeResourcesFit`](super::NodeResourcesFit) ranks the nodes that have room.
#[derive(Clone, Debug, PartialEq)]
pub struct ScoringStrategy {
    /// What is best.
    pub kind: StrategyKind,
    /// The resources that count, with their weights.
    pub resources: Vec<(String, i64)>,
}

/// What makes a node the better one.
#[derive(Clone, Debug, PartialEq)]
pub enum StrategyKind {
    /// Much is free.
    LeastAllocated,
    /// Little is free.
    MostAllocated,
    /// As a function of the part that is used, given by points in rising order: percent used, and
    /// the score from 0 to [`MAX_SHAPE_SCORE`]. Straight lines lie between them.
    RequestedToCapacityRatio(Vec<UtilizationPoint>),
}

/// A point of the function that ranks nodes by how much of them is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UtilizationPoint {
    /// Percent used.
    #[serde(default)]
    pub utilization: i64,
    /// From 0 to [`MAX_SHAPE_SCORE`].
    #[serde(default)]
    pub score: i64,
}

impl Default for ScoringStrategy {
    fn default() -> Self {
        let resources = vec![("cpu".to_owned(), 1), ("memory".to_owned(), 1)];
        Self { kind: StrategyKind::LeastAllocated, resources }
    }
}

impl ScoringStrategy {
    /// The resources that are known in the cluster, by number.
    pub(super) fn resources<'a>(
        &'a self,
        cluster: &'a Cluster,
    ) -> impl Iterator<Item = (Resource, i64)> + 'a {
        self.resources.iter().filter_map(|(name, weight)| {
            let resource = match &name[..] {
                "cpu" => Some(Resource::CPU),
                "memory" => Some(Resource::MEMORY),
                other => cluster.resources().get(other),
            };
            Some((resource?, *weight))
        })
    }

    /// What a node is worth: per resource its weight, what would be requested, and what the node
    /// has; none of the latter is 0.
    pub(super) fn score(&self, parts: impl Iterator<Item = (i64, i64, i64)>) -> i64 {
        let (mut sum, mut weights) = (0, 0);
        for (weight, requested, capacity) in parts {
            let score = self.kind.score(requested, capacity);
            // With a shape, what scores nothing does not count either.
            if score > 0 || !matches!(self.kind, StrategyKind::RequestedToCapacityRatio(_)) {
                sum += score * weight;
                weights += weight;
            }
        }
        match &self.kind {
            _ if weights == 0 => 0,
            StrategyKind::RequestedToCapacityRatio(_) => {
                (sum as f64 / weights as f64).round() as i64
            }
            _ => sum / weights,
        }
    }
}

impl StrategyKind {
    fn score(&self, requested: i64, capacity: i64) -> i64 {
        match self {
            Self::LeastAllocated if requested > capacity => 0,
            Self::LeastAllocated => percent(capacity.saturating_sub(requested), capacity),
            // Pods without requests count with defaults, which may add up to more than there is.
            Self::MostAllocated => percent(requested.min(capacity), capacity),
            Self::RequestedToCapacityRatio(shape) => {
                let used = if requested > capacity { 100 } else { percent(requested, capacity) };
                along(shape, used)
            }
        }
    }
}

fn percent(part: i64, whole: i64) -> i64 {
    match part.checked_mul(MAX_SCORE) {
        _ if whole <= 0 => 0,
        Some(scaled) => scaled / whole,
        None => (i128::from(part) * i128::from(MAX_SCORE) / i128::from(whole)) as i64,
    }
}

/// The value of a function that is given by points with straight lines between them.
fn along(shape: &[UtilizationPoint], used: i64) -> i64 {
    let scaled = |point: &UtilizationPoint| point.score * (MAX_SCORE / MAX_SHAPE_SCORE);
    let Some(above) = shape.iter().position(|point| used <= point.utilization) else {
        return shape.last().map_or(0, scaled);
    };
    let Some(below) = above.checked_sub(1) else { return scaled(&shape[0]) };
    let (low, high) = (&shape[below], &shape[above]);
    let span = high.utilization - low.utilization;
    scaled(low) + (scaled(high) - scaled(low)) * (used - low.utilization) / span.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_strategy_ranks_as_upstream_does() {
        let resources = ScoringStrategy::default().resources;
        let shape = |points: &[(i64, i64)]| {
            let points = points.iter().map(|(utilization, score)| UtilizationPoint {
                utilization: *utilization,
                score: *score,
            });
            StrategyKind::RequestedToCapacityRatio(points.collect())
        };
        let check = |kind: StrategyKind, parts: &[(i64, i64, i64)], expected: i64| {
            let strategy = ScoringStrategy { kind: kind.clone(), resources: resources.clone() };
            assert_eq!(strategy.score(parts.iter().copied()), expected, "{kind:?} {parts:?}");
        };
        check(StrategyKind::LeastAllocated, &[(1, 3000, 4000), (1, 5000, 10_000)], 37);
        check(StrategyKind::MostAllocated, &[(1, 3000, 4000), (1, 5000, 10_000)], 62);
        check(StrategyKind::MostAllocated, &[(1, 3000, 4000), (3, 12_000, 10_000)], 93);
        check(StrategyKind::LeastAllocated, &[], 0);
        check(shape(&[(0, 0), (100, 10)]), &[(1, 3000, 4000), (1, 5000, 10_000)], 63);
        check(shape(&[(0, 10), (100, 0)]), &[(1, 4000, 4000), (1, 5000, 10_000)], 50);
        check(shape(&[(40, 10), (60, 0)]), &[(1, 1, 2)], 50);
        check(shape(&[(40, 10), (60, 0)]), &[(1, 1, 10)], 100);
    }
}
