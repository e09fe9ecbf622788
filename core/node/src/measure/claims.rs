//! How full the volumes are that pods claim.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{PersistentVolume, Pod};
use pinnace_api::volumes;
use pinnace_client::summary::{ClaimRef, FsUse, PodUse, VolumeUse};

use super::{Measured, disk};
use crate::agent::Shared;
use crate::csi::usage::{self, Usage};
use crate::pod::record;
use crate::sources::Sources;

/// What is known of the volumes of claims, by the uid of the pod and what it calls them.
#[derive(Default)]
pub(super) struct Claims {
    /// What drivers say.
    drivers: HashMap<(String, String), Usage>,
    /// Where local volumes are, and whether as devices. Those of `hostPath` are not measured, as
    /// upstream: they may be anything.
    local: HashMap<(String, String), (PathBuf, bool)>,
}

/// Asks for what can be known without looking at disks.
pub(super) async fn find(shared: &Arc<Shared>, measured: &[Measured]) -> Claims {
    let mut claims = Claims { drivers: usage::of_all(shared).await, ..Claims::default() };
    for one in measured {
        let pod = &*one.pod;
        if volumes::claims_of(pod).next().is_none() {
            continue;
        }
        let Ok(found) = Sources::default().with_claims(&shared.client, pod).await else { continue };
        for volume in record::spec_of(pod).volumes.iter().flatten() {
            let claim = volumes::claim_of(pod, volume);
            let persistent = claim.and_then(|(claim, _)| found.claimed(&claim).ok());
            if let Some(place) = persistent.and_then(local) {
                let of = (one.pod.object().uid().to_owned(), volume.name.clone());
                claims.local.insert(of, place);
            }
        }
    }
    claims
}

fn local(volume: &PersistentVolume) -> Option<(PathBuf, bool)> {
    let spec = volume.spec.as_ref()?;
    let is_block = spec.volume_mode.as_deref() == Some("Block");
    Some((spec.local.as_ref()?.path.clone().into(), is_block))
}

impl Claims {
    /// Adds them to what a pod uses. Blocks.
    pub(super) fn add(&self, shown: &mut PodUse, pod: &Pod, now: Timestamp) {
        let namespace = shown.pod_ref.namespace.clone();
        for volume in record::spec_of(pod).volumes.iter().flatten() {
            let of = (shown.pod_ref.uid.clone(), volume.name.clone());
            let (fs, health) = match (self.drivers.get(&of), self.local.get(&of)) {
                (Some(usage), _) => (usage.fs, usage.health),
                (None, Some((path, true))) => (device(path, now), None),
                (None, Some((path, false))) => (disk::file_system(path, now), None),
                (None, None) => continue,
            };
            let claim = volumes::claim_of(pod, volume);
            let pvc_ref = claim.map(|(name, _)| ClaimRef { name, namespace: namespace.clone() });
            shown.volumes.push(VolumeUse { fs, name: volume.name.clone(), pvc_ref, health });
        }
    }
}

/// Of a device nobody but who writes to it knows more than its size.
fn device(path: &Path, now: Timestamp) -> FsUse {
    use std::io::Seek as _;
    let end = std::fs::File::open(path).and_then(|mut file| file.seek(std::io::SeekFrom::End(0)));
    FsUse {
        time: now,
        available_bytes: Some(0),
        capacity_bytes: Some(end.unwrap_or(0)),
        used_bytes: Some(0),
        inodes_free: Some(0),
        inodes: Some(0),
        inodes_used: Some(0),
    }
}
