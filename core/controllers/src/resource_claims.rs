//! Claims for devices: makes those of templates, and takes devices back that nobody uses any more.

use std::collections::BTreeMap;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Pod, PodResourceClaimStatus};
use k8s_openapi::api::resource::v1::{
    ResourceClaim, ResourceClaimConsumerReference, ResourceClaimTemplate,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use pinnace_api::{Key, Object, Result, Typed};
use pinnace_client::{Api, DeleteOptions, EventType, Lister, Preconditions, Recorder};
use pinnace_reconcile::{Action, BoxError, Controller, Reconciler};

use crate::claim::controller_reference;
use crate::{Context, pods};

/// Says for which of a pod's claims a claim was made.
const POD_CLAIM_NAME: &str = "resource.kubernetes.io/pod-claim-name";
/// Keeps a claim that has devices from going before they are given back.
const FINALIZER: &str = "resource.kubernetes.io/delete-protection";

/// The controllers.
pub(crate) fn controllers(context: &Context) -> Result<Vec<Controller>> {
    let pods = context.informers.of::<Pod>()?;
    let claims = context.informers.of::<ResourceClaim>()?.index_by_controller();
    let maker = Maker {
        pods: pods.clone(),
        claims: claims.clone(),
        templates: context.informers.of()?,
        pod_api: context.client().of()?,
        api: context.client().of()?,
        recorder: context.recorder.component("resource_claim"),
    };
    let templates = maker.templates.informer().clone();
    let waiting = pods.clone();
    let makes = Controller::new(maker, &context.env)
        .maps(pods.informer(), |delta, queue| {
            if let Some(pod) = delta.new.as_ref().filter(|pod| lacks_claims(pod)) {
                queue.add(pod.key());
            }
        })
        .maps(&templates, move |delta, queue| {
            let Some(template) = &delta.new else { return };
            for pod in waiting.list(Some(template.namespace())) {
                if lacks_claims(pod.object()) {
                    queue.add(pod.object().key());
                }
            }
        });
    let releaser = Releaser {
        pods: pods.clone(),
        claims: claims.clone(),
        pod_api: context.client().of()?,
        api: context.client().of()?,
    };
    let releases = Controller::new(releaser, &context.env).watches(claims.informer()).maps(
        pods.informer(),
        |delta, queue| {
            let over = delta.new.as_ref().is_none_or(|pod| {
                pod.get::<Pod>().is_ok_and(|pod| pods::is_terminal(pod) || is_lost(pod))
            });
            let pod = delta.object().filter(|_| over);
            for name in pod.into_iter().flat_map(claims_of) {
                queue.add(name);
            }
        },
    );
    Ok(vec![makes, releases])
}

/// One that goes before it had a node will never run.
fn is_lost(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some() && pods::node_name(pod).is_empty()
}

fn lacks_claims(pod: &Object) -> bool {
    pod.get::<Pod>().is_ok_and(|pod| missing(pod).next().is_some())
}

/// The claims of a pod that are still to be made, with their templates.
fn missing(pod: &Pod) -> impl Iterator<Item = (&str, &str)> {
    let made = pod.status.as_ref().and_then(|status| status.resource_claim_statuses.as_deref());
    let made = made.unwrap_or_default();
    let claims = pod.spec.iter().flat_map(|spec| spec.resource_claims.iter().flatten());
    claims
        .filter_map(|claim| {
            Some((claim.name.as_str(), claim.resource_claim_template_name.as_deref()?))
        })
        .filter(move |(name, _)| !made.iter().any(|one| one.name == *name))
}

/// The claims that a pod uses.
fn claims_of(pod: &Object) -> Vec<Key> {
    let Ok(read) = pod.get::<Pod>() else { return Vec::new() };
    let own = read.spec.iter().flat_map(|spec| spec.resource_claims.iter().flatten());
    let own = own.filter_map(|claim| claim.resource_claim_name.as_ref());
    let made = read.status.iter().flat_map(|one| one.resource_claim_statuses.iter().flatten());
    let made = made.filter_map(|claim| claim.resource_claim_name.as_ref());
    own.chain(made).map(|name| Key::new(pod.namespace(), name.as_str())).collect()
}

/// Makes the claims of templates.
struct Maker {
    pods: Lister<Pod>,
    claims: Lister<ResourceClaim>,
    templates: Lister<ResourceClaimTemplate>,
    pod_api: Api<Pod>,
    api: Api<ResourceClaim>,
    recorder: Recorder,
}

#[async_trait]
impl Reconciler for Maker {
    fn name(&self) -> &str {
        "resource-claim"
    }

    async fn reconcile(&self, key: &Key) -> Result<Action, BoxError> {
        let pod = self.pods.get(key).filter(|pod| pods::is_active(pod));
        let Some(pod) = pod else { return Ok(Action::Done) };
        let mut made: BTreeMap<String, String> = BTreeMap::new();
        for (name, template) in missing(&pod) {
            match self.claim(&pod, name, template).await {
                Ok(claim) => _ = made.insert(name.to_owned(), claim),
                Err(why) => {
                    let message = format!("PodResourceClaim {name}: {why}");
                    let reason = "FailedResourceClaimCreation";
                    self.recorder.record(pod.object(), EventType::Warning, reason, message);
                    return Err(why.into());
                }
            }
        }
        let uid = pod.metadata.uid.clone();
        let said = self.pod_api.modify_status(key, |pod| {
            let same = pod.metadata.uid == uid && !made.is_empty();
            if same {
                let status = pod.status.get_or_insert_default();
                let known = status.resource_claim_statuses.get_or_insert_default();
                known.retain(|one| !made.contains_key(&one.name));
                known.extend(made.iter().map(|(name, claim)| PodResourceClaimStatus {
                    name: name.clone(),
                    resource_claim_name: Some(claim.clone()),
                }));
            }
            same
        });
        match said.await {
            Err(error) if !error.is_not_found() => Err(error.into()),
            _ => Ok(Action::Done),
        }
    }
}

impl Maker {
    /// The name of the claim that is made for one of a pod's claims.
    async fn claim(
        &self,
        pod: &Typed<Pod>,
        name: &str,
        template: &str,
    ) -> std::result::Result<String, String> {
        let made_for = |claim: &Typed<ResourceClaim>| {
            let annotations = claim.metadata.annotations.as_ref();
            annotations.and_then(|all| all.get(POD_CLAIM_NAME)).is_some_and(|known| known == name)
        };
        let owned = self.claims.owned_by(pod.object().uid());
        if let Some(there) = owned.iter().find(|claim| made_for(claim)) {
            return Ok(there.object().name().to_owned());
        }
        let namespace = pod.object().namespace();
        let Some(template) = self.templates.get(&Key::new(namespace, template)) else {
            return Err(format!("resource claim template {template:?} not found"));
        };
        let meta = template.spec.metadata.clone().unwrap_or_default();
        let mut annotations = meta.annotations.unwrap_or_default();
        annotations.insert(POD_CLAIM_NAME.to_owned(), name.to_owned());
        let claim = ResourceClaim {
            metadata: ObjectMeta {
                generate_name: Some(format!("{}-{name}-", pod.object().name())),
                namespace: Some(namespace.to_owned()),
                labels: meta.labels,
                annotations: Some(annotations),
                owner_references: Some(vec![controller_reference("v1", "Pod", &pod.metadata)]),
                ..ObjectMeta::default()
            },
            spec: template.spec.spec.clone(),
            status: None,
        };
        let made = self.api.create(claim).await;
        let made = made.map_err(|error| format!("create ResourceClaim : {error}"))?;
        // Should the next step fail, this one must not be made again.
        self.claims.informer().caught_up(made.object().revision()).await;
        Ok(made.object().name().to_owned())
    }
}

/// Takes devices back.
struct Releaser {
    pods: Lister<Pod>,
    claims: Lister<ResourceClaim>,
    pod_api: Api<Pod>,
    api: Api<ResourceClaim>,
}

#[async_trait]
impl Reconciler for Releaser {
    fn name(&self) -> &str {
        "resource-claim-release"
    }

    async fn reconcile(&self, key: &Key) -> Result<Action, BoxError> {
        let Some(claim) = self.claims.get(key) else { return Ok(Action::Done) };
        let reserved = claim.status.as_ref().and_then(|status| status.reserved_for.clone());
        let mut gone = Vec::new();
        for consumer in reserved.into_iter().flatten().filter(|one| one.resource == "pods") {
            if !self.is_used_by(key.namespace(), &consumer).await? {
                gone.push(consumer.uid);
            }
        }
        let released = self.api.modify_status(key, |claim| {
            let Some(status) = &mut claim.status else { return false };
            let before = status.clone();
            let reserved = status.reserved_for.get_or_insert_default();
            reserved.retain(|one| !gone.contains(&one.uid));
            if reserved.is_empty() {
                status.reserved_for = None;
                status.allocation = None;
            }
            *status != before
        });
        let claim = match released.await {
            Ok(claim) => claim,
            Err(error) if error.is_not_found() => return Ok(Action::Done),
            Err(error) => return Err(error.into()),
        };
        let free = claim.status.as_ref().is_none_or(|status| status.allocation.is_none());
        if free && claim.object().is_deleting() {
            self.let_go(key).await?;
        } else if free {
            self.delete_if_done(&claim).await?;
        }
        Ok(Action::Done)
    }
}

impl Releaser {
    /// The cache may be behind: a pod that it does not know is looked for.
    async fn is_used_by(
        &self,
        namespace: &str,
        consumer: &ResourceClaimConsumerReference,
    ) -> Result<bool> {
        let key = Key::new(namespace, consumer.name.as_str());
        let same = |pod: &Typed<Pod>| pod.object().uid() == consumer.uid;
        let pod = match self.pods.get(&key).filter(same) {
            Some(pod) => Some(pod),
            None => self.pod_api.find(&key).await?.filter(same),
        };
        Ok(pod.is_some_and(|pod| !pods::is_terminal(&pod) && !is_lost(&pod)))
    }

    async fn let_go(&self, key: &Key) -> Result<()> {
        let freed = self.api.modify(key, |claim| {
            let finalizers = claim.metadata.finalizers.get_or_insert_default();
            let before = finalizers.len();
            finalizers.retain(|one| one != FINALIZER);
            before != finalizers.len()
        });
        match freed.await {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }

    /// A claim that was made for a pod goes when that has ended, not only when it is deleted.
    async fn delete_if_done(&self, claim: &Typed<ResourceClaim>) -> Result<()> {
        let Some(owner) = claim.object().controller().filter(|owner| owner.kind == "Pod") else {
            return Ok(());
        };
        let pod = self.pods.get(&Key::new(claim.object().namespace(), owner.name.as_str()));
        let over = |pod: &Typed<Pod>| pod.object().uid() == owner.uid && pods::is_terminal(pod);
        if !pod.is_some_and(|pod| over(&pod)) {
            return Ok(());
        }
        let uid = claim.metadata.uid.clone();
        let only = Preconditions { uid, ..Preconditions::default() };
        let options = DeleteOptions { preconditions: Some(only), ..DeleteOptions::default() };
        match self.api.delete(&claim.object().key(), options).await {
            Err(error) if !error.is_not_found() && !error.is_conflict() => Err(error),
            _ => Ok(()),
        }
    }
}
