//! What the node agent asks of the runtime of processes.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::broadcast;

use super::records::{self, ContainerFiles, ContainerRecord};
use super::{Pod, Process, blocking, exec, remove, remove_pod, start, supervisor};
use crate::namespaces;
use crate::stats::{Part, Subject};
use crate::{
    Connection, ContainerConfig, ContainerId, ContainerPhase, ContainerState, Error, Features,
    Image, PodConfig, PodId, PodSandbox, PodState, PodStats, RegistryAuth, Resources, Result,
    Runtime, RuntimeEvent, Session, Streams,
};

#[async_trait]
impl Runtime for Process {
    fn name(&self) -> &'static str {
        "process"
    }

    async fn version(&self) -> Result<String> {
        Ok(format!("process://{}", env!("CARGO_PKG_VERSION")))
    }

    async fn features(&self, _handler: &str) -> Features {
        // Without a view of its own a container has its volumes where they are.
        Features { recursive_read_only: self.shared.may_pin }
    }

    async fn check(&self) -> Result<()> {
        let directory = self.shared.pods_directory();
        let unavailable = |message: String| Error::Unavailable { runtime: "process", message };
        blocking(move || {
            fs::read_dir(&directory)
                .map_err(|e| unavailable(format!("{}: {e}", directory.display())))?;
            fs::metadata(supervisor::SHELL)
                .map_err(|e| unavailable(format!("{}: {e}", supervisor::SHELL)))?;
            Ok(())
        })
        .await
    }

    fn events(&self) -> broadcast::Receiver<RuntimeEvent> {
        self.shared.events.subscribe()
    }

    async fn create_pod(&self, config: &PodConfig) -> Result<PodSandbox> {
        if !records::is_plain_name(&config.id) {
            return Err(Error::InvalidConfig(format!("pod id {:?} is not a name", config.id)));
        }
        if !matches!(&*config.runtime_handler, "" | "process") {
            let handler = &config.runtime_handler;
            let message = format!("no runtime for {handler:?} is configured");
            return Err(Error::InvalidConfig(message));
        }
        if let Ok(pod) = self.shared.pod(&PodId(config.id.clone())) {
            return Ok(pod.sandbox());
        }
        let (shared, config) = (Arc::clone(&self.shared), config.clone());
        self.own(async move {
            let of = Arc::clone(&shared);
            let made = Arc::new(blocking(move || of.make_pod(&config)).await?);
            let mut pods = shared.pods.write();
            // Two callers at once have made the same thing; the first one's stays.
            Ok(pods.entry(made.id()).or_insert(made).sandbox())
        })
        .await
    }

    async fn remove_pod(&self, id: &PodId) -> Result<()> {
        match self.shared.pod(id) {
            Ok(pod) => self.own(remove_pod(Arc::clone(&self.shared), pod)).await,
            Err(_) if !records::is_plain_name(&id.0) => Ok(()),
            Err(_) => {
                // A creation may have failed half way.
                let (shared, name) = (Arc::clone(&self.shared), id.0.clone());
                self.own(blocking(move || shared.remove_half_made(&name))).await
            }
        }
    }

    async fn list_pods(&self) -> Result<Vec<PodState>> {
        let pods: Vec<_> = self.shared.pods.read().values().cloned().collect();
        let state = |pod: Arc<Pod>| PodState {
            config: pod.record.config.clone(),
            sandbox: pod.sandbox(),
            whole: true,
            containers: pod.containers.read().values().map(|c| c.state()).collect(),
        };
        Ok(pods.into_iter().map(state).collect())
    }

    async fn update_pod(&self, pod: &PodId, resources: &Resources) -> Result<()> {
        let config = &self.shared.pod(pod)?.record.config;
        let Some(cgroups) = self.shared.cgroups.clone() else { return Ok(()) };
        let (uid, class, resources) = (pod.0.clone(), config.qos_class, resources.clone());
        blocking(move || cgroups.update_pod(&uid, class, &resources)).await
    }

    async fn update_container(&self, id: &ContainerId, resources: &Resources) -> Result<()> {
        let found = self.shared.find(id);
        let (_, container) = found.ok_or_else(|| Error::ContainerNotFound(id.0.clone()))?;
        if !container.is_running() {
            return Err(Error::NotRunning(id.0.clone()));
        }
        let Some(cgroup) = container.cgroup.clone() else { return Ok(()) };
        let resources = resources.clone();
        blocking(move || cgroup.update(&resources)).await
    }

    async fn create_container(&self, pod: &PodId, config: &ContainerConfig) -> Result<ContainerId> {
        let pod = self.shared.pod(pod)?;
        let id = ContainerId(format!("{}_{}_{}", pod.id(), config.name, config.attempt));
        if !records::is_plain_name(&config.name) {
            return Err(Error::InvalidConfig(format!("{:?} is not a name", config.name)));
        }
        if pod.containers.read().contains_key(&id) {
            return Ok(id);
        }
        start::check(&self.shared, config)?;
        let record = ContainerRecord { config: config.clone(), created_at: self.shared.env.now() };
        let shared = Arc::clone(&self.shared);
        self.own(async move {
            let _operation = pod.operation.lock().await;
            if shared.pod(&pod.id()).is_err() {
                return Err(Error::PodNotFound(pod.id().0));
            }
            if pod.containers.read().contains_key(&id) {
                return Ok(id);
            }
            let files = ContainerFiles(pod.directory.join(&id.0));
            let (on_disk, text) = (files.clone(), record.clone());
            blocking(move || {
                fs::create_dir_all(&on_disk.0).map_err(|source| Error::Io {
                    operation: format!("make {}", on_disk.0.display()),
                    source,
                })?;
                records::write(&on_disk.record(), &text)
            })
            .await?;
            let container = shared.container(&pod.record.config, id.clone(), files, record);
            pod.containers.write().insert(id.clone(), Arc::new(container));
            Ok(id)
        })
        .await
    }

    async fn start_container(&self, id: &ContainerId) -> Result<()> {
        let found = self.shared.find(id);
        let (pod, container) = found.ok_or_else(|| Error::ContainerNotFound(id.0.clone()))?;
        self.own(start::start(Arc::clone(&self.shared), pod, container)).await
    }

    async fn stop_container(&self, id: &ContainerId, grace: Duration) -> Result<()> {
        let Some((_, container)) = self.shared.find(id) else { return Ok(()) };
        container.stop(start::stop_signal(&container.record.config)?, grace).await
    }

    async fn remove_container(&self, id: &ContainerId) -> Result<()> {
        let Some((pod, container)) = self.shared.find(id) else { return Ok(()) };
        self.own(remove(pod, container)).await
    }

    async fn container(&self, id: &ContainerId) -> Result<Option<ContainerState>> {
        Ok(self.shared.find(id).map(|(_, container)| container.state()))
    }

    async fn wait_container(&self, id: &ContainerId) -> Result<()> {
        if let Some((_, container)) = self.shared.find(id)
            && container.is_running()
        {
            container.exited().await;
        }
        Ok(())
    }

    async fn stats(&self, pods: &[PodId], _written: bool) -> Result<Vec<PodStats>> {
        let pods: Vec<_> = pods.iter().filter_map(|id| self.shared.pod(id).ok()).collect();
        let cgroups = self.shared.cgroups.clone();
        let now = self.shared.env.now();
        let subject = move |pod: Arc<Pod>| {
            let config = &pod.record.config;
            let containers = pod.containers.read();
            let parts = containers.values().filter_map(|container| {
                let ContainerPhase::Running { started_at, pid } = *container.phase.borrow() else {
                    return None;
                };
                Some(Part {
                    id: container.id.clone(),
                    name: container.record.config.name.clone(),
                    started_at,
                    pid,
                    cgroup: container.cgroup.clone(),
                    // Processes write to the machine's own file systems.
                    written: None,
                })
            });
            let cgroup = cgroups.as_ref().map(|all| all.pod(&config.id, config.qos_class));
            Subject {
                pod: pod.id(),
                started_at: pod.sandbox().created_at,
                cgroup,
                host_network: config.host_network,
                containers: parts.collect(),
            }
        };
        blocking(move || Ok(pods.into_iter().map(|pod| subject(pod).measure(now)).collect())).await
    }

    async fn exec(
        &self,
        id: &ContainerId,
        command: &[String],
        streams: Streams,
    ) -> Result<Session> {
        let found = self.shared.find(id);
        let (pod, container) = found.ok_or_else(|| Error::ContainerNotFound(id.0.clone()))?;
        exec::exec(&self.shared, &pod, &container, command, streams).await
    }

    async fn attach(&self, id: &ContainerId, streams: Streams) -> Result<Session> {
        let found = self.shared.find(id);
        let (_, container) = found.ok_or_else(|| Error::ContainerNotFound(id.0.clone()))?;
        exec::attach(&container, streams).await
    }

    async fn connect(&self, pod: &PodId, port: u16) -> Result<Box<dyn Connection>> {
        let network = self.shared.pod(pod)?.namespaces.network.clone();
        Ok(Box::new(namespaces::connect(network, port).await?))
    }

    async fn image(&self, reference: &str) -> Result<Option<Image>> {
        Ok(Some(image(reference)))
    }

    async fn pull_image(&self, reference: &str, _auth: Option<&RegistryAuth>) -> Result<Image> {
        Ok(image(reference))
    }

    async fn import_image(&self, path: &Path) -> Result<Vec<Image>> {
        Err(Error::InvalidImage {
            reference: path.display().to_string(),
            message: "processes of the host have no images; importing needs containerd".into(),
        })
    }

    async fn mount_image(&self, _pod: &PodId, reference: &str) -> Result<PathBuf> {
        let message = format!("image {reference:?} as a volume needs containerd");
        Err(Error::InvalidConfig(message))
    }

    async fn list_images(&self) -> Result<Vec<Image>> {
        let pods = self.list_pods().await?;
        let containers = pods.iter().flat_map(|pod| &pod.containers);
        let names: BTreeSet<_> = containers.map(|c| c.config.image.as_str()).collect();
        Ok(names.into_iter().map(image).collect())
    }

    async fn shutdown(&self) {
        // Removing a container needs those that watch it.
        self.shared.operations.close();
        self.shared.operations.wait().await;
        self.shared.ended.cancel();
        self.shared.watchers.close();
        self.shared.watchers.wait().await;
        for pod in self.shared.pods.read().values() {
            for container in pod.containers.read().values() {
                drop(container.pump.lock().take());
            }
        }
        let shared = Arc::clone(&self.shared);
        let left = tokio::task::spawn_blocking(move || shared.leave()).await;
        if let Err(error) = left {
            tracing::debug!(%error, "the host is going down");
        }
        *self.shared.lock.lock() = None;
    }
}

/// Any reference counts as present. Nothing is unpacked, so the name is the identity.
fn image(reference: &str) -> Image {
    Image {
        id: reference.to_owned(),
        tags: vec![reference.to_owned()],
        digests: Vec::new(),
        size: 0,
    }
}
