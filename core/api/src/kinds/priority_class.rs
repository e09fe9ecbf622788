use k8s_openapi::api::scheduling::v1::PriorityClass;

use super::fill;
use crate::Strategy;

/// Priority classes.
pub(super) struct PriorityClassStrategy;

impl Strategy for PriorityClassStrategy {
    type Kind = PriorityClass;

    fn default(&self, class: &mut PriorityClass) {
        fill(&mut class.preemption_policy, "PreemptLowerPriority");
    }
}
