//! ReplicaSets: as many pods of a template as asked for.

mod ranking;
mod status;

use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use pinnace_api::selector::Selector;
use pinnace_api::{ApiError, Key, Result, Typed};
use pinnace_client::{Api, Lister};
use pinnace_env::Env;
use pinnace_reconcile::{Action, BoxError, Controller, Reconciler};

use crate::Context;
use crate::claim::{Claims, controller_reference, enqueue_owners};
use crate::pod_control::{BURST, PodControl};
use crate::pods;
use crate::written::Written;

/// How long changes of pods are collected before their ReplicaSet is looked at: a thousand pods
/// that become ready in one moment are one look.
const SETTLE: Duration = Duration::from_millis(5);

/// The controller.
pub(crate) fn controller(context: &Context) -> Result<Controller> {
    let sets = context.informers.of::<ReplicaSet>()?;
    let claims = Claims::new(context)?;
    let pods = claims.pods().clone();
    let reconciler = ReplicaSets {
        sets: sets.clone(),
        pods: pods.clone(),
        claims,
        set_api: context.client().of()?,
        control: PodControl::new(context, "replicaset-controller")?,
        env: context.env.clone(),
        written: Written::default(),
    };
    let by_namespace = sets.clone();
    let selects = |set: &ReplicaSet| selector_of(set).ok();
    Ok(Controller::new(reconciler, &context.env)
        .watches(sets.informer())
        .maps(pods.informer(), move |delta, queue| {
            enqueue_owners(delta, queue, &by_namespace, SETTLE, selects)
        }))
}

struct ReplicaSets {
    sets: Lister<ReplicaSet>,
    pods: Lister<Pod>,
    claims: Claims<ReplicaSet>,
    set_api: Api<ReplicaSet>,
    control: PodControl,
    env: Env,
    written: Written,
}

#[async_trait]
impl Reconciler for ReplicaSets {
    fn name(&self) -> &str {
        "replicaset"
    }

    async fn reconcile(&self, key: &Key) -> Result<Action, BoxError> {
        self.written.seen_by(self.pods.informer(), key).await;
        let Some(set) = self.sets.get(key) else { return Ok(Action::Done) };
        let selector = selector_of(&set)?;
        let owned = self.claims.claim(&set, &selector, &self.written, pods::is_active).await?;
        let failed = if set.metadata.deletion_timestamp.is_none() {
            let active: Vec<_> = owned.iter().filter(|pod| pods::is_active(pod)).cloned().collect();
            self.adjust(&set, active).await.err()
        } else {
            None
        };
        let wait = self.write_status(&set, &owned, failed.as_ref()).await?;
        match (failed, wait) {
            (Some(error), _) => Err(error.into()),
            (None, Some(wait)) => Ok(Action::RequeueAfter(wait)),
            (None, None) => Ok(Action::Done),
        }
    }
}

/// The replicas that are asked for.
fn desired(set: &ReplicaSet) -> usize {
    let replicas = set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    usize::try_from(replicas).unwrap_or(0)
}

fn selector_of(set: &ReplicaSet) -> Result<Selector> {
    match set.spec.as_ref() {
        Some(spec) => Selector::from_label_selector(&spec.selector),
        None => Err(ApiError::internal("a ReplicaSet has no spec")),
    }
}

impl ReplicaSets {
    /// Makes or deletes pods until their number is right, or [`BURST`] are.
    async fn adjust(&self, set: &Typed<ReplicaSet>, active: Vec<Typed<Pod>>) -> Result<()> {
        let (have, want) = (active.len(), desired(set));
        let failure = if have < want {
            let pods = (0..(want - have).min(BURST)).map(|_| pod_of(set)).collect();
            self.control.create(set.object(), pods, &self.written).await.1
        } else if have > want {
            let surplus = (have - want).min(BURST);
            let related = self.pods_on_same_nodes(set);
            let victims = ranking::first_to_go(active, surplus, &related, self.env.now());
            self.control.delete(set.object(), &victims, &self.written).await
        } else {
            None
        };
        failure.map_or(Ok(()), Err)
    }

    /// Pods of all ReplicaSets of the same owner: where many of them run, one is missed least.
    fn pods_on_same_nodes(&self, set: &Typed<ReplicaSet>) -> Vec<Typed<Pod>> {
        let owner = set.object().controller().map(|owner| owner.uid.clone());
        let siblings =
            self.sets.list(Some(set.object().namespace())).into_iter().filter(|sibling| {
                sibling.object().uid() == set.object().uid()
                    || (owner.is_some()
                        && sibling.object().controller().map(|owner| &owner.uid) == owner.as_ref())
            });
        siblings.flat_map(|sibling| self.pods.owned_by(sibling.object().uid())).collect()
    }
}

/// Longest name from which pods' names are generated.
const MAX_PREFIX: usize = 253 - 5;

/// A pod of the template.
fn pod_of(set: &ReplicaSet) -> Pod {
    let template = set.spec.as_ref().and_then(|spec| spec.template.as_ref());
    let meta = template.and_then(|template| template.metadata.as_ref());
    let prefix = format!("{}-", set.metadata.name.as_deref().unwrap_or_default());
    Pod {
        metadata: ObjectMeta {
            generate_name: Some(prefix).filter(|prefix| prefix.len() <= MAX_PREFIX),
            namespace: set.metadata.namespace.clone(),
            labels: meta.and_then(|meta| meta.labels.clone()),
            annotations: meta.and_then(|meta| meta.annotations.clone()),
            finalizers: meta.and_then(|meta| meta.finalizers.clone()),
            owner_references: Some(vec![controller_reference(
                "apps/v1",
                "ReplicaSet",
                &set.metadata,
            )]),
            ..Default::default()
        },
        spec: template.and_then(|template| template.spec.clone()),
        status: None,
    }
}
