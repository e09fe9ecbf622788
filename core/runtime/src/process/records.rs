//! What is on disk about pods and containers, so that a later host finds it.
//!
//! ```text
//! <state_dir>/process/lock                       held by the one runtime that works here
//! <state_dir>/process/pods/<uid>/pod.json        written last when a pod is made
//! <state_dir>/process/pods/<uid>/ns/{net,ipc,uts}
//! <state_dir>/process/pods/<uid>/<container>/container.json
//!                                   /started.json   written last before the command runs
//!                                   /notes          the supervisor's
//!                                   /exit.json      written when the end has been seen
//!                                   /{stdout,stderr,log-state}
//! ```

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{ContainerConfig, Error, Exit, PodConfig, Result};

/// `pod.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct PodRecord {
    pub(super) config: PodConfig,
    pub(super) created_at: Timestamp,
}

/// `container.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ContainerRecord {
    pub(super) config: ContainerConfig,
    pub(super) created_at: Timestamp,
}

/// `started.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct StartRecord {
    pub(super) started_at: Timestamp,
    pub(super) boot_id: String,
}

/// `exit.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ExitRecord {
    code: i32,
    reason: String,
    message: String,
    started_at: Timestamp,
    finished_at: Timestamp,
}

/// The reasons of [`Exit::reason`].
const REASONS: [&str; 5] =
    ["Completed", "Error", "OOMKilled", "StartError", "ContainerStatusUnknown"];

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
        let reason = REASONS.into_iter().find(|reason| *reason == record.reason);
        Self {
            code: record.code,
            reason: reason.unwrap_or("Error"),
            message: record.message,
            started_at: record.started_at,
            finished_at: record.finished_at,
        }
    }
}

/// The files of one container.
#[derive(Clone, Debug)]
pub(super) struct ContainerFiles(pub(super) PathBuf);

impl ContainerFiles {
    pub(super) fn record(&self) -> PathBuf {
        self.0.join("container.json")
    }

    pub(super) fn started(&self) -> PathBuf {
        self.0.join("started.json")
    }

    pub(super) fn exit(&self) -> PathBuf {
        self.0.join("exit.json")
    }

    pub(super) fn notes(&self) -> PathBuf {
        self.0.join("notes")
    }

    pub(super) fn stdin(&self) -> PathBuf {
        self.0.join("stdin")
    }

    pub(super) fn hosts(&self) -> PathBuf {
        self.0.join("hosts")
    }

    pub(super) fn staging(&self) -> PathBuf {
        self.0.join("staging")
    }

    pub(super) fn stdout(&self) -> PathBuf {
        self.0.join("stdout")
    }

    pub(super) fn stderr(&self) -> PathBuf {
        self.0.join("stderr")
    }

    pub(super) fn log_state(&self) -> PathBuf {
        self.0.join("log-state")
    }
}

/// Writes a record so that it is there whole or not at all.
pub(super) fn write<T: Serialize>(path: &Path, record: &T) -> Result<()> {
    let failed = |e| Error::Io { operation: format!("write {}", path.display()), source: e };
    let text = serde_json::to_vec(record).map_err(|e| failed(e.into()))?;
    let unfinished = path.with_extension("new");
    fs::write(&unfinished, text).and_then(|()| fs::rename(&unfinished, path)).map_err(failed)
}

/// `None` when there is no such record, or when a crash of the machine has torn it.
pub(super) fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    match fs::read(path) {
        Ok(text) => Ok(serde_json::from_slice(&text).ok()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::Io { operation: format!("read {}", path.display()), source: e }),
    }
}

/// Removes a directory with everything in it; what isn't there is no error.
pub(super) fn remove_directory(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other
            .map_err(|e| Error::Io { operation: format!("remove {}", path.display()), source: e }),
    }
}

/// The names of the directories in `path`, none when it does not exist.
pub(super) fn directories(path: &Path) -> Result<Vec<String>> {
    let failed = |e| Error::Io { operation: format!("read {}", path.display()), source: e };
    let entries = match fs::read_dir(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(failed)?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        if entry.file_type().map_err(failed)?.is_dir() {
            names.extend(entry.file_name().into_string().ok());
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Whether a name that comes from outside may name a directory.
pub(super) fn is_plain_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 253
        && !name.starts_with('.')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}
