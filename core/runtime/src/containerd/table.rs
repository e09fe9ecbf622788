use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::containers::Container;
use super::pods::Pod;
use crate::{ContainerId, PodId};

/// What this process knows to exist, kept true by containerd's events.
#[derive(Default)]
pub(super) struct Table(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    pods: HashMap<PodId, Arc<Pod>>,
    containers: HashMap<ContainerId, Arc<Container>>,
    /// One per pod that is being made or removed.
    making: HashMap<PodId, std::sync::Weak<tokio::sync::Mutex<()>>>,
}

impl Table {
    pub(super) fn pod(&self, id: &PodId) -> Option<Arc<Pod>> {
        self.0.lock().pods.get(id).cloned()
    }

    pub(super) fn pods(&self) -> Vec<Arc<Pod>> {
        self.0.lock().pods.values().cloned().collect()
    }

    pub(super) fn insert_pod(&self, pod: Pod) -> Arc<Pod> {
        let pod = Arc::new(pod);
        self.0.lock().pods.insert(pod.id(), pod.clone());
        pod
    }

    pub(super) fn remove_pod(&self, id: &PodId) {
        self.0.lock().pods.remove(id);
    }

    pub(super) fn container(&self, id: &ContainerId) -> Option<Arc<Container>> {
        self.0.lock().containers.get(id).cloned()
    }

    pub(super) fn containers(&self) -> Vec<Arc<Container>> {
        self.0.lock().containers.values().cloned().collect()
    }

    pub(super) fn containers_of(&self, pod: &PodId) -> Vec<Arc<Container>> {
        let inner = self.0.lock();
        inner.containers.values().filter(|c| c.pod.id() == *pod).cloned().collect()
    }

    pub(super) fn insert_container(&self, container: Container) -> Arc<Container> {
        let container = Arc::new(container);
        self.0.lock().containers.insert(container.id.clone(), container.clone());
        container
    }

    pub(super) fn remove_container(&self, id: &ContainerId) {
        self.0.lock().containers.remove(id);
    }

    /// What to hold while a pod or a container of it is made or removed.
    pub(super) fn making(&self, pod: &PodId) -> Arc<tokio::sync::Mutex<()>> {
        let mut inner = self.0.lock();
        inner.making.retain(|_, lock| lock.strong_count() > 0);
        if let Some(lock) = inner.making.get(pod).and_then(std::sync::Weak::upgrade) {
            return lock;
        }
        let lock = Arc::new(tokio::sync::Mutex::new(()));
        inner.making.insert(pod.clone(), Arc::downgrade(&lock));
        lock
    }
}
