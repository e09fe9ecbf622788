//! What controllers ask about the taints of nodes.

use k8s_openapi::api::core::v1::{Node, Taint, Toleration};

use crate::condition;

/// By this effect a taint also drives pods away that are there already.
pub(crate) const NO_EXECUTE: &str = "NoExecute";
/// By this effect a taint keeps new pods away.
pub(crate) const NO_SCHEDULE: &str = "NoSchedule";

/// The taint by which an administrator says that a node will not come back.
const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";

/// The taints of a node.
pub(crate) fn taints(node: &Node) -> &[Taint] {
    let spec = node.spec.as_ref();
    spec.and_then(|spec| spec.taints.as_deref()).unwrap_or_default()
}

/// Whether a node is ready, as it says itself.
pub(crate) fn is_ready(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    condition::find(conditions, "Ready").is_some_and(|ready| ready.status == "True")
}

/// Whether an administrator has said that nothing on a node runs any more.
pub(crate) fn is_out_of_service(node: &Node) -> bool {
    taints(node).iter().any(|taint| taint.key == OUT_OF_SERVICE)
}

/// Whether a toleration tolerates a taint.
pub(crate) fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let other = |asked: &Option<String>, actual: &str| {
        asked.as_deref().is_some_and(|asked| !asked.is_empty() && asked != actual)
    };
    if other(&toleration.effect, &taint.effect) || other(&toleration.key, &taint.key) {
        return false;
    }
    match toleration.operator.as_deref().unwrap_or_default() {
        "" | "Equal" => {
            toleration.value.as_deref().unwrap_or_default()
                == taint.value.as_deref().unwrap_or_default()
        }
        "Exists" => true,
        _ => false,
    }
}
