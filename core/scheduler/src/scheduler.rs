use std::collections::HashMap;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use k8s_openapi::api::apps::v1::{ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::{
    Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod, ReplicationController, Service,
};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::resource::v1::{DeviceClass, ResourceClaim, ResourceSlice};
use k8s_openapi::api::storage::v1::{
    CSIDriver, CSINode, CSIStorageCapacity, StorageClass, VolumeAttachment,
};
use pinnace_client::{Informer, Informers, Recorder};
use pinnace_env::Env;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::binding::{Binding, Unbound};
use crate::cluster::Owner;
use crate::decision::Decider;
use crate::evictions::Evictions;
use crate::explainer::{Explainer, Question};
use crate::framework::{Events, Handle};
use crate::inbox::{Inbox, Watched};
use crate::nominations::Nominations;
use crate::pod::{PodClasses, PodInfo};
use crate::queue::{Queue, Waits};
use crate::report::Reports;
use crate::scheduling::{Scheduling, Step};
use crate::{Cluster, Result, SchedulerConfig};

/// How many pods are decided before other tasks of the runtime get their turn.
const PODS_PER_TURN: usize = 32;
/// How long bindings that are under way may take to end when the scheduler stops.
const STOP_GRACE: Duration = Duration::from_secs(10);

/// A scheduler: gives every pod that names it the node that suits it best.
///
/// One task owns all that it knows and decides one pod after another; bindings run beside it, as
/// many at once as [`SchedulerConfig::bindings_at_once`] says. A pod that is being bound counts on
/// its node already. On a runtime of one thread the decisions depend on nothing but the order of
/// events and the seed of `env`.
pub struct Scheduler {
    scheduling: Scheduling,
    inbox: Arc<Inbox>,
    watched: Vec<Informer>,
    bindings: Bindings,
    explainer: Explainer,
    questions: mpsc::Receiver<Question>,
}

struct Bindings {
    limit: Arc<Semaphore>,
    tasks: JoinSet<(Binding, std::result::Result<(), Unbound>)>,
    pods: HashMap<Id, Arc<PodInfo>>,
}

impl Scheduler {
    /// A scheduler that reads from `informers` and writes through their client. It begins to
    /// follow the cluster at once, and to schedule with [`Scheduler::run`].
    ///
    /// # Errors
    /// When the configuration makes no sense, a plugin cannot be made, or the API serves no pods
    /// or nodes.
    pub fn new(
        informers: &Informers,
        recorder: Recorder,
        env: Env,
        config: SchedulerConfig,
    ) -> Result<Self> {
        let handle = Handle::new(informers, &env);
        let (profiles, sort) = config.build(&handle)?;
        let waits = Waits {
            first_backoff: config.first_backoff,
            most_backoff: config.most_backoff.max(config.first_backoff),
            unschedulable: config.unschedulable_timeout,
        };
        let watched = watched(informers)?;
        let inbox = Arc::new(Inbox::default());
        for (kind, informer) in &watched {
            let kind = *kind;
            // Informers outlive schedulers: they must not keep what is of no use any more.
            let inbox = Arc::downgrade(&inbox);
            informer.on_change(move |delta| {
                if let Some(inbox) = inbox.upgrade() {
                    inbox.push(kind, delta);
                }
            });
        }
        // Extenders do not say what helps a pod that they have rejected.
        let outside = if config.extenders.is_empty() { Events::NONE } else { Events::ALL };
        let scheduling = Scheduling {
            recorders: profiles.iter().map(|one| recorder.component(one.name())).collect(),
            queue: Queue::new(profiles.clone(), sort, waits, outside),
            decider: Decider::new(env.random().fork()),
            reports: Reports::new(informers.client().of()?, env.clone()),
            evictions: Evictions::new(informers.client().of()?, env),
            nominations: Nominations::default(),
            extenders: config.extenders.into(),
            cluster: Cluster::new(),
            classes: PodClasses::default(),
            profiles,
            handle,
            announcements: Vec::new(),
        };
        let bindings = Bindings {
            limit: Arc::new(Semaphore::new(config.bindings_at_once.max(1))),
            tasks: JoinSet::new(),
            pods: HashMap::new(),
        };
        let watched = watched.into_iter().map(|(_, informer)| informer).collect();
        let (explainer, questions) = Explainer::new();
        Ok(Self { scheduling, inbox, watched, bindings, explainer, questions })
    }

    /// Answers why the scheduler decides as it does, while it runs.
    pub fn explainer(&self) -> Explainer {
        self.explainer.clone()
    }

    /// Schedules until `stop`; then waits some seconds for the bindings that are under way, and gives
    /// up those that have not ended by then.
    pub async fn run(mut self, stop: CancellationToken) {
        let synced = async {
            for informer in &self.watched {
                informer.synced().await;
            }
        };
        if stop.run_until_cancelled(synced).await.is_none() {
            return;
        }
        while !stop.is_cancelled() {
            if self.turn(&stop).await {
                tokio::task::yield_now().await;
            } else {
                self.wait(&stop).await;
            }
        }
        self.scheduling.handle.waiting().reject_all("the scheduler stops");
        if tokio::time::timeout(STOP_GRACE, self.finish()).await.is_err() {
            tracing::warn!("bindings have not ended in time and are given up");
            self.bindings.tasks.shutdown().await;
            self.scheduling.reports.abort().await;
            self.scheduling.evictions.abort().await;
        }
    }

    async fn finish(&mut self) {
        while let Some(ended) = self.bindings.tasks.join_next_with_id().await {
            self.ended(ended);
        }
        self.scheduling.announce();
        self.scheduling.reports.finish().await;
        self.scheduling.evictions.finish().await;
    }

    /// Takes in what has happened and decides some pods; `true` when there are more to decide.
    async fn turn(&mut self, stop: &CancellationToken) -> bool {
        let now = Instant::now();
        for (kind, delta) in self.inbox.take() {
            self.scheduling.change(kind, delta, now);
        }
        while let Some(ended) = self.bindings.tasks.try_join_next_with_id() {
            self.ended(ended);
        }
        while let Ok(question) = self.questions.try_recv() {
            self.scheduling.answer(question);
        }
        for _ in 0..PODS_PER_TURN {
            let Ok(slot) = self.bindings.limit.clone().try_acquire_owned() else { return false };
            let step = match self.scheduling.step(now) {
                Step::Ask(pod) => {
                    let asked = self.scheduling.ask(pod, now);
                    match stop.run_until_cancelled(asked).await {
                        Some(step) => step,
                        None => return false,
                    }
                }
                step => step,
            };
            match step {
                Step::Idle => return false,
                Step::Done | Step::Ask(_) => {}
                Step::Bind(binding) => self.bind(*binding, slot, now),
            }
        }
        true
    }

    fn bind(&mut self, binding: Binding, slot: OwnedSemaphorePermit, now: Instant) {
        let pod = binding.pod.clone();
        let mut run = Box::pin(binding.run(self.bindings.limit.clone(), Some(slot)));
        // Within the process a binding seldom has to wait for anything: then it is done here and now,
        // and need not queue behind the tasks of the pods before.
        match AssertUnwindSafe(run.as_mut()).catch_unwind().now_or_never() {
            Some(Ok((binding, result))) => self.scheduling.bound(binding, result, now),
            Some(Err(_)) => {
                tracing::error!(pod = %pod.uid(), "a binding panicked");
                self.scheduling.lost(&pod, now);
            }
            None => {
                let task = self.bindings.tasks.spawn(run);
                self.bindings.pods.insert(task.id(), pod);
            }
        }
    }

    async fn wait(&mut self, stop: &CancellationToken) {
        if self.bindings.tasks.is_empty() {
            self.scheduling.announce();
        }
        let free = self.bindings.limit.available_permits() > 0;
        // With no room for another binding, what is due can wait until one ends.
        let due = self.scheduling.queue.next_due().filter(|_| free);
        let ended = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            Some(ended) = self.bindings.tasks.join_next_with_id() => ended,
            () = self.inbox.arrived() => return,
            // The scheduler holds a sender itself, so there always is one.
            Some(question) = self.questions.recv() => return self.scheduling.answer(question),
            () = self.scheduling.reports.ended() => return,
            () = sleep_until(due) => return,
        };
        self.ended(ended);
    }

    fn ended(&mut self, ended: Ended) {
        let now = Instant::now();
        match ended {
            Ok((id, (binding, result))) => {
                self.bindings.pods.remove(&id);
                self.scheduling.bound(binding, result, now);
            }
            Err(error) => {
                tracing::error!(%error, "a binding did not end");
                if let Some(pod) = self.bindings.pods.remove(&error.id()) {
                    self.scheduling.lost(&pod, now);
                }
            }
        }
    }
}

