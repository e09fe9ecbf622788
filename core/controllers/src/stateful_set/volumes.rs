//! The claims of a set's pods, and who owns them: nobody, so that they outlive everything; the
//! set, so that they go with it; or a pod that is scaled away, so that they go with that.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use pinnace_api::{ApiError, Key, Object, Result, Typed};
use pinnace_client::{Api, EventType, Lister, Recorder};

use super::identity;
use crate::Context;
use crate::claim::controller_reference;

/// Makes and looks after claims.
pub(super) struct Volumes {
    api: Api<PersistentVolumeClaim>,
    claims: Lister<PersistentVolumeClaim>,
    recorder: Recorder,
}

/// A pod as its claims know it.
#[derive(Clone, Copy)]
pub(super) struct Member<'a> {
    pub(super) meta: &'a ObjectMeta,
    pub(super) ordinal: i32,
    /// Whether the set has no place for it any more.
    pub(super) surplus: bool,
}

impl Volumes {
    pub(super) fn new(context: &Context, recorder: &Recorder) -> Result<Self> {
        let (api, claims) = (context.client().of()?, context.informers.of()?);
        Ok(Self { api, claims, recorder: recorder.clone() })
    }

    pub(super) fn lister(&self) -> &Lister<PersistentVolumeClaim> {
        &self.claims
    }

    fn find(
        &self,
        set: &Typed<StatefulSet>,
        template: &PersistentVolumeClaim,
        ordinal: i32,
    ) -> Option<Typed<PersistentVolumeClaim>> {
        let name = identity::claim_name(set, template, ordinal);
        self.claims.get(&Key::new(set.object().namespace(), name))
    }

    /// Whether a claim belongs to an earlier pod of the name, and so is about to go.
    pub(super) fn are_stale(&self, set: &Typed<StatefulSet>, pod: &str, ordinal: i32) -> bool {
        if !policy(set).0 {
            return false;
        }
        identity::claim_templates(set).iter().any(|template| {
            let owners = self.find(set, template, ordinal);
            let owners = owners.and_then(|claim| claim.metadata.owner_references.clone());
            owners.into_iter().flatten().any(|owner| owner.kind == "Pod" && owner.name == pod)
        })
    }

    /// Makes the claims of a pod that are missing.
    ///
    /// # Errors
    /// Those of the API, and when a claim is going.
    pub(super) async fn make_missing(
        &self,
        set: &Typed<StatefulSet>,
        pod: &str,
        ordinal: i32,
    ) -> Result<()> {
        for template in identity::claim_templates(set) {
            match self.find(set, template, ordinal) {
                Some(claim) if claim.object().is_deleting() => {
                    let why = format!("pvc {} is being deleted", claim.object().name());
                    return Err(ApiError::new(pinnace_api::Reason::Conflict, why));
                }
                Some(_) => {}
                None => self.make(set, template, pod, ordinal).await?,
            }
        }
        Ok(())
    }

    async fn make(
        &self,
        set: &Typed<StatefulSet>,
        template: &PersistentVolumeClaim,
        pod: &str,
        ordinal: i32,
    ) -> Result<()> {
        let mut claim = identity::claim(set, template, ordinal);
        if policy(set).1 {
            claim.metadata.owner_references = Some(vec![set_reference(set)]);
        }
        let name = claim.metadata.name.clone().unwrap_or_default();
        let what = format!("Pod {pod} in StatefulSet {}", set.object().name());
        match self.api.create(claim).await {
            Ok(_) => {
                let message = format!("Create Claim {name} {what} success");
                self.record(set.object(), EventType::Normal, "SuccessfulCreate", message);
                Ok(())
            }
            Err(error) if error.is_already_exists() => Ok(()),
            Err(error) => {
                let message = format!("Create Claim {name} for {what} failed error: {error}");
                self.record(set.object(), EventType::Warning, "FailedCreate", message);
                let why = format!("failed to create PVC {name}: {error}");
                Err(ApiError::new(error.reason(), why))
            }
        }
    }

    fn record(&self, set: &Object, kind: EventType, reason: &str, message: String) {
        self.recorder.record(set, kind, reason, message);
    }

