//! Claims find a volume, or somebody who makes one.

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::StorageClass;
use pinnace_api::volumes::{
    self, BOUND_BY_CONTROLLER, NO_PROVISIONER, PROVISIONER, PROVISIONER_BETA, SELECTED_NODE, Seeker,
};
use pinnace_api::{Key, Object, Result, Typed};
use pinnace_client::{Delta, EventType, Informer, Lister, Recorder};
use pinnace_reconcile::{Action, BoxError, Controller, Queue, Reconciler};

use super::binding::Binder;
use super::local_path::LOCAL_PATH;
use super::{BY_CLAIM, claim_keys, pods_by_claim};
use crate::Context;

/// The indexes of claims without volume, and of volumes that nobody claims, by class.
const WANTED: &str = "wanted-class";
const FREE: &str = "free-class";
/// The index of volumes by the claim that they name.
pub(super) const BY_REFERENCE: &str = "claim-reference";
const DEFAULT: &str = "storageclass.kubernetes.io/is-default-class";

/// The controller.
pub(super) fn controller(context: &Context) -> Result<Controller> {
    let claims = context.informers.of::<PersistentVolumeClaim>()?;
    let volumes = context.informers.of::<PersistentVolume>()?;
    let classes = context.informers.of::<StorageClass>()?;
    let pods = pods_by_claim(context)?;
    claims.informer().index(WANTED, wanted_class);
    volumes.informer().index(FREE, free_class);
    volumes.informer().index(BY_REFERENCE, |object| reference_key(object).into_iter().collect());
    let reconciler = Claims {
        claims: claims.clone(),
        volumes: volumes.clone(),
        classes: classes.clone(),
        pods: pods.clone(),
        binder: Binder::new(context)?,
        recorder: context.recorder.component("persistentvolume-controller"),
    };
    let (waiting, of_class) = (claims.informer().clone(), claims.informer().clone());
    Ok(Controller::new(reconciler, &context.env)
        .watches(claims.informer())
        .maps(volumes.informer(), move |delta, queue| volume_changed(delta, queue, &waiting))
        .maps(classes.informer(), move |delta, queue| {
            let Some(class) = delta.object() else { return };
            for name in [class.name(), ""] {
                enqueue(&of_class, name, queue);
            }
        })
        .maps(pods.informer(), |delta, queue| {
            // What a claim waits for is told: for a pod, or for that pod's node.
            if delta.old.is_none()
                && let Some(pod) = &delta.new
            {
                claim_keys(pod).into_iter().for_each(|key| queue.add(key));
            }
        }))
}

fn enqueue(claims: &Informer, class: &str, queue: &Queue) {
    claims.by_index(WANTED, class).iter().for_each(|claim| queue.add(claim.key()));
}

fn volume_changed(delta: &Delta, queue: &Queue, claims: &Informer) {
    for volume in [&delta.old, &delta.new].into_iter().flatten() {
        match reference_key(volume).as_deref().and_then(|key| key.split_once('/')) {
            Some((namespace, name)) => queue.add(Key::new(namespace, name)),
            None => free_class(volume).iter().for_each(|class| enqueue(claims, class, queue)),
        }
    }
}

fn wanted_class(object: &Object) -> Vec<String> {
    let Ok(claim) = object.get::<PersistentVolumeClaim>() else { return Vec::new() };
    let wanted = volumes::volume_name(claim).is_empty();
    wanted
        .then(|| volumes::class_of_claim(claim).unwrap_or_default().to_owned())
        .into_iter()
        .collect()
}

fn free_class(object: &Object) -> Vec<String> {
    let Ok(volume) = object.get::<PersistentVolume>() else { return Vec::new() };
    let free = volume.spec.as_ref().is_some_and(|spec| spec.claim_ref.is_none());
    free.then(|| volumes::class_of_volume(volume).to_owned()).into_iter().collect()
}

fn reference_key(object: &Object) -> Option<String> {
    let reference = object.get::<PersistentVolume>().ok()?.spec.as_ref()?.claim_ref.as_ref()?;
    Some(format!("{}/{}", reference.namespace.as_deref()?, reference.name.as_deref()?))
}

