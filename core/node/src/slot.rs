use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;
use pinnace_api::{Key, Object};
use pinnace_runtime::ContainerId;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::agent::Shared;
use crate::host::Host;
use crate::pod::worker::Worker;

/// The place of one pod in an agent: what there is to know, and the worker while it rests.
///
/// A pod at rest costs memory and nothing else. News takes the worker out of its slot and runs it
/// as a task; it comes back when there is nothing more to do. So there is never more than one
/// worker at work on a pod.
pub(crate) struct Slot {
    pub(crate) uid: Arc<str>,
    pub(crate) key: Key,
    pub(crate) host: Arc<Host>,
    inbox: Mutex<Inbox>,
    /// Tells a worker at work that the pod's end has come nearer.
    ending: Notify,
    /// Tells a worker that stops containers that a probe has found something out.
    probed: Notify,
}

struct Inbox {
    pod: Object,
    signals: Signals,
    /// `None` while it works.
    worker: Option<Box<Worker>>,
    /// The earliest alarm that is set.
    alarm: Option<Instant>,
    /// Why the node evicts it.
    evict: Option<Evict>,
}

/// How a node evicts a pod.
#[derive(Clone, Debug)]
pub(crate) struct Evict {
    /// Why, as the pod's status says.
    pub(crate) message: String,
    /// How long its containers have to end.
    pub(crate) grace: Duration,
    /// Whether the pod is disrupted by that, for no fault of its own.
    pub(crate) disruption: bool,
}

/// What a worker has to look at.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Signals {
    /// The pod's object.
    pub(crate) pod: bool,
    /// The API no longer has the pod.
    pub(crate) gone: bool,
    /// The pod's containers.
    pub(crate) runtime: bool,
    /// The ConfigMaps and Secrets that the pod refers to.
    pub(crate) references: bool,
    /// The claims of the pod, and how its volumes are attached.
    pub(crate) claims: bool,
    /// What probes have found out.
    pub(crate) probes: bool,
    /// The time.
    pub(crate) alarm: bool,
    /// That the node evicts the pod.
    pub(crate) evict: bool,
}

/// What a worker is told when it begins.
pub(crate) struct News {
    pub(crate) pod: Object,
    pub(crate) signals: Signals,
    pub(crate) evict: Option<Evict>,
}

impl Slot {
    pub(crate) fn new(pod: Object, host: Arc<Host>) -> Self {
        Self {
            uid: pod.uid().into(),
            key: pod.key(),
            host,
            inbox: Mutex::new(Inbox {
                pod,
                signals: Signals { pod: true, ..Signals::default() },
                worker: Some(Box::default()),
                alarm: None,
                evict: None,
            }),
            ending: Notify::new(),
            probed: Notify::new(),
        }
    }

    /// Takes a new version of the pod, and has it looked at unless it is the one that the worker
    /// itself has written.
    pub(crate) fn offer(self: &Arc<Self>, shared: &Arc<Shared>, pod: Object) {
        let mut inbox = self.inbox.lock();
        let ending = pod.is_deleting();
        let own = inbox.worker.as_ref().is_some_and(|worker| worker.has_written(&pod));
        inbox.pod = pod;
        if own {
            return;
        }
        inbox.signals.pod = true;
        self.start(shared, inbox);
        if ending {
            self.ending.notify_waiters();
        }
    }

    /// Has the worker look at something.
    pub(crate) fn signal(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
        change: impl FnOnce(&mut Signals),
    ) {
        let mut inbox = self.inbox.lock();
        change(&mut inbox.signals);
        let gone = inbox.signals.gone;
        self.start(shared, inbox);
        if gone {
            self.ending.notify_waiters();
        }
    }

    /// Has the pod end.
    pub(crate) fn evict(self: &Arc<Self>, shared: &Arc<Shared>, evict: Evict) {
        let mut inbox = self.inbox.lock();
        inbox.evict.get_or_insert(evict);
        inbox.signals.evict = true;
        self.start(shared, inbox);
    }

