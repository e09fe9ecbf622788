//! Rebalancing: evicts pods that could be placed better, so that the scheduler places them anew. What
//! upstream's descheduler does, here an optional controller.
//!
//! Each round looks at the cluster as the caches have it, and keeps account of what it does: a pod
//! counts as gone from its node, and as being where the scheduler would place it. So no pod is evicted
//! that would come back to the same place, and none that others already make room for.

mod config;
mod evictor;
mod policy;
mod round;
mod strategies;

use std::fmt;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::Eviction;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, ObjectMeta, Preconditions};
use pinnace_api::{Key, Typed};
use pinnace_client::{Api, EventType, Informers, Recorder};
use pinnace_env::Env;
use tokio_util::sync::CancellationToken;

use crate::explainer::profile_of;
use crate::framework::{Handle, Profile};
use crate::sources::Sources;
use crate::{Result, SchedulerConfig};
pub use config::{
    AntiAffinitySettings, DuplicateSettings, EvictorSettings, Namespaces, NodeAffinitySettings,
    NodeTaintSettings, PriorityThreshold, Rebalancing, RebalancingProfile, RebalancingStrategy,
    SpreadSettings, UtilizationSettings,
};
use round::Round;

/// Who evicts, in Events.
const COMPONENT: &str = "descheduler";

/// A pod that is evicted, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// The pod.
    pub pod: Key,
    /// Where it is.
    pub from: String,
    /// Where the scheduler would place it now; `None` when nobody asked.
    pub to: Option<String>,
    /// The strategy that found it.
    pub strategy: &'static str,
}

/// Evicts pods that could be placed better.
pub struct Rebalancer {
    config: Rebalancing,
    profiles: Arc<[Profile]>,
    sources: Sources,
    api: Api<Pod>,
    recorder: Recorder,
    env: Env,
}

impl Rebalancer {
    /// A rebalancer that reads from `informers`, writes through their client, and judges as a
    /// scheduler of this configuration does.
    ///
    /// # Errors
    /// When the configuration of the scheduler makes no sense, or the API serves no pods or nodes.
    pub fn new(
        informers: &Informers,
        recorder: &Recorder,
        env: Env,
        scheduler: &SchedulerConfig,
        config: Rebalancing,
    ) -> Result<Self> {
        let handle = Handle::new(informers, &env);
        let (profiles, _) = scheduler.build(&handle)?;
        Ok(Self {
            config,
            profiles,
            sources: Sources::new(informers)?,
            api: informers.client().of()?,
            recorder: recorder.component(COMPONENT),
            env,
        })
    }

    /// Evicts until `stop`, a round after each interval.
    pub async fn run(self, stop: CancellationToken) {
        let work = async {
            loop {
                tokio::time::sleep(self.config.interval).await;
                let moves = self.round().await;
                if !moves.is_empty() {
                    tracing::info!(evicted = moves.len(), "pods are placed anew");
                }
            }
        };
        // A round that is cut off leaves nothing behind: the next looks anew.
        stop.run_until_cancelled(work).await;
    }

    /// One round now: evicts what [`Rebalancer::plan`] finds and budgets allow; gives what went.
    pub async fn round(&self) -> Vec<Move> {
        self.go_through(true).await
    }

    /// What a round would evict now.
    pub async fn plan(&self) -> Vec<Move> {
        self.go_through(false).await
    }

    async fn go_through(&self, evict: bool) -> Vec<Move> {
        self.sources.synced().await;
        let mut round = Round::new(self, evict).await;
        for profile in &self.config.profiles {
            for strategy in &profile.strategies {
                strategies::run(&mut round, profile, strategy).await;
                tokio::task::yield_now().await;
            }
        }
        round.moves
    }

    /// Evicts a pod through its budget; `false` when that forbids it, or the pod has gone.
    async fn evict(&self, pod: &Typed<Pod>, strategy: &str) -> bool {
        let object = pod.object();
        let key = object.key();
        let eviction = Eviction {
            metadata: ObjectMeta {
                name: Some(key.name().to_owned()),
                namespace: Some(key.namespace().to_owned()),
                ..ObjectMeta::default()
            },
            delete_options: Some(DeleteOptions {
                preconditions: Some(Preconditions {
                    uid: Some(object.uid().to_owned()),
                    resource_version: None,
                }),
                ..DeleteOptions::default()
            }),
        };
        match self.api.evict(&key, eviction).await {
            Ok(_) => {
                let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
                let node = node.unwrap_or_default();
                let note = format!("pod eviction from {node} node by {COMPONENT}");
                self.recorder.record(object, EventType::Normal, strategy, note);
                true
            }
            Err(error) => {
                tracing::debug!(pod = %key, %error, "a pod is not evicted");
                false
            }
        }
    }

    fn profile_of(&self, pod: &Pod) -> &Profile {
        // One of another scheduler goes where the first of ours would place it.
        profile_of(&self.profiles, pod).unwrap_or(&self.profiles[0])
    }
}

impl fmt::Debug for Rebalancer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rebalancer({:?})", self.config)
    }
}
