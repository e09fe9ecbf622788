//! Deployments: ReplicaSets old and new, and the way from one to the other.

mod math;
mod new_replica_set;
mod progress;
mod replica_sets;
mod revision;
mod rollback;
mod rolling;
mod scaling;
mod status;
mod template;

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use pinnace_api::selector::Selector;
use pinnace_api::{ApiError, Key, Result, Typed};
use pinnace_client::{Api, EventType, Lister, Recorder};
use pinnace_env::Env;
use pinnace_reconcile::{Action, BoxError, Controller, Reconciler};

use crate::Context;
use crate::pods;
use crate::written::Written;
use replica_sets::ReplicaSets;

/// How long changes of ReplicaSets are collected before their Deployment is looked at.
const SETTLE: Duration = Duration::from_millis(5);

/// The controller.
pub(crate) fn controller(context: &Context) -> Result<Controller> {
    let deployments = context.informers.of::<Deployment>()?;
    let sets = context.informers.of::<ReplicaSet>()?.index_by_controller();
    let pods = context.informers.of::<Pod>()?.index_by_controller();
    let reconciler = Deployments {
        deployments: deployments.clone(),
        sets: sets.clone(),
        pods: pods.clone(),
        deployment_api: context.client().of()?,
        set_api: context.client().of()?,
        recorder: context.recorder.component("deployment-controller"),
        env: context.env.clone(),
        written: Written::default(),
    };
    let by_namespace = deployments.clone();
    let set_of_pod = sets.clone();
    Ok(Controller::new(reconciler, &context.env)
        .watches(deployments.informer())
        .maps(sets.informer(), move |delta, queue| {
            for set in [&delta.old, &delta.new].into_iter().flatten() {
                match set.controller() {
                    Some(owner) if owner.kind == "Deployment" => {
                        queue.add_after(Key::new(set.namespace(), owner.name.as_str()), SETTLE);
                    }
                    Some(_) => {}
                    // A set that nobody owns may be adopted.
                    None => {
                        for deployment in by_namespace.list(Some(set.namespace())) {
                            if selector_of(&deployment).is_ok_and(|s| s.matches(set.labels())) {
                                queue.add_after(deployment.object().key(), SETTLE);
                            }
                        }
                    }
                }
            }
        })
        // The end of the last old pod is what a Recreate waits for.
        .maps(pods.informer(), move |delta, queue| {
            let (Some(old), None) = (&delta.old, &delta.new) else { return };
            let Some(owner) = old.controller().filter(|owner| owner.kind == "ReplicaSet") else {
                return;
            };
            let set = set_of_pod.get(&Key::new(old.namespace(), owner.name.as_str()));
            if let Some(owner) = set.as_ref().and_then(|set| set.object().controller()) {
                queue.add_after(Key::new(old.namespace(), owner.name.as_str()), SETTLE);
            }
        }))
}

struct Deployments {
    deployments: Lister<Deployment>,
    sets: Lister<ReplicaSet>,
    pods: Lister<Pod>,
    deployment_api: Api<Deployment>,
    set_api: Api<ReplicaSet>,
    recorder: Recorder,
    env: Env,
    written: Written,
}

#[async_trait]
impl Reconciler for Deployments {
    fn name(&self) -> &str {
        "deployment"
    }

    async fn reconcile(&self, key: &Key) -> Result<Action, BoxError> {
        self.written.seen_by(self.sets.informer(), key).await;
        let Some(deployment) = self.deployments.get(key) else { return Ok(Action::Done) };
        let selector = &spec(&deployment)?.selector;
        if selector.match_labels.as_ref().is_none_or(BTreeMap::is_empty)
            && selector.match_expressions.as_ref().is_none_or(Vec::is_empty)
        {
            let message =
                "This deployment is selecting all pods. A non-empty selector is required.";
            self.warn(&deployment, "SelectingAll", message);
            return Ok(Action::Done);
        }
        let mut rollout = Rollout {
            controller: self,
            key: key.clone(),
            sets: ReplicaSets::of(self.claim(&deployment).await?, &deployment),
            conditions: deployment.status.as_ref().and_then(|status| status.conditions.clone()),
            collisions: deployment.status.as_ref().and_then(|status| status.collision_count),
            deployment,
        };
        Ok(rollout.advance().await?)
    }
}

