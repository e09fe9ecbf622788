//! StatefulSets: pods that have a name, a place and volumes of their own.

mod identity;
mod look;
mod status;
mod sync;
mod volumes;

use std::collections::HashSet;

use async_trait::async_trait;
use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use pinnace_api::selector::Selector;
use pinnace_api::{ApiError, Key, Result, Typed};
use pinnace_client::{Api, Delta, Lister, Recorder};
use pinnace_env::Env;
use pinnace_reconcile::{Action, BoxError, Controller, Queue, Reconciler};

use crate::Context;
use crate::claim::{Claims, SETTLE, enqueue_owners};
use crate::history::{History, Revisions};
use crate::written::Written;
use look::{Look, revision_of};
use volumes::Volumes;

/// The label by which revisions keep their hash.
const HASH_LABEL: &str = "controller.kubernetes.io/hash";

/// The controller.
pub(crate) fn controller(context: &Context) -> Result<Controller> {
    let sets = context.informers.of::<StatefulSet>()?;
    let claims = Claims::new(context)?;
    let pods = claims.pods().clone();
    let history = History::new(context, HASH_LABEL)?;
    let revisions = history.lister().clone();
    let recorder = context.recorder.component("statefulset-controller");
    let volumes = Volumes::new(context, &recorder)?;
    let volume_claims = volumes.lister().clone();
    let reconciler = StatefulSets {
        sets: sets.clone(),
        api: context.client().of()?,
        pod_api: context.client().of()?,
        claims,
        history,
        volumes,
        recorder,
        env: context.env.clone(),
        written: Written::default(),
        own: Written::default(),
    };
    let (of_pods, of_claims) = (sets.clone(), sets.clone());
    let owned = pods.clone();
    let selects = |set: &StatefulSet| selector_of(set).ok();
    Ok(Controller::new(reconciler, &context.env)
        .watches(sets.informer())
        .owns(revisions.informer(), "apps", "StatefulSet")
        .maps(pods.informer(), move |delta, queue| {
            enqueue_owners(delta, queue, &of_pods, &owned, selects)
        })
        .maps(volume_claims.informer(), move |delta, queue| {
            enqueue_for_claim(delta, queue, &of_claims)
        }))
}

struct StatefulSets {
    sets: Lister<StatefulSet>,
    api: Api<StatefulSet>,
    pod_api: Api<Pod>,
    claims: Claims<StatefulSet>,
    history: History<StatefulSet>,
    volumes: Volumes,
    recorder: Recorder,
    env: Env,
    /// Pods that were written.
    written: Written,
    /// Statuses that were written: which revision is the current one stands there only.
    own: Written,
}

#[async_trait]
impl Reconciler for StatefulSets {
    fn name(&self) -> &str {
        "statefulset"
    }

    async fn reconcile(&self, key: &Key) -> Result<Action, BoxError> {
        self.written.seen_by(self.claims.pods().informer(), key).await;
        self.own.seen_by(self.sets.informer(), key).await;
        self.history.caught_up(key).await;
        let Some(set) = self.sets.get(key) else { return Ok(Action::Done) };
        let Some(spec) = &set.spec else { return Ok(Action::Done) };
        let selector = selector_of(&set)?;
        let name = set.object().name();
        let ours = |pod: &Pod| {
            let pod_name = pod.metadata.name.as_deref().unwrap_or_default();
            pod.metadata.deletion_timestamp.is_none() && identity::ordinal(name, pod_name).is_some()
        };
        let owned = self.claims.claim(&set, &selector, &self.written, ours).await?;
        let collisions = set.status.as_ref().and_then(|status| status.collision_count);
        let revisions =
            self.history.of(&set, &selector, &spec.template, collisions.unwrap_or(0)).await?;
        let look = Look::new(set.clone(), &revisions, owned, self.env.now())?;
        let failed = match set.object().is_deleting() {
            true => None,
            false => self.sync(&look).await.err(),
        };
        self.write_status(&look, &revisions).await?;
        self.truncate(&look, revisions.old, spec.revision_history_limit).await?;
        match (failed, look.wait()) {
            (Some(error), _) => Err(error.into()),
            (None, Some(wait)) => Ok(Action::RequeueAfter(wait)),
            (None, None) => Ok(Action::Done),
        }
    }
}

impl StatefulSets {
    async fn write_status(&self, look: &Look, revisions: &Revisions) -> Result<()> {
        let status = status::of(look, revisions.collisions);
        if look.set.status.as_ref() == Some(&status) {
            return Ok(());
        }
        let mut new = look.set.to_owned();
        new.status = Some(status);
        match self.api.update_status(new).await {
            Ok(written) => {
                self.own.note(&written.object().key(), written.object().revision());
                Ok(())
            }
            // Somebody else wrote, so this look was at an old state: the change brings it back.
            Err(error) if error.is_conflict() || error.is_not_found() => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Revisions that some pod was made from, or that is made of next, do not count.
    async fn truncate(
        &self,
        look: &Look,
        mut old: Vec<Typed<ControllerRevision>>,
        limit: Option<i32>,
    ) -> Result<()> {
        let mut live: HashSet<&str> = look.pods().map(|pod| revision_of(pod)).collect();
        live.insert(&look.current);
        old.retain(|one| !live.contains(one.object().name()));
        self.history.truncate(&old, limit, |_| false).await
    }
}

fn selector_of(set: &StatefulSet) -> Result<Selector> {
    match set.spec.as_ref() {
        Some(spec) => Selector::from_label_selector(&spec.selector),
        None => Err(ApiError::internal("a StatefulSet has no spec")),
    }
}

/// Has those sets looked at for which a claim of their pods has gone: some pod may wait for that.
fn enqueue_for_claim(delta: &Delta, queue: &Queue, sets: &Lister<StatefulSet>) {
    let (Some(gone), None) = (&delta.old, &delta.new) else { return };
    for set in sets.list(Some(gone.namespace())) {
        let ours = |template: &PersistentVolumeClaim| {
            let name = template.metadata.name.as_deref().unwrap_or_default();
            let rest = gone.name().strip_prefix(name).and_then(|rest| rest.strip_prefix('-'));
            rest.is_some_and(|pod| identity::ordinal(set.object().name(), pod).is_some())
        };
        if identity::claim_templates(&set).iter().any(ours) {
            queue.add_after(set.object().key(), SETTLE);
        }
    }
}
