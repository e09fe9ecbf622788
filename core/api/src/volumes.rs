//! How claims and persistent volumes find each other, and how volumes of drivers are called: what the
//! controllers, the scheduler and the node agent must agree on.

use std::fmt::Write as _;

use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim, Pod, Volume};
use k8s_openapi::api::storage::v1::StorageClass;
use sha2::{Digest as _, Sha256};

use crate::quantity::Quantity;
use crate::selector::{NodeTerm, Selector};
use crate::{Kind, Typed};

/// On a claim: that it has been bound.
pub const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";
/// On a claim or volume: that a controller chose its other half, not the user.
pub const BOUND_BY_CONTROLLER: &str = "pv.kubernetes.io/bound-by-controller";
/// On a claim: the node where its volume is to be made.
pub const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
/// On a volume: who has made it.
pub const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";
/// On a claim: who is to make its volume.
pub const PROVISIONER: &str = "volume.kubernetes.io/storage-provisioner";
/// As [`PROVISIONER`], as it was called before.
pub const PROVISIONER_BETA: &str = "volume.beta.kubernetes.io/storage-provisioner";
/// The provisioner of classes whose volumes are made by hand.
pub const NO_PROVISIONER: &str = "kubernetes.io/no-provisioner";
/// On claims and volumes of old: their class.
const CLASS: &str = "volume.beta.kubernetes.io/storage-class";

/// An annotation of an object.
pub fn annotation<'a, K: Kind>(object: &'a K, name: &str) -> Option<&'a str> {
    object.meta().annotations.as_ref()?.get(name).map(String::as_str)
}

/// The class that a claim names; `None` when it leaves the choice open.
pub fn class_of_claim(claim: &PersistentVolumeClaim) -> Option<&str> {
    annotation(claim, CLASS).or_else(|| claim.spec.as_ref()?.storage_class_name.as_deref())
}

/// The class of a volume; empty for none.
pub fn class_of_volume(volume: &PersistentVolume) -> &str {
    annotation(volume, CLASS)
        .or_else(|| volume.spec.as_ref()?.storage_class_name.as_deref())
        .unwrap_or_default()
}

/// The volume that a claim names; empty for none.
pub fn volume_name(claim: &PersistentVolumeClaim) -> &str {
    claim.spec.as_ref().and_then(|spec| spec.volume_name.as_deref()).unwrap_or_default()
}

/// Whether a claim has its volume, and both know.
pub fn is_bound(claim: &PersistentVolumeClaim) -> bool {
    !volume_name(claim).is_empty() && annotation(claim, BIND_COMPLETED).is_some()
}

/// Whether a volume is bound to a claim, or reserved for it by name.
pub fn is_bound_to(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let reference = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref());
    reference.is_some_and(|reference| {
        let uid = reference.uid.as_deref().unwrap_or_default();
        reference.name == claim.metadata.name
            && reference.namespace == claim.metadata.namespace
            && (uid.is_empty() || Some(uid) == claim.metadata.uid.as_deref())
    })
}

/// Whether the volumes of a class wait for a pod that wants them.
pub fn waits_for_consumer(class: &StorageClass) -> bool {
    class.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer")
}

/// Whether a volume can be reached from a node.
pub fn allows_node(volume: &PersistentVolume, node: &Node) -> bool {
    let affinity = volume.spec.as_ref().and_then(|spec| spec.node_affinity.as_ref());
    let Some(required) = affinity.and_then(|affinity| affinity.required.as_ref()) else {
        return true;
    };
    let name = node.metadata.name.as_deref().unwrap_or_default();
    NodeTerm::of(required).iter().any(|term| term.matches(name, node.metadata.labels.as_ref()))
}

/// How much a claim asks for.
pub fn asked(claim: &PersistentVolumeClaim) -> Option<Quantity> {
    let requests = claim.spec.as_ref()?.resources.as_ref()?.requests.as_ref()?;
    Quantity::try_from(requests.get("storage")?).ok()
}

/// How much a volume holds.
pub fn capacity(volume: &PersistentVolume) -> Option<Quantity> {
    Quantity::try_from(volume.spec.as_ref()?.capacity.as_ref()?.get("storage")?).ok()
}

fn modes_fit(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let offered = volume.spec.as_ref().and_then(|spec| spec.access_modes.as_ref());
    let wanted = claim.spec.as_ref().and_then(|spec| spec.access_modes.as_ref());
    let offers = |mode: &String| offered.is_some_and(|offered| offered.contains(mode));
    wanted.into_iter().flatten().all(offers)
}

fn same_volume_mode(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let mode = |mode: Option<&String>| mode.map_or("Filesystem", String::as_str).to_owned();
    let offered = volume.spec.as_ref().and_then(|spec| spec.volume_mode.as_ref());
    let wanted = claim.spec.as_ref().and_then(|spec| spec.volume_mode.as_ref());
    mode(offered) == mode(wanted)
}

