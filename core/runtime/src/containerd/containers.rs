//! Making and removing containers.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use containerd_client::services::v1::snapshots::{
    MountsRequest, PrepareSnapshotRequest, RemoveSnapshotRequest,
};
use containerd_client::services::v1::{
    Container as ContainerdContainer, CreateContainerRequest, DeleteContainerRequest,
};
use containerd_client::tonic::Code;
use containerd_client::types::Mount;
use oci_spec::runtime::Spec;
use parking_lot::Mutex;
use prost_types::Any;
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use super::Core;
use super::connection::{exists_is_fine, gone_is_fine};
use super::image::ParsedImage;
use super::pods::Pod;
use super::records::{ContainerPaths, ContainerRecord, ProgressRecord};
use super::rootfs;
use super::spec::{self, Inputs, User, UserRequest};
use crate::logs::{LogPump, LogPumpConfig};
use crate::{
    ContainerConfig, ContainerId, ContainerPhase, ContainerState, Error, PodId, Resources, Result,
};

/// Where a container carries what it was made from.
pub(super) const RECORD_EXTENSION: &str = "io.pinnace.container";
const RECORD_TYPE: &str = "io.pinnace.container/v1";
const SPEC_TYPE: &str = "types.containerd.io/opencontainers/runtime-spec/1/Spec";
/// Resolved users kept in memory; the set starts over when it is full.
const MAX_USERS: usize = 1024;

/// A container that exists.
pub(super) struct Container {
    pub(super) id: ContainerId,
    pub(super) pod: Arc<Pod>,
    pub(super) record: ContainerRecord,
    pub(super) paths: ContainerPaths,
    pub(super) phase: watch::Sender<ContainerPhase>,
    /// What is written down of the phase.
    pub(super) progress: tokio::sync::Mutex<ProgressRecord>,
    /// What the root file system is mounted from; asked for again after a restart.
    pub(super) rootfs: Mutex<Option<Vec<Mount>>>,
    pub(super) log: tokio::sync::Mutex<Option<LogPump>>,
    /// Whether its log is being written.
    pub(super) logs: watch::Sender<bool>,
    /// Whether the kernel has reported that memory ran out.
    pub(super) out_of_memory: AtomicBool,
    /// Held while the container is started, cleaned up or removed.
    pub(super) changing: tokio::sync::Mutex<()>,
}

/// Users as images resolve them, by the image's identity.
#[derive(Default)]
pub(super) struct Users(Mutex<HashMap<(String, UserRequest), User>>);

impl Container {
    pub(super) fn new(
        id: ContainerId,
        pod: Arc<Pod>,
        record: ContainerRecord,
        progress: ProgressRecord,
        rootfs: Option<Vec<Mount>>,
    ) -> Self {
        let paths = pod.paths.container(&id.0);
        Self {
            id,
            pod,
            record,
            paths,
            phase: watch::Sender::new(progress.phase()),
            progress: tokio::sync::Mutex::new(progress),
            rootfs: Mutex::new(rootfs),
            log: tokio::sync::Mutex::default(),
            logs: watch::Sender::new(false),
            out_of_memory: AtomicBool::new(false),
            changing: tokio::sync::Mutex::default(),
        }
    }

    pub(super) fn state(&self) -> ContainerState {
        ContainerState {
            id: self.id.clone(),
            pod: self.pod.id(),
            config: self.record.config.clone(),
            image_id: self.record.image_id.clone(),
            phase: self.phase.borrow().clone(),
            log_path: self.log_path(),
            created_at: self.record.created_at,
        }
    }

    pub(super) fn log_path(&self) -> PathBuf {
        let config = &self.record.config;
        let directory = &self.pod.config().log_directory;
        directory.join(&config.name).join(format!("{}.log", config.attempt))
    }

    pub(super) fn log_files(&self) -> LogPumpConfig {
        LogPumpConfig {
            stdout: self.paths.stdout(),
            stderr: self.paths.stderr(),
            log: self.log_path(),
            state: self.paths.log_state(),
            limits: self.pod.config().log_limits,
        }
    }
}

