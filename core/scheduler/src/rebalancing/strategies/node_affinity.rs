use super::super::NodeAffinitySettings;
use super::super::config::{PREFERRED, REQUIRED};
use super::super::evictor::selects;
use super::super::round::{Asks, Round};
use crate::cluster::{Cluster, NodeIndex};
use crate::pod::Affinity;

/// Pods whose node is not one that they ask for any more, or that would like another one better.
pub(super) async fn run(round: &mut Round<'_>, asks: Asks<'_>, settings: &NodeAffinitySettings) {
    let asked = |kind: &str| settings.node_affinity_type.contains(kind);
    for node in round.nodes() {
        for pod in round.pods_on(node) {
            let ours = settings.namespaces.allow(pod.object().namespace())
                && selects(settings.label_selector.as_ref(), &pod);
            let Some(affinity) = pod.spec.as_ref().filter(|_| ours).map(Affinity::of) else {
                continue;
            };
            if affinity.demands_nothing() && !affinity.has_preferences() {
                continue;
            }
            let Some(object) = round.cluster.node(node).object().cloned() else { continue };
            if asked(REQUIRED) && !affinity.allows(&object) {
                round.go(asks, &pod, |_, _| true).await;
            } else if asked(PREFERRED) && affinity.has_preferences() {
                let here = affinity.preference(&object);
                let better = |cluster: &Cluster, node: NodeIndex| {
                    let object = cluster.node(node).object();
                    object.is_some_and(|node| affinity.preference(node) > here)
                };
                round.go(Asks { must_fit: true, ..asks }, &pod, better).await;
            }
        }
    }
}
