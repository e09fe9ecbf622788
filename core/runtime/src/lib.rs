//! What runs containers.
//!
//! [`Runtime`] is the one door between the node agent and the real world of processes. It speaks
//! of pods and containers in the words of the CRI, but knows no Kubernetes objects: the node agent
//! turns a `Pod` into a [`PodConfig`] and [`ContainerConfig`]s and decides about restarts.

#[cfg(target_os = "linux")]
pub mod auto;
#[cfg(target_os = "linux")]
pub mod cgroup;
#[cfg(all(target_os = "linux", feature = "containerd"))]
pub mod containerd;
#[cfg(target_os = "linux")]
mod descriptor;
mod error;
pub mod logs;
#[cfg(target_os = "linux")]
pub mod namespaces;
#[cfg(target_os = "linux")]
pub mod process;
mod session;
#[cfg(target_os = "linux")]
mod signals;
pub mod simulated;
mod stats;
mod types;

#[cfg(all(target_os = "linux", feature = "containerd"))]
pub use containerd::{Containerd, ContainerdConfig, RuntimeHandler};
pub use error::{Error, Result};
#[cfg(target_os = "linux")]
pub use process::{Process, ProcessConfig};
pub use session::{Connection, Session, Streams, TerminalSize};
pub use simulated::{Script, Simulated, SimulatedConfig};
pub use stats::{ContainerStats, InterfaceStats, PodStats, Usage, Written, interfaces};
pub use types::*;

use async_trait::async_trait;
use std::time::Duration;
use tokio::sync::broadcast;

