//! What is kept on disk of a pod's CSI volumes, beside where each is mounted, so that whoever
//! comes after a restart can unmount them: upstream's `vol_data.json` with two fields more.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::volumes::{pod_directory, pods_on_disk};

const PLUGIN: &str = "kubernetes.io~csi";
const FILE: &str = "vol_data.json";
/// A file of a few names is no longer than this, in bytes.
const LENGTH_AT_MOST: u64 = 64 << 10;

/// A volume of a pod.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Published {
    #[serde(rename = "specVolID")]
    pub(super) name: String,
    pub(super) volume_handle: String,
    pub(super) driver_name: String,
    pub(super) target_path: PathBuf,
    /// Where it is staged; empty when it is not.
    #[serde(default)]
    pub(super) staging_path: PathBuf,
}

impl Published {
    /// Upstream's name for the volume in a node's status.
    pub(super) fn unique_name(&self) -> String {
        format!("kubernetes.io/csi/{}^{}", self.driver_name, self.volume_handle)
    }
}

/// The directory of a pod's volume of this name.
pub(super) fn directory(state: &Path, uid: &str, name: &str) -> PathBuf {
    pod_directory(state, uid).join("volumes").join(PLUGIN).join(name)
}

/// Writes down what is about to be mounted, all of it or nothing. Blocks.
pub(super) fn save(directory: &Path, published: &Published) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    let next = directory.join("vol_data.json.tmp");
    fs::write(&next, serde_json::to_vec(published)?)?;
    fs::rename(next, directory.join(FILE))
}

/// Forgets a volume that is unmounted. Blocks.
pub(super) fn forget(directory: &Path) -> io::Result<()> {
    match fs::remove_file(directory.join(FILE)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The CSI volumes of a pod, each with its directory. Blocks.
pub(crate) fn volumes_of(state: &Path, uid: &str) -> Vec<(PathBuf, Published)> {
    let all = pod_directory(state, uid).join("volumes").join(PLUGIN);
    let entries = fs::read_dir(all).into_iter().flatten().flatten();
    entries.filter_map(|entry| Some((entry.path(), read(&entry.path())?))).collect()
}

/// Whether a driver has mounted something for a pod. Blocks.
pub(crate) fn has_volumes(state: &Path, uid: &str) -> bool {
    !volumes_of(state, uid).is_empty()
}

fn read(directory: &Path) -> Option<Published> {
    let path = directory.join(FILE);
    let length = fs::symlink_metadata(&path).ok().filter(fs::Metadata::is_file)?.len();
    let bytes = (length <= LENGTH_AT_MOST).then(|| fs::read(&path).ok()).flatten()?;
    serde_json::from_slice(&bytes).ok()
}

/// Whether another pod has a volume staged at the same place. Blocks.
pub(super) fn is_staged_for_another(state: &Path, uid: &str, staging: &Path) -> bool {
    let others = pods_on_disk(state).into_iter().filter(|other| other != uid);
    others.flat_map(|other| volumes_of(state, &other)).any(|(_, one)| one.staging_path == staging)
}
