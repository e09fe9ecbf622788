use k8s_openapi::api::core::v1::ConfigMap;

use crate::Strategy;

/// ConfigMaps.
pub(super) struct ConfigMapStrategy;

impl Strategy for ConfigMapStrategy {
    type Kind = ConfigMap;
}
