//! What is written down so that a later process finds its pods again.

use std::io::Write;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{ContainerConfig, ContainerPhase, Error, Exit, PodConfig, Result};

/// Bytes a record may have.
const MAX_RECORD_BYTES: u64 = 16 << 20;

/// A pod, in its directory.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct PodRecord {
    pub(super) config: PodConfig,
    pub(super) created_at: Timestamp,
}

/// A container, with the container itself in containerd. The pod is there once more, for when the
/// directory was lost.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ContainerRecord {
    pub(super) pod: PodRecord,
    pub(super) config: ContainerConfig,
    pub(super) image_id: String,
    pub(super) stop_signal: u32,
    pub(super) created_at: Timestamp,
}

/// How far a container got, in its directory.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct ProgressRecord {
    pub(super) started_at: Option<Timestamp>,
    pub(super) exit: Option<ExitRecord>,
}

impl ProgressRecord {
    /// What a container is by its record alone; the process's id is known to containerd.
    pub(super) fn phase(&self) -> ContainerPhase {
        match (&self.exit, self.started_at) {
            (Some(exit), _) => ContainerPhase::Exited(exit.clone().into()),
            (None, Some(started_at)) => ContainerPhase::Running { started_at, pid: 0 },
            (None, None) => ContainerPhase::Created,
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ExitRecord {
    code: i32,
    reason: String,
    message: String,
    started_at: Timestamp,
    finished_at: Timestamp,
}

impl From<&Exit> for ExitRecord {
    fn from(exit: &Exit) -> Self {
        Self {
            code: exit.code,
            reason: exit.reason.to_owned(),
            message: exit.message.clone(),
            started_at: exit.started_at,
            finished_at: exit.finished_at,
        }
    }
}

impl From<ExitRecord> for Exit {
    fn from(record: ExitRecord) -> Self {
        let reason = super::REASONS.into_iter().find(|known| *known == record.reason);
        Self {
            code: record.code,
            reason: reason.unwrap_or(super::UNKNOWN),
            message: record.message,
            started_at: record.started_at,
            finished_at: record.finished_at,
        }
    }
}

/// Writes a record so that a reader sees the old or the new one, never half of it.
pub(super) fn write(path: &Path, record: &impl Serialize) -> Result<()> {
    let failed = |source: std::io::Error| Error::Io {
        operation: format!("write {}", path.display()),
        source,
    };
    let data = serde_json::to_vec(record).map_err(|error| failed(error.into()))?;
    let new = path.with_extension("new");
    let mut file = std::fs::File::create(&new).map_err(failed)?;
    file.write_all(&data).map_err(failed)?;
    drop(file);
    std::fs::rename(&new, path).map_err(failed)
}

/// Reads a record; `None` when there is none, or none that can be read.
pub(super) fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    let size = std::fs::metadata(path).ok()?.len();
    if size > MAX_RECORD_BYTES {
        return None;
    }
    let data = std::fs::read(path).ok()?;
    serde_json::from_slice(&data)
        .inspect_err(|error| tracing::warn!(path = %path.display(), %error, "unreadable record"))
        .ok()
}

/// The directories and files of a pod.
#[derive(Clone, Debug)]
pub(super) struct PodPaths {
    pub(super) root: PathBuf,
}

impl PodPaths {
    pub(super) fn new(state_dir: &Path, uid: &str) -> Self {
        Self { root: state_dir.join("pods").join(uid) }
    }

    pub(super) fn record(&self) -> PathBuf {
        self.root.join("pod.json")
    }

    pub(super) fn hosts(&self) -> PathBuf {
        self.root.join("hosts")
    }

    pub(super) fn hostname(&self) -> PathBuf {
        self.root.join("hostname")
    }

    pub(super) fn resolv_conf(&self) -> PathBuf {
        self.root.join("resolv.conf")
    }

    /// Where its images lie that are volumes.
    pub(super) fn images(&self) -> PathBuf {
        self.root.join("images")
    }

    pub(super) fn shm(&self) -> PathBuf {
        self.root.join("shm")
    }

    pub(super) fn namespaces(&self) -> PathBuf {
        self.root.join("ns")
    }

    /// An empty directory to look at snapshots from.
    pub(super) fn view(&self) -> PathBuf {
        self.root.join("view")
    }

    pub(super) fn container(&self, id: &str) -> ContainerPaths {
        ContainerPaths { root: self.root.join("containers").join(id) }
    }
}

/// The files of a container.
#[derive(Clone, Debug)]
pub(super) struct ContainerPaths {
    pub(super) root: PathBuf,
}

impl ContainerPaths {
    pub(super) fn progress(&self) -> PathBuf {
        self.root.join("progress.json")
    }

    pub(super) fn stdin(&self) -> PathBuf {
        self.root.join("stdin")
    }

    pub(super) fn stdout(&self) -> PathBuf {
        self.root.join("stdout")
    }

    pub(super) fn stderr(&self) -> PathBuf {
        self.root.join("stderr")
    }

    pub(super) fn log_state(&self) -> PathBuf {
        self.root.join("log-state")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_survives_its_record() {
        let exit = Exit {
            code: 137,
            reason: "OOMKilled",
            message: "m".into(),
            started_at: Timestamp::UNIX_EPOCH,
            finished_at: Timestamp::from_second(5).unwrap(),
        };
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("progress.json");
        let record = ProgressRecord { started_at: None, exit: Some((&exit).into()) };
        write(&path, &record).unwrap();
        let read: ProgressRecord = read(&path).unwrap();
        assert_eq!(Exit::from(read.exit.unwrap()), exit);
    }

    #[test]
    fn a_broken_record_counts_as_none() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pod.json");
        assert!(read::<PodRecord>(&path).is_none());
        std::fs::write(&path, "{").unwrap();
        assert!(read::<PodRecord>(&path).is_none());
    }
}
