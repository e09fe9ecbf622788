//! Finding the pods and containers that an earlier process of the same namespace made.

use std::sync::Arc;

use containerd_client::services::v1::{Container as ContainerdContainer, ListContainersRequest};

use super::Core;
use super::containers::{Container, RECORD_EXTENSION};
use super::pods::Pod;
use super::records::{self, ContainerRecord, PodPaths, PodRecord, ProgressRecord};
use crate::{ContainerId, ContainerPhase, Error, PodId, Result};

impl Core {
    /// Fills the table. Nothing that runs is touched; a resynchronization must follow, which
    /// looks at the tasks.
    pub(super) async fn adopt(self: &Arc<Self>) -> Result<()> {
        let core = self.clone();
        for (record, paths) in super::blocking(move || core.read_pods()).await? {
            self.table.insert_pod(Pod::new(record, paths));
        }
        let request = self.connection.request(ListContainersRequest::default());
        let found = self.connection.containers().list(request).await;
        let found = found.map_err(|status| self.connection.error("list containers", &status))?;
        for container in found.into_inner().containers {
            self.adopt_container(container).await;
        }
        Ok(())
    }

    async fn adopt_container(self: &Arc<Self>, found: ContainerdContainer) {
        // What others put into this namespace is theirs.
        let Some(extension) = found.extensions.get(RECORD_EXTENSION) else { return };
        let record: ContainerRecord = match serde_json::from_slice(&extension.value) {
            Ok(record) => record,
            Err(error) => {
                tracing::warn!(container = found.id, %error, "a container cannot be adopted");
                return;
            }
        };
        let uid = PodId(record.pod.config.id.clone());
        let pod = self.table.pod(&uid).unwrap_or_else(|| {
            let paths = PodPaths::new(&self.state_dir, &uid.0);
            self.table.insert_pod(Pod::new(record.pod.clone(), paths))
        });
        let progress = pod.paths.container(&found.id).progress();
        let progress = super::blocking(move || Ok(records::read::<ProgressRecord>(&progress)));
        let progress = progress.await.ok().flatten().unwrap_or_default();
        let container = Container::new(ContainerId(found.id), pod, record, progress, None);
        let container = self.table.insert_container(container);
        if container.paths.stdout().exists() {
            if let Err(error) = self.open_log(&container).await {
                tracing::warn!(container = %container.id, %error, "a log is not written");
            }
            if matches!(*container.phase.borrow(), ContainerPhase::Exited(_)) {
                self.clean_up_later(&container);
            }
        }
    }

    /// Blocks.
    fn read_pods(&self) -> Result<Vec<(PodRecord, PodPaths)>> {
        let directory = self.state_dir.join("pods");
        let failed =
            |source| Error::Io { operation: format!("read {}", directory.display()), source };
        let mut pods = Vec::new();
        for entry in std::fs::read_dir(&directory).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let Some(uid) = name.to_str() else { continue };
            let paths = PodPaths::new(&self.state_dir, uid);
            if let Some(record) = records::read::<PodRecord>(&paths.record())
                && record.config.id == uid
            {
                self.cgroups.adopt_pod(uid, record.config.qos_class, &record.config.resources)?;
                pods.push((record, paths));
            }
        }
        Ok(pods)
    }
}