fn same_attributes(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let offered = volume.spec.as_ref().and_then(|spec| spec.volume_attributes_class_name.as_ref());
    let wanted = claim.spec.as_ref().and_then(|spec| spec.volume_attributes_class_name.as_ref());
    offered.map_or("", String::as_str) == wanted.map_or("", String::as_str)
}

/// Why a volume that a claim names will not do for it.
pub fn mismatch(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> Option<&'static str> {
    if capacity(volume) < asked(claim) {
        Some("requested PV is too small")
    } else if class_of_volume(volume) != class_of_claim(claim).unwrap_or_default() {
        Some("storageClassName does not match")
    } else if !same_attributes(volume, claim) {
        Some("volumeAttributesClassName does not match")
    } else if !same_volume_mode(volume, claim) {
        Some("incompatible volumeMode")
    } else if !modes_fit(volume, claim) {
        Some("incompatible accessMode")
    } else {
        None
    }
}

/// For whom a volume is looked for.
#[derive(Clone, Copy, Debug)]
pub enum Seeker<'a> {
    /// The controller, for a claim that is bound at once.
    AtOnce,
    /// The controller, for a claim that waits for its pod: only a volume that is reserved for it
    /// will do.
    Waiting,
    /// The scheduler, for a pod on this node.
    OnNode(&'a Node),
}

/// The volume that suits a claim best: one that is reserved for it, or else the smallest.
pub fn best_match<'a>(
    claim: &PersistentVolumeClaim,
    volumes: impl IntoIterator<Item = &'a Typed<PersistentVolume>>,
    seeker: Seeker<'_>,
) -> Option<&'a Typed<PersistentVolume>> {
    let selector = claim.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    let selector = selector.map(Selector::from_label_selector).transpose().ok()?;
    let mut best: Option<&Typed<PersistentVolume>> = None;
    for volume in volumes {
        let reserved = is_bound_to(volume, claim);
        let claimed = volume.spec.as_ref().is_some_and(|spec| spec.claim_ref.is_some());
        if (claimed && !reserved)
            || capacity(volume) < asked(claim)
            || !same_volume_mode(volume, claim)
            || !same_attributes(volume, claim)
            || volume.object().is_deleting()
        {
            continue;
        }
        let reachable = match seeker {
            Seeker::OnNode(node) => allows_node(volume, node),
            Seeker::AtOnce | Seeker::Waiting => true,
        };
        if reserved {
            return reachable.then_some(volume);
        }
        let phase = volume.status.as_ref().and_then(|status| status.phase.as_deref());
        if matches!(seeker, Seeker::Waiting)
            || !reachable
            || phase != Some("Available")
            || !selector.as_ref().is_none_or(|one| one.matches(volume.object().labels()))
            || class_of_volume(volume) != class_of_claim(claim).unwrap_or_default()
            || !modes_fit(volume, claim)
        {
            continue;
        }
        if best.is_none_or(|best| capacity(volume) < capacity(best)) {
            best = Some(volume);
        }
    }
    best
}

/// The claim of a pod's volume, and whether it is made for the pod.
pub fn claim_of(pod: &Pod, volume: &Volume) -> Option<(String, bool)> {
    if let Some(source) = &volume.persistent_volume_claim {
        return Some((source.claim_name.clone(), false));
    }
    volume.ephemeral.as_ref()?;
    Some((format!("{}-{}", pod.metadata.name.as_deref().unwrap_or_default(), volume.name), true))
}

/// The names of the claims that a pod uses, and which are made for it.
pub fn claims_of(pod: &Pod) -> impl Iterator<Item = (String, bool)> {
    let volumes = pod.spec.as_ref().and_then(|spec| spec.volumes.as_ref());
    volumes.into_iter().flatten().filter_map(|volume| claim_of(pod, volume))
}

/// Whether a claim was made for a pod.
pub fn is_made_for(claim: &PersistentVolumeClaim, pod: &Pod) -> bool {
    let owners = claim.metadata.owner_references.iter().flatten();
    claim.metadata.namespace == pod.metadata.namespace
        && owners
            .filter(|owner| owner.controller == Some(true))
            .any(|owner| Some(&owner.uid) == pod.metadata.uid.as_ref())
}

/// The name by which a node's status knows a volume of a CSI driver.
pub fn unique_name(driver: &str, handle: &str) -> String {
    format!("kubernetes.io/csi/{driver}^{handle}")
}

/// The name of the VolumeAttachment of a volume of a CSI driver at a node, which attachers and people
/// know.
pub fn attachment_name(driver: &str, handle: &str, node: &str) -> String {
    format!("csi-{}", digest(&[handle, driver, node]))
}

