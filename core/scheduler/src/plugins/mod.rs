//! The built-in plugins, a file each.

mod affinity;
pub(crate) mod arguments;
mod coscheduling;
mod default_binder;
mod devices;
mod domain_counts;
mod image_locality;
mod node_affinity;
mod node_name;
mod node_ports;
mod node_resources;
mod node_unschedulable;
mod preemption;
mod priority_sort;
mod scheduling_gates;
mod spread;
mod taint_toleration;
#[cfg(test)]
pub(crate) mod testing;
mod volumes;

use std::sync::Arc;

use crate::Result;
use crate::framework::{Handle, Plugin};
pub use affinity::{InterPodAffinity, MAX_HARD_POD_AFFINITY_WEIGHT};
pub use coscheduling::{Coscheduling, MIN_AVAILABLE, POD_GROUP, TIMEOUT_SECONDS};
pub use default_binder::DefaultBinder;
pub use devices::DynamicResources;
pub use image_locality::ImageLocality;
pub use node_affinity::NodeAffinity;
pub use node_name::NodeName;
pub use node_ports::NodePorts;
pub use node_resources::{
    MAX_SHAPE_SCORE, NodeResourcesBalancedAllocation, NodeResourcesFit, ScoringStrategy,
    StrategyKind, UtilizationPoint,
};
pub use node_unschedulable::NodeUnschedulable;
pub use preemption::DefaultPreemption;
pub(crate) use preemption::best_of;
pub use priority_sort::PrioritySort;
pub use scheduling_gates::SchedulingGates;
pub use spread::PodTopologySpread;
pub use taint_toleration::TaintToleration;
pub use volumes::{NodeVolumeLimits, VolumeBinding, VolumeRestrictions, VolumeZone};

type Make = fn(&Handle) -> Result<Arc<dyn Plugin>>;

/// Every built-in plugin and how it is made.
pub(crate) const BUILT_IN: [(&str, Make); 20] = [
    (SchedulingGates::NAME, |_| Ok(Arc::new(SchedulingGates))),
    (PrioritySort::NAME, |_| Ok(Arc::new(PrioritySort))),
    (NodeUnschedulable::NAME, |_| Ok(Arc::new(NodeUnschedulable))),
    (NodeName::NAME, |_| Ok(Arc::new(NodeName))),
    (TaintToleration::NAME, |_| Ok(Arc::new(TaintToleration))),
    (NodeAffinity::NAME, |handle| made(handle, NodeAffinity::NAME, arguments::node_affinity)),
    (NodePorts::NAME, |_| Ok(Arc::new(NodePorts))),
    (NodeResourcesFit::NAME, |handle| made(handle, NodeResourcesFit::NAME, arguments::fit)),
    (VolumeRestrictions::NAME, |handle| Ok(Arc::new(VolumeRestrictions::new(handle)?))),
    (NodeVolumeLimits::NAME, |handle| Ok(Arc::new(NodeVolumeLimits::new(handle)?))),
    (VolumeBinding::NAME, |handle| Ok(Arc::new(VolumeBinding::new(handle)?))),
    (VolumeZone::NAME, |handle| Ok(Arc::new(VolumeZone::new(handle)?))),
    (PodTopologySpread::NAME, |handle| made(handle, PodTopologySpread::NAME, arguments::spread)),
    (InterPodAffinity::NAME, |handle| made(handle, InterPodAffinity::NAME, arguments::affinity)),
    (DynamicResources::NAME, |handle| Ok(Arc::new(DynamicResources::new(handle)?))),
    (ImageLocality::NAME, |_| Ok(Arc::new(ImageLocality))),
    (Coscheduling::NAME, |handle| Ok(Arc::new(Coscheduling::new(handle)?))),
    (NodeResourcesBalancedAllocation::NAME, |handle| {
        made(handle, NodeResourcesBalancedAllocation::NAME, arguments::balanced)
    }),
    (DefaultPreemption::NAME, |_| Ok(Arc::new(DefaultPreemption::default()))),
    (DefaultBinder::NAME, |handle| Ok(Arc::new(DefaultBinder::new(handle)?))),
];

/// Makes a plugin from its arguments.
fn made<P: Plugin>(
    handle: &Handle,
    name: &str,
    read: fn(&serde_json::Value, &str) -> std::result::Result<P, Vec<String>>,
) -> Result<Arc<dyn Plugin>> {
    match read(handle.arguments(), "args") {
        Ok(plugin) => Ok(Arc::new(plugin)),
        Err(problems) => {
            let (plugin, message) = (name.to_owned(), problems.join(", "));
            Err(crate::Error::Plugin { plugin, message })
        }
    }
}

/// The plugins that take part at one extension point alone.
const OF_ONE_POINT: [(&str, &str); 4] = [
    ("preEnqueue", SchedulingGates::NAME),
    ("queueSort", PrioritySort::NAME),
    ("postFilter", DefaultPreemption::NAME),
    ("bind", DefaultBinder::NAME),
];

/// The built-in plugin that takes part at this extension point alone.
pub(crate) fn of_one_point(point: &str) -> Option<&'static str> {
    OF_ONE_POINT.iter().find(|(known, _)| *known == point).map(|(_, plugin)| *plugin)
}

/// What a profile has that says nothing else: plugins in upstream's order with upstream's weights.
pub(crate) const DEFAULT: [(&str, i64); 19] = [
    (SchedulingGates::NAME, 0),
    (PrioritySort::NAME, 0),
    (NodeUnschedulable::NAME, 0),
    (NodeName::NAME, 0),
    (TaintToleration::NAME, 3),
    (NodeAffinity::NAME, 2),
    (NodePorts::NAME, 0),
    (NodeResourcesFit::NAME, 1),
    (VolumeRestrictions::NAME, 0),
    (NodeVolumeLimits::NAME, 0),
    (VolumeBinding::NAME, 0),
    (VolumeZone::NAME, 0),
    (PodTopologySpread::NAME, 2),
    (InterPodAffinity::NAME, 2),
    (DynamicResources::NAME, 0),
    (ImageLocality::NAME, 1),
    (NodeResourcesBalancedAllocation::NAME, 1),
    (DefaultPreemption::NAME, 0),
    (DefaultBinder::NAME, 0),
];
