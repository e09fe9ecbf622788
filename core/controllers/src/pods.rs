//! What controllers ask about pods.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use pinnace_client::Lister;

use crate::condition;

/// The index of pods by the node that they are bound to; [`index_by_node`] makes it.
pub(crate) const BY_NODE: &str = "node";

/// Makes the index [`BY_NODE`].
pub(crate) fn index_by_node(pods: &Lister<Pod>) {
    pods.informer().index(BY_NODE, |pod| match pod.get::<Pod>().map(node_name) {
        Ok(node) if !node.is_empty() => vec![node.to_owned()],
        _ => vec![],
    });
}

/// The pod's phase, empty when it has none.
pub(crate) fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

/// Whether the pod has ended for good.
pub(crate) fn is_terminal(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// Whether the pod counts as a replica: it has not ended and is not going.
pub(crate) fn is_active(pod: &Pod) -> bool {
    !is_terminal(pod) && pod.metadata.deletion_timestamp.is_none()
}

/// The node that the pod is bound to, empty for none.
pub(crate) fn node_name(pod: &Pod) -> &str {
    pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default()
}

/// Since when the pod is ready; `None` when it is not.
pub(crate) fn ready_since(pod: &Pod) -> Option<Timestamp> {
    let conditions = pod.status.as_ref()?.conditions.as_ref();
    let ready = condition::find(conditions, "Ready").filter(|ready| ready.status == "True")?;
    Some(ready.last_transition_time.as_ref().map_or(Timestamp::MIN, |time| time.0))
}

/// Whether the pod has been ready for `min_ready`, or else how long it has to be so still.
pub(crate) fn availability(pod: &Pod, min_ready: Duration, now: Timestamp) -> Availability {
    let Some(since) = ready_since(pod) else { return Availability::NotReady };
    let ready_for = Duration::try_from(now.duration_since(since)).unwrap_or(Duration::ZERO);
    match min_ready.checked_sub(ready_for) {
        Some(left) if !left.is_zero() => Availability::In(left),
        _ => Availability::Available,
    }
}

/// See [`availability`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Availability {
    /// It is not ready.
    NotReady,
    /// It is ready and will be available after this time.
    In(Duration),
    /// It is available.
    Available,
}