/// Whether a VolumeAttachment has a name as [`attachment_name`] gives it; others may attach, too.
pub fn is_attachment_name(name: &str) -> bool {
    name.strip_prefix("csi-")
        .is_some_and(|hash| hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// The SHA-256 of some texts one after the other, in hexadecimal digits, as it stands in names of
/// volumes.
pub fn digest(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    parts.iter().for_each(|part| hash.update(part));
    hash.finalize().iter().fold(String::new(), |mut digits, byte| {
        let _ = write!(digits, "{byte:02x}");
        digits
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn volume(name: &str, spec: Value) -> Typed<PersistentVolume> {
        let mut all = json!({"capacity": {"storage": "5Gi"}, "accessModes": ["ReadWriteOnce"]});
        for (field, value) in spec.as_object().unwrap() {
            all[field] = value.clone();
        }
        let volume = json!({"metadata": {"name": name, "labels": {"name": name}}, "spec": all,
            "status": {"phase": "Available"}});
        Typed::new(serde_json::from_value(volume).unwrap())
    }

    fn claim(spec: Value) -> PersistentVolumeClaim {
        let mut all = json!({"resources": {"requests": {"storage": "3Gi"}},
            "accessModes": ["ReadWriteOnce"]});
        for (field, value) in spec.as_object().unwrap() {
            all[field] = value.clone();
        }
        let meta = json!({"name": "data", "namespace": "default", "uid": "1"});
        serde_json::from_value(json!({"metadata": meta, "spec": all})).unwrap()
    }

    #[test]
    fn the_smallest_that_suits_or_one_that_is_reserved() {
        let other = json!({"name": "other", "namespace": "default"});
        let own = json!({"name": "data", "namespace": "default"});
        let on_b = json!({"required": {"nodeSelectorTerms": [{"matchFields": [
            {"key": "metadata.name", "operator": "In", "values": ["b"]}]}]}});
        let check = |claimed: Value, volumes: &[(&str, Value)], seeker, expected: Option<&str>| {
            let volumes: Vec<_> =
                volumes.iter().map(|(name, spec)| volume(name, spec.clone())).collect();
            let found = best_match(&claim(claimed.clone()), &volumes, seeker);
            assert_eq!(found.map(|one| one.object().name()), expected, "{claimed}");
        };
        let big = ("big", json!({"capacity": {"storage": "9Gi"}}));
        let small = ("small", json!({"capacity": {"storage": "1Gi"}}));
        let plain = ("plain", json!({}));
        let all = [big.clone(), small.clone(), plain.clone()];
        let at_once = Seeker::AtOnce;
        check(json!({}), &all, at_once, Some("plain"));
        check(json!({"selector": {"matchLabels": {"name": "big"}}}), &all, at_once, Some("big"));
        check(json!({"accessModes": ["ReadWriteMany"]}), &all, at_once, None);
        check(json!({"volumeMode": "Block"}), &all, at_once, None);
        check(json!({"storageClassName": "fast"}), &all, at_once, None);
        check(json!({}), &[("taken", json!({"claimRef": other}))], at_once, None);
        let reserved = ("own", json!({"claimRef": own, "capacity": {"storage": "50Gi"}}));
        check(json!({}), &[plain.clone(), reserved.clone()], Seeker::Waiting, Some("own"));
        check(json!({}), &[plain], Seeker::Waiting, None);
        let node = |name: &str| -> Node {
            serde_json::from_value(json!({"metadata": {"name": name}})).unwrap()
        };
        let local = [("local", json!({"nodeAffinity": on_b}))];
        let (a, b) = (node("a"), node("b"));
        check(json!({}), &local, Seeker::OnNode(&a), None);
        check(json!({}), &local, Seeker::OnNode(&b), Some("local"));
    }

    #[test]
    fn volumes_of_drivers_have_upstreams_names() {
        assert_eq!(unique_name("test.csi", "v1"), "kubernetes.io/csi/test.csi^v1");
        let name = attachment_name("test.csi", "v1", "n1");
        assert_eq!(name, "csi-501575ef2162beb9211312b16f6fa2e67ed893689735a49071f13f29afabf8c0");
        assert!(is_attachment_name(&name));
        for other in ["csi-501575", "mine", &name.replace("f8c0", "f8cx")] {
            assert!(!is_attachment_name(other), "{other}");
        }
    }

    #[test]
    fn a_named_volume_says_why_it_will_not_do() {
        let plain = volume("plain", json!({}));
        for (spec, expected) in [
            (json!({}), None),
            (
                json!({"resources": {"requests": {"storage": "6Gi"}}}),
                Some("requested PV is too small"),
            ),
            (json!({"storageClassName": "x"}), Some("storageClassName does not match")),
            (json!({"volumeMode": "Block"}), Some("incompatible volumeMode")),
            (json!({"accessModes": ["ReadOnlyMany"]}), Some("incompatible accessMode")),
        ] {
            assert_eq!(mismatch(&plain, &claim(spec.clone())), expected, "{spec}");
        }
    }
}
