//! What nodes may write, beyond which objects: of themselves, and of the pods that they run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::core::v1::{
    Node, PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimStatus, Pod,
};
use k8s_openapi::api::policy::v1::Eviction;
use k8s_openapi::api::resource::v1::ResourceSlice;
use k8s_openapi::api::storage::v1::CSIDriver;
use pinnace_api::{ApiError, Draft, Key, Result};
use pinnace_client::Subresource;

use super::{Admission, AdmissionRequest, Operation};
use crate::certificates::Subject;
use crate::node_authorizer::{References, USER_PREFIX, is_node};
use crate::{Attributes, Authorizer, Decision};

const MIRROR: &str = "kubernetes.io/config.mirror";
const LEASES: &str = "kube-node-lease";
/// Labels that nodes may give themselves, of those of Kubernetes.
const LABELS: [&str; 12] = [
    "kubernetes.io/hostname",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
    "beta.kubernetes.io/instance-type",
    "node.kubernetes.io/instance-type",
    "kubernetes.io/os",
    "kubernetes.io/arch",
    "node.kubernetes.io/windows-build",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/arch",
];
/// Domains of labels that are theirs.
const DOMAINS: [&str; 2] = ["kubelet.kubernetes.io", "node.kubernetes.io"];
/// The domain of labels that they never give themselves.
const RESTRICTED: &str = "node-restriction.kubernetes.io";
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

    fn admit(&self, _: &mut AdmissionRequest<'_>) -> Result<()> {
        Ok(())
    }

    fn review(&self, request: &AdmissionRequest<'_>) -> Result<()> {
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

impl<'a> Asked<'a> {
    fn refuse(&self, why: impl AsRef<str>) -> Result<()> {
        let request = self.request;
        Err(ApiError::forbidden(request.resource, request.key.name(), why.as_ref()))
    }

    fn new(&self) -> Option<&Draft> {
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

    /// The pod of a name, as it is.
    fn stored_pod(&self, name: &str) -> Result<&'a Pod> {
        let key = Key::new(self.request.key.namespace(), name);
        let missing = || {
            let message = format!("pod {name:?} not found");
            ApiError::new(pinnace_api::Reason::NotFound, message)
        };
        self.request.snapshot.get("pods", &key).ok_or_else(missing)?.get::<Pod>()
    }

    fn pod(&self) -> Result<()> {
        let node = self.node;
        match self.request.operation {
            Operation::Create => match self.new().and_then(|new| new.get::<Pod>()) {
                Some(pod) => self.mirror(pod),
                None => Ok(()),
            },
            Operation::Delete => {
                if node_of(self.stored_pod(self.request.key.name())?) == node {
                    return Ok(());
                }
                self.refuse(format!(
                    "node {node:?} can only delete pods with spec.nodeName set to itself"
                ))
            }
            _ => self.refuse(format!(
                "unexpected operation {:?}, node {node:?} can only create and delete mirror pods",
                self.operation()
            )),
        }
    }

    /// Nodes only make pods that mirror what they run by themselves, and these refer to nothing.
    fn mirror(&self, pod: &Pod) -> Result<()> {
        let node = self.node;
        if !pod.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(MIRROR)) {
            return self.refuse(format!(
                "pod does not have {MIRROR:?} annotation, node {node:?} can only create mirror pods"
            ));
        }
        let can_only =
            |what: &str| self.refuse(format!("node {node:?} can only create pods {what}"));
        if node_of(pod) != node {
            return can_only("with spec.nodeName set to itself");
        }
        let owner = match pod.metadata.owner_references.as_deref().unwrap_or_default() {
            [] => return can_only("with an owner reference set to itself"),
            [owner] => owner,
            _ => return can_only("with a single owner reference set to itself"),
        };
        if owner.api_version != "v1" || owner.kind != "Node" || owner.name != node {
            return can_only("with an owner reference set to itself");
        }
        if owner.controller != Some(true) {
            return can_only("with a controller owner reference set to itself");
        }
        if owner.block_owner_deletion == Some(true) {
            return self.refuse(format!(
                "node {node:?} must not set blockOwnerDeletion on an owner reference"
            ));
        }
        let Some(stored) = self.request.snapshot.get("nodes", &Key::cluster(node)) else {
            let message = format!("node {node:?} not found");
            return Err(ApiError::new(pinnace_api::Reason::NotFound, message));
        };
        if owner.uid != stored.uid() {
            let (found, uid) = (&owner.uid, stored.uid());
            return self.refuse(format!("node {node} UID mismatch: expected {found} got {uid}"));
        }
        match referred(pod) {
            Some(what) => {
                self.refuse(format!("node {node:?} can not create pods that reference {what}"))
            }
            None => Ok(()),
        }
    }

    fn pod_status(&self) -> Result<()> {
        let new = self.new().and_then(|new| new.get::<Pod>());
        let (Some(old), Some(new), Operation::Update) =
            (self.request.old, new, self.request.operation)
        else {
            return self.refuse(format!("unexpected operation {:?}", self.operation()));
        };
        let (node, old) = (self.node, old.get::<Pod>()?);
        if node_of(old) != node {
            return self.refuse(format!(
                "node {node:?} can only update pod status for pods with spec.nodeName set to itself"
            ));
        }
        let labels = |pod: &Pod| pod.metadata.labels.clone().unwrap_or_default();
        if labels(old) != labels(new) {
            let why = format!("node {node:?} cannot update labels through pod status");
            return self.refuse(why);
        }
        let claims = |pod: &Pod| {
            let status = pod.status.as_ref();
            status.and_then(|status| status.resource_claim_statuses.clone()).unwrap_or_default()
        };
        if claims(old) != claims(new) {
            return self.refuse(format!("node {node:?} cannot update resource claim statues"));
        }
        Ok(())
    }

    fn eviction(&self) -> Result<()> {
        let node = self.node;
        let eviction = self.new().and_then(|new| new.get::<Eviction>());
        let named = eviction.and_then(|eviction| eviction.metadata.name.as_deref());
        let name = Some(self.request.key.name()).filter(|name| !name.is_empty()).or(named);
        let Some(name) = name.filter(|name| !name.is_empty()) else {
            return self.refuse("could not determine pod from request data");
        };
        if node_of(self.stored_pod(name)?) == node {
            return Ok(());
        }
        self.refuse(format!("node {node} can only evict pods with spec.nodeName set to itself"))
    }

    fn node(&self) -> Result<()> {
        let (node, name) = (self.node, self.request.key.name());
        if name != node {
            return self.refuse(format!("node {node:?} is not allowed to modify node {name:?}"));
        }
        let Some(new) = self.new().and_then(|new| new.get::<Node>()) else { return Ok(()) };
        let source = |node: &Node| node.spec.as_ref().and_then(|spec| spec.config_source.clone());
        let Some(old) = self.request.old else {
            if source(new).is_some() {
                return self.refuse(format!(
                    "node {node:?} is not allowed to create pods with a non-nil configSource"
                ));
            }
            let forbidden = forbidden_labels(new.metadata.labels.as_ref(), None);
            if forbidden.is_empty() {
                return Ok(());
            }
            return self.refuse(format!(
                "node {node:?} is not allowed to set the following labels: {}",
                forbidden.join(", ")
            ));
        };
        let old = old.get::<Node>()?;
        if source(new).is_some() && source(new) != source(old) {
            return self.refuse(format!(
                "node {node:?} is not allowed to update configSource to a new non-nil configSource"
            ));
        }
        let taints = |node: &Node| {
            let spec = node.spec.as_ref();
            spec.and_then(|spec| spec.taints.clone()).unwrap_or_default()
        };
        if taints(new) != taints(old) {
            return self.refuse(format!("node {node:?} is not allowed to modify taints"));
        }
        let forbidden =
            forbidden_labels(new.metadata.labels.as_ref(), old.metadata.labels.as_ref());
        if forbidden.is_empty() {
            return Ok(());
        }
        self.refuse(format!("is not allowed to modify labels: {}", forbidden.join(", ")))
    }

    fn claim_status(&self) -> Result<()> {
        let new = self.new().and_then(|new| new.get::<PersistentVolumeClaim>());
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

    fn token(&self, authorizer: &dyn Authorizer) -> Result<()> {
        let Some(asked) = self.new().and_then(|new| new.get::<TokenRequest>()) else {
            return Ok(());
        };
        let spec = asked.spec.as_ref();
        let bound = spec.and_then(|spec| spec.bound_object_ref.as_ref()).filter(|bound| {
            bound.api_version.as_deref() == Some("v1") && bound.kind.as_deref() == Some("Pod")
        });
        let name = bound.and_then(|bound| bound.name.as_deref()).unwrap_or_default();
        let Some(bound) = bound.filter(|_| !name.is_empty()) else {
            return self.refuse("node requested token not bound to a pod");
        };
        let uid = bound.uid.as_deref().unwrap_or_default();
        if uid.is_empty() {
            return self.refuse("node requested token with a pod binding without a uid");
        }
        let pod = self.stored_pod(name)?;
        if pod.metadata.uid.as_deref() != Some(uid) {
            return self.refuse(format!(
                "the UID in the bound object reference ({uid}) does not match the UID in record. \
                 The object might have been deleted and then recreated"
            ));
        }
        if node_of(pod) != self.node {
            return self
                .refuse("node requested token bound to a pod scheduled on a different node");
        }
        let audiences = spec.and_then(|spec| spec.audiences.as_deref()).unwrap_or_default();
        let audience = match audiences {
            [] => "",
            [audience] => audience,
            _ => return self.refuse("node may only request 0 or 1 audiences"),
        };
        if self.wants_audience(pod, audience) || self.may_ask_for(authorizer, audience) {
            return Ok(());
        }
        self.refuse(format!("audience {audience:?} not found in pod spec volume"))
    }

    /// Whether a volume of a pod needs a token for an audience.
    fn wants_audience(&self, pod: &Pod, audience: &str) -> bool {
        let volumes = || pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
        let projected = volumes().filter_map(|volume| volume.projected.as_ref());
        let mut tokens = projected
            .flat_map(|projected| projected.sources.iter().flatten())
            .filter_map(|source| source.service_account_token.as_ref());
        tokens.any(|token| token.audience.as_deref().unwrap_or_default() == audience)
            || volumes().any(|volume| {
                let own = volume.csi.as_ref().map(|csi| csi.driver.clone());
                let claim = volume.persistent_volume_claim.as_ref().map(|one| &one.claim_name);
                let made = volume.ephemeral.as_ref().map(|_| {
                    format!("{}-{}", pod.metadata.name.as_deref().unwrap_or_default(), volume.name)
                });
                let of_claim = claim.or(made.as_ref()).and_then(|claim| self.driver_of(claim));
                own.or(of_claim).is_some_and(|driver| self.asks(&driver, audience))
            })
    }

    /// The driver of the volume that a claim has.
    fn driver_of(&self, claim: &str) -> Option<String> {
        let snapshot = self.request.snapshot;
        let key = Key::new(self.request.key.namespace(), claim);
        let claim = snapshot.get("persistentvolumeclaims", &key)?;
        let volume =
            claim.get::<PersistentVolumeClaim>().ok()?.spec.as_ref()?.volume_name.clone()?;
        let volume = snapshot.get("persistentvolumes", &Key::cluster(volume.as_str()))?;
        let spec = volume.get::<PersistentVolume>().ok()?.spec.as_ref()?;
        spec.csi.as_ref().map(|csi| csi.driver.clone())
    }

    fn asks(&self, driver: &str, audience: &str) -> bool {
        let driver = self.request.snapshot.get("csidrivers.storage.k8s.io", &Key::cluster(driver));
        let driver = driver.and_then(|driver| driver.get::<CSIDriver>().ok());
        let mut requests = driver.iter().flat_map(|one| one.spec.token_requests.iter().flatten());
        requests.any(|request| request.audience == audience)
    }

    fn may_ask_for(&self, authorizer: &dyn Authorizer, audience: &str) -> bool {
        let key = self.request.key;
        let asked = Attributes {
            user: self.request.user,
            verb: "request-serviceaccounts-token-audience",
            group: "",
            resource: audience,
            subresource: "",
            namespace: key.namespace(),
            name: key.name(),
            path: "",
        };
        authorizer.authorize(&asked) == Decision::Allow
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
                let slice = self.new().and_then(|new| new.get::<ResourceSlice>());
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
        let new = self.new().and_then(|new| new.get::<CertificateSigningRequest>());
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

fn node_of(pod: &Pod) -> &str {
    pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default()
}

/// What a pod refers to that the node may not make it refer to.
fn referred(pod: &Pod) -> Option<&'static str> {
    let mut plain = pod.clone();
    // A mirror's references count for nothing elsewhere.
    plain.metadata.annotations = None;
    let found = References::of(&plain);
    let volumes = || pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let sources = volumes().filter_map(|volume| volume.projected.as_ref());
    let mut sources = sources.flat_map(|projected| projected.sources.iter().flatten());
    let claims = pod.spec.as_ref().and_then(|spec| spec.resource_claims.as_ref());
    let table = [
        ("a service account", !found.account.is_empty()),
        ("secrets", !found.secrets.is_empty()),
        ("configmaps", !found.config_maps.is_empty()),
        ("clustertrustbundles", sources.any(|source| source.cluster_trust_bundle.is_some())),
        ("persistentvolumeclaims", volumes().any(|one| one.persistent_volume_claim.is_some())),
        ("resourceclaims", claims.is_some_and(|claims| !claims.is_empty())),
    ];
    table.iter().find(|(_, is)| *is).map(|(what, _)| *what)
}

/// The labels that differ and that a node may not change.
fn forbidden_labels<'l>(
    new: Option<&'l BTreeMap<String, String>>,
    old: Option<&'l BTreeMap<String, String>>,
) -> Vec<&'l str> {
    let none = BTreeMap::new();
    let (a, b) = (new.into_iter().flatten(), old.into_iter().flatten());
    let changed: BTreeSet<&str> = a
        .chain(b)
        .map(|(key, _)| key.as_str())
        .filter(|key| new.unwrap_or(&none).get(*key) != old.unwrap_or(&none).get(*key))
        .collect();
    changed.into_iter().filter(|key| is_forbidden(key)).collect()
}

fn is_forbidden(label: &str) -> bool {
    let domain = label.split_once('/').map_or("", |(domain, _)| domain);
    let is_in = |of: &str| domain == of || domain.ends_with(&format!(".{of}"));
    let is_theirs = || LABELS.contains(&label) || DOMAINS.iter().any(|of| is_in(of));
    is_in(RESTRICTED) || (is_in("kubernetes.io") || is_in("k8s.io")) && !is_theirs()
}
