use k8s_openapi::api::core::v1::ComponentStatus;

use crate::Strategy;

/// How the parts of the control plane are. They are made when they are read.
pub(super) struct ComponentStatusStrategy;

impl Strategy for ComponentStatusStrategy {
    type Kind = ComponentStatus;
}
