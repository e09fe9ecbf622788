//! ReplicaSets: as many pods of a template as asked for.

mod ranking;
mod status;

use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use pinnace_api::selector::Selector;
use pinnace_api::{ApiError, Key, Result, Typed};
use pinnace_client::{Api, DeleteOptions, EventType, Lister, Preconditions, Recorder};
use pinnace_env::Env;
use pinnace_reconcile::{Action, BoxError, Controller, Reconciler};

use crate::Context;
use crate::claim::{Claims, controller_reference, enqueue_owners};
use crate::pods;
use crate::written::Written;

/// How many pods one look at a ReplicaSet makes or deletes at most.
const BURST: usize = 500;
/// How many pods are made at first; the number doubles as long as none fails.
const FIRST_BATCH: usize = 1;
/// After how many pods other tasks get their turn: about a millisecond.
const YIELD_EVERY: usize = 64;
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
        pod_api: context.client().of()?,
        recorder: context.recorder.component("replicaset-controller"),
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
    pod_api: Api<Pod>,
    recorder: Recorder,
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
        let key = set.object().key();
        let (have, want) = (active.len(), desired(set));
        if have < want {
            self.create_pods(set, &key, (want - have).min(BURST)).await
        } else if have > want {
            let surplus = (have - want).min(BURST);
            let related = self.pods_on_same_nodes(set);
            let victims = ranking::first_to_go(active, surplus, &related, self.env.now());
            self.delete_pods(set, &key, victims).await
        } else {
            Ok(())
        }
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

    /// Makes pods in batches that double in size, so that a template that cannot work fails once
    /// and not five hundred times.
    async fn create_pods(&self, set: &Typed<ReplicaSet>, key: &Key, count: usize) -> Result<()> {
        let mut left = count;
        let mut batch = FIRST_BATCH.min(left);
        while batch > 0 {
            let mut failure = None;
            for chunk in 0..batch.div_ceil(YIELD_EVERY) {
                let size = YIELD_EVERY.min(batch - chunk * YIELD_EVERY);
                let made = join_all((0..size).map(|_| self.pod_api.create(pod_of(set)))).await;
                for pod in made {
                    match pod {
                        Ok(pod) => {
                            self.written.note(key, pod.object().revision());
                            let message = format!("Created pod: {}", pod.object().name());
                            self.recorder.record(
                                set.object(),
                                EventType::Normal,
                                "SuccessfulCreate",
                                message,
                            );
                        }
                        Err(error) => failure = Some(error),
                    }
                }
                tokio::task::yield_now().await;
            }
            if let Some(error) = failure {
                // In a namespace that goes nothing can be made: no news to anybody.
                if !error.message().contains("because it is being terminated") {
                    let message = format!("Error creating: {error}");
                    self.recorder.record(set.object(), EventType::Warning, "FailedCreate", message);
                }
                return Err(error);
            }
            left -= batch;
            batch = (batch * 2).min(left);
        }
        Ok(())
    }

    async fn delete_pods(
        &self,
        set: &Typed<ReplicaSet>,
        key: &Key,
        victims: Vec<Typed<Pod>>,
    ) -> Result<()> {
        let mut failure = None;
        for chunk in victims.chunks(YIELD_EVERY) {
            let deleted = join_all(chunk.iter().map(|pod| async move {
                let uid = pod.metadata.uid.clone();
                let options = DeleteOptions {
                    preconditions: Some(Preconditions { uid, resource_version: None }),
                    ..DeleteOptions::default()
                };
                (pod, self.pod_api.delete(&pod.object().key(), options).await)
            }));
            for (pod, deleted) in deleted.await {
                match deleted {
                    Ok(last) => {
                        self.written.note(key, last.object().revision());
                        let message = format!("Deleted pod: {}", pod.object().name());
                        self.recorder.record(
                            set.object(),
                            EventType::Normal,
                            "SuccessfulDelete",
                            message,
                        );
                    }
                    Err(error) if error.is_not_found() => {}
                    Err(error) => {
                        let message = format!("Error deleting: {error}");
                        self.recorder.record(
                            set.object(),
                            EventType::Warning,
                            "FailedDelete",
                            message,
                        );
                        failure = Some(error);
                    }
                }
            }
            tokio::task::yield_now().await;
        }
        failure.map_or(Ok(()), Err)
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
