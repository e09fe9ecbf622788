use std::fs::{self, DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _, chown};
use std::path::Path;

use k8s_openapi::api::core::v1::EmptyDirVolumeSource;
use pinnace_api::quantity::Quantity;

use super::tmpfs;

/// Everybody may write; with a group, what is made inside belongs to it.
const MODE: u32 = 0o777;
const MODE_WITH_GROUP: u32 = 0o2777;

/// Makes an `emptyDir`, on disk or in memory; one that exists keeps its content.
pub(super) fn prepare(
    path: &Path,
    source: &EmptyDirVolumeSource,
    group: Option<i64>,
) -> Result<(), String> {
    let failed = |what: &str, error: std::io::Error| format!("{what} {}: {error}", path.display());
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(path)
        .map_err(|error| failed("cannot make", error))?;
    match source.medium.as_deref().unwrap_or_default() {
        "" => {}
        "Memory" => {
            let limit = source.size_limit.as_ref().and_then(|limit| Quantity::parse(&limit.0).ok());
            tmpfs::mount(path, limit.map(Quantity::value))?;
        }
        medium => return Err(format!("unknown storage medium {medium:?}")),
    }
    if let Some(group) = group.and_then(|group| u32::try_from(group).ok()) {
        chown(path, None, Some(group))
            .map_err(|error| failed("cannot change the group of", error))?;
    }
    let mode = if group.is_some() { MODE_WITH_GROUP } else { MODE };
    let present = fs::metadata(path).map_err(|error| failed("cannot read", error))?;
    if present.mode() & 0o7777 != mode {
        fs::set_permissions(path, Permissions::from_mode(mode))
            .map_err(|error| failed("cannot change the mode of", error))?;
    }
    Ok(())
}
