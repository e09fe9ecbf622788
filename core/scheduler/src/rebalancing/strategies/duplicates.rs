use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use pinnace_api::Typed;

use super::super::DuplicateSettings;
use super::super::round::{Asks, Round};
use crate::cluster::{Cluster, NodeIndex};
use crate::pod::{Affinity, tolerates_unschedulable, untolerated};

/// What makes pods duplicates: namespace, owners and images.
type Sort = (String, Vec<String>, Vec<String>);

/// Pods of which more are on their node than there would be if they were spread evenly.
pub(super) async fn run(round: &mut Round<'_>, asks: Asks<'_>, settings: &DuplicateSettings) {
    let mut sorts: BTreeMap<Sort, BTreeMap<NodeIndex, Vec<Typed<Pod>>>> = BTreeMap::new();
    for node in round.nodes() {
        for pod in round.pods_on(node) {
            if let Some(sort) = sort_of(settings, &pod) {
                sorts.entry(sort).or_default().entry(node).or_default().push(pod);
            }
        }
    }
    for by_node in sorts.into_values().filter(|nodes| nodes.values().any(|pods| pods.len() > 1)) {
        spread_out(round, asks, by_node).await;
    }
}

fn sort_of(settings: &DuplicateSettings, pod: &Typed<Pod>) -> Option<Sort> {
    let owners = pod.metadata.owner_references.as_deref().unwrap_or_default();
    let excluded = owners.iter().any(|owner| settings.exclude_owner_kinds.contains(&owner.kind));
    let namespace = pod.object().namespace();
    if owners.is_empty() || excluded || !settings.namespaces.allow(namespace) {
        return None;
    }
    let mut owners: Vec<String> = owners.iter().map(|owner| owner.uid.clone()).collect();
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let mut images: Vec<String> = containers.filter_map(|one| one.image.clone()).collect();
    owners.sort();
    images.sort();
    Some((namespace.to_owned(), owners, images))
}

async fn spread_out(
    round: &mut Round<'_>,
    asks: Asks<'_>,
    by_node: BTreeMap<NodeIndex, Vec<Typed<Pod>>>,
) {
    let Some(one) = by_node.values().flatten().next() else { return };
    let targets = round.nodes().iter().filter(|node| takes(round, one, **node)).count();
    let all: usize = by_node.values().map(Vec::len).sum();
    if targets < 2 {
        return;
    }
    let most = all.div_ceil(targets);
    let mut counts: BTreeMap<NodeIndex, usize> =
        by_node.iter().map(|(node, pods)| (*node, pods.len())).collect();
    for (node, pods) in by_node {
        for pod in pods {
            if counts.get(&node).is_none_or(|count| *count <= most) {
                break;
            }
            let counted = counts.clone();
            let has_room = move |_: &Cluster, node: NodeIndex| {
                counted.get(&node).is_none_or(|count| *count < most)
            };
            let Some(moved) = round.go(asks, &pod, has_room).await else { continue };
            *counts.entry(node).or_default() -= 1;
            if let Some(to) = moved.to {
                *counts.entry(to).or_default() += 1;
            }
        }
    }
}

/// Whether pods of this sort may be on a node at all.
fn takes(round: &Round<'_>, pod: &Pod, node: NodeIndex) -> bool {
    let state = round.cluster.node(node);
    let (Some(object), Some(spec)) = (state.object(), &pod.spec) else { return false };
    let tolerations = spec.tolerations.as_deref().unwrap_or_default();
    (!state.is_unschedulable() || tolerates_unschedulable(tolerations))
        && untolerated(tolerations, state.taints()).is_none()
        && Affinity::of(spec).allows(object)
}
