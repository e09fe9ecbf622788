//! What runs the pods of this process, and how it ends.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream;
use pinnace_network::PodNetwork;
use pinnace_runtime::Runtime as ContainerRuntime;

use crate::{Error, Result};

/// How long containers may take to stop at the end, and how many stop at once.
const STOP_GRACE: Duration = Duration::from_secs(10);
const STOP_AT_ONCE: usize = 32;

/// Runtimes, networks and directories of the nodes of this process.
pub(crate) struct Machinery {
    pub(crate) runtimes: Vec<Arc<dyn ContainerRuntime>>,
    pub(crate) networks: Vec<Arc<dyn PodNetwork>>,
    /// Where the volumes of this machine's pods are.
    pub(crate) volumes: Option<PathBuf>,
    /// Everything of what keeps nothing, to be removed with it.
    pub(crate) temporary: Option<PathBuf>,
}

impl Machinery {
    /// Imports images; gives the names under which pods may ask for them.
    ///
    /// # Errors
    /// When an archive cannot be read or its content is not what its digests say.
    pub(crate) async fn import(&self, archives: &[PathBuf]) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for archive in archives {
            for runtime in &self.runtimes {
                for image in runtime.import_image(archive).await? {
                    names.extend(image.tags);
                }
            }
        }
        names.dedup();
        Ok(names)
    }

    /// Ends it, and removes what it has made: everything, or all but the pods, which go on then.
    ///
    /// # Errors
    /// The first thing that could not be ended or removed; all the others have been.
    pub(crate) async fn end(&self, leave: bool) -> Result<()> {
        let mut first = Ok(());
        let mut note = |result: Result<()>| {
            if first.is_ok() {
                first = result;
            }
        };
        if !leave {
            note(self.stop_pods().await);
        }
        for network in &self.networks {
            note(network.shutdown(leave).await.map_err(Error::from));
        }
        for runtime in &self.runtimes {
            if !leave && self.temporary.is_some() {
                // What is kept nowhere has a name of its own on the machine that is used once.
                note(runtime.dispose().await.map_err(Error::from));
            }
            runtime.shutdown().await;
        }
        if !leave && let Some(directory) = &self.volumes {
            note(
                pinnace_node::remove_volumes(directory)
                    .map_err(|source| Error::Io { path: directory.clone(), source }),
            );
        }
        if !leave && let Some(directory) = &self.temporary {
            note(remove(directory));
        }
        first
    }

    /// Ends what runs and removes everything of it.
    async fn stop_pods(&self) -> Result<()> {
        let mut first = Ok(());
        for runtime in self.runtimes.iter().filter(|runtime| runtime.name() != "simulated") {
            let pods = runtime.list_pods().await?;
            let stopped: Vec<_> = stream::iter(pods)
                .map(|pod| async move {
                    let stops = pod
                        .containers
                        .iter()
                        .map(|container| runtime.stop_container(&container.id, STOP_GRACE));
                    futures::future::join_all(stops).await;
                    for network in &self.networks {
                        if let Err(error) = network.detach(&pod.config.id).await {
                            tracing::warn!(pod = pod.config.id, %error, "address not released");
                        }
                    }
                    runtime.remove_pod(&pod.sandbox.id).await
                })
                .buffer_unordered(STOP_AT_ONCE)
                .collect()
                .await;
            for result in stopped {
                first = first.and(result.map_err(Error::from));
            }
        }
        first
    }
}

fn remove(directory: &Path) -> Result<()> {
    match std::fs::remove_dir_all(directory) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::Io { path: directory.to_owned(), source })
        }
        _ => Ok(()),
    }
}
