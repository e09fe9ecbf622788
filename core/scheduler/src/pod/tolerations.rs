use k8s_openapi::api::core::v1::{Taint, Toleration};

/// The taint that stands for `spec.unschedulable` of a node.
pub(crate) const UNSCHEDULABLE_TAINT: &str = "node.kubernetes.io/unschedulable";

/// Whether one of the tolerations tolerates a taint.
pub fn tolerated(tolerations: &[Toleration], taint: &Taint) -> bool {
    let value = taint.value.as_deref().unwrap_or_default();
    tolerations.iter().any(|one| tolerates(one, &taint.key, value, &taint.effect))
}

/// The first taint that keeps a pod off a node.
pub fn untolerated<'a>(tolerations: &[Toleration], taints: &'a [Taint]) -> Option<&'a Taint> {
    let forbids = |taint: &&Taint| matches!(&taint.effect[..], "NoSchedule" | "NoExecute");
    taints.iter().filter(forbids).find(|taint| !tolerated(tolerations, taint))
}

/// Whether the tolerations tolerate a node that is marked unschedulable.
pub fn tolerates_unschedulable(tolerations: &[Toleration]) -> bool {
    tolerations.iter().any(|one| tolerates(one, UNSCHEDULABLE_TAINT, "", "NoSchedule"))
}

fn tolerates(toleration: &Toleration, key: &str, value: &str, effect: &str) -> bool {
    let other = |asked: &Option<String>, actual: &str| {
        asked.as_deref().is_some_and(|asked| !asked.is_empty() && asked != actual)
    };
    if other(&toleration.effect, effect) || other(&toleration.key, key) {
        return false;
    }
    match toleration.operator.as_deref().unwrap_or_default() {
        "" | "Equal" => toleration.value.as_deref().unwrap_or_default() == value,
        "Exists" => true,
        _ => false,
    }
}
