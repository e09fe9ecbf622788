use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;
use pinnace_api::Object;
use pinnace_api::selector::Selector;
use pinnace_client::Lister;

use crate::cluster::{Cluster, Counted, TallyKey};
use crate::framework::{
    Answer, ClusterEvent, Concern, Cycle, CycleState, Events, Handle, Hint, Permit, Permitted,
    Plugin, PreFilter, PreFiltered, Prepared, Refusal, Reserve,
};
use crate::pod::{PodInfo, PodSelector};
use crate::{Error, Result};

/// The label that names the group of a pod, within its namespace.
pub const POD_GROUP: &str = "pod-group.scheduling.sigs.k8s.io/name";
/// The label or annotation that says how many pods of the group must be placed together.
pub const MIN_AVAILABLE: &str = "pod-group.scheduling.sigs.k8s.io/min-available";
/// The annotation that says for how many seconds the first waits for the others.
pub const TIMEOUT_SECONDS: &str = "pod-group.scheduling.sigs.k8s.io/timeout-seconds";

/// How long the first pods of a group wait unless they say so.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);
const INDEX: &str = "pod-group";

/// Binds the pods of a group together or not at all: the first wait, their room kept, until as many
/// are placed as the group needs; when one of them gives up, all do. Not part of a profile unless it
/// is named there.
pub struct Coscheduling {
    handle: Handle,
    pods: Lister<Pod>,
    /// The pods of each group that wait, by uid.
    waiting: Mutex<HashMap<String, Vec<Arc<str>>>>,
}

/// What a pod says of its group.
#[derive(Debug)]
struct Group {
    key: String,
    least: u64,
    timeout: Duration,
    placed: Arc<TallyKey>,
}

impl Coscheduling {
    /// The plugin's name.
    pub const NAME: &'static str = "Coscheduling";

    /// A plugin that lets pods go on through `handle`.
    ///
    /// # Errors
    /// When the API serves no pods.
    pub fn new(handle: &Handle) -> Result<Self> {
        let pods = handle.informers().of::<Pod>().map_err(Error::from)?;
        pods.informer().index(INDEX, |object: &Object| {
            let name = object.labels().and_then(|labels| labels.get(POD_GROUP));
            name.map(|name| key(object.namespace(), name)).into_iter().collect()
        });
        Ok(Self { handle: handle.clone(), pods, waiting: Mutex::default() })
    }

    /// The pods of a group that wait no longer.
    fn take_waiting(&self, group: &Group) -> Vec<Arc<str>> {
        self.waiting.lock().remove(&group.key).unwrap_or_default()
    }
}

fn key(namespace: &str, name: &str) -> String {
    format!("{namespace}/{name}")
}

impl Plugin for Coscheduling {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn prepare(&self, pod: &Pod, cluster: &mut Cluster) -> Option<Prepared> {
        let labels = pod.metadata.labels.as_ref()?;
        let name = labels.get(POD_GROUP).filter(|name| !name.is_empty())?;
        let annotation = |key: &str| pod.metadata.annotations.as_ref()?.get(key);
        let least = labels.get(MIN_AVAILABLE).or_else(|| annotation(MIN_AVAILABLE));
        let seconds = annotation(TIMEOUT_SECONDS).and_then(|text| text.parse().ok());
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let selector = [(POD_GROUP.to_owned(), name.clone())].into();
        let selector = PodSelector::within(namespace, Selector::from_labels(&selector));
        Some(Arc::new(Group {
            key: key(namespace, name),
            least: least.and_then(|text| text.parse().ok()).unwrap_or(1),
            timeout: seconds.map_or(DEFAULT_TIMEOUT, Duration::from_secs),
            placed: cluster.tally(Counted::Pods { selectors: vec![selector], skip_deleting: true }),
        }))
    }

    fn concern(&self, cycle: &Cycle<'_>) -> Concern {
        let filters = cycle.pod.prepared::<Group>().is_some();
        Concern { filters, scores: false }
    }

    fn events(&self) -> Events {
        Events::PENDING_ADD | Events::NODE_ADD | Events::POD_ADD | Events::POD_DELETE
    }

    fn hint(&self, pod: &PodInfo, event: &ClusterEvent<'_>) -> Hint {
        let helps = if event.what.overlaps(Events::PENDING_ADD | Events::POD_ADD) {
            let (_, new) = event.read::<Pod>();
            let group = |pod: &Pod| pod.metadata.labels.as_ref()?.get(POD_GROUP).cloned();
            let namespace = |pod: &Pod| pod.metadata.namespace.clone();
            new.is_some_and(|new| {
                group(new) == group(pod.pod()) && namespace(new) == namespace(pod.pod())
            })
        } else {
            true
        };
        if helps { Hint::Queue } else { Hint::Skip }
    }

    fn as_pre_filter(&self) -> Option<&dyn PreFilter> {
        Some(self)
    }

    fn as_reserve(&self) -> Option<&dyn Reserve> {
        Some(self)
    }

    fn as_permit(&self) -> Option<&dyn Permit> {
        Some(self)
    }
}

impl PreFilter for Coscheduling {
    /// While there are too few pods, none of them takes room.
    fn pre_filter(&self, cycle: &Cycle<'_>) -> Answer<PreFiltered> {
        let Some(group) = cycle.pod.prepared::<Group>() else { return Ok(PreFiltered::Skip) };
        let there = self.pods.informer().count_by_index(INDEX, &group.key) as u64;
        if there >= group.least {
            return Ok(PreFiltered::All);
        }
        let least = group.least;
        Err(Refusal::unresolvable(format!("pod group has {there} of at least {least} pods")))
    }
}

impl Permit for Coscheduling {
    fn permit(&self, cycle: &Cycle<'_>, _: &str) -> Answer<Permitted> {
        let Some(group) = cycle.pod.prepared::<Group>() else { return Ok(Permitted::Now) };
        if cycle.cluster.tallied_in_all(&group.placed) < group.least {
            let mut waiting = self.waiting.lock();
            waiting.entry(group.key.clone()).or_default().push(cycle.pod.uid().clone());
            return Ok(Permitted::Wait(group.timeout));
        }
        for uid in self.take_waiting(group) {
            self.handle.allow(&uid, Self::NAME);
        }
        Ok(Permitted::Now)
    }
}

impl Reserve for Coscheduling {
    fn reserve(&self, _: &Cycle<'_>, _: &str) -> Answer {
        Ok(())
    }

    /// One gives up, so do those that wait for it.
    fn unreserve(&self, pod: &PodInfo, _: &str, _: &CycleState) {
        let Some(group) = pod.prepared::<Group>() else { return };
        for uid in self.take_waiting(group).into_iter().filter(|uid| uid != pod.uid()) {
            self.handle.reject(&uid, Self::NAME, "another pod of the group cannot be placed");
        }
    }
}
