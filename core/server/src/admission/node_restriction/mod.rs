//! What nodes may write, beyond which objects: of themselves, and of the pods that they run.

mod nodes;
mod pods;
mod token;

use std::sync::Arc;

use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, PersistentVolumeClaimStatus};
use k8s_openapi::api::resource::v1::ResourceSlice;
use pinnace_api::{ApiError, Draft, Result};
use pinnace_client::Subresource;

use super::{Admission, AdmissionRequest, Operation};
use crate::Authorizer;
use crate::certificates::Subject;
use crate::node_authorizer::{USER_PREFIX, is_node};

const MIRROR: &str = "kubernetes.io/config.mirror";
const LEASES: &str = "kube-node-lease";
/// Signers of certificates for nodes.
const SIGNERS: [&str; 2] =
    ["kubernetes.io/kubelet-serving", "kubernetes.io/kube-apiserver-client-kubelet"];

/// The rule.
pub(super) struct NodeRestriction(pub(super) Arc<dyn Authorizer>);

/// What a node asks for.
struct Asked<'a> {
    request: &'a AdmissionRequest<'a>,
    node: &'a str,
}

impl Admission for NodeRestriction {
    fn name(&self) -> &'static str {
        "NodeRestriction"
    }

    /// Nodes are told what they may not before they are told what is invalid.
    fn admit(&self, request: &mut AdmissionRequest<'_>) -> Result<()> {
        self.check(request)
    }

    /// What webhooks make of it is looked at, too.
    fn review(&self, request: &AdmissionRequest<'_>) -> Result<()> {
        self.check(request)
    }
}

impl NodeRestriction {
    fn check(&self, request: &AdmissionRequest<'_>) -> Result<()> {
        let Some(node) = is_node(request.user) else { return Ok(()) };
        let asked = Asked { request, node };
        if node.is_empty() {
            let user = &*request.user.name;
            return asked.refuse(format!("could not determine node from user {user:?}"));
        }
        match (&**request.resource.name(), request.subresource) {
            ("pods", None) => asked.pod(),
            ("pods", Some(Subresource::Status)) => asked.pod_status(),
            ("pods", Some(Subresource::Eviction)) => asked.eviction(),
            ("pods", Some(part)) => asked.refuse(format!(
                "unexpected pod subresource {:?}, only 'status' and 'eviction' are allowed",
                part.as_str()
            )),
            ("nodes", _) => asked.node(),
            ("persistentvolumeclaims", Some(Subresource::Status)) => asked.claim_status(),
            ("persistentvolumeclaims", _) => asked.refuse("may only update PVC status"),
            ("serviceaccounts", Some(Subresource::Token)) => asked.token(&*self.0),
            ("leases.coordination.k8s.io", _) => asked.lease(),
            ("csinodes.storage.k8s.io", _) => asked.csi_node(),
            ("resourceslices.resource.k8s.io", _) => asked.slice(),
            ("certificatesigningrequests.certificates.k8s.io", None) => asked.certificate(),
            _ => Ok(()),
        }
    }
}

impl Asked<'_> {
    fn refuse(&self, why: impl AsRef<str>) -> Result<()> {
        let request = self.request;
        Err(ApiError::forbidden(request.resource, request.key.name(), why.as_ref()))
    }

    fn written(&self) -> Option<&Draft> {
        self.request.new.as_deref()
    }

    fn operation(&self) -> &'static str {
        match self.request.operation {
            Operation::Create => "CREATE",
            Operation::Update => "UPDATE",
            Operation::Delete => "DELETE",
            Operation::Connect => "CONNECT",
        }
    }

    fn claim_status(&self) -> Result<()> {
        let new = self.written().and_then(|new| new.get::<PersistentVolumeClaim>());
        let (Some(old), Some(new), Operation::Update) =
            (self.request.old, new, self.request.operation)
        else {
            return self.refuse(format!("unexpected operation {:?}", self.operation()));
        };
        let rest = |claim: &PersistentVolumeClaim| {
            let mut claim = claim.clone();
            claim.metadata.resource_version = None;
            claim.metadata.managed_fields = None;
            let status = claim.status.take().unwrap_or_default();
            claim.status = Some(PersistentVolumeClaimStatus {
                capacity: None,
                conditions: None,
                allocated_resource_statuses: None,
                allocated_resources: None,
                ..status
            });
            claim
        };
        if rest(old.get::<PersistentVolumeClaim>()?) == rest(new) {
            return Ok(());
        }
        let node = self.node;
        self.refuse(format!(
            "node {node:?} is not allowed to update fields other than status.capacity and \
             status.conditions"
        ))
    }

    fn lease(&self) -> Result<()> {
        if self.request.key.namespace() != LEASES {
            let why = format!("can only access leases in the {LEASES:?} system namespace");
            return self.refuse(why);
        }
        if self.request.key.name() == self.node {
            return Ok(());
        }
        self.refuse("can only access node lease with the same name as the requesting node")
    }

    fn csi_node(&self) -> Result<()> {
        if self.request.key.name() == self.node {
            return Ok(());
        }
        self.refuse("can only access CSINode with the same name as the requesting node")
    }

    fn slice(&self) -> Result<()> {
        let (verb, node) = match self.request.operation {
            Operation::Create => {
                let slice = self.written().and_then(|new| new.get::<ResourceSlice>());
                ("create", slice.and_then(|slice| slice.spec.node_name.as_deref()))
            }
            Operation::Delete => {
                let slice = self.request.old.map(|old| old.get::<ResourceSlice>()).transpose()?;
                ("delete", slice.and_then(|slice| slice.spec.node_name.as_deref()))
            }
            _ => return Ok(()),
        };
        if node == Some(self.node) {
            return Ok(());
        }
        self.refuse(format!(
            "can only {verb} ResourceSlice with the same NodeName as the requesting node"
        ))
    }

    fn certificate(&self) -> Result<()> {
        let new = self.written().and_then(|new| new.get::<CertificateSigningRequest>());
        let Some(new) = new.filter(|_| self.request.operation == Operation::Create) else {
            return Ok(());
        };
        if !SIGNERS.contains(&new.spec.signer_name.as_str()) {
            return Ok(());
        }
        let user = &*self.request.user.name;
        match Subject::of_request(&new.spec.request.0) {
            Err(error) => self.refuse(format!("unable to parse csr: {error}")),
            Ok(subject) if subject.common_name == user => Ok(()),
            Ok(_) => self
                .refuse(format!("can only create a node CSR with CN={USER_PREFIX}{}", self.node)),
        }
    }
}
