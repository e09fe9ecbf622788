use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use pinnace_api::patch::Patch;
use pinnace_api::{ApiError, Key, Reason, Typed};
use pinnace_client::ListOptions;
use serde_json::json;

use crate::{Engine, Result};

const REVISION: &str = "deployment.kubernetes.io/revision";
const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";
const HASH_LABEL: &str = "pod-template-hash";

/// How far a rollout is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RolloutStatus {
    /// Whether it is done.
    pub done: bool,
    /// The sentence that `kubectl rollout status` prints.
    pub message: String,
}

impl Engine {
    /// How far the rollout of a Deployment is.
    ///
    /// # Errors
    /// `NotFound`; `Timeout` when the rollout has exceeded its progress deadline.
    pub async fn rollout_status(&self, deployment: &str) -> Result<RolloutStatus> {
        let (_, deployment) = self.deployment(deployment).await?;
        Ok(status_of(&deployment)?)
    }

    /// Goes back to an earlier revision of a Deployment, or to the one before if `revision` is 0.
    ///
    /// # Errors
    /// `NotFound` when there is no such revision; `Invalid` for a paused Deployment.
    pub async fn rollout_undo(&self, deployment: &str, revision: i64) -> Result<()> {
        let (key, deployment) = self.deployment(deployment).await?;
        let name = key.name();
        if deployment.spec.as_ref().and_then(|spec| spec.paused) == Some(true) {
            let message = format!(
                "you cannot rollback a paused deployment; resume it first with 'kubectl rollout \
                 resume deployment/{name}' and try again"
            );
            return Err(ApiError::bad_request(message).into());
        }
        let mut sets = self.revisions(&key, &deployment).await?;
        let found = if revision == 0 {
            sets.pop();
            sets.pop()
        } else {
            sets.into_iter().find(|(number, _)| *number == revision)
        };
        let (_, set) = found.ok_or_else(|| {
            let what = match revision {
                0 => "no rollout history found".to_owned(),
                number => format!("unable to find specified revision {number} in history"),
            };
            ApiError::new(Reason::NotFound, format!("{what} for deployment {name:?}"))
        })?;
        let mut template = set.spec.as_ref().and_then(|spec| spec.template.clone());
        if let Some(labels) =
            template.as_mut().and_then(|template| template.metadata.as_mut()?.labels.as_mut())
        {
            labels.remove(HASH_LABEL);
        }
        let patch = Patch::Json(json!([
            {"op": "replace", "path": "/spec/template", "value": template}
        ]));
        self.client().of::<Deployment>()?.patch(&key, patch).await?;
        Ok(())
    }

    /// Replaces all pods of a Deployment, by its strategy, without changing anything else.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn rollout_restart(&self, deployment: &str) -> Result<()> {
        let (key, _) = self.deployment(deployment).await?;
        let now = self.env().clock().now_seconds().to_string();
        let patch = Patch::StrategicMerge(json!({
            "spec": {"template": {"metadata": {"annotations": {RESTARTED_AT: now}}}}
        }));
        self.client().of::<Deployment>()?.patch(&key, patch).await?;
        Ok(())
    }

    /// Halts (`true`) or resumes (`false`) the rollout of a Deployment.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn rollout_pause(&self, deployment: &str, paused: bool) -> Result<()> {
        let (key, _) = self.deployment(deployment).await?;
        let patch = Patch::Merge(json!({"spec": {"paused": paused}}));
        self.client().of::<Deployment>()?.patch(&key, patch).await?;
        Ok(())
    }

    async fn deployment(&self, name: &str) -> Result<(Key, Typed<Deployment>)> {
        let reference = self.reference(name)?;
        if &*reference.resource.kind != "Deployment" {
            let message = format!("{} has no rollouts", reference.resource.name());
            return Err(ApiError::bad_request(message).into());
        }
        let deployment = self.client().of::<Deployment>()?.get(&reference.key).await?;
        Ok((reference.key, deployment))
    }

    /// The ReplicaSets of a Deployment with their revisions, oldest first.
    async fn revisions(
        &self,
        key: &Key,
        deployment: &Typed<Deployment>,
    ) -> Result<Vec<(i64, Typed<ReplicaSet>)>> {
        let sets = self.client().of::<ReplicaSet>()?;
        let all = sets.list(Some(key.namespace()), ListOptions::default()).await?;
        let uid = deployment.object().uid();
        let owned = all
            .items
            .into_iter()
            .filter(|set| set.object().controller().is_some_and(|owner| owner.uid == uid));
        let mut revisions: Vec<_> = owned
            .map(|set| {
                let annotations = set.metadata.annotations.as_ref();
                let revision = annotations.and_then(|all| all.get(REVISION)?.parse().ok());
                (revision.unwrap_or(0), set)
            })
            .collect();
        revisions.sort_by_key(|(revision, _)| *revision);
        Ok(revisions)
    }
}

fn status_of(deployment: &Typed<Deployment>) -> Result<RolloutStatus, ApiError> {
    let name = deployment.object().name();
    let status = deployment.status.clone().unwrap_or_default();
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let waiting = |message: String| Ok(RolloutStatus { done: false, message });
    if status.observed_generation < deployment.metadata.generation {
        return waiting("Waiting for deployment spec update to be observed...".to_owned());
    }
    let progress = status.conditions.iter().flatten().find(|c| c.type_ == "Progressing");
    if progress.and_then(|c| c.reason.as_deref()) == Some("ProgressDeadlineExceeded") {
        let message = format!("deployment {name:?} exceeded its progress deadline");
        return Err(ApiError::new(Reason::Timeout, message));
    }
    let count = |number: Option<i32>| number.unwrap_or(0);
    let (all, updated) = (count(status.replicas), count(status.updated_replicas));
    let available = count(status.available_replicas);
    if updated < wanted {
        return waiting(format!(
            "Waiting for deployment {name:?} rollout to finish: {updated} out of {wanted} new \
             replicas have been updated..."
        ));
    }
    if all > updated {
        return waiting(format!(
            "Waiting for deployment {name:?} rollout to finish: {} old replicas are pending \
             termination...",
            all - updated
        ));
    }
    if available < updated {
        return waiting(format!(
            "Waiting for deployment {name:?} rollout to finish: {available} of {updated} updated \
             replicas are available..."
        ));
    }
    let message = format!("deployment {name:?} successfully rolled out");
    Ok(RolloutStatus { done: true, message })
}
