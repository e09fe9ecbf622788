//! Rules for what may be written, beyond what makes an object valid: each sees the object after
//! defaulting and before validation, may change it or refuse it.

mod certificates;
mod claim_resize;
mod default_class;
mod default_toleration_seconds;
mod device_admin;
mod limit_ranger;
mod namespace_lifecycle;
mod node_restriction;
mod pod_priority;
mod pod_security;
mod pod_topology;
mod runtime_class;
mod service_account;
mod storage_protection;
mod taint_nodes;

use std::sync::Arc;

use pinnace_api::pod_security::PodSecurityConfiguration;
use pinnace_api::{Draft, Key, Object, Resource, Result};
use pinnace_client::{Annotations, Subresource, Warnings};
use pinnace_env::Env;
use pinnace_store::Snapshot;

use crate::{Authorizer, User};

/// What is about to be done to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// It is new.
    Create,
    /// It changes.
    Update,
    /// It goes.
    Delete,
    /// Something is connected to it.
    Connect,
}

/// A write that waits to be admitted.
#[derive(Debug)]
pub struct AdmissionRequest<'a> {
    /// Who writes.
    pub user: &'a User,
    /// What is done.
    pub operation: Operation,
    /// The kind.
    pub resource: &'a Resource,
    /// Namespace and name.
    pub key: &'a Key,
    /// Which part is written.
    pub subresource: Option<Subresource>,
    /// The object as it would be stored; `None` for a deletion.
    pub new: Option<&'a mut Draft>,
    /// The object as it is; `None` for a creation.
    pub old: Option<&'a Object>,
    /// The state of the world in which to decide.
    pub snapshot: &'a Snapshot,
    /// Where warnings for the writer go.
    pub warnings: &'a Warnings,
    /// What the audit log is told.
    pub annotations: &'a Annotations,
}

/// A rule.
pub trait Admission: Send + Sync + 'static {
    /// Its name, as messages give it.
    fn name(&self) -> &'static str;

    /// Changes what is to be written, or refuses it.
    ///
    /// # Errors
    /// The answer that the writer gets, most often `Forbidden`.
    fn admit(&self, request: &mut AdmissionRequest<'_>) -> Result<()>;

    /// Looks at what has been admitted and found valid, as it is going to be stored, and refuses
    /// it. [`Admission::admit`] may be asked again after mutating webhooks; this is asked last.
    ///
    /// # Errors
    /// As [`Admission::admit`].
    fn review(&self, _request: &AdmissionRequest<'_>) -> Result<()> {
        Ok(())
    }
}

/// The names of the built-in rules, in upstream's order, which are those of its plug-ins. What quotas
/// are charged is not a rule of its own, but goes by a name as the others do.
pub const PLUGINS: [&str; 20] = [
    "NamespaceLifecycle",
    "LimitRanger",
    "ServiceAccount",
    "NodeRestriction",
    "TaintNodesByCondition",
    "PodSecurity",
    "Priority",
    "DefaultTolerationSeconds",
    "DefaultStorageClass",
    "StorageObjectInUseProtection",
    "PersistentVolumeClaimResize",
    "RuntimeClass",
    "CertificateApproval",
    "CertificateSigning",
    "ClusterTrustBundleAttest",
    "CertificateSubjectRestriction",
    "DefaultIngressClass",
    "PodTopologyLabels",
    "DeviceAdminAccess",
    QUOTA,
];
/// The name of what charges quotas.
pub(crate) const QUOTA: &str = "ResourceQuota";

/// The rules that every server has, in upstream's order. Pods are given tokens only where there
/// are any, which is when `tokens` are made.
pub(crate) fn builtin(
    env: &Env,
    tokens: bool,
    authorizer: &Arc<dyn Authorizer>,
    pods: PodSecurityConfiguration,
) -> Vec<Box<dyn Admission>> {
    let mut rules: Vec<Box<dyn Admission>> = vec![
        Box::new(namespace_lifecycle::NamespaceLifecycle),
        Box::new(limit_ranger::LimitRanger),
    ];
    if tokens {
        rules.push(Box::new(service_account::ServiceAccount::new(env.clone())));
    }
    let rest: [Box<dyn Admission>; 16] = [
        Box::new(node_restriction::NodeRestriction(authorizer.clone())),
        Box::new(taint_nodes::TaintNodesByCondition),
        Box::new(pod_security::PodSecurity::new(pods)),
        Box::new(pod_priority::PodPriority),
        Box::new(default_toleration_seconds::DefaultTolerationSeconds),
        Box::new(default_class::DefaultStorageClass),
        Box::new(storage_protection::StorageObjectInUseProtection),
        Box::new(claim_resize::PersistentVolumeClaimResize),
        Box::new(runtime_class::RuntimeClass),
        Box::new(certificates::CertificateApproval(authorizer.clone())),
        Box::new(certificates::CertificateSigning(authorizer.clone())),
        Box::new(certificates::ClusterTrustBundleAttest(authorizer.clone())),
        Box::new(certificates::CertificateSubjectRestriction),
        Box::new(default_class::DefaultIngressClass),
        Box::new(pod_topology::PodTopologyLabels),
        Box::new(device_admin::DeviceAdminAccess),
    ];
    rules.extend(rest);
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plugins_are_named_in_their_order() {
        let authorizer: Arc<dyn Authorizer> = Arc::new(crate::MastersOnly);
        let pods = PodSecurityConfiguration::default();
        let rules = builtin(&Env::simulated(1), true, &authorizer, pods);
        let names: Vec<_> = rules.iter().map(|rule| rule.name()).chain([QUOTA]).collect();
        assert_eq!(names, PLUGINS);
    }
}
