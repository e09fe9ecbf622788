use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::storage::v1::{CSINode, StorageClass, VolumeAttachment};
use pinnace_api::{Key, volumes};
use pinnace_client::Lister;

use super::{Caches, claims, hint, prepare, used};
use crate::Result;
use crate::cluster::{Cluster, NodeIndex};
use crate::framework::{
    Answer, ClusterEvent, Concern, Cycle, Events, Filter, Handle, Hint, Plugin, PreFilter,
    PreFiltered, Prepared, Reasons, Verdict,
};
use crate::pod::PodInfo;

const REASON: &str = "node(s) exceed max volume count";
/// The index of attachments by node.
const ON_NODE: &str = "attachment-node";

/// Keeps pods from nodes to which no more volumes of a CSI driver can be attached.
pub struct NodeVolumeLimits {
    caches: Caches,
    classes: Lister<StorageClass>,
    nodes: Lister<CSINode>,
    attachments: Lister<VolumeAttachment>,
}

/// Volumes, each by the driver and what the driver calls it.
type Handles = BTreeSet<(String, String)>;

impl NodeVolumeLimits {
    /// The plugin's name.
    pub const NAME: &'static str = "NodeVolumeLimits";

    /// A plugin that reads from the caches of a scheduler.
    ///
    /// # Errors
    /// When the API serves no volumes.
    pub fn new(handle: &Handle) -> Result<Self> {
        let informers = handle.informers();
        let attachments = informers.of::<VolumeAttachment>()?;
        attachments.informer().index(ON_NODE, |object| {
            let attachment = object.get::<VolumeAttachment>();
            attachment.map(|one| one.spec.node_name.clone()).into_iter().collect()
        });
        let caches = Caches::new(handle)?;
        Ok(Self { caches, classes: informers.of()?, nodes: informers.of()?, attachments })
    }

    /// The volume of a claim; of one that has none yet, the one that its class's driver will make.
    fn handle_of(&self, key: &Key) -> Option<(String, String)> {
        let claim = self.caches.claims.get(key)?;
        if let Some(volume) = self.caches.volume(&claim) {
            let source = volume.spec.as_ref()?.csi.as_ref()?;
            return Some((source.driver.clone(), source.volume_handle.clone()));
        }
        let class = volumes::class_of_claim(&claim)?;
        let class = self.classes.get(&Key::cluster(class))?;
        Some((class.provisioner.clone(), format!("claim {key}")))
    }

    fn is_full(&self, cycle: &Cycle<'_>, node: NodeIndex) -> bool {
        let state = cycle.cluster.node(node);
        let Some(limits) = self.limits(state.name()) else { return false };
        let mut new: Handles =
            claims(cycle.pod).iter().filter_map(|used| self.handle_of(&used.key)).collect();
        new.retain(|(driver, _)| limits.contains_key(driver));
        if new.is_empty() {
            return false;
        }
        let pods = state.pods().iter().filter_map(|uid| cycle.cluster.pod(uid));
        let keys =
            pods.flat_map(|record| used(record.pod()).map(|used| used.key).collect::<Vec<_>>());
        let mut there: Handles = keys.filter_map(|key| self.handle_of(&key)).collect();
        there.extend(self.attached(state.name()));
        let count = |driver: &str, handles: &mut dyn Iterator<Item = &(String, String)>| {
            handles.filter(|(one, _)| one == driver).count()
        };
        limits.iter().any(|(driver, limit)| {
            let more = count(driver, &mut new.difference(&there));
            more > 0 && more + count(driver, &mut there.iter()) > *limit
        })
    }

    /// How many volumes of each driver a node takes.
    fn limits(&self, node: &str) -> Option<BTreeMap<String, usize>> {
        let node = self.nodes.get(&Key::cluster(node))?;
        let drivers = node.spec.drivers.iter().filter_map(|driver| {
            let count = driver.allocatable.as_ref()?.count?;
            Some((driver.name.clone(), usize::try_from(count).unwrap_or(0)))
        });
        Some(drivers.collect())
    }

    /// What is attached to a node, whoever uses it.
    fn attached(&self, node: &str) -> Vec<(String, String)> {
        let all = self.attachments.by_index(ON_NODE, node).into_iter();
        let handles = all.filter_map(|attachment| {
            let name = attachment.spec.source.persistent_volume_name.as_deref()?;
            let volume = self.caches.volumes.get(&Key::cluster(name))?;
            let source = volume.spec.as_ref()?.csi.as_ref()?;
            Some((source.driver.clone(), source.volume_handle.clone()))
        });
        handles.collect()
    }
}

impl Plugin for NodeVolumeLimits {
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
        Events::STORAGE | Events::POD_DELETE | Events::CLAIM | Events::VOLUME
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

impl PreFilter for NodeVolumeLimits {
    fn pre_filter(&self, cycle: &Cycle<'_>) -> Answer<PreFiltered> {
        // Where no node has limits, there is nothing to look at.
        let skip = claims(cycle.pod).is_empty() || self.nodes.informer().is_empty();
        Ok(if skip { PreFiltered::Skip } else { PreFiltered::All })
    }
}

impl Filter for NodeVolumeLimits {
    fn filter(&self, cycle: &Cycle<'_>, nodes: &[NodeIndex], verdicts: &mut [Verdict]) -> Answer {
        for (node, verdict) in nodes.iter().zip(verdicts) {
            if self.is_full(cycle, *node) {
                *verdict = Verdict::Unschedulable;
            }
        }
        Ok(())
    }

    fn reasons(&self, _: &Cycle<'_>, _: NodeIndex) -> Reasons {
        vec![REASON.into()]
    }
}
