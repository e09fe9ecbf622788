use k8s_openapi::api::apps::v1::{DeploymentCondition, DeploymentStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use pinnace_api::Result;
use pinnace_reconcile::Action;

use super::{Rollout, math};
use crate::condition;

const AVAILABLE: &str = "Available";
const REPLICA_FAILURE: &str = "ReplicaFailure";

/// Pods of all sets together.
pub(super) struct Counts {
    pub(super) replicas: i32,
    pub(super) updated: i32,
    pub(super) ready: i32,
    pub(super) available: i32,
    unavailable: i32,
    terminating: i32,
}

impl Rollout<'_> {
    pub(super) fn counts(&self) -> Counts {
        let all = self.sets.all();
        let available = math::sum(all.iter().copied(), math::available);
        let asked = math::sum(all.iter().copied(), math::replicas);
        Counts {
            replicas: math::sum(all.iter().copied(), math::actual),
            updated: math::sum(&self.sets.new, math::actual),
            ready: math::sum(all.iter().copied(), |set| {
                set.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or(0)
            }),
            available,
            unavailable: (asked - available).max(0),
            terminating: math::sum(all.iter().copied(), |set| {
                set.status.as_ref().and_then(|status| status.terminating_replicas).unwrap_or(0)
            }),
        }
    }

    /// Writes the status if it has changed.
    pub(super) async fn write_status(&mut self) -> Result<Action> {
        let counts = self.counts();
        self.set_availability(counts.available);
        self.set_failure();
        let some = |count: i32| (count != 0).then_some(count);
        let status = DeploymentStatus {
            observed_generation: self.deployment.metadata.generation,
            replicas: some(counts.replicas),
            updated_replicas: some(counts.updated),
            ready_replicas: some(counts.ready),
            available_replicas: some(counts.available),
            unavailable_replicas: some(counts.unavailable),
            terminating_replicas: Some(counts.terminating),
            collision_count: self.collisions,
            conditions: self.conditions.clone(),
        };
        if self.deployment.status.as_ref() != Some(&status) {
            let mut new = self.deployment.to_owned();
            new.status = Some(status);
            match self.controller.deployment_api.update_status(new).await {
                Ok(written) => self.deployment = written,
                // This look was at an old state; the change that came between brings the key back.
                Err(error) if error.is_conflict() || error.is_not_found() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Action::Done)
    }

    fn set_availability(&mut self, available: i32) {
        let desired = math::desired(&self.deployment);
        let enough = available >= desired - math::limits(&self.deployment).unavailable;
        let (status, reason, message) = if enough {
            ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
        } else {
            (
                "False",
                "MinimumReplicasUnavailable",
                "Deployment does not have minimum availability.",
            )
        };
        self.set_condition(AVAILABLE, status, reason, message.to_owned());
    }

    /// A set that cannot make its pods says so in a condition, which is the Deployment's too.
    fn set_failure(&mut self) {
        let failing = self.sets.new.iter().chain(&self.sets.old).find_map(|set| {
            let conditions = set.status.as_ref()?.conditions.as_ref();
            condition::find(conditions, REPLICA_FAILURE).cloned()
        });
        match failing {
            Some(failing) => self.set_condition(
                REPLICA_FAILURE,
                &failing.status,
                failing.reason.as_deref().unwrap_or_default(),
                failing.message.unwrap_or_default(),
            ),
            None => condition::remove(&mut self.conditions, REPLICA_FAILURE),
        }
    }

    fn set_condition(&mut self, type_: &str, status: &str, reason: &str, message: String) {
        let now = Time(self.controller.env.clock().now_seconds());
        condition::set(
            &mut self.conditions,
            DeploymentCondition {
                type_: type_.to_owned(),
                status: status.to_owned(),
                reason: Some(reason.to_owned()),
                message: Some(message),
                last_transition_time: Some(now.clone()),
                last_update_time: Some(now),
            },
        );
    }
}
