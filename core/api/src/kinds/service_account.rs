use k8s_openapi::api::core::v1::ServiceAccount;

use crate::Strategy;

/// Service accounts.
pub(super) struct ServiceAccountStrategy;

impl Strategy for ServiceAccountStrategy {
    type Kind = ServiceAccount;
}
