//! Requests for certificates: approved, signed, failed and removed.

use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use pinnace_api::Typed;
use serde_json::json;

use crate::harness::{self, CERTIFICATE, Cluster, condition, key};

const CLIENT: &str = "kubernetes.io/kube-apiserver-client";
const KUBELET: &str = "kubernetes.io/kube-apiserver-client-kubelet";

async fn ask(cluster: &Cluster, name: &str, signer: &str, subject: &str, usages: &[&str]) {
    let mut request: CertificateSigningRequest = serde_json::from_value(json!({
        "metadata": {"name": name},
        "spec": {"request": "", "signerName": signer, "usages": usages},
    }))
    .unwrap();
    let (name, organization) = subject.split_once('/').unwrap();
    request.spec.request = ByteString(harness::request(name, organization).into_bytes());
    cluster.api().create(request).await.unwrap();
}

async fn approve(cluster: &Cluster, name: &str) {
    let approve = |request: &mut CertificateSigningRequest| {
        let status = json!({"conditions": [{"type": "Approved", "status": "True", "reason": "T"}]});
        request.status = serde_json::from_value(status).unwrap();
        true
    };
    let api = cluster.api::<CertificateSigningRequest>();
    api.modify_approval(&key(name), approve).await.unwrap();
}

fn certificate(request: &CertificateSigningRequest) -> Option<String> {
    let certificate = request.status.as_ref()?.certificate.as_ref()?;
    Some(String::from_utf8(certificate.0.clone()).unwrap())
}

async fn settled(cluster: &Cluster, name: &str) -> Typed<CertificateSigningRequest> {
    cluster.pass(5).await;
    cluster.get(name).await
}

#[tokio::test(start_paused = true)]
async fn a_nodes_request_is_approved_and_signed() {
    let cluster = Cluster::start().await;
    let usages = &["digital signature", "client auth"];
    ask(&cluster, "n1", KUBELET, "system:node:n1/system:nodes", usages).await;
    let request = settled(&cluster, "n1").await;
    let message = "Auto approving kubelet client certificate after SubjectAccessReview.";
    assert_eq!(condition(&*request, "Approved"), format!("True AutoApproved {message}"));
    let issued = certificate(&request).unwrap();
    assert!(
        issued.starts_with(&format!("{CERTIFICATE}system:node:n1/system:nodes for ")),
        "{issued}"
    );
    // What is not a node's request is left to people.
    ask(&cluster, "eve", KUBELET, "eve/system:masters", usages).await;
    ask(&cluster, "ann", CLIENT, "ann/dev", usages).await;
    for name in ["eve", "ann"] {
        let request = settled(&cluster, name).await;
        assert_eq!((condition(&*request, "Approved").as_str(), certificate(&request)), ("", None));
    }
    approve(&cluster, "ann").await;
    assert!(certificate(&*settled(&cluster, "ann").await).is_some());
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_a_signer_does_not_give_has_failed() {
    let cluster = Cluster::start().await;
    ask(&cluster, "eve", KUBELET, "eve/system:nodes", &["client auth", "digital signature"]).await;
    approve(&cluster, "eve").await;
    let request = settled(&cluster, "eve").await;
    let why = "subject common name does not begin with system:node:";
    assert_eq!(condition(&*request, "Failed"), format!("True SignerValidationFailure {why}"));
    assert_eq!(certificate(&request), None);
    ask(&cluster, "serving", CLIENT, "a/b", &["server auth"]).await;
    approve(&cluster, "serving").await;
    let why = "invalid usage for client certificate: server auth";
    let request = settled(&cluster, "serving").await;
    assert_eq!(condition(&*request, "Failed"), format!("True SignerValidationFailure {why}"));
    // Another's signer is not ours to sign or to fail.
    ask(&cluster, "other", "example.com/own", "a/b", &["server auth"]).await;
    approve(&cluster, "other").await;
    let request = settled(&cluster, "other").await;
    assert_eq!((condition(&*request, "Failed").as_str(), certificate(&request)), ("", None));
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn old_requests_go() {
    let cluster = Cluster::start().await;
    let usages = &["digital signature", "client auth"];
    ask(&cluster, "pending", CLIENT, "ann/dev", usages).await;
    ask(&cluster, "approved", CLIENT, "ann/dev", usages).await;
    approve(&cluster, "approved").await;
    // Nobody signs for this signer.
    ask(&cluster, "unissued", "example.com/mine", "ann/dev", usages).await;
    approve(&cluster, "unissued").await;
    cluster.pass(59 * 60).await;
    cluster.get::<CertificateSigningRequest>("approved").await;
    cluster.pass(2 * 60).await;
    assert!(cluster.find::<CertificateSigningRequest>("approved").await.is_none());
    for name in ["pending", "unissued"] {
        cluster.get::<CertificateSigningRequest>(name).await;
    }
    cluster.pass(24 * 60 * 60).await;
    assert_eq!(cluster.all::<CertificateSigningRequest>().await.len(), 0);
    cluster.stop().await;
}
