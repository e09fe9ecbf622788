//! Which pods belong to an owner that selects them: adoption and release, the same for every kind
//! that keeps pods.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use pinnace_api::selector::Selector;
use pinnace_api::{Key, Kind, Result, Typed};
use pinnace_client::{Api, Delta, Lister};
use pinnace_reconcile::Queue;

use crate::Context;
use crate::written::Written;

/// The index of pods without controller, by namespace.
const ORPHANS: &str = "orphans";

/// The pods of owners of a kind.
pub(crate) struct Claims<K> {
    owners: Api<K>,
    pods: Lister<Pod>,
    pod_api: Api<Pod>,
    /// What goes with the ownership.
    finalizer: Option<&'static str>,
}

impl<K: Kind + k8s_openapi::Resource> Claims<K> {
    /// Over the shared cache of pods.
    ///
    /// # Errors
    /// `NotFound` when the API does not serve the kind or pods.
    pub(crate) fn new(context: &Context) -> Result<Self> {
        let pods = context.informers.of::<Pod>()?.index_by_controller();
        pods.informer().index(ORPHANS, |pod| {
            if pod.controller().is_none() { vec![pod.namespace().to_owned()] } else { vec![] }
        });
        let (owners, pod_api) = (context.client().of()?, context.client().of()?);
        Ok(Self { owners, pods, pod_api, finalizer: None })
    }

    /// The same for owners that hold their pods by a finalizer: nobody else would take it from one
    /// that was released.
    pub(crate) fn with_finalizer(self, finalizer: &'static str) -> Self {
        Self { finalizer: Some(finalizer), ..self }
    }

    /// The cache of pods.
    pub(crate) fn pods(&self) -> &Lister<Pod> {
        &self.pods
    }

    /// The pods that belong to `owner`: those it owns and selects. Those it owns and no longer
    /// selects are released; those it selects, nobody owns and `adoptable` takes are adopted.
    pub(crate) async fn claim(
        &self,
        owner: &Typed<K>,
        selector: &Selector,
        written: &Written,
        adoptable: impl Fn(&Pod) -> bool,
    ) -> Result<Vec<Typed<Pod>>> {
        let object = owner.object();
        let mut claimed = Vec::new();
        for pod in self.pods.owned_by(object.uid()) {
            if selector.matches(pod.object().labels()) {
                claimed.push(pod);
            } else if !object.is_deleting() {
                self.release(owner, &pod).await?;
            }
        }
        let orphans = self.pods.by_index(ORPHANS, object.namespace());
        let mut free = orphans
            .into_iter()
            .filter(|pod| adoptable(pod) && selector.matches(pod.object().labels()))
            .peekable();
        if free.peek().is_some() && self.may_adopt(owner).await? {
            for pod in free {
                if let Some(pod) = self.adopt(owner, &pod, written).await? {
                    claimed.push(pod);
                }
            }
        }
        Ok(claimed)
    }

    /// Asks the API, not the cache: an owner that was deleted and made anew must not adopt in the
    /// old one's name.
    async fn may_adopt(&self, owner: &Typed<K>) -> Result<bool> {
        let fresh = self.owners.find(&owner.object().key()).await?;
        Ok(fresh.is_some_and(|fresh| {
            fresh.object().uid() == owner.object().uid() && !fresh.object().is_deleting()
        }))
    }

    async fn adopt(
        &self,
        owner: &Typed<K>,
        pod: &Typed<Pod>,
        written: &Written,
    ) -> Result<Option<Typed<Pod>>> {
        let uid = pod.metadata.uid.clone();
        let reference = controller_reference(K::API_VERSION, K::KIND, owner.object().meta());
        let key = pod.object().key();
        let adopted = self.pod_api.modify(&key, |pod| {
            let owners = pod.metadata.owner_references.get_or_insert_default();
            let free =
                pod.metadata.uid == uid && !owners.iter().any(|o| o.controller == Some(true));
            if free {
                owners.push(reference.clone());
            }
            free
        });
        match adopted.await {
            Ok(pod) => {
                let ours = pod.object().controller().is_some_and(|o| o.uid == owner.object().uid());
                written.note(&owner.object().key(), pod.object().revision());
                Ok(ours.then_some(pod))
            }
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn release(&self, owner: &Typed<K>, pod: &Typed<Pod>) -> Result<()> {
        let uid = owner.object().uid();
        let key = pod.object().key();
        let released = self.pod_api.modify(&key, |pod| {
            let owners = pod.metadata.owner_references.get_or_insert_default();
            let before = owners.len();
            owners.retain(|owner| owner.uid != uid);
            let released = before != owners.len();
            if let (Some(all), true) = (&mut pod.metadata.finalizers, released) {
                all.retain(|one| self.finalizer != Some(one));
            }
            released
        });
        match released.await {
            Ok(_) => Ok(()),
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// How long changes of pods are collected before their owner is looked at: a thousand pods that
/// become ready in one moment are one look.
pub(crate) const SETTLE: Duration = Duration::from_millis(5);
/// How much longer for each pod beyond [`MANY`]: a look goes over all of an owner's pods, and must
/// not be taken anew for each few that change.
const SETTLE_PER_POD: Duration = Duration::from_micros(4);
const MANY: usize = 1000;

/// Has the owners of a pod that changed looked at: the one of kind `K` that controls it, before
/// and after, or, where nobody does, those that `selects` says would adopt it.
pub(crate) fn enqueue_owners<K: Kind + k8s_openapi::Resource>(
    delta: &Delta,
    queue: &Queue,
    owners: &Lister<K>,
    pods: &Lister<Pod>,
    selects: impl Fn(&K) -> Option<Selector>,
) {
    for pod in [&delta.old, &delta.new].into_iter().flatten() {
        match pod.controller() {
            Some(owner) if owner.kind == K::KIND && owner.api_version == K::API_VERSION => {
                let beyond = pods.count_owned_by(&owner.uid).saturating_sub(MANY);
                let beyond = u32::try_from(beyond).unwrap_or(u32::MAX);
                let settle = SETTLE.saturating_add(SETTLE_PER_POD.saturating_mul(beyond));
                queue.add_after(Key::new(pod.namespace(), owner.name.as_str()), settle);
            }
            Some(_) => {}
            None => {
                for owner in owners.list(Some(pod.namespace())) {
                    if selects(&owner).is_some_and(|selector| selector.matches(pod.labels())) {
                        queue.add_after(owner.object().key(), SETTLE);
                    }
                }
            }
        }
    }
}

/// A reference by which an object names its controller.
pub(crate) fn controller_reference(
    api_version: &str,
    kind: &str,
    owner: &ObjectMeta,
) -> OwnerReference {
    OwnerReference {
        api_version: api_version.to_owned(),
        kind: kind.to_owned(),
        name: owner.name.clone().unwrap_or_default(),
        uid: owner.uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}
