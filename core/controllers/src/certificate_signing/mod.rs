//! Requests for certificates: those of nodes are approved, what is approved is signed, and what is
//! old goes.
//!
//! See <https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/>.

mod approver;
mod checks;
mod cleaner;
mod signer;

use k8s_openapi::api::certificates::v1::{
    CertificateSigningRequest, CertificateSigningRequestCondition,
};
use pinnace_api::Result;
use pinnace_reconcile::Controller;

use crate::Context;

/// Signers that are built in.
const API_CLIENT: &str = "kubernetes.io/kube-apiserver-client";
const KUBELET_CLIENT: &str = "kubernetes.io/kube-apiserver-client-kubelet";
const KUBELET_SERVING: &str = "kubernetes.io/kubelet-serving";
const LEGACY: &str = "kubernetes.io/legacy-unknown";

/// The controllers; those that need an authority only where there is one.
pub(crate) fn controllers(context: &Context) -> Result<Vec<Controller>> {
    let mut all = vec![cleaner::controller(context)?];
    if let Some(authority) = &context.credentials.authority {
        all.push(approver::controller(context, authority)?);
        all.push(signer::controller(context, authority)?);
    }
    Ok(all)
}

fn condition<'r>(
    request: &'r CertificateSigningRequest,
    kind: &str,
) -> Option<&'r CertificateSigningRequestCondition> {
    let conditions = request.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == kind)
}

fn is_issued(request: &CertificateSigningRequest) -> bool {
    let certificate = request.status.as_ref().and_then(|status| status.certificate.as_ref());
    certificate.is_some_and(|certificate| !certificate.0.is_empty())
}

/// The request itself, in PEM.
fn pem(request: &CertificateSigningRequest) -> Result<&str, String> {
    std::str::from_utf8(&request.spec.request.0)
        .map_err(|_| "PEM block type must be CERTIFICATE REQUEST".to_owned())
}

/// Adds a condition; whether it was not there.
fn add_condition(
    request: &mut CertificateSigningRequest,
    kind: &str,
    reason: &str,
    message: &str,
) -> bool {
    if condition(request, kind).is_some() {
        return false;
    }
    let status = request.status.get_or_insert_default();
    status.conditions.get_or_insert_default().push(CertificateSigningRequestCondition {
        type_: kind.to_owned(),
        status: "True".to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        ..Default::default()
    });
    true
}
