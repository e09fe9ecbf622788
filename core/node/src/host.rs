use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use k8s_openapi::api::core::v1::{PodSpec, Taint};
use parking_lot::Mutex;
use pinnace_client::Recorder;
use pinnace_network::PodNetwork;
use pinnace_runtime::logs::LogLimits;
use pinnace_runtime::{Features, Resources, Runtime};
use tokio::time::Instant;

use crate::config::{Capacity, NodeConfig};
use crate::eviction::{Eviction, Pressure};
use crate::images::{Collector, ImageCollection};
use crate::measure::Rates;
use crate::pod::resources::{self, NOTHING};
use crate::static_pods::{Mirrors, StaticPods};

/// One node of an agent.
pub(crate) struct Host {
    pub(crate) name: Arc<str>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) taints: Vec<Taint>,
    pub(crate) capacity: Capacity,
    /// What its pods may share of that.
    pub(crate) allocatable: Capacity,
    /// When it evicts pods.
    pub(crate) eviction: Option<Eviction>,
    /// When it removes images.
    pub(crate) image_collection: Option<ImageCollection>,
    pub(crate) images: Collector,
    pub(crate) static_pods: Option<StaticPods>,
    pub(crate) mirrors: Mirrors,
    pub(crate) logs: LogLimits,
    /// How many processes a pod may have; 0 for any number.
    pids_limit: u64,
    /// What it suffers from.
    pressures: Mutex<Vec<Pressure>>,
    /// As texts, for they are shown in every pod's status.
    pub(crate) ips: Vec<String>,
    /// Where it listens, if it does.
    pub(crate) port: Option<u16>,
    pub(crate) runtime: Arc<HostRuntime>,
    pub(crate) network: Arc<dyn PodNetwork>,
    pub(crate) recorder: Recorder,
    /// What its pods have asked for.
    used: Mutex<Capacity>,
    /// CPU time as it was read before.
    pub(crate) rates: Rates,
    /// When its status was written last.
    pub(crate) reported: Mutex<Option<Instant>>,
}

/// A runtime, shared by the nodes that name the same one.
pub(crate) struct HostRuntime {
    pub(crate) runtime: Arc<dyn Runtime>,
    /// Whether what ran before this agent has been found: until then no pod is touched.
    adopted: AtomicBool,
    health: Mutex<Health>,
}

/// How a runtime is.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Health {
    /// As a node shows it; empty until the runtime has answered.
    pub(crate) version: String,
    /// Why it does not answer; `None` when it does.
    pub(crate) failure: Option<String>,
    /// What it can do for pods of no RuntimeClass.
    pub(crate) features: Features,
}

impl Host {
    pub(crate) fn new(config: NodeConfig, runtime: Arc<HostRuntime>, recorder: &Recorder) -> Self {
        Self {
            recorder: recorder.on_host("kubelet", &config.name),
            name: config.name.into(),
            labels: config.labels,
            taints: config.taints,
            allocatable: config.settings.allocatable(&config.capacity),
            eviction: config.settings.eviction,
            image_collection: config.settings.images,
            images: Collector::default(),
            static_pods: config.settings.static_pods,
            mirrors: Mirrors::default(),
            logs: config.settings.logs,
            pids_limit: config.settings.pod_pids.as_limit(),
            pressures: Mutex::default(),
            capacity: config.capacity,
            ips: config.addresses.iter().map(IpAddr::to_string).collect(),
            port: Some(config.port).filter(|port| *port != 0),
            runtime,
            network: config.network,
            used: Mutex::new(NOTHING),
            rates: Rates::default(),
            reported: Mutex::new(None),
        }
    }

    pub(crate) fn pressures(&self) -> Vec<Pressure> {
        self.pressures.lock().clone()
    }

    /// The limits on a pod as a whole.
    pub(crate) fn pod_limits(&self, spec: &PodSpec) -> Resources {
        Resources { pids_limit: self.pids_limit, ..resources::of_pod(spec) }
    }

    /// Notes what the node suffers from; whether that is news.
    pub(crate) fn set_pressures(&self, pressures: Vec<Pressure>) -> bool {
        let mut known = self.pressures.lock();
        std::mem::replace(&mut *known, pressures) != *known
    }

    /// Gives a pod what it asks for, unless `refuse` objects to what was given before.
    pub(crate) fn reserve<E>(
        &self,
        requests: &Capacity,
        refuse: impl FnOnce(&Capacity) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut used = self.used.lock();
        refuse(&used)?;
        *used = used.plus(requests);
        Ok(())
    }

    /// Takes back what a pod was given.
    pub(crate) fn release(&self, requests: &Capacity) {
        let mut used = self.used.lock();
        *used = used.minus(requests);
    }
}

impl HostRuntime {
    pub(crate) fn new(runtime: Arc<dyn Runtime>) -> Self {
        Self { runtime, adopted: AtomicBool::new(false), health: Mutex::default() }
    }

    pub(crate) fn is_adopted(&self) -> bool {
        self.adopted.load(Ordering::Acquire)
    }

    pub(crate) fn set_adopted(&self) {
        self.adopted.store(true, Ordering::Release);
    }

    pub(crate) fn health(&self) -> Health {
        self.health.lock().clone()
    }

    /// Asks the runtime what it is.
    ///
    /// # Errors
    /// [`pinnace_runtime::Error::Unavailable`] when it does not answer.
    pub(crate) async fn ask(&self) -> Result<Health, pinnace_runtime::Error> {
        let version = self.runtime.version().await?;
        Ok(Health { version, failure: None, features: self.runtime.features("").await })
    }

    /// Notes what the runtime has answered to that; whether it is news.
    pub(crate) fn note(&self, answer: Result<Health, pinnace_runtime::Error>) -> bool {
        self.set_health(|health| match answer {
            Ok(answer) => *health = answer,
            Err(pinnace_runtime::Error::Unavailable { message, .. }) => {
                health.failure = Some(message);
            }
            Err(error) => health.failure = Some(error.to_string()),
        })
    }

    /// Notes how the runtime is; whether that is news.
    pub(crate) fn set_health(&self, change: impl FnOnce(&mut Health)) -> bool {
        let mut health = self.health.lock();
        let before = health.clone();
        change(&mut health);
        before != *health
    }
}
