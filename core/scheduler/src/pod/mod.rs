//! A pod as the scheduler sees it: read once, shared by all pods that are alike.

mod host_ports;
mod node_affinity;
mod requests;
mod signature;
mod terms;
mod tolerations;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use k8s_openapi::api::core::v1::{Pod, Toleration};
use pinnace_api::pod_resources::{self, Summing, asks_as_a_whole};
use pinnace_api::quantity::Quantity;
use pinnace_api::{Key, Typed};

use crate::cluster::{Amounts, Cluster, LabelSet, PodTallies, Resource, ResourceNames};
use crate::decision::ClassPlan;
use crate::framework::{Prepared, Profile};
pub use host_ports::HostPort;
pub use node_affinity::Affinity;
pub(crate) use requests::asks_less;
use requests::{DEFAULT_MEMORY, DEFAULT_MILLI_CPU, amounts};
pub use signature::Signature;
pub(crate) use terms::merged;
pub use terms::{PodSelector, PodTerm, PodTerms};
pub use tolerations::{tolerated, tolerates_unschedulable, untolerated};

/// How many classes are remembered without a pod of theirs.
const REMEMBERED_CLASSES: usize = 16_384;

/// A pod that is to be scheduled.
#[derive(Debug)]
pub struct PodInfo {
    pod: Typed<Pod>,
    key: Key,
    uid: Arc<str>,
    priority: i32,
    profile: usize,
    class: Arc<PodClass>,
    labels: Arc<LabelSet>,
    terms: PodTallies,
    prepared: Vec<Prepared>,
    generation: u64,
}

impl PodInfo {
    /// The pod.
    pub fn pod(&self) -> &Typed<Pod> {
        &self.pod
    }

    /// Its namespace and name.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// Its uid.
    pub fn uid(&self) -> &Arc<str> {
        &self.uid
    }

    /// `spec.priority`, 0 when there is none.
    pub fn priority(&self) -> i32 {
        self.priority
    }

    /// The number of the profile that schedules it.
    pub fn profile(&self) -> usize {
        self.profile
    }

    /// What it has in common with the pods that are like it.
    pub fn class(&self) -> &Arc<PodClass> {
        &self.class
    }

    /// Its labels, and its namespace.
    pub fn labels(&self) -> &Arc<LabelSet> {
        &self.labels
    }

    /// The terms about other pods that it carries.
    pub fn terms(&self) -> &PodTallies {
        &self.terms
    }

    /// What a plugin has found out about it in [`Plugin::prepare`](crate::Plugin::prepare), by its
    /// type.
    pub fn prepared<T: Send + Sync + 'static>(&self) -> Option<&T> {
        self.prepared.iter().find_map(|one| one.downcast_ref())
    }

    /// The same, shared.
    pub fn prepared_shared<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.prepared.iter().find_map(|one| one.clone().downcast().ok())
    }

    /// Whether what it was read with has changed, so that it must be read again.
    pub(crate) fn is_stale(&self, cluster: &Cluster) -> bool {
        self.generation != cluster.generation()
    }
}

/// What a pod takes of its node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    requests: Amounts,
    nonzero_cpu: i64,
    nonzero_memory: i64,
    ports: Vec<HostPort>,
}

impl Usage {
    /// Reads a pod.
    pub fn of(pod: &Pod, names: &mut ResourceNames) -> Self {
        let how = Summing { status: true, missing: &[] };
        let requests = pod_resources::requests(pod, how);
        // A pod that asks as a whole has no use for defaults where that already says something.
        let whole = asks_as_a_whole(pod);
        let mut missing = defaults().to_vec();
        missing.retain(|(name, _)| !whole || !requests.contains_key(name));
        let nonzero = pod_resources::requests(pod, Summing { missing: &missing, ..how });
        let of = |name: &str| nonzero.get(name).copied().unwrap_or_default();
        Self {
            nonzero_cpu: of("cpu").millis(),
            nonzero_memory: of("memory").value(),
            ports: pod.spec.as_ref().map(HostPort::of).unwrap_or_default(),
            requests: amounts(&requests, names),
        }
    }

    /// The resources that it asks for.
    pub fn requests(&self) -> &Amounts {
        &self.requests
    }

    /// CPU in thousandths, a small default for each container that asks for none.
    pub fn nonzero_cpu(&self) -> i64 {
        self.nonzero_cpu
    }

    /// Memory in bytes, a small default for each container that asks for none.
    pub fn nonzero_memory(&self) -> i64 {
        self.nonzero_memory
    }

    /// The host ports that it takes.
    pub fn ports(&self) -> &[HostPort] {
        &self.ports
    }
}

