use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::Eviction;
use pinnace_api::{ApiError, Key, Reason, Result};

use super::{Asked, MIRROR, Operation};
use crate::node_authorizer::References;

impl<'a> Asked<'a> {
    /// The pod of a name, as it is.
    pub(super) fn stored_pod(&self, name: &str) -> Result<&'a Pod> {
        let key = Key::new(self.request.key.namespace(), name);
        let missing = || {
            let message = format!("pod {name:?} not found");
            ApiError::new(Reason::NotFound, message)
        };
        self.request.snapshot.get("pods", &key).ok_or_else(missing)?.get::<Pod>()
    }

    pub(super) fn pod(&self) -> Result<()> {
        let node = self.node;
        match self.request.operation {
            Operation::Create => match self.written().and_then(|new| new.get::<Pod>()) {
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
            return Err(ApiError::new(Reason::NotFound, message));
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

    pub(super) fn pod_status(&self) -> Result<()> {
        let new = self.written().and_then(|new| new.get::<Pod>());
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
        let extended = |pod: &Pod| pod.status.as_ref()?.extended_resource_claim_status.clone();
        if extended(old) != extended(new) {
            let why = format!("node {node:?} cannot update extended resource claim status");
            return self.refuse(why);
        }
        Ok(())
    }

    pub(super) fn eviction(&self) -> Result<()> {
        let node = self.node;
        let eviction = self.written().and_then(|new| new.get::<Eviction>());
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
}

/// The node that a pod is on.
pub(super) fn node_of(pod: &Pod) -> &str {
    pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default()
}

/// What a pod refers to that the node may not make it refer to.
fn referred(pod: &Pod) -> Option<&'static str> {
    let found = References::of_any(pod);
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
