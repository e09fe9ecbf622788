//! What pods use.

use std::sync::Arc;

use containerd_client::services::v1::snapshots::UsageRequest;
use futures::future::join_all;

use super::Core;
use super::containers::Container;
use crate::stats::{Part, Subject};
use crate::{ContainerPhase, PodId, PodStats, Result, Written};

impl Core {
    /// As [`crate::Runtime::stats`].
    pub(super) async fn stats(&self, pods: &[PodId], written: bool) -> Result<Vec<PodStats>> {
        let mut subjects = Vec::with_capacity(pods.len());
        for id in pods {
            let Some(pod) = self.table.pod(id) else { continue };
            let config = pod.config();
            let containers = self.table.containers_of(id);
            let parts = join_all(containers.iter().map(|one| self.part(one, written))).await;
            let mut containers: Vec<Part> = parts.into_iter().flatten().collect();
            containers.sort_by(|a, b| (a.started_at, &a.id).cmp(&(b.started_at, &b.id)));
            subjects.push(Subject {
                started_at: pod.record.created_at,
                cgroup: Some(self.cgroups.pod(&config.id, config.qos_class)),
                host_network: config.host_network,
                containers,
                pod: id.clone(),
            });
        }
        let now = self.env.now();
        super::blocking(move || {
            Ok(subjects.into_iter().map(|subject| subject.measure(now)).collect())
        })
        .await
    }

    async fn part(&self, container: &Arc<Container>, written: bool) -> Option<Part> {
        let ContainerPhase::Running { started_at, pid } = *container.phase.borrow() else {
            return None;
        };
        Some(Part {
            id: container.id.clone(),
            name: container.record.config.name.clone(),
            started_at,
            pid,
            cgroup: Some(self.container_cgroup(&container.id, &container.pod)),
            written: if written { self.written(container).await } else { None },
        })
    }

    /// What is in the container's own layer. Snapshotters that count nothing say nothing.
    async fn written(&self, container: &Container) -> Option<Written> {
        let key = container.id.0.clone();
        let request = UsageRequest { snapshotter: self.snapshotter.clone(), key };
        match self.connection.snapshots().usage(self.connection.request(request)).await {
            Ok(answer) => {
                let usage = answer.into_inner();
                let whole = |number: i64| u64::try_from(number).unwrap_or(0);
                Some(Written { bytes: whole(usage.size), inodes: whole(usage.inodes) })
            }
            Err(status) => {
                tracing::debug!(container = %container.id, %status, "its layer is not counted");
                None
            }
        }
    }
}
