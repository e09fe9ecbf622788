use k8s_openapi::api::core::v1::{Pod, Volume};
use pinnace_api::Key;
use pinnace_client::Lister;

use super::{Caches, claims, hint, prepare};
use crate::Result;
use crate::cluster::{Cluster, NodeIndex};
use crate::framework::{
    Answer, ClusterEvent, Concern, Cycle, Events, Filter, Handle, Hint, Plugin, PreFilter,
    PreFiltered, Prepared, Reasons, Verdict,
};
use crate::pod::PodInfo;

/// The index of pods by the claims that they use.
const BY_CLAIM: &str = "claim";
const ALONE: &str = "node has pod using PersistentVolumeClaim with the same name and \
                     ReadWriteOncePod access mode";
const DISK: &str = "node(s) had no available disk";

/// Keeps pods from volumes that only one pod, or only the pods of one node, may use.
pub struct VolumeRestrictions {
    caches: Caches,
    pods: Lister<Pod>,
}

/// The pod names a disk itself, which a second pod on the node may not use.
#[derive(Debug)]
struct Disks(Vec<Disk>);

#[derive(Debug, PartialEq, Eq)]
struct Disk {
    name: String,
    read_only: bool,
    /// Whether pods that only read may share it.
    shared: bool,
}

impl VolumeRestrictions {
    /// The plugin's name.
    pub const NAME: &'static str = "VolumeRestrictions";

    /// A plugin that reads from the caches of a scheduler.
    ///
    /// # Errors
    /// When the API serves no volumes.
    pub fn new(handle: &Handle) -> Result<Self> {
        let pods = handle.informers().of::<Pod>()?;
        pods.informer().index(BY_CLAIM, |object| {
            let pod = object.get::<Pod>();
            pod.map(|pod| super::used(pod).map(|used| used.key.to_string()).collect())
                .unwrap_or_default()
        });
        Ok(Self { caches: Caches::new(handle)?, pods })
    }

    /// Whether another pod has a claim that is for one pod.
    fn is_held(&self, cycle: &Cycle<'_>) -> bool {
        let alone = |key: &Key| {
            let claim = self.caches.claims.get(key);
            claim.is_some_and(|claim| {
                let modes = claim.spec.as_ref().and_then(|spec| spec.access_modes.as_ref());
                modes.into_iter().flatten().any(|mode| mode == "ReadWriteOncePod")
            })
        };
        claims(cycle.pod).iter().filter(|used| alone(&used.key)).any(|used| {
            let pods = self.pods.by_index(BY_CLAIM, &used.key.to_string());
            pods.iter().any(|pod| {
                let uid = pod.object().uid();
                let record = cycle.cluster.pod(uid);
                uid != &**cycle.pod.uid() && record.is_some_and(|record| !record.is_nominated())
            })
        })
    }

    fn has_conflict(&self, cycle: &Cycle<'_>, node: NodeIndex) -> bool {
        let Some(Disks(wanted)) = cycle.pod.prepared() else { return false };
        let pods = cycle.cluster.node(node).pods().iter();
        let pods = pods.filter_map(|uid| cycle.cluster.pod(uid));
        pods.flat_map(|record| disks(record.pod())).any(|there| {
            wanted.iter().any(|disk| {
                let reading = disk.shared && disk.read_only && there.read_only;
                disk.name == there.name && !reading
            })
        })
    }
}

fn disks(pod: &Pod) -> Vec<Disk> {
    let volumes = pod.spec.as_ref().and_then(|spec| spec.volumes.as_ref());
    volumes.into_iter().flatten().filter_map(disk).collect()
}

fn disk(volume: &Volume) -> Option<Disk> {
    if let Some(disk) = &volume.gce_persistent_disk {
        let name = format!("gce/{}", disk.pd_name);
        return Some(Disk { name, read_only: disk.read_only == Some(true), shared: true });
    }
    if let Some(disk) = &volume.aws_elastic_block_store {
        return Some(Disk {
            name: format!("ebs/{}", disk.volume_id),
            read_only: false,
            shared: false,
        });
    }
    if let Some(disk) = &volume.iscsi {
        let name = format!("iscsi/{}/{}", disk.iqn, disk.lun);
        return Some(Disk { name, read_only: disk.read_only == Some(true), shared: true });
    }
    let disk = volume.rbd.as_ref()?;
    let pool = disk.pool.as_deref().unwrap_or("rbd");
    let name = format!("rbd/{}/{pool}/{}", disk.monitors.join(","), disk.image);
    Some(Disk { name, read_only: disk.read_only == Some(true), shared: true })
}

impl Plugin for VolumeRestrictions {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn prepare(&self, pod: &Pod, _: &mut Cluster) -> Option<Prepared> {
        let disks = disks(pod);
        if disks.is_empty() { prepare(pod) } else { Some(std::sync::Arc::new(Disks(disks))) }
    }

    fn concern(&self, cycle: &Cycle<'_>) -> Concern {
        let filters = !claims(cycle.pod).is_empty() || cycle.pod.prepared::<Disks>().is_some();
        Concern { filters, scores: false }
    }

    fn events(&self) -> Events {
        Events::POD_DELETE | Events::NODE_ADD | Events::CLAIM
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

impl PreFilter for VolumeRestrictions {
    fn pre_filter(&self, cycle: &Cycle<'_>) -> Answer<PreFiltered> {
        let asks = !claims(cycle.pod).is_empty() || cycle.pod.prepared::<Disks>().is_some();
        Ok(if asks { PreFiltered::All } else { PreFiltered::Skip })
    }
}

impl Filter for VolumeRestrictions {
    fn filter(&self, cycle: &Cycle<'_>, nodes: &[NodeIndex], verdicts: &mut [Verdict]) -> Answer {
        if self.is_held(cycle) {
            verdicts.fill(Verdict::Unschedulable);
            return Ok(());
        }
        for (node, verdict) in nodes.iter().zip(verdicts) {
            if self.has_conflict(cycle, *node) {
                *verdict = Verdict::Unschedulable;
            }
        }
        Ok(())
    }

    fn reasons(&self, cycle: &Cycle<'_>, node: NodeIndex) -> Reasons {
        match self.has_conflict(cycle, node) {
            true => vec![DISK.into()],
            false => vec![ALONE.into()],
        }
    }
}
