use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use pinnace_runtime::logs::{LogOptions, read_logs};

use tokio_util::task::TaskTracker;

use crate::config::Machine;
use crate::{Error, Result};

/// How much of a log becomes a termination message.
const LAST_LINES: u64 = 80;
const LAST_BYTES: usize = 2048;

/// Where the log of a container is, in the CRI log format, below the directory that the agent was
/// given for logs. With `previous`, the log of the attempt before the last restart.
///
/// The pod says which attempt that is, so this works for pods that have ended, and without asking
/// the agent. The file is there as soon as the container was started.
///
/// # Errors
/// [`Error::NoLog`] in the words of upstream's API when there is no such container, or it has not
/// been started.
pub(crate) fn log_path(logs: &Path, pod: &Pod, container: &str, previous: bool) -> Result<PathBuf> {
    let pod_name = pod.metadata.name.as_deref().unwrap_or_default();
    let none = |message: String| Err(Error::NoLog(message));
    let status = pod.status.as_ref();
    let statuses = status.into_iter().flat_map(|status| {
        let init = status.init_container_statuses.iter().flatten();
        let ephemeral = status.ephemeral_container_statuses.iter().flatten();
        init.chain(status.container_statuses.iter().flatten()).chain(ephemeral)
    });
    let Some(status) = statuses.into_iter().find(|status| status.name == container) else {
        return none(format!("container {container:?} in pod {pod_name:?} is not available"));
    };
    let attempt = match attempt_of(status, previous) {
        Some(attempt) => attempt,
        None if previous => {
            return none(format!(
                "previous terminated container {container:?} in pod {pod_name:?} not found"
            ));
        }
        None => {
            let waiting = status.state.as_ref().and_then(|state| state.waiting.as_ref());
            let why = match waiting.map(|waiting| {
                (waiting.reason.as_deref().unwrap_or_default(), waiting.message.as_deref())
            }) {
                Some(("ErrImagePull", _)) => "image can't be pulled".to_owned(),
                Some(("ImagePullBackOff", _)) => "trying and failing to pull image".to_owned(),
                Some((reason, _)) => reason.to_owned(),
                None => "ContainerCreating".to_owned(),
            };
            return none(format!(
                "container {container:?} in pod {pod_name:?} is waiting to start: {why}"
            ));
        }
    };
    Ok(attempt_path(&pod_directory(logs, pod), container, attempt))
}

/// Which attempt's log is asked for.
fn attempt_of(status: &ContainerStatus, previous: bool) -> Option<u32> {
    let state = status.state.as_ref();
    let waits = state.is_none_or(|state| state.running.is_none() && state.terminated.is_none());
    let has_last = status.last_state.as_ref().is_some_and(|last| last.terminated.is_some());
    let count = u32::try_from(status.restart_count).unwrap_or(0);
    match (waits, previous) {
        // A container that waits for its restart has its last attempt behind it.
        (true, _) => has_last.then_some(count),
        (false, true) => has_last.then(|| count.saturating_sub(1)),
        (false, false) => Some(count),
    }
}

/// The directory of a pod's logs.
pub(crate) fn pod_directory(logs: &Path, pod: &Pod) -> PathBuf {
    let meta = &pod.metadata;
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    logs.join(format!("{}_{}_{}", text(&meta.namespace), text(&meta.name), text(&meta.uid)))
}

/// The log of one attempt of a container.
pub(crate) fn attempt_path(pod: &Path, container: &str, attempt: u32) -> PathBuf {
    pod.join(container).join(format!("{attempt}.log"))
}

/// Removes the logs of a pod.
pub(crate) async fn remove(machine: &Machine, tasks: &TaskTracker, directory: PathBuf) {
    let shown = directory.clone();
    let work = move || match fs::remove_dir_all(&directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    };
    let removed = match machine {
        // Simulated pods seldom have logs, and to look is quick.
        Machine::Simulated => work(),
        Machine::Local { .. } => {
            tasks.spawn_blocking(work).await.unwrap_or_else(|error| Err(error.into()))
        }
    };
    if let Err(error) = removed {
        tracing::warn!(path = %shown.display(), %error, "logs not removed");
    }
}

/// Removes the logs of pods that are not among `known`, by uid.
pub(crate) fn remove_unknown(logs: &Path, known: impl Fn(&str) -> bool) {
    for entry in fs::read_dir(logs).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let mut parts = name.rsplitn(3, '_');
        let (uid, rest) = (parts.next(), parts.next().and(parts.next()));
        if let (Some(uid), Some(_)) = (uid, rest)
            && !known(uid)
            && let Err(error) = fs::remove_dir_all(entry.path())
        {
            tracing::warn!(path = %entry.path().display(), %error, "logs not removed");
        }
    }
}

/// The beginning of a file as text; `None` when it cannot be read.
pub(crate) fn read_head(path: &Path, limit: usize) -> Option<String> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(limit as u64).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// The end of a log.
pub(crate) async fn last_lines(path: &Path) -> String {
    let options = LogOptions { tail_lines: Some(LAST_LINES), ..LogOptions::default() };
    let mut lines = std::pin::pin!(read_logs(path, options));
    let mut text = Vec::new();
    while let Some(Ok(line)) = lines.next().await {
        text.extend_from_slice(&line.text);
        if let Some(excess) = text.len().checked_sub(LAST_BYTES) {
            text.drain(..excess);
        }
    }
    String::from_utf8_lossy(&text).into_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(status: serde_json::Value, previous: bool, expected: Result<&str, &str>) {
        let mut status = status;
        status["name"] = json!("c");
        for (field, value) in [("image", json!("")), ("imageID", json!("")), ("ready", json!(true))]
        {
            status[field] = value;
        }
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "web", "namespace": "shop", "uid": "u-1"},
            "status": {"containerStatuses": [status]}
        }))
        .unwrap();
        let found = log_path(Path::new("/logs"), &pod, "c", previous);
        let found = found.map(|path| path.display().to_string()).map_err(|error| error.to_string());
        assert_eq!(found.as_deref().map_err(String::as_str), expected);
    }

    #[test]
    fn the_status_says_which_log() {
        let ended = json!({"terminated": {"exitCode": 1}});
        let waiting = |reason: &str| json!({"waiting": {"reason": reason}});
        let running = json!({"running": {}});
        let log = |number: u32| format!("/logs/shop_web_u-1/c/{number}.log");
        check(json!({"restartCount": 0, "state": running}), false, Ok(&log(0)));
        check(json!({"restartCount": 0, "state": ended}), false, Ok(&log(0)));
        let restarted = json!({"restartCount": 2, "state": running, "lastState": ended});
        check(restarted.clone(), false, Ok(&log(2)));
        check(restarted, true, Ok(&log(1)));
        let crashed =
            json!({"restartCount": 2, "state": waiting("CrashLoopBackOff"), "lastState": ended});
        check(crashed.clone(), false, Ok(&log(2)));
        check(crashed, true, Ok(&log(2)));
        check(
            json!({"restartCount": 0, "state": running}),
            true,
            Err("previous terminated container \"c\" in pod \"web\" not found"),
        );
        check(
            json!({"restartCount": 0, "state": waiting("ContainerCreating")}),
            false,
            Err("container \"c\" in pod \"web\" is waiting to start: ContainerCreating"),
        );
    }
}
