use k8s_openapi::api::apps::v1::StatefulSetStatus;

use super::look::{Look, is_going, is_rolling, revision_of, spec};
use crate::pods::Availability;

/// What a StatefulSet's status says.
pub(super) fn of(look: &Look, collisions: i32) -> StatefulSetStatus {
    let (mut replicas, mut ready, mut available) = (0, 0, 0);
    let (mut current, mut updated) = (0, 0);
    for pod in look.pods() {
        replicas += 1;
        let availability = look.availability(pod);
        ready += i32::from(availability != Availability::NotReady);
        available += i32::from(availability == Availability::Available);
        if !is_going(pod) {
            current += i32::from(revision_of(pod) == look.current);
            updated += i32::from(revision_of(pod) == look.update);
        }
    }
    let spec = spec(&look.set);
    let wanted = spec.replicas.unwrap_or(1);
    let mut current_revision = &look.current;
    // All are updated: from now on that is the current revision.
    if is_rolling(&spec) && [replicas, ready, updated].iter().all(|count| *count == wanted) {
        current = updated;
        current_revision = &look.update;
    }
    let some = |count: i32| (count != 0).then_some(count);
    StatefulSetStatus {
        replicas,
        ready_replicas: some(ready),
        available_replicas: Some(available),
        current_replicas: some(current),
        updated_replicas: some(updated),
        current_revision: Some(current_revision.clone()),
        update_revision: Some(look.update.clone()),
        observed_generation: look.set.metadata.generation,
        collision_count: Some(collisions),
        conditions: look.set.status.as_ref().and_then(|status| status.conditions.clone()),
    }
}
