use std::time::Duration;

use k8s_openapi::api::apps::v1::{ReplicaSetCondition, ReplicaSetStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use pinnace_api::{ApiError, Result, Typed};

use super::kind::ReplicaKind;
use super::{ReplicaSets, desired};
use crate::condition;
use crate::pods::{self, Availability};

const REPLICA_FAILURE: &str = "ReplicaFailure";

impl<K: ReplicaKind> ReplicaSets<K> {
    /// Writes the status if it has changed. Gives the time after which the next pod becomes
    /// available, if nothing changes before.
    pub(super) async fn write_status(
        &self,
        set: &Typed<K>,
        owned: &[Typed<Pod>],
        failed: Option<&ApiError>,
    ) -> Result<Option<Duration>> {
        let (status, wait) = self.status_of(set, owned, failed);
        let mut new = set.to_owned();
        new.set_status(status);
        if new != **set {
            match self.set_api.update_status(new).await {
                Ok(_) => {}
                // Somebody else wrote, so this look was at an old state: the change brings the
                // key back.
                Err(error) if error.is_conflict() || error.is_not_found() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(wait)
    }

    fn status_of(
        &self,
        set: &Typed<K>,
        owned: &[Typed<Pod>],
        failed: Option<&ApiError>,
    ) -> (ReplicaSetStatus, Option<Duration>) {
        let min_ready = set.min_ready_seconds().unwrap_or(0);
        let min_ready = Duration::from_secs(u64::try_from(min_ready).unwrap_or(0));
        let labels = set
            .template()
            .and_then(|template| template.metadata.as_ref()?.labels.as_ref())
            .cloned()
            .unwrap_or_default();
        let now = self.env.now();
        let (mut replicas, mut labelled, mut ready, mut available) = (0, 0, 0, 0);
        let mut terminating = 0;
        let mut wait: Option<Duration> = None;
        for pod in owned {
            if !pods::is_active(pod) {
                let going = pod.metadata.deletion_timestamp.is_some() && !pods::is_terminal(pod);
                terminating += i32::from(going);
                continue;
            }
            replicas += 1;
            let own = pod.metadata.labels.as_ref();
            let all = labels.iter().all(|(k, v)| own.and_then(|own| own.get(k)) == Some(v));
            labelled += i32::from(all);
            match pods::availability(pod, min_ready, now) {
                Availability::NotReady => {}
                Availability::Available => {
                    ready += 1;
                    available += 1;
                }
                Availability::In(left) => {
                    ready += 1;
                    wait = Some(wait.map_or(left, |wait| wait.min(left)));
                }
            }
        }
        let mut conditions = set.conditions();
        match failed {
            None => condition::remove(&mut conditions, REPLICA_FAILURE),
            Some(error) => {
                let short =
                    owned.iter().filter(|pod| pods::is_active(pod)).count() < desired(&**set);
                let reason = if short { "FailedCreate" } else { "FailedDelete" };
                condition::set(
                    &mut conditions,
                    ReplicaSetCondition {
                        type_: REPLICA_FAILURE.to_owned(),
                        status: "True".to_owned(),
                        reason: Some(reason.to_owned()),
                        message: Some(error.to_string()),
                        last_transition_time: Some(Time(self.env.clock().now_seconds())),
                    },
                );
            }
        }
        let status = ReplicaSetStatus {
            replicas,
            fully_labeled_replicas: some(labelled),
            ready_replicas: some(ready),
            available_replicas: some(available),
            terminating_replicas: Some(terminating),
            observed_generation: set.meta().generation,
            conditions,
        };
        (status, wait)
    }
}

/// Upstream leaves zeros out.
fn some(count: i32) -> Option<i32> {
    (count != 0).then_some(count)
}
