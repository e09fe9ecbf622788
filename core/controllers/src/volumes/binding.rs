//! Both halves of a binding, written in an order that a crash may break off anywhere: first the
//! volume, then the claim.

use k8s_openapi::api::core::v1::{ObjectReference, PersistentVolume, PersistentVolumeClaim};
use pinnace_api::volumes::{self, BIND_COMPLETED, BOUND_BY_CONTROLLER};
use pinnace_api::{Result, Typed};
use pinnace_client::Api;

use crate::Context;

/// Writes claims and volumes.
#[derive(Clone)]
pub(super) struct Binder {
    claims: Api<PersistentVolumeClaim>,
    volumes: Api<PersistentVolume>,
}

impl Binder {
    pub(super) fn new(context: &Context) -> Result<Self> {
        Ok(Self { claims: context.client().of()?, volumes: context.client().of()? })
    }

    /// Binds a volume and a claim to each other.
    ///
    /// # Errors
    /// A conflict when either has changed since: the next look decides anew.
    pub(super) async fn bind(
        &self,
        volume: &Typed<PersistentVolume>,
        claim: &Typed<PersistentVolumeClaim>,
    ) -> Result<()> {
        let volume = self.bind_volume(volume, claim).await?;
        let volume = self.set_volume_phase(&volume, "Bound", None).await?;
        let claim = self.bind_claim(claim, &volume).await?;
        self.set_claim_phase(&claim, "Bound", Some(&volume)).await?;
        Ok(())
    }

    async fn bind_volume(
        &self,
        volume: &Typed<PersistentVolume>,
        claim: &Typed<PersistentVolumeClaim>,
    ) -> Result<Typed<PersistentVolume>> {
        let mut new = volume.to_owned();
        if !volumes::is_bound_to(volume, claim) {
            annotate(&mut new.metadata.annotations, BOUND_BY_CONTROLLER);
        }
        let spec = new.spec.get_or_insert_default();
        let uid = spec.claim_ref.as_ref().and_then(|known| known.uid.as_deref());
        if uid != Some(claim.object().uid()) {
            spec.claim_ref = Some(reference(claim));
        }
        if new == **volume { Ok(volume.clone()) } else { self.volumes.update(new).await }
    }

    async fn bind_claim(
        &self,
        claim: &Typed<PersistentVolumeClaim>,
        volume: &Typed<PersistentVolume>,
    ) -> Result<Typed<PersistentVolumeClaim>> {
        let mut new = claim.to_owned();
        let name = volume.object().name();
        if volumes::volume_name(claim) != name {
            new.spec.get_or_insert_default().volume_name = Some(name.to_owned());
            annotate(&mut new.metadata.annotations, BOUND_BY_CONTROLLER);
        }
        annotate(&mut new.metadata.annotations, BIND_COMPLETED);
        if new == **claim { Ok(claim.clone()) } else { self.claims.update(new).await }
    }

    /// Takes a binding back: a volume that the controller chose is free again, one that was reserved
    /// stays so.
    pub(super) async fn unbind(&self, volume: &Typed<PersistentVolume>) -> Result<()> {
        let mut new = volume.to_owned();
        let chosen = new.metadata.annotations.as_mut();
        let chosen = chosen.and_then(|all| all.remove(BOUND_BY_CONTROLLER)).is_some();
        let spec = new.spec.get_or_insert_default();
        if chosen {
            spec.claim_ref = None;
        } else if let Some(reference) = &mut spec.claim_ref {
            reference.uid = None;
        }
        let volume = self.volumes.update(new).await?;
        self.set_volume_phase(&volume, "Available", None).await?;
        Ok(())
    }

    pub(super) async fn set_volume_phase(
        &self,
        volume: &Typed<PersistentVolume>,
        phase: &str,
        message: Option<&str>,
    ) -> Result<Typed<PersistentVolume>> {
        let known = volume.status.as_ref().and_then(|status| status.phase.as_deref());
        if known == Some(phase) {
            return Ok(volume.clone());
        }
        let mut new = volume.to_owned();
        let status = new.status.get_or_insert_default();
        status.phase = Some(phase.to_owned());
        status.message = message.map(str::to_owned);
        self.volumes.update_status(new).await
    }

    /// Writes a claim's phase, with what its volume has. Says whether the phase is a new one.
    pub(super) async fn set_claim_phase(
        &self,
        claim: &Typed<PersistentVolumeClaim>,
        phase: &str,
        volume: Option<&PersistentVolume>,
    ) -> Result<bool> {
        let mut new = claim.to_owned();
        let spec = volume.and_then(|volume| volume.spec.as_ref());
        let status = new.status.get_or_insert_default();
        let before = status.phase.replace(phase.to_owned());
        status.access_modes = spec.and_then(|spec| spec.access_modes.clone());
        // One that is to grow keeps what it has until it has grown.
        if status.capacity.is_none() || volume.is_none() || phase != "Bound" {
            status.capacity = spec.and_then(|spec| spec.capacity.clone());
        }
        if new != **claim {
            self.claims.update_status(new).await?;
        }
        Ok(before.as_deref() != Some(phase))
    }

    /// Writes a claim.
    pub(super) async fn update_claim(&self, claim: PersistentVolumeClaim) -> Result<()> {
        self.claims.update(claim).await.map(drop)
    }
}

/// How a volume names its claim.
pub(super) fn reference(claim: &Typed<PersistentVolumeClaim>) -> ObjectReference {
    let object = claim.object();
    ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("PersistentVolumeClaim".to_owned()),
        name: Some(object.name().to_owned()),
        namespace: Some(object.namespace().to_owned()),
        uid: Some(object.uid().to_owned()),
        resource_version: Some(object.revision().to_string()),
        ..ObjectReference::default()
    }
}

type Annotations = Option<std::collections::BTreeMap<String, String>>;

fn annotate(annotations: &mut Annotations, name: &str) {
    let all = annotations.get_or_insert_default();
    all.entry(name.to_owned()).or_insert_with(|| "yes".to_owned());
}