impl Core {
    pub(super) async fn create_container(
        self: &Arc<Self>,
        pod: &PodId,
        config: &ContainerConfig,
    ) -> Result<ContainerId> {
        check_name(config)?;
        let id = container_id(self.connection.namespace(), pod, config);
        let making = self.table.making(pod);
        let _making = making.lock().await;
        let missing = || Error::PodNotFound(pod.0.clone());
        let pod = self.table.pod(pod).filter(|pod| pod.is_whole()).ok_or_else(missing)?;
        if self.table.container(&id).is_some() {
            return Ok(id);
        }
        let (_, image) = self.images.find(&config.image).await?.ok_or_else(|| {
            let message = "not present on this machine".into();
            Error::ImageNotFound { reference: config.image.clone(), message }
        })?;
        let image_user = image.config.config().as_ref().and_then(|c| c.user().clone());
        let image_user = image_user.unwrap_or_default();
        spec::check_non_root(pod.config(), config, &image_user)?;
        let request = UserRequest::new(config, &image_user)?;
        let mounts = self.prepare(&id, config, &image).await?;
        let made = self.register(&id, &pod, config, &image, request, &mounts).await;
        let record = match made {
            Ok(record) => record,
            Err(error) => {
                // Nothing refers to the snapshot.
                self.remove_snapshot(&id).await.unwrap_or_else(|error| {
                    tracing::warn!(container = %id, %error, "a snapshot stays");
                });
                return Err(error);
            }
        };
        let progress = ProgressRecord::default();
        let container = Container::new(id.clone(), pod, record, progress, Some(mounts));
        self.table.insert_container(container);
        Ok(id)
    }

    /// Makes the writable snapshot. A repeated call gets the same.
    async fn prepare(
        &self,
        id: &ContainerId,
        config: &ContainerConfig,
        image: &ParsedImage,
    ) -> Result<Vec<Mount>> {
        for attempt in 0.. {
            // Nothing refers to the snapshot before the container exists, so it keeps itself; it
            // goes when the container is removed.
            let now = self.env.clock().now_seconds().to_string();
            let keep = ("containerd.io/gc.root".to_owned(), now);
            let request = PrepareSnapshotRequest {
                snapshotter: self.snapshotter.clone(),
                key: id.0.clone(),
                parent: image.snapshot().to_owned(),
                labels: HashMap::from([keep]),
            };
            let request = self.connection.request(request);
            match self.connection.snapshots().prepare(request).await {
                Ok(answer) => return Ok(answer.into_inner().mounts),
                Err(status) if status.code() == Code::AlreadyExists => break,
                Err(status) if status.code() == Code::NotFound && attempt == 0 => {
                    self.images.unpack(&config.image, image).await?;
                }
                Err(status) => return Err(self.create_error(config, &status)),
            }
        }
        self.mounts(id).await
    }

    /// What an existing snapshot is mounted from.
    pub(super) async fn mounts(&self, id: &ContainerId) -> Result<Vec<Mount>> {
        let request = MountsRequest { snapshotter: self.snapshotter.clone(), key: id.0.clone() };
        let answer = self.connection.snapshots().mounts(self.connection.request(request)).await;
        let answer = answer.map_err(|s| self.connection.error("look for a snapshot", &s))?;
        Ok(answer.into_inner().mounts)
    }

