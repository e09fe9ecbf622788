//! Volumes: whether they are free, bound or released, and what becomes of released ones.

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use pinnace_api::volumes::{self, PROVISIONED_BY};
use pinnace_api::{Key, Result, Typed};
use pinnace_client::{EventType, Lister, Recorder};
use pinnace_reconcile::{Action, BoxError, Controller, Reconciler};

use super::binding::Binder;
use super::claims::BY_REFERENCE;
use crate::Context;

/// The controller.
pub(super) fn controller(context: &Context) -> Result<Controller> {
    let volumes = context.informers.of::<PersistentVolume>()?;
    let claims = context.informers.of::<PersistentVolumeClaim>()?;
    let reconciler = Volumes {
        volumes: volumes.clone(),
        claims: claims.clone(),
        binder: Binder::new(context)?,
        recorder: context.recorder.component("persistentvolume-controller"),
    };
    let by_reference = volumes.informer().clone();
    Ok(Controller::new(reconciler, &context.env).watches(volumes.informer()).maps(
        claims.informer(),
        move |delta, queue| {
            let Some(claim) = delta.object() else { return };
            let key = claim.key().to_string();
            for volume in by_reference.by_index(BY_REFERENCE, &key) {
                queue.add(volume.key());
            }
        },
    ))
}

struct Volumes {
    volumes: Lister<PersistentVolume>,
    claims: Lister<PersistentVolumeClaim>,
    binder: Binder,
    recorder: Recorder,
}

#[async_trait]
impl Reconciler for Volumes {
    fn name(&self) -> &str {
        "persistentvolume"
    }

    async fn reconcile(&self, key: &Key) -> Result<Action, BoxError> {
        let Some(volume) = self.volumes.get(key) else { return Ok(Action::Done) };
        let reference = volume.spec.as_ref().and_then(|spec| spec.claim_ref.clone());
        let reference = reference.filter(|one| one.uid.as_ref().is_some_and(|uid| !uid.is_empty()));
        let Some(reference) = reference else {
            self.binder.set_volume_phase(&volume, "Available", None).await?;
            return Ok(Action::Done);
        };
        let key =
            Key::new(reference.namespace.unwrap_or_default(), reference.name.unwrap_or_default());
        let uid = reference.uid.unwrap_or_default();
        match self.claims.get(&key).filter(|claim| claim.object().uid() == uid) {
            None => self.reclaim(volume).await?,
            // The claim's own look goes on from here.
            Some(claim) if volumes::volume_name(&claim).is_empty() => {}
            Some(claim) if volumes::volume_name(&claim) == volume.object().name() => {
                self.binder.set_volume_phase(&volume, "Bound", None).await?;
            }
            Some(_) if made_to_go(&volume) => self.reclaim(volume).await?,
            Some(_) => self.binder.unbind(&volume).await?,
        }
        Ok(Action::Done)
    }
}

/// Whether a volume was made for a claim and goes with it.
fn made_to_go(volume: &PersistentVolume) -> bool {
    volumes::annotation(volume, PROVISIONED_BY).is_some() && policy(volume) == "Delete"
}

fn policy(volume: &PersistentVolume) -> &str {
    let spec = volume.spec.as_ref();
    spec.and_then(|spec| spec.persistent_volume_reclaim_policy.as_deref()).unwrap_or("Retain")
}

impl Volumes {
    /// For a volume whose claim is gone.
    async fn reclaim(&self, volume: Typed<PersistentVolume>) -> Result<()> {
        let phase = volume.status.as_ref().and_then(|status| status.phase.as_deref());
        let mut volume = volume.clone();
        if !matches!(phase, Some("Released" | "Failed")) {
            volume = self.binder.set_volume_phase(&volume, "Released", None).await?;
        }
        let name = volume.object().name();
        let (reason, message) = match policy(&volume) {
            // Whoever has made it removes it.
            "Delete" if volumes::annotation(&*volume, PROVISIONED_BY).is_some() => return Ok(()),
            "Delete" => (
                "VolumeFailedDelete",
                format!(
                    "error getting deleter volume plugin for volume {name:?}: \
                     no deletable volume plugin matched"
                ),
            ),
            "Recycle" => {
                ("VolumeFailedRecycle", "No recycler plugin found for the volume!".to_owned())
            }
            _ => return Ok(()),
        };
        let failed = volume.status.as_ref().and_then(|status| status.phase.as_deref());
        if failed != Some("Failed") {
            self.binder.set_volume_phase(&volume, "Failed", Some(&message)).await?;
            self.recorder.record(volume.object(), EventType::Warning, reason, message);
        }
        Ok(())
    }
}
