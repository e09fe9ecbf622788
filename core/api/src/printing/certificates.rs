//! Requests for certificates, and bundles of trusted ones.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::certificates::v1::{
    CertificateSigningRequest, CertificateSigningRequestStatus,
};
use k8s_openapi::api::certificates::v1beta1::{ClusterTrustBundle, PodCertificateRequest};
use serde_json::Value;

use super::age::{age, human_duration};
use super::text::{self, NONE, or_none};
use super::typed::Entry;
use super::{AGE, Column, NAME, cells};

const SIGNING_REQUEST: &[Column] = &[
    NAME,
    AGE,
    Column::text("SignerName", "Who is asked to sign"),
    Column::text("Requestor", "Who asks"),
    Column::text("RequestedDuration", "How long the certificate should be valid"),
    Column::text("Condition", "What has been decided and done"),
];

const TRUST_BUNDLE: &[Column] =
    &[NAME, Column::text("SignerName", "Whose certificates the bundle is about")];

const POD_REQUEST: &[Column] = &[
    NAME,
    Column::text("PodName", "Pod that the certificate is for"),
    Column::text("ServiceAccountName", "Service account of the pod"),
    Column::text("NodeName", "Node of the pod"),
    Column::text("SignerName", "Who is asked to sign"),
    Column::text("State", "What has become of the request"),
    Column::text("UnverifiedUserAnnotations", "What the pod says beyond that, unverified"),
];

pub(super) fn printers() -> Vec<Entry> {
    vec![
        Entry::new(SIGNING_REQUEST, signing_request),
        Entry::new(TRUST_BUNDLE, trust_bundle),
        Entry::new(POD_REQUEST, pod_request),
    ]
}

fn signing_request(request: &CertificateSigningRequest, now: Timestamp) -> Vec<Value> {
    let spec = &request.spec;
    let duration = spec.expiration_seconds.map(|seconds| SignedDuration::from_secs(seconds.into()));
    cells![
        request.metadata.name.as_deref(),
        age(&request.metadata, now),
        or_none(Some(&spec.signer_name)),
        spec.username.as_deref().unwrap_or_default(),
        duration.map_or_else(|| NONE.to_owned(), human_duration),
        condition(request.status.as_ref()),
    ]
}

fn condition(status: Option<&CertificateSigningRequestStatus>) -> String {
    let conditions = status.and_then(|status| status.conditions.as_ref());
    let has = |kind: &str| conditions.into_iter().flatten().any(|one| one.type_ == kind);
    let certificate = status.and_then(|status| status.certificate.as_ref());
    let mut text = match (has("Denied"), has("Approved")) {
        (true, _) => "Denied",
        (_, true) => "Approved",
        _ => "Pending",
    }
    .to_owned();
    if has("Failed") {
        text.push_str(",Failed");
    }
    if certificate.is_some_and(|certificate| !certificate.0.is_empty()) {
        text.push_str(",Issued");
    }
    text
}

fn trust_bundle(bundle: &ClusterTrustBundle, _: Timestamp) -> Vec<Value> {
    cells![bundle.metadata.name.as_deref(), or_none(bundle.spec.signer_name.as_deref())]
}

fn pod_request(request: &PodCertificateRequest, _: Timestamp) -> Vec<Value> {
    let spec = &request.spec;
    let conditions = request.status.iter().filter_map(|status| status.conditions.as_ref());
    let last = conditions
        .flatten()
        .map(|condition| &condition.type_[..])
        .rfind(|kind| matches!(*kind, "Issued" | "Denied" | "Failed"));
    cells![
        request.metadata.name.as_deref(),
        &spec.pod_name[..],
        &spec.service_account_name[..],
        &spec.node_name[..],
        &spec.signer_name[..],
        last.unwrap_or("Pending"),
        text::labels(spec.unverified_user_annotations.as_ref()),
    ]
}