    async fn register(
        self: &Arc<Self>,
        id: &ContainerId,
        pod: &Arc<Pod>,
        config: &ContainerConfig,
        image: &ParsedImage,
        request: UserRequest,
        mounts: &[Mount],
    ) -> Result<ContainerRecord> {
        let image_signal = image.config.config().as_ref().and_then(|c| c.stop_signal().clone());
        let given = Some(config.stop_signal.clone()).filter(|given| !given.is_empty());
        let stop_signal = match given.or(image_signal).filter(|signal| !signal.is_empty()) {
            Some(name) => crate::signals::parse(&name)?,
            None => super::tasks::SIGTERM,
        };
        let user = self.prepare_files(id, pod, image, request, mounts).await?;
        let inputs = Inputs {
            pod: pod.config(),
            files: &pod.files(),
            namespaces: &pod.namespaces.lock().clone(),
            pid_namespace: None,
            cgroup_path: self.container_cgroup(id, pod).oci_path(),
            cgroup_version: self.cgroups.version(),
            lowest_oom_score: self.privileges.lowest_oom_score,
            config,
            image: &image.config,
            user,
        };
        let spec = spec::build(&inputs)?;
        let record = ContainerRecord {
            pod: pod.record.clone(),
            config: config.clone(),
            image_id: image.id.clone(),
            stop_signal,
            created_at: self.env.now(),
        };
        let container = ContainerdContainer {
            id: id.0.clone(),
            labels: labels(pod, config),
            image: config.image.clone(),
            runtime: Some(self.shim(&pod.config().runtime_handler)?),
            spec: Some(spec_any(&spec)?),
            snapshotter: self.snapshotter.clone(),
            snapshot_key: id.0.clone(),
            extensions: HashMap::from([(RECORD_EXTENSION.to_owned(), record_any(&record)?)]),
            ..ContainerdContainer::default()
        };
        let create = CreateContainerRequest { container: Some(container) };
        let created = self.connection.containers().create(self.connection.request(create)).await;
        exists_is_fine(created).map_err(|status| self.create_error(config, &status))?;
        Ok(record)
    }

    /// Makes the container's directory and completes the pod's files, and looks up who runs.
    async fn prepare_files(
        self: &Arc<Self>,
        id: &ContainerId,
        pod: &Arc<Pod>,
        image: &ParsedImage,
        request: UserRequest,
        mounts: &[Mount],
    ) -> Result<User> {
        let key = (image.id.clone(), request);
        let known = self.users.0.lock().get(&key).cloned();
        let (pod, mounts, root) = (pod.clone(), mounts.to_vec(), pod.paths.container(&id.0).root);
        let (user, key) = super::blocking(move || {
            std::fs::create_dir_all(&root).map_err(|source| Error::Io {
                operation: format!("make {}", root.display()),
                source,
            })?;
            pod.complete_hosts()?;
            let user = match known {
                Some(user) => user,
                None => {
                    let request = key.1.clone();
                    let view = pod.paths.view();
                    rootfs::with_files(&mounts, &view, move |root| {
                        spec::resolve_user(root, &request)
                    })?
                }
            };
            Ok((user, key))
        })
        .await?;
        let mut users = self.users.0.lock();
        if users.len() >= MAX_USERS {
            users.clear();
        }
        users.insert(key, user.clone());
        Ok(user)
    }

    pub(super) async fn update_pod(&self, pod: &Pod, resources: &Resources) -> Result<()> {
        let (uid, class) = (pod.id().0, pod.config().qos_class);
        let (cgroups, resources) = (self.cgroups.clone(), resources.clone());
        super::blocking(move || cgroups.update_pod(&uid, class, &resources)).await
    }

    /// Writes to the container's cgroup itself: containerd would start a `runc` to do the same.
    pub(super) async fn update_container(
        &self,
        container: &Container,
        resources: &Resources,
    ) -> Result<()> {
        if !matches!(*container.phase.borrow(), ContainerPhase::Running { .. }) {
            return Err(Error::NotRunning(container.id.0.clone()));
        }
        let cgroup = self.container_cgroup(&container.id, &container.pod);
        let resources = resources.clone();
        super::blocking(move || cgroup.update(&resources)).await
    }

    pub(super) fn container_cgroup(&self, id: &ContainerId, pod: &Pod) -> crate::cgroup::Cgroup {
        let config = pod.config();
        self.cgroups.pod(&config.id, config.qos_class).child(&id.0)
    }

