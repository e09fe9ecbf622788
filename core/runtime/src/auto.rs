//! Choosing a runtime by what the machine has.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use pinnace_env::Env;

use crate::process::{self, Process, ProcessConfig};
use crate::{Error, Result, Runtime};

/// Where containerd listens unless it was told otherwise.
pub const CONTAINERD_SOCKET: &str = "/run/containerd/containerd.sock";

/// What [`auto`] may choose from.
#[derive(Clone, Debug)]
pub struct AutoConfig {
    /// One per engine and node; marks everything that runs.
    pub namespace: String,
    /// Where the chosen runtime keeps its state. Made when missing.
    pub state_dir: PathBuf,
    /// The socket of the containerd to take when it answers.
    pub socket: PathBuf,
    /// Time and chance.
    pub env: Env,
}

impl AutoConfig {
    /// With containerd's usual socket.
    pub fn new(namespace: impl Into<String>, state_dir: impl Into<PathBuf>, env: Env) -> Self {
        Self {
            namespace: namespace.into(),
            state_dir: state_dir.into(),
            socket: CONTAINERD_SOCKET.into(),
            env,
        }
    }
}

/// The runtime that was chosen.
pub struct Chosen {
    /// It.
    pub runtime: Arc<dyn Runtime>,
    /// Why it was chosen, and what it may not do here, as a sentence for people.
    pub reason: String,
}

/// Takes containerd where it answers and this user may use it, else processes of the host.
///
/// A state directory that holds pods keeps its runtime: they could not be found by the other.
///
/// # Errors
/// [`Error::Unavailable`] when pods of an earlier run are in a containerd that doesn't answer
/// now; else what [`Process::open`] says.
pub async fn auto(config: AutoConfig) -> Result<Chosen> {
    if holds_pods(&config.state_dir.join(process::DIRECTORY)) {
        return processes(config, "pods of an earlier run are processes").await;
    }
    let socket = config.socket.display().to_string();
    match connect(&config).await {
        Ok((runtime, version)) => {
            let reason = format!("{version} answers at {socket}");
            Ok(Chosen { runtime, reason })
        }
        Err(error) if holds_pods(&config.state_dir) => Err(Error::Unavailable {
            runtime: "containerd",
            message: format!("pods of an earlier run are in it, and: {error}"),
        }),
        Err(error) => processes(config, &format!("there is no containerd: {error}")).await,
    }
}

async fn processes(config: AutoConfig, why: &str) -> Result<Chosen> {
    let process = ProcessConfig::new(config.namespace, config.state_dir, config.env);
    let process = Process::open(process).await?;
    let mut reason = why.to_owned();
    for restriction in process.restrictions() {
        reason.push_str("; ");
        reason.push_str(restriction);
    }
    Ok(Chosen { runtime: Arc::new(process), reason })
}

#[cfg(feature = "containerd")]
async fn connect(config: &AutoConfig) -> Result<(Arc<dyn Runtime>, String)> {
    use crate::containerd::{Containerd, ContainerdConfig};
    // Before anything is made: what containerd runs needs namespaces of ours.
    if let Err(source) = config.socket.symlink_metadata() {
        return Err(Error::Io { operation: config.socket.display().to_string(), source });
    }
    crate::namespaces::can_pin()?;
    let (namespace, state_dir) = (config.namespace.clone(), config.state_dir.clone());
    let settings = ContainerdConfig::new(namespace, state_dir, config.env.clone());
    let runtime = Containerd::connect(&config.socket, settings).await?;
    let version = runtime.version().await?;
    Ok((Arc::new(runtime), version))
}

#[cfg(not(feature = "containerd"))]
async fn connect(_config: &AutoConfig) -> Result<(Arc<dyn Runtime>, String)> {
    Err(Error::Unavailable {
        runtime: "containerd",
        message: "this build has no support for it".into(),
    })
}

fn holds_pods(state_dir: &Path) -> bool {
    std::fs::read_dir(state_dir.join("pods")).is_ok_and(|mut pods| pods.next().is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PodConfig;

    fn config(home: &Path) -> AutoConfig {
        let namespace = format!("pinnace-test-auto-{}", std::process::id());
        let mut config = AutoConfig::new(namespace, home.join("state"), Env::system());
        config.socket = home.join("no.sock");
        config
    }

    #[tokio::test]
    async fn without_containerd_processes_are_taken_and_kept() {
        let home = tempfile::tempdir().unwrap();
        let chosen = auto(config(home.path())).await.unwrap();
        assert_eq!(chosen.runtime.name(), "process");
        assert!(chosen.reason.starts_with("there is no containerd"), "{}", chosen.reason);
        let pod = PodConfig { id: "p".into(), host_network: true, ..PodConfig::default() };
        let id = chosen.runtime.create_pod(&pod).await.unwrap().id;
        chosen.runtime.shutdown().await;
        drop(chosen);

        let chosen = auto(config(home.path())).await.unwrap();
        assert!(chosen.reason.starts_with("pods of an earlier run"), "{}", chosen.reason);
        chosen.runtime.remove_pod(&id).await.unwrap();
        chosen.runtime.shutdown().await;
    }

    #[tokio::test]
    async fn pods_in_a_containerd_that_is_away_are_not_forgotten() {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(home.path().join("state/pods/p")).unwrap();
        let refused = auto(config(home.path())).await.err();
        assert!(matches!(refused, Some(Error::Unavailable { runtime: "containerd", .. })));
    }
}