    /// Has the worker look at what a probe has found out.
    pub(crate) fn probed(self: &Arc<Self>, shared: &Arc<Shared>) {
        self.signal(shared, |signals| signals.probes = true);
        self.probed.notify_waiters();
    }

    /// Waits until a probe has found something out.
    pub(crate) async fn until_probed(&self) {
        self.probed.notified().await;
    }

    /// Has the worker look at the time: its alarm has rung.
    pub(crate) fn ring(self: &Arc<Self>, shared: &Arc<Shared>) {
        let mut inbox = self.inbox.lock();
        inbox.alarm = None;
        inbox.signals.alarm = true;
        self.start(shared, inbox);
    }

    fn start(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
        mut inbox: parking_lot::MutexGuard<'_, Inbox>,
    ) {
        if !self.host.runtime.is_adopted() {
            return;
        }
        if let Some(worker) = inbox.worker.take() {
            drop(inbox);
            // Boxed once, for it is handed through several hands on its way to a thread.
            let work = Box::pin(worker.run(shared.clone(), self.clone()));
            let stop = shared.stop.clone();
            let paced = shared.clone();
            shared.tasks.spawn(async move {
                let work = async {
                    paced.pace().await;
                    drop(paced);
                    work.await;
                };
                stop.run_until_cancelled_owned(work).await
            });
        }
    }

    /// What is new, for the worker that has just begun or is about to rest.
    pub(crate) fn take_news(&self) -> News {
        let mut inbox = self.inbox.lock();
        News {
            pod: inbox.pod.clone(),
            signals: std::mem::take(&mut inbox.signals),
            evict: inbox.evict.take(),
        }
    }

    /// Puts the worker to rest until something happens or its time has come.
    ///
    /// # Errors
    /// Gives it back when something has happened already.
    pub(crate) fn rest(
        self: &Arc<Self>,
        shared: &Shared,
        worker: Box<Worker>,
        until: Option<Instant>,
    ) -> Result<(), Box<Worker>> {
        let mut inbox = self.inbox.lock();
        if worker.has_written(&inbox.pod) {
            inbox.signals.pod = false;
        }
        if inbox.signals != Signals::default() {
            return Err(worker);
        }
        if let Some(until) = until
            && inbox.alarm.is_none_or(|alarm| until < alarm)
        {
            inbox.alarm = Some(until);
            shared.alarms.add(until, Arc::downgrade(self));
        }
        inbox.worker = Some(worker);
        Ok(())
    }

    /// Waits until the pod is to end, or is to end sooner than `known` says: the newest object and
    /// whether the API still has it.
    pub(crate) async fn ends_before(&self, known: Option<i64>) {
        loop {
            let told = self.ending.notified();
            tokio::pin!(told);
            // Nothing is missed between the look and the wait.
            told.as_mut().enable();
            let sooner = {
                let inbox = self.inbox.lock();
                let grace = inbox.pod.meta().deletion_grace_period_seconds;
                let ends = inbox.signals.gone || inbox.pod.is_deleting();
                ends && known.is_none_or(|known| grace.is_some_and(|grace| grace < known))
            };
            if sooner {
                return;
            }
            told.await;
        }
    }

    /// The containers that the worker believes to run; none while it is at work and finds out.
    pub(crate) fn running(&self) -> Vec<ContainerId> {
        let inbox = self.inbox.lock();
        inbox.worker.iter().flat_map(|worker| worker.running()).cloned().collect()
    }

    /// The newest version of the pod.
    pub(crate) fn pod(&self) -> Object {
        self.inbox.lock().pod.clone()
    }

    /// The node that the pod was bound to.
    pub(crate) fn is_for(pod: &Object) -> Option<&str> {
        let pod = pod.get::<Pod>().ok()?;
        pod.spec.as_ref()?.node_name.as_deref().filter(|name| !name.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_at_work_is_small() {
        fn size<F>(_: fn(Box<Worker>, Arc<Shared>, Arc<Slot>) -> F) -> usize {
            std::mem::size_of::<F>()
        }
        let bytes = size(Worker::run);
        assert!(bytes <= 4096, "{bytes} bytes");
    }
}
