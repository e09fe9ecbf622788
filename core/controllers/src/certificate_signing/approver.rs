use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::core::v1::Node;
use pinnace_api::{Key, Object, Result};
use pinnace_client::{Api, Lister};
use pinnace_reconcile::{Action, BoxError, Controller, Reconciler};

use super::checks::{NODE_PREFIX, kubelet_client, kubelet_serving};
use super::{KUBELET_CLIENT, KUBELET_SERVING, add_condition, condition, is_issued, pem};
use crate::{CertificateAuthority, CertificateRequest, Context};

/// The controller that approves the requests of nodes whose users may make them.
pub(super) fn controller(
    context: &Context,
    authority: &Arc<dyn CertificateAuthority>,
) -> Result<Controller> {
    let requests = context.informers.of::<CertificateSigningRequest>()?;
    let nodes = context.informers.of::<Node>()?;
    let reconciler = Approver {
        requests: requests.clone(),
        api: context.client().of()?,
        reviews: context.client().of()?,
        nodes: nodes.clone(),
        authority: authority.clone(),
    };
    let controller = Controller::new(reconciler, &context.env).watches(requests.informer());
    // A request may come before its Node says the addresses that it is for.
    Ok(controller.maps(nodes.informer(), move |delta, queue| {
        let told = |node: &Option<Object>| node.as_ref().map(addresses_of).unwrap_or_default();
        let Some(node) = delta.new.as_ref().filter(|_| told(&delta.old) != told(&delta.new)) else {
            return;
        };
        let user = format!("{NODE_PREFIX}{}", node.name());
        for request in requests.list(None) {
            if request.spec.username.as_ref() == Some(&user) {
                queue.add(request.object().key());
            }
        }
    }))
}

/// Where a Node says that it is reached.
fn addresses_of(node: &Object) -> Vec<String> {
    let status = node.get::<Node>().ok().and_then(|node| node.status.as_ref());
    let addresses = status.and_then(|status| status.addresses.as_ref());
    addresses.into_iter().flatten().map(|address| address.address.clone()).collect()
}

struct Approver {
    requests: Lister<CertificateSigningRequest>,
    api: Api<CertificateSigningRequest>,
    reviews: Api<SubjectAccessReview>,
    nodes: Lister<Node>,
    authority: Arc<dyn CertificateAuthority>,
}

/// A kind of request that is approved: as which subresource it may be created, and what is said.
struct Recognizer {
    subresource: &'static str,
    message: &'static str,
}

const SELF: Recognizer = Recognizer {
    subresource: "selfnodeclient",
    message: "Auto approving self kubelet client certificate after SubjectAccessReview.",
};
const OTHER: Recognizer = Recognizer {
    subresource: "nodeclient",
    message: "Auto approving kubelet client certificate after SubjectAccessReview.",
};

/// What is said of a certificate to serve with.
const SERVING_MESSAGE: &str =
    "Auto approving kubelet serving certificate for the addresses of the Node.";

#[async_trait]
impl Reconciler for Approver {
    fn name(&self) -> &str {
        "certificatesigningrequest-approving"
    }

    async fn reconcile(&self, key: &Key) -> Result<Action, BoxError> {
        let Some(request) = self.requests.get(key) else { return Ok(Action::Done) };
        let decided = ["Approved", "Denied"].iter().any(|kind| condition(&request, kind).is_some());
        if decided || is_issued(&request) {
            return Ok(Action::Done);
        }
        let check = match &*request.spec.signer_name {
            KUBELET_CLIENT => kubelet_client,
            KUBELET_SERVING => kubelet_serving,
            _ => return Ok(Action::Done),
        };
        let usages = request.spec.usages.as_deref().unwrap_or_default();
        let read = pem(&request).and_then(|pem| self.authority.read(pem));
        let Ok(wanted) = read.and_then(|read| check(&read, usages).map(|()| read)) else {
            return Ok(Action::Done);
        };
        if request.spec.signer_name == KUBELET_SERVING {
            return self.serving(key, &request, &wanted).await;
        }
        let own = request.spec.username.as_deref() == Some(&*wanted.common_name);
        let recognizers = if own { &[SELF, OTHER][..] } else { &[OTHER][..] };
        for recognizer in recognizers {
            if self.may(&request, recognizer).await? {
                let approve = |request: &mut CertificateSigningRequest| {
                    add_condition(request, "Approved", "AutoApproved", recognizer.message)
                };
                self.api.modify_approval(key, approve).await?;
                return Ok(Action::Done);
            }
        }
        let tried: Vec<_> = recognizers.iter().map(|one| one.subresource).collect();
        let name = key.name();
        Err(format!(
            "recognized csr {name:?} as {tried:?} but subject access review was not approved"
        )
        .into())
    }
}

impl Approver {
    /// Approves what a node serves with: for itself, and for addresses that its Node says alone.
    /// Upstream leaves that to others.
    async fn serving(
        &self,
        key: &Key,
        request: &CertificateSigningRequest,
        wanted: &CertificateRequest,
    ) -> Result<Action, BoxError> {
        if request.spec.username.as_deref() != Some(&*wanted.common_name) {
            return Ok(Action::Done);
        }
        let node = wanted.common_name.strip_prefix(NODE_PREFIX).unwrap_or_default();
        let node = self.nodes.get(&Key::cluster(node));
        let addresses = node.map(|node| addresses_of(node.object())).unwrap_or_default();
        let mut names = wanted.addresses.iter().chain(&wanted.dns_names);
        if !names.all(|name| addresses.contains(name)) {
            // It is looked at again when the Node says others.
            return Ok(Action::Done);
        }
        let approve = |request: &mut CertificateSigningRequest| {
            add_condition(request, "Approved", "AutoApproved", SERVING_MESSAGE)
        };
        self.api.modify_approval(key, approve).await?;
        Ok(Action::Done)
    }

    async fn may(
        &self,
        request: &CertificateSigningRequest,
        recognizer: &Recognizer,
    ) -> Result<bool> {
        let spec = &request.spec;
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: spec.username.clone(),
                uid: spec.uid.clone(),
                groups: spec.groups.clone(),
                extra: spec.extra.clone(),
                resource_attributes: Some(ResourceAttributes {
                    group: Some("certificates.k8s.io".to_owned()),
                    resource: Some("certificatesigningrequests".to_owned()),
                    verb: Some("create".to_owned()),
                    version: Some("*".to_owned()),
                    subresource: Some(recognizer.subresource.to_owned()),
                    ..ResourceAttributes::default()
                }),
                ..SubjectAccessReviewSpec::default()
            },
            ..SubjectAccessReview::default()
        };
        let answer = self.reviews.create(review).await?;
        Ok(answer.status.as_ref().is_some_and(|status| status.allowed))
    }
}