fn defaults() -> [(&'static str, Quantity); 2] {
    [
        ("cpu", Quantity::from_millis(DEFAULT_MILLI_CPU)),
        ("memory", Quantity::from_units(DEFAULT_MEMORY)),
    ]
}

/// What pods have in common that are alike to the scheduler, read once for all of them.
pub struct PodClass {
    id: u64,
    usage: Arc<Usage>,
    requests: Amounts,
    named: Vec<(Box<str>, Resource)>,
    scored: Amounts,
    node_name: Option<Box<str>>,
    affinity: Affinity,
    tolerations: Vec<Toleration>,
    pub(crate) plan: OnceLock<ClassPlan>,
}

impl PodClass {
    fn of(id: u64, pod: &Pod, names: &mut ResourceNames) -> Self {
        let spec = pod.spec.as_ref();
        let missing = defaults();
        let scored =
            pod_resources::requests(pod, Summing { missing: &missing, ..Summing::default() });
        let requests = amounts(&pod_resources::requests(pod, Summing::default()), names);
        let named = requests.iter().map(|(resource, _)| (names.name(resource).into(), resource));
        Self {
            id,
            named: named.collect(),
            requests,
            usage: Arc::new(Usage::of(pod, names)),
            scored: amounts(&scored, names),
            node_name: spec.and_then(|spec| spec.node_name.as_deref()).map(Into::into),
            affinity: spec.map(Affinity::of).unwrap_or_default(),
            tolerations: spec.and_then(|spec| spec.tolerations.clone()).unwrap_or_default(),
            plan: OnceLock::new(),
        }
    }

    /// A number that no other class of the same scheduler ever has.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// What a pod of the class takes of its node.
    pub fn usage(&self) -> &Arc<Usage> {
        &self.usage
    }

    /// What must be free on a node for it.
    pub fn requests(&self) -> &Amounts {
        &self.requests
    }

    /// The same with the names of the resources.
    pub fn requests_by_name(&self) -> impl Iterator<Item = (&str, Resource, i64)> {
        let amount = |resource: Resource| self.requests.get(resource);
        self.named.iter().map(move |(name, resource)| (&**name, *resource, amount(*resource)))
    }

    /// What it asks of a resource when nodes are compared: containers that ask for no CPU or
    /// memory count with a small default.
    pub fn scored(&self, resource: Resource) -> i64 {
        self.scored.get(resource)
    }

    /// `spec.nodeName`.
    pub fn node_name(&self) -> Option<&str> {
        self.node_name.as_deref().filter(|name| !name.is_empty())
    }

    /// Which nodes it demands and would like.
    pub fn affinity(&self) -> &Affinity {
        &self.affinity
    }

    /// `spec.tolerations`.
    pub fn tolerations(&self) -> &[Toleration] {
        &self.tolerations
    }
}

impl fmt::Debug for PodClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PodClass({})", self.id)
    }
}

/// The classes of the pods of one scheduler.
#[derive(Debug, Default)]
pub struct PodClasses {
    by_signature: HashMap<Box<[u8]>, Arc<PodClass>, ahash::RandomState>,
    signature: Signature,
    made: u64,
}

impl PodClasses {
    /// Reads a pod that a profile is to schedule.
    pub fn read(&mut self, cluster: &mut Cluster, profile: &Profile, pod: &Typed<Pod>) -> PodInfo {
        let class = self.class(cluster, profile, pod);
        PodInfo {
            labels: cluster.label_set(pod),
            terms: cluster.terms_of(pod),
            prepared: profile.prepare(pod, cluster),
            generation: cluster.generation(),
            key: pod.object().key(),
            uid: pod.object().uid().into(),
            priority: pod.spec.as_ref().and_then(|spec| spec.priority).unwrap_or(0),
            profile: profile.index(),
            pod: pod.clone(),
            class,
        }
    }

    fn class(&mut self, cluster: &mut Cluster, profile: &Profile, pod: &Pod) -> Arc<PodClass> {
        self.signature.start(profile.index());
        self.signature.pod(pod);
        profile.sign(pod, &mut self.signature);
        if let Some(known) = self.by_signature.get(self.signature.bytes()) {
            return known.clone();
        }
        if self.by_signature.len() >= REMEMBERED_CLASSES {
            self.by_signature.retain(|_, class| Arc::strong_count(class) > 1);
        }
        self.made += 1;
        let id = self.made;
        let class = Arc::new(cluster.name_resources(|names| PodClass::of(id, pod, names)));
        if self.by_signature.len() < REMEMBERED_CLASSES {
            self.by_signature.insert(self.signature.bytes().into(), class.clone());
        }
        class
    }
}
