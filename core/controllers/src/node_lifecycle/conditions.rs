use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, NodeCondition, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::condition;
use crate::taints::{NO_EXECUTE, NO_SCHEDULE};

pub(super) const NOT_READY: &str = "node.kubernetes.io/not-ready";
pub(super) const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

/// Which taint keeps pods off a node while a condition has a status.
const TAINTS: [(&str, &str, &str); 6] = [
    ("Ready", "False", NOT_READY),
    ("Ready", "Unknown", UNREACHABLE),
    ("MemoryPressure", "True", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "True", "node.kubernetes.io/disk-pressure"),
    ("NetworkUnavailable", "True", "node.kubernetes.io/network-unavailable"),
    ("PIDPressure", "True", "node.kubernetes.io/pid-pressure"),
];

/// The conditions that become unknown with a node that is silent. The network's is not the
/// node's own.
const OF_NODE: [&str; 4] = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];

fn conditions(node: &Node) -> Option<&Vec<NodeCondition>> {
    node.status.as_ref()?.conditions.as_ref()
}

/// The condition `Ready`.
pub(super) fn ready(node: &Node) -> Option<&NodeCondition> {
    condition::find(conditions(node), "Ready")
}

/// Marks everything that only the node can know as unknown.
pub(super) fn set_unknown(node: &mut Node, now: Timestamp) {
    let created = node.metadata.creation_timestamp.clone();
    let conditions = node.status.get_or_insert_default().conditions.get_or_insert_default();
    for type_ in OF_NODE {
        match conditions.iter_mut().find(|condition| condition.type_ == type_) {
            Some(known) if known.status == "Unknown" => {}
            Some(known) => {
                known.status = "Unknown".to_owned();
                known.reason = Some("NodeStatusUnknown".to_owned());
                known.message = Some("Kubelet stopped posting node status.".to_owned());
                known.last_transition_time = Some(Time(now));
            }
            None => conditions.push(NodeCondition {
                type_: type_.to_owned(),
                status: "Unknown".to_owned(),
                reason: Some("NodeStatusNeverUpdated".to_owned()),
                message: Some("Kubelet never posted node status.".to_owned()),
                last_heartbeat_time: created.clone(),
                last_transition_time: Some(Time(now)),
            }),
        }
    }
}

/// The taint by which pods are driven away from a node that is not ready.
pub(super) fn driving_taint(node: &Node) -> Option<&'static str> {
    match &*ready(node)?.status {
        "False" => Some(NOT_READY),
        "Unknown" => Some(UNREACHABLE),
        _ => None,
    }
}

/// The taints that a node should have of those that this controller answers for, by key and
/// effect. `driving` is the one of [`driving_taint`] if pods may be driven away.
pub(super) fn wanted(
    node: &Node,
    driving: Option<&'static str>,
) -> Vec<(&'static str, &'static str)> {
    let has = |type_: &str, status: &str| {
        condition::find(conditions(node), type_).is_some_and(|found| found.status == status)
    };
    let by_condition = TAINTS.iter().filter(|(type_, status, _)| has(type_, status));
    let mut wanted: Vec<_> = by_condition.map(|(_, _, key)| (*key, NO_SCHEDULE)).collect();
    if node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true) {
        wanted.push((UNSCHEDULABLE, NO_SCHEDULE));
    }
    wanted.extend(driving.map(|key| (key, NO_EXECUTE)));
    wanted
}

/// Makes the taints that this controller answers for those that are wanted, and leaves others as
/// they are. Says whether that has changed anything.
pub(super) fn set_taints(
    taints: &mut Vec<Taint>,
    wanted: &[(&'static str, &'static str)],
    now: Timestamp,
) -> bool {
    let is = |taint: &Taint, key: &str, effect: &str| taint.key == key && taint.effect == effect;
    let before = taints.len();
    taints.retain(|taint| !is_ours(taint) || wanted.iter().any(|(k, e)| is(taint, k, e)));
    let mut changed = taints.len() != before;
    for (key, effect) in wanted {
        if !taints.iter().any(|taint| is(taint, key, effect)) {
            changed = true;
            taints.push(Taint {
                key: (*key).to_owned(),
                effect: (*effect).to_owned(),
                time_added: Some(Time(now)),
                value: None,
            });
        }
    }
    changed
}

fn is_ours(taint: &Taint) -> bool {
    let key = taint.key.as_str();
    match taint.effect.as_str() {
        NO_SCHEDULE => key == UNSCHEDULABLE || TAINTS.iter().any(|(_, _, ours)| *ours == key),
        NO_EXECUTE => key == NOT_READY || key == UNREACHABLE,
        _ => false,
    }
}
