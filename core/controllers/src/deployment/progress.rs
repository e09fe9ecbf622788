use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use pinnace_api::Result;
use pinnace_reconcile::Action;

use super::{Rollout, math};
use crate::condition;

/// The condition that tells how a rollout goes.
pub(super) const PROGRESSING: &str = "Progressing";
pub(super) const FOUND: &str = "FoundNewReplicaSet";
pub(super) const CREATED: &str = "NewReplicaSetCreated";
const UPDATED: &str = "ReplicaSetUpdated";
const DONE: &str = "NewReplicaSetAvailable";
const TIMED_OUT: &str = "ProgressDeadlineExceeded";
const PAUSED: &str = "DeploymentPaused";
const RESUMED: &str = "DeploymentResumed";

/// A deadline this long means none.
const NO_DEADLINE: i32 = i32::MAX;

impl Rollout<'_> {
    fn deadline(&self) -> Option<Duration> {
        let seconds = self.deployment.spec.as_ref()?.progress_deadline_seconds?;
        (seconds != NO_DEADLINE).then(|| Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
    }

    /// Notes that the rollout was paused or goes on, so that the pause does not count against the
    /// deadline.
    pub(super) fn note_pause(&mut self) {
        if self.deadline().is_none() {
            return;
        }
        let current = condition::find(self.conditions.as_ref(), PROGRESSING);
        let reason = current.and_then(|current| current.reason.as_deref());
        if reason == Some(TIMED_OUT) {
            return;
        }
        let was_paused = reason == Some(PAUSED);
        if self.is_paused() && !was_paused {
            self.set_progress("Unknown", PAUSED, "Deployment is paused".to_owned());
        } else if !self.is_paused() && was_paused {
            self.set_progress("Unknown", RESUMED, "Deployment is resumed".to_owned());
        }
    }

    /// Whether every pod is new and available, and no old one is left.
    pub(super) fn is_complete(&self) -> bool {
        let desired = math::desired(&self.deployment);
        let status = self.counts();
        let seen = self.deployment.status.as_ref().and_then(|status| status.observed_generation);
        status.updated == desired
            && status.replicas == desired
            && status.available == desired
            && seen >= self.deployment.metadata.generation
    }

    /// Writes the status of a rollout that goes on: also whether it moves.
    pub(super) async fn write_rollout_status(&mut self) -> Result<Action> {
        if self.deadline().is_none() {
            condition::remove(&mut self.conditions, PROGRESSING);
            return self.write_status().await;
        }
        let current = condition::find(self.conditions.as_ref(), PROGRESSING);
        let reason = current.and_then(|current| current.reason.clone());
        let counts = self.counts();
        let told = current.and_then(|current| current.message.clone()).unwrap_or_default();
        let name = self.sets.new.as_ref().map(|set| set.object().name().to_owned());
        let subject = match name {
            Some(name) => format!("ReplicaSet {name:?}"),
            None => format!("Deployment {:?}", self.deployment.object().name()),
        };
        // One that is done stays so, but only with the set that it was done with: a crash may have
        // come after a set was made and before that was told.
        let idle = counts.replicas == counts.updated
            && reason.as_deref() == Some(DONE)
            && told.starts_with(&subject);
        if !idle {
            if self.is_complete_by(&counts) {
                self.set_progress("True", DONE, format!("{subject} has successfully progressed."));
            } else if self.has_moved(&counts) {
                self.move_on(format!("{subject} is progressing."));
            } else if self.has_timed_out(reason.as_deref()) {
                let message = format!("{subject} has timed out progressing.");
                self.set_progress("False", TIMED_OUT, message);
            }
        }
        let action = self.write_status().await?;
        Ok(match (action, self.time_left()) {
            (Action::Done, Some(left)) => Action::RequeueAfter(left),
            (Action::RequeueAfter(wait), Some(left)) => Action::RequeueAfter(wait.min(left)),
            (action, None) => action,
        })
    }

    fn is_complete_by(&self, counts: &super::status::Counts) -> bool {
        let desired = math::desired(&self.deployment);
        counts.updated == desired && counts.replicas == desired && counts.available == desired
    }

    /// Whether more new pods are there, fewer old ones, or more are ready or available than the
    /// status still says.
    fn has_moved(&self, counts: &super::status::Counts) -> bool {
        let status = self.deployment.status.as_ref();
        let told = |of: fn(&k8s_openapi::api::apps::v1::DeploymentStatus) -> Option<i32>| {
            status.and_then(of).unwrap_or(0)
        };
        let (replicas, updated) = (told(|s| s.replicas), told(|s| s.updated_replicas));
        counts.updated > updated
            || counts.replicas - counts.updated < replicas - updated
            || counts.ready > told(|s| s.ready_replicas)
            || counts.available > told(|s| s.available_replicas)
    }

    /// Progress is dated by its latest step, so the condition is written even if its reason stays.
    fn move_on(&mut self, message: String) {
        let now = Time(self.controller.env.clock().now_seconds());
        let current = self
            .conditions
            .as_mut()
            .and_then(|all| all.iter_mut().find(|condition| condition.type_ == PROGRESSING));
        match current {
            Some(current) => {
                if current.status != "True" {
                    current.last_transition_time = Some(now.clone());
                }
                current.status = "True".to_owned();
                current.reason = Some(UPDATED.to_owned());
                current.message = Some(message);
                current.last_update_time = Some(now);
            }
            None => self.set_progress("True", UPDATED, message),
        }
    }

    fn has_timed_out(&self, reason: Option<&str>) -> bool {
        match reason {
            Some(DONE) | None => false,
            Some(TIMED_OUT) => true,
            Some(_) => self.time_left() == Some(Duration::ZERO),
        }
    }

    /// The time until the deadline of a rollout that goes on; `None` if there is none to wait for.
    fn time_left(&self) -> Option<Duration> {
        let deadline = self.deadline()?;
        let current = condition::find(self.conditions.as_ref(), PROGRESSING)?;
        if matches!(current.reason.as_deref(), Some(DONE | TIMED_OUT | PAUSED)) {
            return None;
        }
        let since = current.last_update_time.as_ref()?.0;
        Some(deadline.saturating_sub(self.controller.env.clock().since(since)))
    }
}
