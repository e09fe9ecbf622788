//! What pods ask for against what nodes have.

mod balanced;
mod fit;
mod strategy;

pub use balanced::NodeResourcesBalancedAllocation;
pub use fit::NodeResourcesFit;
pub use strategy::{MAX_SHAPE_SCORE, ScoringStrategy, StrategyKind, UtilizationPoint};
