//! Neither a claim that a pod uses, nor a volume that a claim has, nor the class of attributes of either
//! goes: a finalizer holds it.

use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::Resource;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::VolumeAttributesClass;
use pinnace_api::{Key, Kind, Result, Typed};
use pinnace_client::{Api, Informer, Lister};
use pinnace_reconcile::{Action, BoxError, Controller, Reconciler};

use super::{BY_CLAIM, claim_keys, pods_by_claim};
use crate::Context;

/// The controllers: for claims, for volumes and for classes of attributes.
pub(super) fn controllers(context: &Context) -> Result<[Controller; 3]> {
    let pods = pods_by_claim(context)?;
    let used_by = pods.clone();
    let claims = guard::<PersistentVolumeClaim>(
        context,
        ("pvc-protection", "kubernetes.io/pvc-protection"),
        move |claim| {
            let pods = used_by.by_index(BY_CLAIM, &claim.object().key().to_string());
            // A pod that was not placed yet will not start with a claim that goes.
            pods.iter().any(|pod: &Typed<Pod>| !crate::pods::node_name(pod).is_empty())
        },
    )?;
    let cache = context.informers.of::<PersistentVolumeClaim>()?.informer().clone();
    let claims = claims.maps(pods.informer(), move |delta, queue| {
        let pods = [&delta.old, &delta.new].into_iter().flatten();
        for key in pods.flat_map(claim_keys) {
            if is_going(&cache, &key) {
                queue.add(key);
            }
        }
    });
    let volumes = guard::<PersistentVolume>(
        context,
        ("pv-protection", "kubernetes.io/pv-protection"),
        |volume| {
            let phase = volume.status.as_ref().and_then(|status| status.phase.as_deref());
            phase == Some("Bound")
        },
    )?;
    Ok([claims, volumes, of_classes(context)?])
}

fn of_classes(context: &Context) -> Result<Controller> {
    let claims = context.informers.of::<PersistentVolumeClaim>()?;
    let volumes = context.informers.of::<PersistentVolume>()?;
    let (claimed, held) = (claims.clone(), volumes.clone());
    let mut controller = guard::<VolumeAttributesClass>(
        context,
        ("vac-protection", "kubernetes.io/vac-protection"),
        move |class| {
            let name = class.object().name();
            claimed.list(None).iter().any(|claim| classes_of_claim(claim).any(|one| one == name))
                || held.list(None).iter().any(|volume| class_of_volume(volume) == Some(name))
        },
    )?;
    let classes = context.informers.of::<VolumeAttributesClass>()?.informer().clone();
    for users in [claims.informer(), volumes.informer()] {
        let classes = classes.clone();
        controller = controller.maps(users, move |_, queue| {
            let going = classes.list(None).into_iter().filter(|class| class.is_deleting());
            going.for_each(|class| queue.add(class.key()));
        });
    }
    Ok(controller)
}

/// The classes that a claim has, had or is to have.
fn classes_of_claim(claim: &PersistentVolumeClaim) -> impl Iterator<Item = &str> {
    let asked = claim.spec.as_ref().and_then(|spec| spec.volume_attributes_class_name.as_deref());
    let status = claim.status.as_ref();
    let had = status.and_then(|status| status.current_volume_attributes_class_name.as_deref());
    let to_be = status.and_then(|status| {
        status.modify_volume_status.as_ref()?.target_volume_attributes_class_name.as_deref()
    });
    [asked, had, to_be].into_iter().flatten()
}

fn class_of_volume(volume: &PersistentVolume) -> Option<&str> {
    volume.spec.as_ref()?.volume_attributes_class_name.as_deref()
}

fn is_going(cache: &Informer, key: &Key) -> bool {
    cache.get(key).is_some_and(|object| object.is_deleting())
}

type IsUsed<K> = Arc<dyn Fn(&Typed<K>) -> bool + Send + Sync>;

struct Guard<K> {
    name: &'static str,
    finalizer: &'static str,
    objects: Lister<K>,
    api: Api<K>,
    is_used: IsUsed<K>,
}

fn guard<K: Kind + Resource>(
    context: &Context,
    (name, finalizer): (&'static str, &'static str),
    is_used: impl Fn(&Typed<K>) -> bool + Send + Sync + 'static,
) -> Result<Controller> {
    let objects = context.informers.of::<K>()?;
    let api = context.client().of()?;
    let is_used: IsUsed<K> = Arc::new(is_used);
    let guard = Guard { name, finalizer, objects: objects.clone(), api, is_used };
    Ok(Controller::new(guard, &context.env).watches(objects.informer()))
}

#[async_trait]
impl<K: Kind + Resource> Reconciler for Guard<K> {
    fn name(&self) -> &str {
        self.name
    }

    async fn reconcile(&self, key: &Key) -> Result<Action, BoxError> {
        let Some(object) = self.objects.get(key) else { return Ok(Action::Done) };
        let held =
            object.object().meta().finalizers.iter().flatten().any(|one| one == self.finalizer);
        let mut new = object.to_owned();
        let finalizers = new.meta_mut().finalizers.get_or_insert_default();
        match (object.object().is_deleting(), held) {
            (true, true) if !(self.is_used)(&object) => {
                finalizers.retain(|one| one != self.finalizer);
            }
            (false, false) => finalizers.push(self.finalizer.to_owned()),
            _ => return Ok(Action::Done),
        }
        match self.api.update(new).await {
            Err(error) if !error.is_not_found() => Err(error.into()),
            _ => Ok(Action::Done),
        }
    }
}
