//! Who may have certificates approved and signed, and for whom.

use std::sync::Arc;

use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use pinnace_api::{ApiError, Result};
use pinnace_client::Subresource;
use serde_json::Value;

use super::{Admission, AdmissionRequest, Operation};
use crate::authorization::MASTERS;
use crate::certificates::Subject;
use crate::{Attributes, Authorizer, Decision, Selectors};

const REQUESTS: &str = "certificatesigningrequests.certificates.k8s.io";
const BUNDLES: &str = "clustertrustbundles.certificates.k8s.io";
const API_CLIENT: &str = "kubernetes.io/kube-apiserver-client";

/// Whether somebody may do something in the name of a signer, or of all of its domain.
fn may(
    authorizer: &dyn Authorizer,
    request: &AdmissionRequest<'_>,
    verb: &str,
    signer: &str,
) -> bool {
    let ask = |name: &str| {
        let asked = Attributes {
            user: request.user,
            verb,
            group: "certificates.k8s.io",
            resource: "signers",
            subresource: "",
            namespace: "",
            name,
            path: "",
            selectors: Selectors::default(),
        };
        authorizer.authorize(&asked) == Decision::Allow
    };
    let domain = signer.split('/').next().unwrap_or_default();
    ask(signer) || ask(&format!("{domain}/*"))
}

fn refuse(request: &AdmissionRequest<'_>, why: &str) -> Result<()> {
    Err(ApiError::forbidden(request.resource, request.key.name(), why))
}

/// Whether a request is to write a part of a request for a certificate.
fn writes(request: &AdmissionRequest<'_>, operation: Operation, part: Option<Subresource>) -> bool {
    request.operation == operation
        && request.subresource == part
        && &**request.resource.name() == REQUESTS
}

/// Has only those approve requests who may for the signer.
pub(super) struct CertificateApproval(pub(super) Arc<dyn Authorizer>);

impl Admission for CertificateApproval {
    fn name(&self) -> &'static str {
        "CertificateApproval"
    }

    fn admit(&self, _: &mut AdmissionRequest<'_>) -> Result<()> {
        Ok(())
    }

    fn review(&self, request: &AdmissionRequest<'_>) -> Result<()> {
        let Some(old) = request.old else { return Ok(()) };
        if !writes(request, Operation::Update, Some(Subresource::Approval)) {
            return Ok(());
        }
        let signer = &old.get::<CertificateSigningRequest>()?.spec.signer_name;
        if may(&*self.0, request, "approve", signer) {
            return Ok(());
        }
        let why = format!("user not permitted to approve requests with signerName {signer:?}");
        refuse(request, &why)
    }
}

/// Has only those sign requests who may for the signer.
pub(super) struct CertificateSigning(pub(super) Arc<dyn Authorizer>);

impl Admission for CertificateSigning {
    fn name(&self) -> &'static str {
        "CertificateSigning"
    }

    fn admit(&self, _: &mut AdmissionRequest<'_>) -> Result<()> {
        Ok(())
    }

    fn review(&self, request: &AdmissionRequest<'_>) -> Result<()> {
        let new = request.new.as_deref().and_then(|new| new.get::<CertificateSigningRequest>());
        let (Some(old), Some(new)) = (request.old, new) else { return Ok(()) };
        if !writes(request, Operation::Update, Some(Subresource::Status)) {
            return Ok(());
        }
        let old = old.get::<CertificateSigningRequest>()?;
        let said = |one: &CertificateSigningRequest| {
            let status = one.status.clone().unwrap_or_default();
            (status.certificate, status.conditions.unwrap_or_default())
        };
        let signer = &old.spec.signer_name;
        if said(old) == said(new) || may(&*self.0, request, "sign", signer) {
            return Ok(());
        }
        refuse(request, &format!("user not permitted to sign requests with signerName {signer:?}"))
    }
}

/// Has nobody ask for a certificate that may do everything.
pub(super) struct CertificateSubjectRestriction;

impl Admission for CertificateSubjectRestriction {
    fn name(&self) -> &'static str {
        "CertificateSubjectRestriction"
    }

    fn admit(&self, _: &mut AdmissionRequest<'_>) -> Result<()> {
        Ok(())
    }

    fn review(&self, request: &AdmissionRequest<'_>) -> Result<()> {
        let new = request.new.as_deref().and_then(|new| new.get::<CertificateSigningRequest>());
        let Some(new) = new.filter(|_| writes(request, Operation::Create, None)) else {
            return Ok(());
        };
        if new.spec.signer_name != API_CLIENT {
            return Ok(());
        }
        match Subject::of_request(&new.spec.request.0) {
            Err(error) => refuse(request, &format!("failed to parse CSR: {error}")),
            Ok(subject) if subject.organizations.iter().any(|group| group == MASTERS) => {
                let why = format!("use of {API_CLIENT} signer with {MASTERS} group is not allowed");
                refuse(request, &why)
            }
            Ok(_) => Ok(()),
        }
    }
}

/// Has only those speak for a signer in bundles of trust who may.
pub(super) struct ClusterTrustBundleAttest(pub(super) Arc<dyn Authorizer>);

impl Admission for ClusterTrustBundleAttest {
    fn name(&self) -> &'static str {
        "ClusterTrustBundleAttest"
    }

    fn admit(&self, _: &mut AdmissionRequest<'_>) -> Result<()> {
        Ok(())
    }

    fn review(&self, request: &AdmissionRequest<'_>) -> Result<()> {
        let is_write = matches!(request.operation, Operation::Create | Operation::Update);
        let is_bundle = &**request.resource.name() == BUNDLES && request.subresource.is_none();
        let Some(new) = request.new.as_deref().filter(|_| is_write && is_bundle) else {
            return Ok(());
        };
        let new = new.to_value()?;
        let signer = new["spec"]["signerName"].as_str().unwrap_or_default();
        if signer.is_empty() {
            return Ok(());
        }
        // Who only collects garbage says nothing of trust.
        if let Some(old) = request.old
            && but_for_owners(old.to_value()?) == but_for_owners(new.clone())
        {
            return Ok(());
        }
        if may(&*self.0, request, "attest", signer) {
            return Ok(());
        }
        refuse(request, &format!("user not permitted to attest for signerName {signer:?}"))
    }
}

fn but_for_owners(mut object: Value) -> Value {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        let fields = ["ownerReferences", "finalizers", "managedFields", "resourceVersion"];
        metadata.retain(|field, _| !fields.contains(&field.as_str()));
    }
    object
}