/// A container runtime.
///
/// Every method is idempotent: repeating it after a crash of the caller gives the same world.
/// A runtime keeps no decisions of its own: it never restarts a container. Whatever it runs is
/// marked with its namespace (one per engine and node), so that several engines may share a
/// machine and each finds its own pods again after a restart.
#[async_trait]
pub trait Runtime: Send + Sync + 'static {
    /// The adapter's name: `containerd`, `process` or `simulated`.
    fn name(&self) -> &'static str;

    /// Name and version as `node.status.nodeInfo.containerRuntimeVersion` shows it, for example
    /// `containerd://1.6.20`.
    async fn version(&self) -> Result<String>;

    /// What it cannot do on this machine, a clause each with the remedy, to be said once at start.
    fn restrictions(&self) -> Vec<String> {
        Vec::new()
    }

    /// Whether the runtime answers now. An error says why not; the node agent turns it into the
    /// node's `Ready` condition.
    async fn check(&self) -> Result<()>;

    /// Subscribes to what happens to containers. A receiver that lags gets
    /// [`broadcast::error::RecvError::Lagged`] and must look at [`Runtime::list_pods`] again.
    fn events(&self) -> broadcast::Receiver<RuntimeEvent>;

    /// Makes what the containers of a pod share: namespaces, cgroup, directories. Gives what
    /// exists when the pod was made before. When that is not [whole](PodState::whole), it is made
    /// anew, and containers that had it before are removed: others could not share it with them.
    async fn create_pod(&self, config: &PodConfig) -> Result<PodSandbox>;

    /// Kills what still runs in the pod and removes everything of it: containers, snapshots,
    /// namespaces, cgroup, directories. A pod that does not exist is no error.
    async fn remove_pod(&self, pod: &PodId) -> Result<()>;

    /// All pods of this runtime's namespace with their containers, for adoption after a restart.
    async fn list_pods(&self) -> Result<Vec<PodState>>;

    /// Changes the limits on a pod as a whole while its containers run.
    ///
    /// # Errors
    /// [`Error::PodNotFound`]; [`Error::Io`] when the kernel refuses, for example a limit below
    /// what is in use.
    async fn update_pod(&self, pod: &PodId, resources: &Resources) -> Result<()>;

    /// Changes the limits on a running container. They last until it ends; how early the kernel
    /// kills it when memory runs out stays as it was.
    ///
    /// # Errors
    /// [`Error::ContainerNotFound`], [`Error::NotRunning`]; [`Error::Io`] as
    /// [`Runtime::update_pod`].
    async fn update_container(&self, container: &ContainerId, resources: &Resources) -> Result<()>;

    /// What it can do for containers of pods that `handler`, that of a RuntimeClass, carries out;
    /// the usual one when empty.
    async fn features(&self, handler: &str) -> Features {
        let _ = handler;
        Features::default()
    }

    /// Makes a container of a pod from an image that is present, without starting it.
    ///
    /// # Errors
    /// [`Error::PodNotFound`] also when the pod is not whole any more; [`Error::ImageNotFound`],
    /// [`Error::InvalidConfig`], [`Error::Create`].
    async fn create_container(&self, pod: &PodId, config: &ContainerConfig) -> Result<ContainerId>;

    /// Starts a created container. When this returns the container's process has been executed.
    async fn start_container(&self, container: &ContainerId) -> Result<()>;

    /// Asks a container to stop with its stop signal, and kills it when it has not exited within
    /// `grace`. Returns when it has exited. A container that does not run is no error.
    async fn stop_container(&self, container: &ContainerId, grace: Duration) -> Result<()>;

    /// Removes an exited or created container; kills it first if it runs. Its log stays.
    async fn remove_container(&self, container: &ContainerId) -> Result<()>;

    /// One container as it is now, `None` when there is none.
    async fn container(&self, container: &ContainerId) -> Result<Option<ContainerState>>;

    /// Waits until a container has ended and its log is complete. One that does not exist or was
    /// never started has.
    async fn wait_container(&self, container: &ContainerId) -> Result<()>;

    /// What pods use now, in the order of `pods`; those that there are not are left out. `written`
    /// says whether to look at what containers have written to their root file systems, too, which
    /// takes time with their number of files. A runtime that measures nothing gives nothing.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    async fn stats(&self, pods: &[PodId], written: bool) -> Result<Vec<PodStats>> {
        let _ = (pods, written);
        Ok(Vec::new())
    }

    /// Runs a command in a running container.
    ///
    /// # Errors
    /// [`Error::ContainerNotFound`], [`Error::NotRunning`]; [`Error::Execute`] when the command
    /// cannot be executed; [`Error::InvalidConfig`] for what this runtime cannot do.
    async fn exec(
        &self,
        container: &ContainerId,
        command: &[String],
        streams: Streams,
    ) -> Result<Session>;

    /// Joins a running container's first process: its output from now on, and its input if it
    /// was made with one. Whether there is a terminal is the container's to say.
    ///
    /// # Errors
    /// [`Error::ContainerNotFound`], [`Error::NotRunning`].
    async fn attach(&self, container: &ContainerId, streams: Streams) -> Result<Session>;

    /// Connects to a TCP port on the loopback address of a pod's network namespace.
    ///
    /// # Errors
    /// [`Error::PodNotFound`]; [`Error::Connect`] when nothing listens there.
    async fn connect(&self, pod: &PodId, port: u16) -> Result<Box<dyn Connection>>;

    /// Whether probes and hooks of its containers are answered by [`Runtime::probe`] and
    /// [`Runtime::act`] instead of by the containers themselves: there is nobody in them.
    fn simulates(&self) -> bool {
        false
    }

    /// The result of a probe of a simulated container.
    ///
    /// # Errors
    /// What a probe that fails says.
    async fn probe(&self, container: &ContainerId, probing: Probing) -> Result<(), String> {
        let _ = (container, probing);
        Ok(())
    }

    /// Carries out a hook of a simulated container.
    ///
    /// # Errors
    /// What a hook that fails says.
    async fn act(&self, container: &ContainerId, acting: Acting) -> Result<(), String> {
        let _ = (container, acting);
        Ok(())
    }

    /// The image that `reference` names on this machine, `None` when it is not present.
    async fn image(&self, reference: &str) -> Result<Option<Image>>;

    /// Fetches an image from its registry.
    async fn pull_image(&self, reference: &str, auth: Option<&RegistryAuth>) -> Result<Image>;

    /// Imports every image of an OCI archive (`.tar`) or an OCI layout directory.
    async fn import_image(&self, path: &std::path::Path) -> Result<Vec<Image>>;

    /// Shows the content of an image that is present to a pod, to be read, and says where on this
    /// machine. It goes with the pod.
    ///
    /// # Errors
    /// [`Error::PodNotFound`], [`Error::ImageNotFound`]; [`Error::InvalidConfig`] where there are
    /// no images.
    async fn mount_image(&self, pod: &PodId, reference: &str) -> Result<std::path::PathBuf>;

    /// All images on this machine.
    async fn list_images(&self) -> Result<Vec<Image>>;

    /// Removes an image, by its identity, with all its names. What runs of it goes on. One that is
    /// not there is no error.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`] where there are no images to remove.
    async fn remove_image(&self, id: &str) -> Result<()> {
        let _ = id;
        Err(Error::InvalidConfig(format!("{} removes no images", self.name())))
    }

    /// Where on this machine images are kept; `None` where that is not known.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    async fn image_directory(&self) -> Result<Option<std::path::PathBuf>> {
        Ok(None)
    }

    /// Removes what is kept beside pods, such as images that nobody else sees, for no later runtime
    /// comes back to it. Called when no pods are left, before [`Runtime::shutdown`].
    ///
    /// # Errors
    /// [`Error::Unavailable`], and whatever else keeps something from going.
    async fn dispose(&self) -> Result<()> {
        Ok(())
    }

    /// Lets go of background tasks and connections. What runs goes on running and can be found
    /// again with [`Runtime::list_pods`] by a later runtime of the same namespace.
    async fn shutdown(&self);
}
