//! Why pods are evicted, a file each.

mod anti_affinity;
mod duplicates;
mod node_affinity;
mod spread;
mod taints;
mod utilization;

use super::round::{Asks, Round};
use super::{RebalancingProfile, RebalancingStrategy};

/// Has the pods go that a strategy finds.
pub(super) async fn run(
    round: &mut Round<'_>,
    profile: &RebalancingProfile,
    strategy: &RebalancingStrategy,
) {
    let asks = Asks { profile, strategy: strategy.name(), must_fit: false };
    match strategy {
        RebalancingStrategy::LowNodeUtilization(settings) => {
            utilization::run(round, asks, settings).await;
        }
        RebalancingStrategy::RemoveDuplicates(settings) => {
            duplicates::run(round, asks, settings).await;
        }
        RebalancingStrategy::ViolatingNodeAffinity(settings) => {
            node_affinity::run(round, asks, settings).await;
        }
        RebalancingStrategy::ViolatingNodeTaints(settings) => {
            taints::run(round, asks, settings).await;
        }
        RebalancingStrategy::ViolatingInterPodAntiAffinity(settings) => {
            anti_affinity::run(round, asks, settings).await;
        }
        RebalancingStrategy::ViolatingTopologySpread(settings) => {
            let must_fit = settings.topology_balance_node_fit;
            spread::run(round, Asks { must_fit, ..asks }, settings).await;
        }
    }
}
