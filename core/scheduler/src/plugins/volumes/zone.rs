use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{PersistentVolume, Pod};
use pinnace_api::volumes;

use super::{Caches, claims, hint, prepare};
use crate::Result;
use crate::cluster::{Cluster, NodeIndex};
use crate::framework::{
    Answer, ClusterEvent, Concern, Cycle, Events, Filter, Handle, Hint, Plugin, PreFilter,
    PreFiltered, Prepared, Reasons, Verdict,
};
use crate::pod::PodInfo;

const REASON: &str = "node(s) had no available volume zone";
/// The labels by which volumes and nodes say where they are, old and new.
const LABELS: [(&str, &str); 4] = [
    ("failure-domain.beta.kubernetes.io/zone", "topology.kubernetes.io/zone"),
    ("failure-domain.beta.kubernetes.io/region", "topology.kubernetes.io/region"),
    ("topology.kubernetes.io/zone", "topology.kubernetes.io/zone"),
    ("topology.kubernetes.io/region", "topology.kubernetes.io/region"),
];

/// Keeps pods to the zones of their volumes, as labels of the volumes say.
pub struct VolumeZone {
    caches: Caches,
}

impl VolumeZone {
    /// The plugin's name.
    pub const NAME: &'static str = "VolumeZone";

    /// A plugin that reads from the caches of a scheduler.
    ///
    /// # Errors
    /// When the API serves no volumes.
    pub fn new(handle: &Handle) -> Result<Self> {
        Ok(Self { caches: Caches::new(handle)? })
    }

    /// Where the volumes of a pod are: labels, each with the values that will do.
    fn topology(&self, pod: &PodInfo) -> Topology {
        let bound = claims(pod).iter().filter_map(|used| {
            let claim = self.caches.claims.get(&used.key)?;
            if volumes::volume_name(&claim).is_empty() { None } else { self.caches.volume(&claim) }
        });
        Topology(bound.flat_map(|volume| places(&volume)).collect())
    }
}

struct Topology(Vec<(&'static str, &'static str, Vec<String>)>);

fn places(volume: &PersistentVolume) -> Vec<(&'static str, &'static str, Vec<String>)> {
    let Some(labels) = &volume.metadata.labels else { return Vec::new() };
    let known = LABELS.iter().filter_map(|(label, new)| {
        let values = labels.get(*label)?.split("__").map(str::to_owned).collect();
        Some((*label, *new, values))
    });
    known.collect()
}

/// Whether a node with these labels is where all volumes are. One that says nothing about where it is
/// may be anywhere.
fn fits(topology: &Topology, labels: Option<&BTreeMap<String, String>>) -> bool {
    let Some(labels) = labels else { return true };
    if !LABELS.iter().any(|(label, _)| labels.contains_key(*label)) {
        return true;
    }
    topology.0.iter().all(|(label, new, values)| {
        let value = labels.get(*label).or_else(|| labels.get(*new));
        value.is_some_and(|value| values.contains(value))
    })
}

impl Plugin for VolumeZone {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn prepare(&self, pod: &Pod, _: &mut Cluster) -> Option<Prepared> {
        prepare(pod)
    }

    fn concern(&self, cycle: &Cycle<'_>) -> Concern {
        Concern { filters: !claims(cycle.pod).is_empty(), scores: false }
    }

    fn events(&self) -> Events {
        Events::STORAGE | Events::NODE_ADD | Events::NODE_LABEL | Events::CLAIM | Events::VOLUME
    }

    fn hint(&self, pod: &PodInfo, event: &ClusterEvent<'_>) -> Hint {
        hint(pod, event)
    }

    fn as_pre_filter(&self) -> Option<&dyn PreFilter> {
        Some(self)
    }

    fn as_filter(&self) -> Option<&dyn Filter> {
        Some(self)
    }
}

impl PreFilter for VolumeZone {
    fn pre_filter(&self, cycle: &Cycle<'_>) -> Answer<PreFiltered> {
        let anywhere = self.topology(cycle.pod).0.is_empty();
        Ok(if anywhere { PreFiltered::Skip } else { PreFiltered::All })
    }
}

impl Filter for VolumeZone {
    fn filter(&self, cycle: &Cycle<'_>, nodes: &[NodeIndex], verdicts: &mut [Verdict]) -> Answer {
        let topology = self.topology(cycle.pod);
        for (node, verdict) in nodes.iter().zip(verdicts) {
            if !fits(&topology, cycle.cluster.node(*node).labels()) {
                *verdict = Verdict::Unresolvable;
            }
        }
        Ok(())
    }

    fn reasons(&self, _: &Cycle<'_>, _: NodeIndex) -> Reasons {
        vec![REASON.into()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_in_the_zone_of_the_volume_or_says_nothing() {
        let labels = |text: &str| -> BTreeMap<String, String> {
            let pairs = text.split_whitespace().filter_map(|pair| pair.split_once('='));
            pairs.map(|(label, value)| (label.to_owned(), value.to_owned())).collect()
        };
        let check = |volume: &str, node: &str, expected: bool| {
            let mut persistent = PersistentVolume::default();
            persistent.metadata.labels = Some(labels(volume));
            let fits = fits(&Topology(places(&persistent)), Some(&labels(node)));
            assert_eq!(fits, expected, "{volume} on {node}");
        };
        let zone = "topology.kubernetes.io/zone";
        let old = "failure-domain.beta.kubernetes.io/zone";
        check(&format!("{zone}=a"), &format!("{zone}=a"), true);
        check(&format!("{zone}=a"), &format!("{zone}=b"), false);
        check(&format!("{zone}=a__b"), &format!("{zone}=b"), true);
        check(&format!("{zone}=a"), "disk=fast", true);
        check(&format!("{old}=a"), &format!("{zone}=a"), true);
        check(&format!("{old}=a"), &format!("{zone}=b"), false);
        check(
            &format!("{zone}=a topology.kubernetes.io/region=r"),
            &format!("{zone}=a topology.kubernetes.io/region=q"),
            false,
        );
    }
}
