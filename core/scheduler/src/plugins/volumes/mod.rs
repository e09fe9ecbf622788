//! The plugins about persistent volumes.

mod assumed;
mod binding;
mod limits;
mod places;
mod restrictions;
mod zone;

use std::sync::Arc;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use pinnace_api::volumes::{claims_of, volume_name};
use pinnace_api::{Key, Typed};
use pinnace_client::Lister;

use crate::framework::{ClusterEvent, Handle, Hint, Prepared};
use crate::pod::PodInfo;
pub use binding::VolumeBinding;
pub use limits::NodeVolumeLimits;
pub use restrictions::VolumeRestrictions;
pub use zone::VolumeZone;

/// The claims that a pod uses.
#[derive(Debug)]
struct Claims(Vec<Used>);

/// A claim as a pod names it.
#[derive(Clone, Debug)]
struct Used {
    key: Key,
    /// Whether it is made for the pod.
    own: bool,
}

/// What is to be known of a pod's volumes; nothing, for all plugins, when it has no claims.
fn prepare(pod: &Pod) -> Option<Prepared> {
    let claims: Vec<_> = used(pod).collect();
    if claims.is_empty() { None } else { Some(Arc::new(Claims(claims))) }
}

fn used(pod: &Pod) -> impl Iterator<Item = Used> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    claims_of(pod).map(move |(name, own)| Used { key: Key::new(namespace, name), own })
}

fn claims(pod: &PodInfo) -> &[Used] {
    pod.prepared::<Claims>().map(|claims| &claims.0[..]).unwrap_or_default()
}

/// A claim helps the pods that use it; anything else may help any.
fn hint(pod: &PodInfo, event: &ClusterEvent<'_>) -> Hint {
    let claim = [event.new, event.old].into_iter().flatten().next();
    let Some(claim) = claim.filter(|one| one.get::<PersistentVolumeClaim>().is_ok()) else {
        return Hint::Queue;
    };
    let key = claim.key();
    if claims(pod).iter().any(|used| used.key == key) { Hint::Queue } else { Hint::Skip }
}

/// The caches that several of the plugins read.
#[derive(Clone)]
struct Caches {
    claims: Lister<PersistentVolumeClaim>,
    volumes: Lister<PersistentVolume>,
}

impl Caches {
    fn new(handle: &Handle) -> pinnace_api::Result<Self> {
        Ok(Self { claims: handle.informers().of()?, volumes: handle.informers().of()? })
    }

    /// The volume that a claim is bound to, or is to be.
    fn volume(&self, claim: &PersistentVolumeClaim) -> Option<Typed<PersistentVolume>> {
        self.volumes.get(&Key::cluster(volume_name(claim)))
    }
}
