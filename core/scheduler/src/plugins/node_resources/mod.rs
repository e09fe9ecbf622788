//! What pods ask for against what nodes have.

mod balanced;
mod fit;
mod strategy;

pub use balanced::NodeResourcesBalancedAllocation;
pub use fit::NodeResourcesFit;
pub use strategy::{MAX_SHAPE_SCORE, ScoringStrategy, StrategyKind, UtilizationPoint};

use crate::cluster::Resource;

/// What nodes are compared by. Both count the same.
const SCORED: [Resource; 2] = [Resource::CPU, Resource::MEMORY];
