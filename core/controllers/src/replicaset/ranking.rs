use std::cmp::Reverse;
use std::collections::HashMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use pinnace_api::Typed;

use crate::pods;

/// The annotation by which a pod says how dear it is.
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// The `count` pods that are missed least. A pod goes before another that, in this order: has a
/// node, is further in its start, is ready, costs more, has fewer siblings on its node, is ready
/// for longer (by orders of magnitude), has restarted less, or is older.
pub(super) fn first_to_go(
    mut pods: Vec<Typed<Pod>>,
    count: usize,
    related: &[Typed<Pod>],
    now: Timestamp,
) -> Vec<Typed<Pod>> {
    if count >= pods.len() {
        return pods;
    }
    let mut crowd: HashMap<&str, usize> = HashMap::new();
    for pod in related.iter().filter(|pod| pods::is_active(pod)) {
        *crowd.entry(pods::node_name(pod)).or_default() += 1;
    }
    pods.sort_by_cached_key(|pod| rank(pod, &crowd, now));
    pods.truncate(count);
    pods
}

type Rank = (bool, u8, bool, i64, Reverse<usize>, u32, Reverse<i32>, u32, Reverse<u64>);

fn rank(pod: &Typed<Pod>, crowd: &HashMap<&str, usize>, now: Timestamp) -> Rank {
    let node = pods::node_name(pod);
    let start = match pods::phase(pod) {
        "Pending" => 0,
        "Unknown" => 1,
        _ => 2,
    };
    let ready = pods::ready_since(pod);
    let cost = pod.metadata.annotations.as_ref().and_then(|all| all.get(DELETION_COST));
    let cost = cost.and_then(|cost| cost.parse().ok()).unwrap_or(0);
    let created = pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
    (
        !node.is_empty(),
        start,
        ready.is_some(),
        cost,
        Reverse(crowd.get(node).copied().unwrap_or(0)),
        ready.map_or(0, |since| magnitude(since, now)),
        Reverse(restarts(pod)),
        created.map_or(0, |created| magnitude(created, now)),
        // Among equals the one made last goes first.
        Reverse(pod.object().revision()),
    )
}

fn restarts(pod: &Pod) -> i32 {
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
    statuses.into_iter().flatten().map(|status| status.restart_count).max().unwrap_or(0)
}

/// Ages are compared by powers of two, as upstream does, so that pods of about the same age are
/// told apart by something better.
fn magnitude(since: Timestamp, now: Timestamp) -> u32 {
    let seconds = now.duration_since(since).as_secs().max(0);
    u64::try_from(seconds).unwrap_or(0).saturating_add(1).ilog2()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod(name: &str, value: Value) -> Typed<Pod> {
        let mut pod: Pod = serde_json::from_value(value).unwrap();
        pod.metadata.name = Some(name.to_owned());
        Typed::new(pod)
    }

    fn running(node: &str, ready: bool) -> Value {
        let ready = if ready { "True" } else { "False" };
        json!({"spec": {"nodeName": node, "containers": []}, "status": {"phase": "Running",
            "conditions": [{"type": "Ready", "status": ready, "lastTransitionTime": "2030-01-01T00:00:00Z"}]}})
    }

    fn check(first: Value, second: Value) {
        let now = "2030-01-01T01:00:00Z".parse().unwrap();
        for order in [["first", "second"], ["second", "first"]] {
            let pods: Vec<_> = order
                .iter()
                .map(|name| {
                    pod(name, if *name == "first" { first.clone() } else { second.clone() })
                })
                .collect();
            let gone = first_to_go(pods.clone(), 1, &pods, now);
            assert_eq!(gone[0].object().name(), "first");
        }
    }

    #[test]
    fn unassigned_pods_go_first() {
        check(json!({"spec": {"containers": []}}), running("a", false));
    }

    #[test]
    fn pods_that_are_not_ready_go_before_ready_ones() {
        check(running("a", false), running("b", true));
    }

    #[test]
    fn cheaper_pods_go_before_dear_ones() {
        let mut cheap = running("a", true);
        cheap["metadata"]["annotations"][DELETION_COST] = json!("-5");
        check(cheap, running("b", true));
    }

    #[test]
    fn younger_pods_go_before_older_ones() {
        let mut young = running("a", true);
        young["metadata"]["creationTimestamp"] = json!("2030-01-01T00:59:00Z");
        let mut old = running("b", true);
        old["metadata"]["creationTimestamp"] = json!("2029-01-01T00:00:00Z");
        check(young, old);
    }
}
