use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use pinnace_api::Typed;
use pinnace_api::disruption::Disruption;
use pinnace_client::{Api, DeleteOptions, EventType, Preconditions, Recorder};
use pinnace_env::Env;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::pod::PodInfo;

/// How many pods are evicted at once.
const AT_ONCE: usize = 16;

/// A pod that must go for another one.
pub(crate) struct Eviction {
    pub(crate) victim: Typed<Pod>,
    pub(crate) preemptor: Arc<PodInfo>,
    pub(crate) node: Arc<str>,
    pub(crate) recorder: Recorder,
}

/// Evicts pods in the background.
pub(crate) struct Evictions {
    api: Api<Pod>,
    env: Env,
    limit: Arc<Semaphore>,
    tasks: JoinSet<()>,
}

impl Evictions {
    pub(crate) fn new(api: Api<Pod>, env: Env) -> Self {
        Self { api, env, limit: Arc::new(Semaphore::new(AT_ONCE)), tasks: JoinSet::new() }
    }

    pub(crate) fn add(&mut self, eviction: Eviction) {
        let (api, env, limit) = (self.api.clone(), self.env.clone(), self.limit.clone());
        // Those that have ended are of no interest any more.
        while self.tasks.try_join_next().is_some() {}
        self.tasks.spawn(async move {
            // The semaphore is never closed.
            let _slot = limit.acquire_owned().await;
            eviction.run(&api, &env).await;
        });
    }

    /// Waits for the evictions that have begun.
    pub(crate) async fn finish(&mut self) {
        while self.tasks.join_next().await.is_some() {}
    }

    /// Gives everything up.
    pub(crate) async fn abort(&mut self) {
        self.tasks.shutdown().await;
    }
}

impl Eviction {
    /// Says on the pod why it goes, deletes it with its own grace, and tells. Should that fail, the
    /// pod that waits for the room finds it taken and evicts again.
    async fn run(self, api: &Api<Pod>, env: &Env) {
        let (victim, key) = (&self.victim, self.victim.object().key());
        let now = Time(env.clock().now_seconds());
        let mark = |pod: &mut Pod| self.mark(pod, &now);
        let ended = match api.modify_status(&key, mark).await {
            Ok(_) => {
                let uid = Some(victim.object().uid().to_owned());
                let only = Preconditions { uid, ..Preconditions::default() };
                let options =
                    DeleteOptions { preconditions: Some(only), ..DeleteOptions::default() };
                api.delete(&key, options).await.map(|_| ())
            }
            Err(error) => Err(error),
        };
        match ended {
            Ok(()) => {
                let note =
                    format!("Preempted by pod {} on node {}", self.preemptor.uid(), self.node);
                self.recorder.record(victim.object(), EventType::Normal, "Preempted", note);
            }
            Err(error) if error.is_not_found() => {}
            Err(error) => tracing::warn!(pod = %key, %error, "cannot evict a pod"),
        }
    }

    fn mark(&self, pod: &mut Pod, now: &Time) -> bool {
        if pod.metadata.uid.as_deref() != Some(self.victim.object().uid()) {
            return false;
        }
        let scheduler = self.preemptor.pod().spec.as_ref();
        let scheduler = scheduler.and_then(|spec| spec.scheduler_name.as_deref());
        let scheduler = scheduler.unwrap_or(crate::DEFAULT_SCHEDULER);
        Disruption::Preemption(scheduler).mark(pod, now);
        true
    }
}
