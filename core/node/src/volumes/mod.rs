//! The volumes of pods, prepared under the agent's state directory in upstream's layout:
//! `pods/<uid>/volumes/<plugin>/<volume>`.
//!
//! Everything here blocks: the agent calls it from a thread that may.

#[cfg(target_os = "linux")]
mod atomic;
mod content;
#[cfg(target_os = "linux")]
mod empty_dir;
#[cfg(target_os = "linux")]
mod host_path;
#[cfg_attr(not(target_os = "linux"), path = "elsewhere.rs")]
mod local;
#[cfg(target_os = "linux")]
mod sub_path;
#[cfg(target_os = "linux")]
mod tmpfs;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{Pod, Volume};

pub use local::remove_all;
pub(crate) use local::{devices, give_to_group, mounts, pods_on_disk, prepare, remove};

use crate::pod::fields::Surroundings;
use crate::pod::record;
use crate::sources::Sources;

/// Reasons of events: devices are mapped, all else is mounted.
pub(crate) const FAILED_MOUNT: &str = "FailedMount";
pub(crate) const FAILED_MAP: &str = "FailedMapVolume";

/// Why a volume cannot be used, in the words of an event.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct MountError {
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

impl MountError {
    pub(crate) fn new(volume: &str, why: impl std::fmt::Display) -> Self {
        Self::of(FAILED_MOUNT, "MountVolume.SetUp failed", volume, why)
    }

    /// As [`MountError::new`], of another step than the last.
    pub(crate) fn of(
        reason: &'static str,
        what: &str,
        volume: &str,
        why: impl std::fmt::Display,
    ) -> Self {
        Self { reason, message: format!("{what} for volume {volume:?} : {why}") }
    }

    /// That of no volume in particular.
    pub(crate) fn general(message: impl Into<String>) -> Self {
        Self { reason: FAILED_MOUNT, message: message.into() }
    }
}

/// The prepared volumes of a pod, by name: where each is on the machine.
pub(crate) type Prepared = BTreeMap<String, PathBuf>;

/// The directory of a pod's belongings.
pub(crate) fn pod_directory(state: &Path, uid: &str) -> PathBuf {
    state.join("pods").join(uid)
}

/// Whether this agent can provide a volume, whatever machine it runs on.
///
/// # Errors
/// Which kind of volume it is that it cannot.
pub(crate) fn supported(volume: &Volume) -> Result<(), MountError> {
    let projected = volume.projected.iter().flat_map(|all| all.sources.iter().flatten());
    for source in projected {
        let known = source.config_map.is_some()
            || source.secret.is_some()
            || source.downward_api.is_some()
            || source.service_account_token.is_some();
        if !known {
            let why = "this node agent projects configMap, secret, downwardAPI and \
                       serviceAccountToken only";
            return Err(MountError::new(&volume.name, why));
        }
    }
    let known = volume.empty_dir.is_some()
        || volume.host_path.is_some()
        || volume.config_map.is_some()
        || volume.secret.is_some()
        || volume.projected.is_some()
        || volume.downward_api.is_some()
        || volume.persistent_volume_claim.is_some()
        || volume.ephemeral.is_some()
        || volume.csi.is_some()
        // Mounted when a container is about to be started that needs it.
        || volume.image.is_some();
    if known {
        return Ok(());
    }
    let kind = serde_json::to_value(volume)
        .ok()
        .and_then(|value| value.as_object()?.keys().find(|key| *key != "name").cloned());
    let kind = kind.unwrap_or_else(|| "unknown".to_owned());
    let why = format!("volumes of type {kind} are not supported by this node agent");
    Err(MountError::new(&volume.name, why))
}

/// Checks that all that volumes refer to is there, without writing anything.
///
/// # Errors
/// What is missing.
pub(crate) fn check(
    pod: &Pod,
    found: &Sources,
    around: &Surroundings<'_>,
) -> Result<(), MountError> {
    for volume in record::spec_of(pod).volumes.iter().flatten() {
        content::files(pod, volume, found, around)
            .map_err(|why| MountError::new(&volume.name, why))?;
    }
    Ok(())
}

#[cfg(all(test, target_os = "linux"))]
#[expect(clippy::unwrap_used, reason = "helpers stand outside of the test functions")]
mod tests;
