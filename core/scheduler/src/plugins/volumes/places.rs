//! Where the volumes of a pod can be: the judgement of one node.

use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::{CSIDriver, CSIStorageCapacity, StorageClass};
use pinnace_api::quantity::Quantity;
use pinnace_api::selector::Selector;
use pinnace_api::volumes::{self, NO_PROVISIONER, SELECTED_NODE, Seeker};
use pinnace_api::{Key, Typed};
use pinnace_client::Lister;

use super::Caches;
use super::assumed::{Assumed, Taken};
use crate::framework::Handle;

/// The index of volumes that nobody claims, by class, and of those that name a claim, by that.
const FREE: &str = "free-class";
const BY_REFERENCE: &str = "claim-reference";

/// What is known about where volumes can be.
pub(super) struct Places {
    pub(super) caches: Caches,
    pub(super) classes: Lister<StorageClass>,
    drivers: Lister<CSIDriver>,
    capacities: Lister<CSIStorageCapacity>,
    pub(super) assumed: Assumed,
}

/// The claims of a pod.
#[derive(Clone, Debug, Default)]
pub(super) struct PodClaims {
    pub(super) bound: Vec<Typed<PersistentVolumeClaim>>,
    /// Those whose volume is found or made once there is a node.
    pub(super) waiting: Vec<Typed<PersistentVolumeClaim>>,
}

/// Why a node will not do, in upstream's order and words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Conflict {
    Node,
    Nothing,
    Space,
    Gone,
}

impl Conflict {
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::Node => "node(s) had volume node affinity conflict",
            Self::Nothing => "node(s) didn't find available persistent volumes to bind",
            Self::Space => "node(s) did not have enough free storage",
            Self::Gone => {
                "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)"
            }
        }
    }
}

impl Places {
    pub(super) fn new(handle: &Handle) -> pinnace_api::Result<Self> {
        let caches = Caches::new(handle)?;
        caches.volumes.informer().index(FREE, |object| {
            let Ok(volume) = object.get::<PersistentVolume>() else { return Vec::new() };
            let free = volume.spec.as_ref().is_some_and(|spec| spec.claim_ref.is_none());
            free.then(|| volumes::class_of_volume(volume).to_owned()).into_iter().collect()
        });
        caches.volumes.informer().index(BY_REFERENCE, |object| {
            let volume = object.get::<PersistentVolume>().ok();
            let reference = volume.and_then(|one| one.spec.as_ref()?.claim_ref.as_ref());
            let key = reference.and_then(|reference| {
                Some(format!("{}/{}", reference.namespace.as_deref()?, reference.name.as_deref()?))
            });
            key.into_iter().collect()
        });
        Ok(Self {
            caches,
            classes: handle.informers().of()?,
            drivers: handle.informers().of()?,
            capacities: handle.informers().of()?,
            assumed: Assumed::default(),
        })
    }

    pub(super) fn class(&self, claim: &PersistentVolumeClaim) -> Option<Typed<StorageClass>> {
        self.classes.get(&Key::cluster(volumes::class_of_claim(claim).unwrap_or_default()))
    }

    /// Whether all claims of a pod can be had on a node, and how.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn judge(
        &self,
        claims: &PodClaims,
        node: &Node,
        pod: &str,
    ) -> Result<Taken, Conflict> {
        for claim in &claims.bound {
            let volume = self.caches.volume(claim).ok_or(Conflict::Gone)?;
            if !volumes::allows_node(&volume, node) {
                return Err(Conflict::Node);
            }
        }
        let name = node.metadata.name.clone().unwrap_or_default();
        let mut taken = Taken { node: name.clone(), ..Taken::default() };
        let mut waiting: Vec<_> = claims.waiting.iter().collect();
        // The smallest first, so that it does not take what only a larger one needs.
        waiting.sort_by_key(|claim| volumes::asked(claim));
        for claim in waiting {
            let key = claim.object().key();
            let selected = volumes::annotation(&**claim, SELECTED_NODE).map(str::to_owned);
            let elsewhere = selected.clone().or_else(|| self.assumed.node_of(&key, pod));
            if elsewhere.is_some_and(|other| other != name) {
                return Err(Conflict::Nothing);
            }
            match self.find(claim, node, pod, &taken).filter(|_| selected.is_none()) {
                Some(volume) => taken.found.push((key, volume.object().name().to_owned())),
                None => {
                    self.may_make(claim, node)?;
                    taken.made.push(key);
                }
            }
        }
        Ok(taken)
    }

    fn find(
        &self,
        claim: &Typed<PersistentVolumeClaim>,
        node: &Node,
        pod: &str,
        taken: &Taken,
    ) -> Option<Typed<PersistentVolume>> {
        let class = volumes::class_of_claim(claim).unwrap_or_default();
        let key = claim.object().key().to_string();
        let mut free = self.caches.volumes.by_index(FREE, class);
        free.extend(self.caches.volumes.by_index(BY_REFERENCE, &key));
        free.retain(|volume| {
            let name = volume.object().name();
            !taken.found.iter().any(|(_, other)| other == name) && !self.assumed.is_taken(name, pod)
        });
        volumes::best_match(claim, &free, Seeker::OnNode(node)).cloned()
    }

    /// Whether a volume for a claim can be made on a node.
    fn may_make(&self, claim: &PersistentVolumeClaim, node: &Node) -> Result<(), Conflict> {
        let class = self.class(claim).ok_or(Conflict::Nothing)?;
        if class.provisioner.is_empty() || class.provisioner == NO_PROVISIONER {
            return Err(Conflict::Nothing);
        }
        let labels = node.metadata.labels.as_ref();
        let topologies = class.allowed_topologies.as_deref().unwrap_or_default();
        let allowed = topologies.iter().any(|term| {
            term.match_label_expressions.iter().flatten().all(|expression| {
                let value = labels.and_then(|labels| labels.get(&expression.key));
                value.is_some_and(|value| expression.values.contains(value))
            })
        });
        if !topologies.is_empty() && !allowed {
            return Err(Conflict::Nothing);
        }
        let driver = self.drivers.get(&Key::cluster(class.provisioner.as_str()));
        if driver.is_none_or(|driver| driver.spec.storage_capacity != Some(true)) {
            return Ok(());
        }
        let asked = volumes::asked(claim);
        let enough = self.capacities.list(None).into_iter().any(|one| {
            let room = one.maximum_volume_size.as_ref().or(one.capacity.as_ref());
            let room = room.and_then(|room| Quantity::try_from(room).ok());
            let here = one.node_topology.as_ref().is_some_and(|topology| {
                Selector::from_label_selector(topology).is_ok_and(|one| one.matches(labels))
            });
            one.storage_class_name == class.object().name() && here && room >= asked
        });
        if enough { Ok(()) } else { Err(Conflict::Space) }
    }
}