struct Claims {
    claims: Lister<PersistentVolumeClaim>,
    volumes: Lister<PersistentVolume>,
    classes: Lister<StorageClass>,
    pods: Lister<Pod>,
    binder: Binder,
    recorder: Recorder,
}

#[async_trait]
impl Reconciler for Claims {
    fn name(&self) -> &str {
        "persistentvolumeclaim"
    }

    async fn reconcile(&self, key: &Key) -> Result<Action, BoxError> {
        let Some(claim) = self.claims.get(key) else { return Ok(Action::Done) };
        if volumes::annotation(&*claim, volumes::BIND_COMPLETED).is_some() {
            self.check_bound(&claim).await?;
        } else if volumes::volume_name(&claim).is_empty() {
            self.find(&claim).await?;
        } else {
            self.take_named(&claim).await?;
        }
        Ok(Action::Done)
    }
}

impl Claims {
    fn tell(
        &self,
        claim: &Typed<PersistentVolumeClaim>,
        kind: EventType,
        reason: &str,
        text: String,
    ) {
        self.recorder.record(claim.object(), kind, reason, text);
    }

    /// Follows what has become of the volume of a claim that was bound.
    async fn check_bound(&self, claim: &Typed<PersistentVolumeClaim>) -> Result<()> {
        let name = volumes::volume_name(claim);
        let volume = self.volumes.get(&Key::cluster(name));
        let reference = volume.as_ref().map(|volume| {
            let reference = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref());
            reference.map(|reference| reference.uid.as_deref().unwrap_or_default())
        });
        let (reason, message) = match (&volume, reference) {
            _ if name.is_empty() => (
                "ClaimLost",
                "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!",
            ),
            (Some(volume), Some(None)) => return self.binder.bind(volume, claim).await,
            (Some(volume), Some(Some(uid))) if uid == claim.object().uid() || uid.is_empty() => {
                return self.binder.bind(volume, claim).await;
            }
            (Some(_), _) => (
                "ClaimMisbound",
                "Two claims are bound to the same volume, this one is bound incorrectly",
            ),
            (None, _) => (
                "ClaimLost",
                "Bound claim has lost its PersistentVolume. Data on the volume is lost!",
            ),
        };
        if self.binder.set_claim_phase(claim, "Lost", None).await? {
            self.tell(claim, EventType::Warning, reason, message.to_owned());
        }
        Ok(())
    }

    /// For a claim that names its volume.
    async fn take_named(&self, claim: &Typed<PersistentVolumeClaim>) -> Result<()> {
        let name = volumes::volume_name(claim);
        let Some(volume) = self.volumes.get(&Key::cluster(name)) else {
            return self.pend(claim).await;
        };
        if volumes::is_bound_to(&volume, claim) {
            return self.binder.bind(&volume, claim).await;
        }
        let claimed = volume.spec.as_ref().is_some_and(|spec| spec.claim_ref.is_some());
        if claimed {
            if volumes::annotation(&**claim, BOUND_BY_CONTROLLER).is_none() {
                let message = format!("volume {name:?} already bound to a different claim.");
                self.tell(claim, EventType::Warning, "FailedBinding", message);
            }
            return self.pend(claim).await;
        }
        if let Some(why) = volumes::mismatch(&volume, claim) {
            let message = format!("Cannot bind to requested volume {name:?}: {why}");
            self.tell(claim, EventType::Warning, "VolumeMismatch", message);
            return self.pend(claim).await;
        }
        self.binder.bind(&volume, claim).await
    }

    async fn pend(&self, claim: &Typed<PersistentVolumeClaim>) -> Result<()> {
        self.binder.set_claim_phase(claim, "Pending", None).await.map(drop)
    }

    /// For a claim that takes any volume.
    async fn find(&self, claim: &Typed<PersistentVolumeClaim>) -> Result<()> {
        if claim.object().is_deleting() {
            return Ok(());
        }
        let class = volumes::class_of_claim(claim);
        if class.is_none()
            && let Some(default) = self.default_class()
        {
            let mut new = claim.to_owned();
            new.spec.get_or_insert_default().storage_class_name = Some(default);
            return self.binder.update_claim(new).await;
        }
        let class = class.unwrap_or_default();
        let found = self.classes.get(&Key::cluster(class));
        let selected = volumes::annotation(&**claim, SELECTED_NODE).is_some();
        let waits =
            found.as_ref().is_some_and(|class| volumes::waits_for_consumer(class)) && !selected;
        let mut candidates = self.volumes.by_index(FREE, class);
        candidates.extend(self.volumes.by_index(BY_REFERENCE, &claim.object().key().to_string()));
        let seeker = if waits { Seeker::Waiting } else { Seeker::AtOnce };
        // One for which a node was chosen gets a volume made there, and no other.
        let seeker = if selected { Seeker::Waiting } else { seeker };
        if let Some(volume) = volumes::best_match(claim, &candidates, seeker) {
            return self.binder.bind(volume, claim).await;
        }
        if waits {
            self.tell_wait(claim);
        } else if class.is_empty() {
            let message =
                "no persistent volumes available for this claim and no storage class is set";
            self.tell(claim, EventType::Normal, "FailedBinding", message.to_owned());
        } else {
            return self.provision(claim, class, found.as_deref()).await;
        }
        self.pend(claim).await
    }

    fn tell_wait(&self, claim: &Typed<PersistentVolumeClaim>) {
        let pods = self.pods.by_index(BY_CLAIM, &claim.object().key().to_string());
        let waiting = pods.iter().find(|pod| crate::pods::node_name(pod).is_empty());
        let (reason, message) = match waiting {
            Some(pod) => (
                "WaitForPodScheduled",
                format!("waiting for pod {} to be scheduled", pod.object().name()),
            ),
            None => (
                "WaitForFirstConsumer",
                "waiting for first consumer to be created before binding".to_owned(),
            ),
        };
        self.tell(claim, EventType::Normal, reason, message);
    }

    /// Asks for a volume to be made.
    async fn provision(
        &self,
        claim: &Typed<PersistentVolumeClaim>,
        name: &str,
        class: Option<&StorageClass>,
    ) -> Result<()> {
        let Some(class) = class else {
            let message = format!("storageclass.storage.k8s.io {name:?} not found");
            self.tell(claim, EventType::Warning, "ProvisioningFailed", message);
            return self.pend(claim).await;
        };
        let provisioner = &class.provisioner;
        if provisioner == NO_PROVISIONER {
            let message = format!("no volume plugin matched name: {provisioner}");
            self.tell(claim, EventType::Warning, "ProvisioningFailed", message);
            return self.pend(claim).await;
        }
        if volumes::annotation(&**claim, PROVISIONER) != Some(provisioner) {
            let mut new = claim.to_owned();
            let annotations = new.metadata.annotations.get_or_insert_default();
            for name in [PROVISIONER, PROVISIONER_BETA] {
                annotations.insert(name.to_owned(), provisioner.clone());
            }
            return self.binder.update_claim(new).await;
        }
        if provisioner != LOCAL_PATH {
            let message = format!(
                "Waiting for a volume to be created either by the external provisioner \
                 '{provisioner}' or manually by the system administrator. If volume creation is \
                 delayed, please verify that the provisioner is running and correctly registered."
            );
            self.tell(claim, EventType::Normal, "ExternalProvisioning", message);
        }
        self.pend(claim).await
    }

    /// The newest class that is marked as the default.
    fn default_class(&self) -> Option<String> {
        let all = self.classes.list(None).into_iter();
        let marked = all.filter(|class| volumes::annotation(&**class, DEFAULT) == Some("true"));
        let newest = marked.max_by(|a, b| {
            let created = |class: &StorageClass| {
                class.metadata.creation_timestamp.as_ref().map(|time| time.0)
            };
            created(a).cmp(&created(b)).then_with(|| b.object().name().cmp(a.object().name()))
        });
        newest.map(|class| class.object().name().to_owned())
    }
}
