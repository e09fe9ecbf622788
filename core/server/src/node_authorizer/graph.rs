use std::collections::HashMap;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::resource::v1::ResourceSlice;
use k8s_openapi::api::storage::v1::VolumeAttachment;
use pinnace_api::{Key, Object};
use pinnace_store::Snapshot;

use super::references::{References, volume_secrets};
use crate::followed::Index;

type Map<K, V> = HashMap<K, V, ahash::RandomState>;

/// The pods of each node, and what they refer to.
#[derive(Debug, Default)]
pub(super) struct Graph {
    nodes: Map<String, Map<Key, References>>,
    /// Where each pod is, to find it again when it changes.
    places: Map<Key, String>,
}

impl Index for Graph {
    const TABLES: &'static [&'static str] = &["pods"];

    fn apply(&mut self, _table: &str, object: &Object, removed: bool) {
        let key = object.key();
        if let Some(node) = self.places.remove(&key)
            && let Some(pods) = self.nodes.get_mut(&node)
        {
            pods.remove(&key);
            if pods.is_empty() {
                self.nodes.remove(&node);
            }
        }
        let Some(pod) = object.get::<Pod>().ok().filter(|_| !removed) else { return };
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
        let Some(node) = node.filter(|node| !node.is_empty()) else { return };
        self.nodes.entry(node.clone()).or_default().insert(key.clone(), References::of(pod));
        self.places.insert(key, node);
    }
}

impl Graph {
    fn pods(&self, node: &str) -> impl Iterator<Item = (&Key, &References)> {
        self.nodes.get(node).into_iter().flatten()
    }

    /// Whether a pod of the node refers to an object of its namespace.
    fn any(&self, node: &str, namespace: &str, refers: impl Fn(&References) -> bool) -> bool {
        self.pods(node).any(|(key, found)| key.namespace() == namespace && refers(found))
    }

    pub(super) fn has_pod(&self, node: &str, key: &Key) -> bool {
        self.places.get(key).is_some_and(|place| place == node)
    }

    pub(super) fn has_account(&self, node: &str, namespace: &str, name: &str) -> bool {
        self.any(node, namespace, |found| found.account == name)
    }

    pub(super) fn has_config_map(&self, node: &str, namespace: &str, name: &str) -> bool {
        self.any(node, namespace, |found| found.config_maps.iter().any(|one| one == name))
    }

    pub(super) fn has_claim(&self, node: &str, namespace: &str, name: &str) -> bool {
        self.any(node, namespace, |found| found.claims.iter().any(|one| one == name))
    }

    pub(super) fn has_resource_claim(&self, node: &str, namespace: &str, name: &str) -> bool {
        self.any(node, namespace, |found| found.resource_claims.iter().any(|one| one == name))
    }

    /// Whether a pod of the node mounts a secret, by itself or by a volume that it claims.
    pub(super) fn has_secret(
        &self,
        node: &str,
        namespace: &str,
        name: &str,
        snapshot: &Snapshot,
    ) -> bool {
        self.any(node, namespace, |found| found.secrets.iter().any(|one| one == name))
            || self.volumes(node, snapshot).any(|volume| {
                let secrets = volume_secrets(volume);
                secrets.iter().any(|one| one.0 == namespace && one.1 == name)
            })
    }

    /// Whether a pod of the node claims a volume.
    pub(super) fn has_volume(&self, node: &str, name: &str, snapshot: &Snapshot) -> bool {
        let mut volumes = self.volumes(node, snapshot);
        volumes.any(|volume| volume.metadata.name.as_deref() == Some(name))
    }

    fn volumes<'s>(
        &self,
        node: &str,
        snapshot: &'s Snapshot,
    ) -> impl Iterator<Item = &'s PersistentVolume> {
        let claims = self.pods(node).flat_map(|(key, found)| {
            found.claims.iter().map(|name| Key::new(key.namespace(), name.as_str()))
        });
        claims.filter_map(|key| {
            let claim = snapshot.get("persistentvolumeclaims", &key)?;
            let claim = claim.get::<PersistentVolumeClaim>().ok()?;
            let name = claim.spec.as_ref()?.volume_name.as_deref()?;
            snapshot.get("persistentvolumes", &Key::cluster(name))?.get().ok()
        })
    }
}

/// Whether an attachment is one to the node.
pub(super) fn is_attached(node: &str, name: &str, snapshot: &Snapshot) -> bool {
    let found = snapshot.get("volumeattachments.storage.k8s.io", &Key::cluster(name));
    let found = found.and_then(|found| found.get::<VolumeAttachment>().ok());
    found.is_some_and(|found| found.spec.node_name == node)
}

/// Whether a slice is of devices of the node.
pub(super) fn is_slice_of(node: &str, name: &str, snapshot: &Snapshot) -> bool {
    let found = snapshot.get("resourceslices.resource.k8s.io", &Key::cluster(name));
    let found = found.and_then(|found| found.get::<ResourceSlice>().ok());
    found.is_some_and(|found| found.spec.node_name.as_deref() == Some(node))
}
