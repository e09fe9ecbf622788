//! What is kept on disk of a pod's CSI volumes, beside where each is mounted, so that whoever
//! comes after a restart can unmount them: upstream's `vol_data.json` with three fields more.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use pinnace_api::volumes;
use serde::{Deserialize, Serialize};

use crate::volumes::pod_directory;

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
    /// What the pod calls it.
    #[serde(default)]
    pub(super) volume: String,
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
        volumes::unique_name(&self.driver_name, &self.volume_handle)
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

/// The CSI volumes of a pod. Blocks.
pub(super) fn volumes_of(state: &Path, uid: &str) -> Vec<Published> {
    let all = pod_directory(state, uid).join("volumes").join(PLUGIN);
    let entries = fs::read_dir(all).into_iter().flatten().flatten();
    entries.filter_map(|entry| read(&entry.path())).collect()
}

fn read(directory: &Path) -> Option<Published> {
    let path = directory.join(FILE);
    let length = fs::symlink_metadata(&path).ok().filter(fs::Metadata::is_file)?.len();
    let bytes = (length <= LENGTH_AT_MOST).then(|| fs::read(&path).ok()).flatten()?;
    serde_json::from_slice(&bytes).ok()
}