/// What a scheduler follows. Without nodes and pods there is nothing to schedule; what an API
/// does not serve beside them, no pod can depend on.
pub(crate) fn watched(informers: &Informers) -> Result<Vec<(Watched, Informer)>> {
    fn of<K: pinnace_api::Kind + k8s_openapi::Resource>(informers: &Informers) -> Option<Informer> {
        informers.of::<K>().ok().map(|lister| lister.informer().clone())
    }
    let mut watched = vec![
        (Watched::Node, informers.of::<Node>()?.informer().clone()),
        (Watched::Pod, informers.of::<Pod>()?.informer().clone()),
    ];
    let more = [
        (Watched::Namespace, of::<Namespace>(informers)),
        (Watched::Service, of::<Service>(informers)),
        (Watched::Budget, of::<PodDisruptionBudget>(informers)),
        (Watched::Owner(Owner::ReplicationController), of::<ReplicationController>(informers)),
        (Watched::Owner(Owner::ReplicaSet), of::<ReplicaSet>(informers)),
        (Watched::Owner(Owner::StatefulSet), of::<StatefulSet>(informers)),
        (Watched::Storage(Events::CLAIM), of::<PersistentVolumeClaim>(informers)),
        (Watched::Storage(Events::VOLUME), of::<PersistentVolume>(informers)),
        (Watched::Storage(Events::STORAGE), of::<StorageClass>(informers)),
        (Watched::Storage(Events::STORAGE), of::<CSINode>(informers)),
        (Watched::Storage(Events::STORAGE), of::<CSIDriver>(informers)),
        (Watched::Storage(Events::STORAGE), of::<CSIStorageCapacity>(informers)),
        (Watched::Storage(Events::STORAGE), of::<VolumeAttachment>(informers)),
        (Watched::Storage(Events::DEVICES), of::<ResourceClaim>(informers)),
        (Watched::Storage(Events::DEVICES), of::<ResourceSlice>(informers)),
        (Watched::Storage(Events::DEVICES), of::<DeviceClass>(informers)),
    ];
    watched.extend(more.into_iter().filter_map(|(kind, informer)| Some((kind, informer?))));
    Ok(watched)
}

type Ended = std::result::Result<(Id, (Binding, std::result::Result<(), Unbound>)), JoinError>;

async fn sleep_until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

impl fmt::Debug for Scheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scheduler({:?})", self.scheduling.profiles)
    }
}
