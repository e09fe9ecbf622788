use k8s_openapi::api::core::v1::Pod;
use pinnace_api::Typed;

use super::super::AntiAffinitySettings;
use super::super::evictor::selects;
use super::super::round::{Asks, Round};
use crate::cluster::{Domain, NodeIndex};
use crate::pod::{PodTerm, PodTerms};

/// Pods that another pod must not be near, where it is: as upstream, the one that the term speaks of
/// goes, not the one that has it.
pub(super) async fn run(round: &mut Round<'_>, asks: Asks<'_>, settings: &AntiAffinitySettings) {
    for (uid, term) in terms(round) {
        for pod in violating(round, &uid, &term) {
            let ours = settings.namespaces.allow(pod.object().namespace())
                && selects(settings.label_selector.as_ref(), &pod);
            // Who has the term may have gone meanwhile, and with it the reason.
            if ours && violating(round, &uid, &term).iter().any(|one| same(one, &pod)) {
                round.go(asks, &pod, |_, _| true).await;
            }
        }
    }
}

fn same(one: &Typed<Pod>, other: &Typed<Pod>) -> bool {
    one.object().uid() == other.object().uid()
}

/// The terms of all pods that have some, the most important last.
fn terms(round: &Round<'_>) -> Vec<(String, PodTerm)> {
    let nodes = round.nodes().into_iter();
    let pods = nodes.flat_map(|node| round.pods_on(node));
    pods.filter_map(|pod| Some((pod.object().uid().to_owned(), PodTerms::of(&pod)?)))
        .flat_map(|(uid, terms)| {
            terms.anti_affinity.into_iter().map(move |term| (uid.clone(), term))
        })
        .collect()
}

/// The pods that a pod's term speaks of and that are too near.
fn violating(round: &mut Round<'_>, uid: &str, term: &PodTerm) -> Vec<Typed<Pod>> {
    let Some(node) = round.cluster.pod(uid).map(|record| record.node()) else {
        return Vec::new();
    };
    let near = nodes_near(round, &term.topology_key, node);
    let pods = near.into_iter().flat_map(|node| round.pods_on(node));
    let spoken_of = |pod: &Typed<Pod>| {
        pod.object().uid() != uid && round.cluster.satisfies(pod, std::slice::from_ref(term))
    };
    pods.filter(spoken_of).collect()
}

fn nodes_near(round: &mut Round<'_>, key: &str, node: NodeIndex) -> Vec<NodeIndex> {
    let key = round.cluster.topology_key(key);
    let domains = round.cluster.topology().domain_of(key);
    let here = domains.get(node.index()).copied().filter(|domain| *domain != Domain::NONE);
    let Some(here) = here else { return Vec::new() };
    let there = |node: &NodeIndex| domains.get(node.index()) == Some(&here);
    round.nodes().into_iter().filter(there).collect()
}
