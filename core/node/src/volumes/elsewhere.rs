use std::io;
use std::path::Path;

use k8s_openapi::api::core::v1::{Container, Pod};
use pinnace_runtime::{Device, Features, Mount};

use super::{MountError, Prepared};
use crate::pod::fields::Surroundings;
use crate::sources::Sources;

/// What pods are told on platforms that have no containers.
const NEEDS_LINUX: &str = "volumes need Linux; on this platform nodes can only be simulated";

/// See the Linux side.
pub(crate) fn prepare(
    _state: &Path,
    _pod: &Pod,
    _found: &Sources,
    _around: &Surroundings<'_>,
) -> Result<Prepared, MountError> {
    Err(MountError::general(NEEDS_LINUX))
}

/// See the Linux side.
pub(crate) fn mounts(
    _state: &Path,
    _pod: &Pod,
    _container: &Container,
    _prepared: &Prepared,
    _features: Features,
    _lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<Vec<Mount>, String> {
    Err(NEEDS_LINUX.to_owned())
}

/// See the Linux side.
pub(crate) fn devices(
    _pod: &Pod,
    _container: &Container,
    _prepared: &Prepared,
) -> Result<Vec<Device>, String> {
    Err(NEEDS_LINUX.to_owned())
}

/// See the Linux side.
pub(crate) fn remove(_state: &Path, _uid: &str) -> io::Result<()> {
    Ok(())
}

/// See the Linux side.
pub(crate) fn give_to_group(_root: &Path, _group: u32) -> io::Result<()> {
    Err(io::Error::other(NEEDS_LINUX))
}

/// See the Linux side.
pub(crate) fn pods_on_disk(_state: &Path) -> Vec<String> {
    Vec::new()
}

/// Nothing: there are no volumes to remove.
///
/// # Errors
/// None.
pub fn remove_all(_state: &Path) -> io::Result<()> {
    Ok(())
}
