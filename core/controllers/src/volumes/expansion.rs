//! Claims that are to grow: those of local directories grow at once, for a directory has no size; of
//! others somebody else has to be told.

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use pinnace_api::volumes::{self, PROVISIONED_BY};
use pinnace_api::{Key, Result};
use pinnace_client::{Api, EventType, Lister, Recorder};
use pinnace_reconcile::{Action, BoxError, Controller, Reconciler};

use super::local_path::LOCAL_PATH;
use crate::Context;

/// The controller.
pub(super) fn controller(context: &Context) -> Result<Controller> {
    let claims = context.informers.of::<PersistentVolumeClaim>()?;
    let reconciler = Expansion {
        claims: claims.clone(),
        volumes: context.informers.of()?,
        claim_api: context.client().of()?,
        volume_api: context.client().of()?,
        recorder: context.recorder.component("volume_expand"),
    };
    Ok(Controller::new(reconciler, &context.env).watches(claims.informer()))
}

struct Expansion {
    claims: Lister<PersistentVolumeClaim>,
    volumes: Lister<PersistentVolume>,
    claim_api: Api<PersistentVolumeClaim>,
    volume_api: Api<PersistentVolume>,
    recorder: Recorder,
}

#[async_trait]
impl Reconciler for Expansion {
    fn name(&self) -> &str {
        "volume-expansion"
    }

    async fn reconcile(&self, key: &Key) -> Result<Action, BoxError> {
        let Some(claim) = self.claims.get(key) else { return Ok(Action::Done) };
        let status = claim.status.clone().unwrap_or_default();
        let has = status.capacity.as_ref().and_then(|capacity| capacity.get("storage"));
        let has = has.and_then(|has| pinnace_api::quantity::Quantity::try_from(has).ok());
        let wanted = volumes::asked(&claim);
        if status.phase.as_deref() != Some("Bound") || has.is_none() || wanted <= has {
            return Ok(Action::Done);
        }
        let volume = self.volumes.get(&Key::cluster(volumes::volume_name(&claim)));
        let Some(volume) = volume else { return Ok(Action::Done) };
        if volumes::annotation(&*volume, PROVISIONED_BY) != Some(LOCAL_PATH) {
            let message = "waiting for an external controller to expand this PVC";
            let kind = EventType::Normal;
            self.recorder.record(claim.object(), kind, "ExternalExpanding", message.to_owned());
            return Ok(Action::Done);
        }
        let requests =
            claim.spec.as_ref().and_then(|spec| spec.resources.as_ref()?.requests.clone());
        let Some(size) = requests.and_then(|mut requests| requests.remove("storage")) else {
            return Ok(Action::Done);
        };
        let storage = || ("storage".to_owned(), size.clone());
        if volumes::capacity(&volume) < wanted {
            let mut new = volume.to_owned();
            new.spec.get_or_insert_default().capacity.get_or_insert_default().extend([storage()]);
            self.volume_api.update(new).await?;
        }
        let mut new = claim.to_owned();
        let status = new.status.get_or_insert_default();
        status.capacity.get_or_insert_default().extend([storage()]);
        status.conditions = None;
        self.claim_api.update_status(new).await?;
        let message = "Resize volume succeeded".to_owned();
        self.recorder.record(claim.object(), EventType::Normal, "VolumeResizeSuccessful", message);
        Ok(Action::Done)
    }
}
