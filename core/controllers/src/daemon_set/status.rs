use k8s_openapi::api::apps::v1::DaemonSetStatus;

use super::look::Look;
use super::placement::Verdict;
use crate::pods::{self, Availability};

/// What a DaemonSet's status says.
pub(super) fn of(look: &Look, collisions: Option<i32>) -> DaemonSetStatus {
    let (mut desired, mut current, mut misplaced) = (0, 0, 0);
    let (mut ready, mut available, mut updated) = (0, 0, 0);
    for seat in &look.seats {
        let Some(pod) = seat.pods.first() else {
            desired += i32::from(seat.verdict == Verdict::Run);
            continue;
        };
        if seat.verdict != Verdict::Run {
            misplaced += 1;
            continue;
        }
        desired += 1;
        current += 1;
        ready += i32::from(pods::ready_since(pod).is_some());
        available += i32::from(look.availability(pod) == Availability::Available);
        updated += i32::from(look.is_updated(pod));
    }
    let some = |count: i32| (count != 0).then_some(count);
    DaemonSetStatus {
        desired_number_scheduled: desired,
        current_number_scheduled: current,
        number_misscheduled: misplaced,
        number_ready: ready,
        number_available: some(available),
        number_unavailable: some(desired - available),
        updated_number_scheduled: some(updated),
        observed_generation: look.set.metadata.generation,
        collision_count: collisions,
        conditions: look.set.status.as_ref().and_then(|status| status.conditions.clone()),
    }
}
