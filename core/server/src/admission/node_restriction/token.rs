use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::CSIDriver;
use pinnace_api::{Key, Result};

use super::Asked;
use super::pods::node_of;
use crate::{Attributes, Authorizer, Decision, Selectors};

impl Asked<'_> {
    /// Nodes get tokens for the pods that they run, and for whom these pods speak to.
    pub(super) fn token(&self, authorizer: &dyn Authorizer) -> Result<()> {
        let Some(asked) = self.written().and_then(|new| new.get::<TokenRequest>()) else {
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
            selectors: Selectors::default(),
        };
        authorizer.authorize(&asked) == Decision::Allow
    }
}
