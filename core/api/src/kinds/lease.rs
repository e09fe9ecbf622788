use k8s_openapi::api::coordination::v1::Lease;

use crate::Strategy;

/// Leases.
pub(super) struct LeaseStrategy;

impl Strategy for LeaseStrategy {
    type Kind = Lease;
}
