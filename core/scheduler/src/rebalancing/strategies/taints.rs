use k8s_openapi::api::core::v1::{Pod, Taint};

use super::super::NodeTaintSettings;
use super::super::evictor::selects;
use super::super::round::{Asks, Round};
use crate::pod::tolerated;

/// Pods on nodes with taints that they do not tolerate, and would not be placed there any more.
pub(super) async fn run(round: &mut Round<'_>, asks: Asks<'_>, settings: &NodeTaintSettings) {
    for node in round.nodes() {
        let taints = round.cluster.node(node).taints().iter();
        let taints: Vec<Taint> = taints.filter(|taint| counts(settings, taint)).cloned().collect();
        if taints.is_empty() {
            continue;
        }
        for pod in round.pods_on(node) {
            let ours = settings.namespaces.allow(pod.object().namespace())
                && selects(settings.label_selector.as_ref(), &pod);
            if ours && !tolerates(&pod, &taints) {
                round.go(asks, &pod, |_, _| true).await;
            }
        }
    }
}

fn tolerates(pod: &Pod, taints: &[Taint]) -> bool {
    let tolerations = pod.spec.as_ref().and_then(|spec| spec.tolerations.as_deref());
    let tolerations = tolerations.unwrap_or_default();
    taints.iter().all(|taint| tolerated(tolerations, taint))
}

/// Who does not tolerate `NoExecute` is evicted by others.
fn counts(settings: &NodeTaintSettings, taint: &Taint) -> bool {
    let effect = match &taint.effect[..] {
        "NoSchedule" => true,
        "PreferNoSchedule" => settings.include_prefer_no_schedule,
        _ => false,
    };
    let value = taint.value.as_deref().unwrap_or_default();
    let named = |names: &std::collections::BTreeSet<String>| {
        names.contains(&taint.key) || names.contains(&format!("{}={value}", taint.key))
    };
    effect
        && !named(&settings.excluded_taints)
        && (settings.included_taints.is_empty() || named(&settings.included_taints))
}