impl Deployments {
    fn warn(&self, deployment: &Typed<Deployment>, reason: &str, message: impl Into<String>) {
        self.recorder.record(deployment.object(), EventType::Warning, reason, message);
    }
}

/// One look at one Deployment.
struct Rollout<'a> {
    controller: &'a Deployments,
    key: Key,
    deployment: Typed<Deployment>,
    sets: ReplicaSets,
    /// The Deployment's conditions as this look leaves them.
    conditions: Option<Vec<k8s_openapi::api::apps::v1::DeploymentCondition>>,
    /// `status.collisionCount` as this look leaves it.
    collisions: Option<i32>,
}

impl Rollout<'_> {
    async fn advance(&mut self) -> Result<Action> {
        if self.deployment.metadata.deletion_timestamp.is_some() {
            return self.write_status().await;
        }
        self.note_pause();
        if self.is_paused() {
            return self.sync().await;
        }
        if self.roll_back().await? {
            return Ok(Action::Done);
        }
        if self.was_scaled() {
            return self.sync().await;
        }
        if self.is_recreate() { self.recreate().await } else { self.roll().await }
    }

    /// Keeps sizes and revisions in order without rolling on.
    async fn sync(&mut self) -> Result<Action> {
        self.ensure_new_set(false).await?;
        self.scale().await?;
        if self.is_paused() && self.rollback_target().is_none() {
            self.clean_up().await?;
        }
        self.write_status().await
    }

    /// Takes all old pods away before the first new one.
    async fn recreate(&mut self) -> Result<Action> {
        self.ensure_new_set(false).await?;
        let mut scaled = false;
        for index in 0..self.sets.old.len() {
            if math::replicas(&self.sets.old[index]) > 0 {
                let old = self.sets.old[index].clone();
                self.resize(&old, 0).await?;
                scaled = true;
            }
        }
        if scaled || self.old_pods_remain() {
            return self.write_rollout_status().await;
        }
        self.ensure_new_set(true).await?;
        if let Some(new) = self.sets.new.clone() {
            let desired = math::desired(&self.deployment);
            self.resize(&new, desired).await?;
        }
        if self.is_complete() {
            self.clean_up().await?;
        }
        self.write_rollout_status().await
    }

    fn old_pods_remain(&self) -> bool {
        let new = self.sets.new.as_ref().map(|set| set.object().uid());
        let all = self.sets.all();
        let old = all.iter().filter(|set| Some(set.object().uid()) != new);
        old.flat_map(|set| self.controller.pods.owned_by(set.object().uid()))
            .any(|pod| !pods::is_terminal(&pod))
    }

    fn is_paused(&self) -> bool {
        self.deployment.spec.as_ref().and_then(|spec| spec.paused).unwrap_or(false)
    }

    fn is_recreate(&self) -> bool {
        let strategy = self.deployment.spec.as_ref().and_then(|spec| spec.strategy.as_ref());
        strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("Recreate")
    }

    fn normal(&self, reason: &str, message: String) {
        let recorder = &self.controller.recorder;
        recorder.record(self.deployment.object(), EventType::Normal, reason, message);
    }
}

fn spec(deployment: &Deployment) -> Result<&k8s_openapi::api::apps::v1::DeploymentSpec> {
    deployment.spec.as_ref().ok_or_else(|| ApiError::internal("a Deployment has no spec"))
}

fn selector_of(deployment: &Deployment) -> Result<Selector> {
    Selector::from_label_selector(&spec(deployment)?.selector)
}