    /// Says which claims of a pod another controller keeps, so that the set's policy means nothing
    /// to them.
    pub(super) fn tell_conflicts(&self, set: &Typed<StatefulSet>, pod: Member<'_>) {
        for template in identity::claim_templates(set) {
            let claim = self.find(set, template, pod.ordinal);
            if let Some(claim) = claim.filter(|claim| has_other_controller(claim, set, pod)) {
                self.tell_conflict(set, claim.object().name());
            }
        }
    }

    fn tell_conflict(&self, set: &Typed<StatefulSet>, claim: &str) {
        let message = format!(
            "PersistentVolumeClaim {claim} has a conflicting OwnerReference that acts as a manging \
             controller, the retention policy is ignored for this claim"
        );
        self.record(set.object(), EventType::Warning, "ConflictingController", message);
    }

    /// Has the claims of a pod owned as the set's policy says. Gives whether any was not.
    ///
    /// # Errors
    /// Those of the API.
    pub(super) async fn follow_policy(
        &self,
        set: &Typed<StatefulSet>,
        pod: Member<'_>,
    ) -> Result<bool> {
        let mut any = false;
        for template in identity::claim_templates(set) {
            let Some(claim) = self.find(set, template, pod.ordinal) else { continue };
            let owners = |claim: &PersistentVolumeClaim| {
                owners(claim.metadata.owner_references.as_deref().unwrap_or_default(), set, pod)
            };
            if owners(&claim).is_none() {
                continue;
            }
            any = true;
            if has_other_controller(&claim, set, pod) {
                self.tell_conflict(set, claim.object().name());
            }
            let key = claim.object().key();
            let changed = self.api.modify(&key, |fresh| match owners(fresh) {
                Some(owners) => {
                    fresh.metadata.owner_references = Some(owners);
                    true
                }
                None => false,
            });
            match changed.await {
                Ok(_) => {}
                Err(error) if error.is_not_found() => {}
                Err(error) => {
                    let what = format!("could not update claim {} for delete policy", key.name());
                    return Err(ApiError::new(
                        error.reason(),
                        format!("{what} ownerRefs: {error}"),
                    ));
                }
            }
        }
        Ok(any)
    }
}

/// Whether a claim that the set's policy is about belongs to another controller.
fn has_other_controller(claim: &PersistentVolumeClaim, set: &StatefulSet, pod: Member<'_>) -> bool {
    let ours = [set.metadata.uid.as_ref(), pod.meta.uid.as_ref()];
    let owners = claim.metadata.owner_references.iter().flatten();
    let mut others = owners.filter(|owner| !ours.contains(&Some(&owner.uid)));
    policy(set) != (false, false) && others.any(|owner| owner.controller == Some(true))
}

/// Whether claims go with pods that are scaled away, and whether they go with the set.
fn policy(set: &StatefulSet) -> (bool, bool) {
    let spec = set.spec.as_ref();
    let policy = spec.and_then(|spec| spec.persistent_volume_claim_retention_policy.as_ref());
    let deletes = |when: Option<&String>| when.is_some_and(|when| when == "Delete");
    (
        deletes(policy.and_then(|policy| policy.when_scaled.as_ref())),
        deletes(policy.and_then(|policy| policy.when_deleted.as_ref())),
    )
}

fn set_reference(set: &StatefulSet) -> OwnerReference {
    controller_reference("apps/v1", "StatefulSet", &set.metadata)
}

/// The owners that a claim should have, or `None` where it has them.
fn owners(
    have: &[OwnerReference],
    set: &StatefulSet,
    pod: Member<'_>,
) -> Option<Vec<OwnerReference>> {
    let of_set = set_reference(set);
    let of_pod = controller_reference("v1", "Pod", pod.meta);
    let ours = |one: &OwnerReference| one.uid == of_set.uid || one.uid == of_pod.uid;
    let mut want: Vec<_> = have.iter().filter(|one| !ours(one)).cloned().collect();
    // What another controller keeps is none of this one's business.
    if !want.iter().any(|one| one.controller == Some(true)) {
        match policy(set) {
            (true, _) if pod.surplus => want.push(of_pod),
            (_, true) => want.push(of_set),
            (_, false) => {}
        }
    }
    (want != have).then_some(want)
}