    /// As [`crate::Runtime::remove_container`], the caller's locks aside.
    pub(super) async fn remove(self: &Arc<Self>, container: &Arc<Container>) -> Result<()> {
        let _changing = container.changing.lock().await;
        self.end_task(container).await?;
        self.finish_log(container).await;
        let delete = DeleteContainerRequest { id: container.id.0.clone() };
        let mut containers = self.connection.containers();
        let deleted = containers.delete(self.connection.request(delete));
        let (deleted, removed) = tokio::join!(deleted, self.remove_snapshot(&container.id));
        gone_is_fine(deleted)
            .map_err(|status| self.connection.error("remove a container", &status))?;
        removed?;
        let cgroup = self.container_cgroup(&container.id, &container.pod);
        let root = container.paths.root.clone();
        super::blocking(move || {
            cgroup.remove()?;
            match std::fs::remove_dir_all(&root) {
                Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                    Err(Error::Io { operation: format!("remove {}", root.display()), source })
                }
                _ => Ok(()),
            }
        })
        .await?;
        self.table.remove_container(&container.id);
        Ok(())
    }

    pub(super) async fn remove_snapshot(&self, id: &ContainerId) -> Result<()> {
        let remove =
            RemoveSnapshotRequest { snapshotter: self.snapshotter.clone(), key: id.0.clone() };
        let removed = self.connection.snapshots().remove(self.connection.request(remove)).await;
        gone_is_fine(removed).map_err(|status| self.connection.error("remove a snapshot", &status))
    }

    fn create_error(
        &self,
        config: &ContainerConfig,
        status: &containerd_client::tonic::Status,
    ) -> Error {
        match self.connection.error("create a container", status) {
            Error::Other { message, .. } => {
                Error::Create { container: config.name.clone(), message }
            }
            unavailable => unavailable,
        }
    }
}

/// The same for the same attempt, so that a repeated call finds what the first one made.
fn container_id(namespace: &str, pod: &PodId, config: &ContainerConfig) -> ContainerId {
    let mut hasher = Sha256::new();
    for part in [namespace, &pod.0, &config.name, &config.attempt.to_string()] {
        hasher.update(part.as_bytes());
        hasher.update([0]);
    }
    let id = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    ContainerId(id)
}

/// The name is part of the log's path.
fn check_name(config: &ContainerConfig) -> Result<()> {
    let fine = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_' || c == '.';
    let name = &config.name;
    if name.is_empty() || name.starts_with('.') || name.len() > 253 || !name.chars().all(fine) {
        return Err(Error::InvalidConfig(format!("invalid container name {name:?}")));
    }
    Ok(())
}

fn labels(pod: &Pod, config: &ContainerConfig) -> HashMap<String, String> {
    let pod = pod.config();
    [
        ("io.kubernetes.pod.uid", &pod.id),
        ("io.kubernetes.pod.name", &pod.name),
        ("io.kubernetes.pod.namespace", &pod.namespace),
        ("io.kubernetes.container.name", &config.name),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.clone()))
    .collect()
}

pub(super) fn spec_any(spec: &Spec) -> Result<Any> {
    let value = serde_json::to_vec(spec).map_err(|e| Error::InvalidConfig(e.to_string()))?;
    Ok(Any { type_url: SPEC_TYPE.into(), value })
}

fn record_any(record: &ContainerRecord) -> Result<Any> {
    let value = serde_json::to_vec(record).map_err(|e| Error::InvalidConfig(e.to_string()))?;
    Ok(Any { type_url: RECORD_TYPE.into(), value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_has_one_id() {
        let id = |attempt, name: &str| {
            let config = ContainerConfig { name: name.into(), attempt, ..Default::default() };
            container_id("ns", &PodId("p".into()), &config)
        };
        assert_eq!(id(0, "a"), id(0, "a"));
        assert_ne!(id(0, "a"), id(1, "a"));
        assert_ne!(id(0, "a"), id(0, "b"));
        assert_eq!(id(0, "a").0.len(), 64);
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for bad in ["", "..", "a/b", ".hidden", "a b"] {
            let config = ContainerConfig { name: bad.into(), ..Default::default() };
            assert!(check_name(&config).is_err(), "{bad}");
        }
    }
}
