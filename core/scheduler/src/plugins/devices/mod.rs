//! Devices that pods claim: which nodes have them, and who gets which.

mod allocate;
mod inventory;
mod selector;

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::api::resource::v1::{
    AllocationResult, DeviceClass, ResourceClaim, ResourceClaimConsumerReference, ResourceSlice,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use parking_lot::Mutex;
use pinnace_api::{Key, Typed};
use pinnace_client::{Api, Lister};
use pinnace_env::Env;

use crate::Result;
use crate::cluster::{Cluster, NodeIndex};
use crate::framework::{
    Answer, ClusterEvent, Concern, Cycle, CycleState, Events, Filter, Handle, Hint, Plugin,
    PreBind, PreEnqueue, PreFilter, PreFiltered, Prepared, Reasons, Refusal, Reserve, Verdict,
};
use crate::pod::PodInfo;
use allocate::Finder;
use inventory::{Inventory, selected};
use selector::Selectors;

/// Most pods that use a claim together.
const MAX_RESERVED: usize = 256;
/// Keeps a claim that has devices from going before they are given back.
const FINALIZER: &str = "resource.kubernetes.io/delete-protection";
const CANNOT_ALLOCATE: &str = "cannot allocate all claims";
const NOT_HERE: &str = "resourceclaim not available on the node";

/// Keeps pods to nodes that have the devices which they claim, and allocates those.
pub struct DynamicResources {
    claims: Lister<ResourceClaim>,
    slices: Lister<ResourceSlice>,
    classes: Lister<DeviceClass>,
    api: Api<ResourceClaim>,
    env: Env,
    selectors: Selectors,
    /// What was allocated and is not in the caches yet, by the uid of the claim.
    assumed: Mutex<HashMap<String, Assumed>>,
}

struct Assumed {
    pod: Arc<str>,
    allocation: AllocationResult,
}

/// The names of a pod's claims; `None` for one that is still to be made.
#[derive(Debug)]
struct PodClaims(Vec<Option<Key>>);

/// What one attempt has found out.
struct Attempted {
    allocated: Vec<Typed<ResourceClaim>>,
    open: Vec<Typed<ResourceClaim>>,
    inventory: Inventory,
}

impl DynamicResources {
    /// The plugin's name.
    pub const NAME: &'static str = "DynamicResources";

    /// A plugin that reads and writes as a scheduler does.
    ///
    /// # Errors
    /// When the API serves no claims for devices.
    pub fn new(handle: &Handle) -> Result<Self> {
        let informers = handle.informers();
        Ok(Self {
            claims: informers.of()?,
            slices: informers.of()?,
            classes: informers.of()?,
            api: handle.client().of()?,
            env: handle.env().clone(),
            selectors: Selectors::default(),
            assumed: Mutex::default(),
        })
    }

    /// The claims of a pod, as they are.
    ///
    /// # Errors
    /// Why no node will do.
    fn claims_of(&self, pod: &PodInfo) -> Answer<Vec<Typed<ResourceClaim>>> {
        let Some(names) = pod.prepared::<PodClaims>() else { return Ok(Vec::new()) };
        names.0.iter().map(|key| self.claim(key.as_ref(), pod.pod())).collect()
    }

    fn claim(&self, key: Option<&Key>, pod: &Typed<Pod>) -> Answer<Typed<ResourceClaim>> {
        let no = |why: String| Err(Refusal::unresolvable(why));
        let (namespace, name) = (pod.object().namespace(), pod.object().name());
        let Some(key) = key else {
            return no(format!("pod \"{namespace}/{name}\": ResourceClaim not created yet"));
        };
        let Some(claim) = self.claims.get(key) else {
            return no(format!("could not find ResourceClaim \"{key}\""));
        };
        if claim.object().is_deleting() {
            return no(format!("resourceclaim \"{}\" is being deleted", key.name()));
        }
        let made_for = claim.object().controller().filter(|owner| owner.kind == "Pod");
        if made_for.is_some_and(|owner| owner.uid != pod.object().uid()) {
            return no(format!(
                "ResourceClaim {key} was not created for pod {namespace}/{name} (pod is not owner)"
            ));
        }
        let reserved = claim.status.as_ref().and_then(|status| status.reserved_for.as_ref());
        let reserved = reserved.map(Vec::as_slice).unwrap_or_default();
        let own = reserved.iter().any(|one| one.uid == pod.object().uid());
        if !own && reserved.len() >= MAX_RESERVED {
            return no("resourceclaim in use".to_owned());
        }
        Ok(claim)
    }

    /// Who has which devices, counting those of claims that are being written.
    fn inventory(&self) -> Inventory {
        let mut inventory = Inventory::of(self.slices.list(None));
        let mut assumed = self.assumed.lock();
        for claim in self.claims.list(None) {
            if is_allocated(&claim) {
                assumed.remove(claim.object().uid());
                inventory.note(&claim);
            } else if let Some(known) = assumed.get(claim.object().uid()) {
                inventory.note(&with_allocation(&claim, &known.allocation));
            }
        }
        inventory
    }

    fn attempt(&self, claims: Vec<Typed<ResourceClaim>>) -> Attempted {
        let (mut allocated, mut open) = (Vec::new(), Vec::new());
        let inventory = self.inventory();
        let assumed = self.assumed.lock();
        for claim in claims {
            match assumed.get(claim.object().uid()) {
                _ if is_allocated(&claim) => allocated.push(claim),
                // Another pod that shares the claim is being bound.
                Some(known) => {
                    allocated.push(Typed::new(with_allocation(&claim, &known.allocation)));
                }
                None => open.push(claim),
            }
        }
        Attempted { allocated, open, inventory }
    }

    fn judge(
        &self,
        attempted: &Attempted,
        node: &Node,
    ) -> Answer<std::result::Result<Vec<AllocationResult>, &'static str>> {
        let here = |claim: &Typed<ResourceClaim>| {
            let allocation = claim.status.as_ref().and_then(|status| status.allocation.as_ref());
            let selector = allocation.and_then(|allocation| allocation.node_selector.as_ref());
            selector.is_none_or(|selector| selected(selector, node))
        };
        if !attempted.allocated.iter().all(here) {
            return Ok(Err(NOT_HERE));
        }
        if attempted.open.is_empty() {
            return Ok(Ok(Vec::new()));
        }
        let classes = |name: &str| self.classes.get(&Key::cluster(name));
        let finder = Finder {
            inventory: &attempted.inventory,
            selectors: &self.selectors,
            classes: &classes,
        };
        match finder.allocate(&attempted.open, node) {
            Ok(found) => Ok(found.ok_or(CANNOT_ALLOCATE)),
            Err(why) => Err(Refusal::unresolvable(why)),
        }
    }

    /// Writes an allocation, and that the pod uses the claim.
    async fn write(
        &self,
        claim: &Typed<ResourceClaim>,
        allocation: Option<AllocationResult>,
        pod: &PodInfo,
    ) -> Answer {
        let (key, uid) = (claim.object().key(), claim.metadata.uid.clone());
        if allocation.is_some() {
            let protected = self.api.modify(&key, |claim| {
                let finalizers = claim.metadata.finalizers.get_or_insert_default();
                let missing = !finalizers.iter().any(|one| one == FINALIZER);
                if missing {
                    finalizers.push(FINALIZER.to_owned());
                }
                missing
            });
            protected.await.map_err(Refusal::error)?;
        }
        let consumer = ResourceClaimConsumerReference {
            api_group: None,
            resource: "pods".to_owned(),
            name: pod.key().name().to_owned(),
            uid: pod.uid().to_string(),
        };
        let now = Time(self.env.clock().now_seconds());
        let written = self.api.modify_status(&key, |claim| {
            if claim.metadata.uid != uid {
                return false;
            }
            let status = claim.status.get_or_insert_default();
            let mut changed = false;
            if let Some(allocation) = allocation.clone().filter(|_| status.allocation.is_none()) {
                let allocation_timestamp = Some(now.clone());
                status.allocation = Some(AllocationResult { allocation_timestamp, ..allocation });
                changed = true;
            }
            let reserved = status.reserved_for.get_or_insert_default();
            if !reserved.iter().any(|one| one.uid == consumer.uid) {
                reserved.push(consumer.clone());
                changed = true;
            }
            changed
        });
        let written = written.await.map_err(Refusal::error)?;
        let has = written.status.as_ref().and_then(|status| status.allocation.as_ref());
        let same = |has: &AllocationResult| {
            allocation.as_ref().is_none_or(|ours| {
                ours.devices == has.devices && ours.node_selector == has.node_selector
            })
        };
        if has.is_some_and(same) {
            return Ok(());
        }
        Err(Refusal::error(format!("resourceclaim {key} was allocated by somebody else meanwhile")))
    }
}

fn is_allocated(claim: &ResourceClaim) -> bool {
    claim.status.as_ref().is_some_and(|status| status.allocation.is_some())
}

fn with_allocation(claim: &Typed<ResourceClaim>, allocation: &AllocationResult) -> ResourceClaim {
    let mut claim = claim.to_owned();
    claim.status.get_or_insert_default().allocation = Some(allocation.clone());
    claim
}

/// The claims of a pod by their names, as it says them and as its status does of those that are made
/// for it; without those of which its status says that none is needed.
fn names(pod: &Pod) -> Vec<Option<Key>> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let statuses = pod.status.as_ref().and_then(|status| status.resource_claim_statuses.as_ref());
    let key = |name: &String| Key::new(namespace, name.as_str());
    let claims = pod.spec.iter().flat_map(|spec| spec.resource_claims.iter().flatten());
    claims
        .filter_map(|claim| match &claim.resource_claim_name {
            Some(name) => Some(Some(key(name))),
            None => {
                let made = statuses.into_iter().flatten().find(|one| one.name == claim.name);
                match made {
                    None => Some(None),
                    Some(made) => made.resource_claim_name.as_ref().map(|name| Some(key(name))),
                }
            }
        })
        .collect()
}

impl Plugin for DynamicResources {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn prepare(&self, pod: &Pod, _: &mut Cluster) -> Option<Prepared> {
        let names = names(pod);
        if names.is_empty() { None } else { Some(Arc::new(PodClaims(names))) }
    }

    fn concern(&self, cycle: &Cycle<'_>) -> Concern {
        Concern { filters: cycle.pod.prepared::<PodClaims>().is_some(), scores: false }
    }

    fn events(&self) -> Events {
        Events::DEVICES | Events::OWN_CLAIMS | Events::NODE_ADD | Events::NODE_LABEL
    }

    fn hint(&self, pod: &PodInfo, event: &ClusterEvent<'_>) -> Hint {
        let (old, new) = event.read::<ResourceClaim>();
        if !event.what.overlaps(Events::DEVICES) || (old.is_none() && new.is_none()) {
            return Hint::Queue;
        }
        // Its own claim, or one that gives devices back.
        let frees = old.is_some_and(is_allocated) && !new.is_some_and(is_allocated);
        let claim = [event.new, event.old].into_iter().flatten().next();
        let own = |claim: &pinnace_api::Object| {
            let names = pod.prepared::<PodClaims>();
            names.is_some_and(|names| names.0.iter().flatten().any(|key| *key == claim.key()))
        };
        if frees || claim.is_some_and(own) { Hint::Queue } else { Hint::Skip }
    }

    fn as_pre_enqueue(&self) -> Option<&dyn PreEnqueue> {
        Some(self)
    }

    fn as_pre_filter(&self) -> Option<&dyn PreFilter> {
        Some(self)
    }

    fn as_filter(&self) -> Option<&dyn Filter> {
        Some(self)
    }

    fn as_reserve(&self) -> Option<&dyn Reserve> {
        Some(self)
    }

    fn as_pre_bind(&self) -> Option<&dyn PreBind> {
        Some(self)
    }
}

impl PreEnqueue for DynamicResources {
    /// Claims that are made for the pod have to be there first.
    fn pre_enqueue(&self, pod: &Pod) -> Answer {
        match names(pod).iter().all(Option::is_some) {
            true => Ok(()),
            false => Err(Refusal::unresolvable("ResourceClaim not created yet")),
        }
    }
}

impl PreFilter for DynamicResources {
    fn pre_filter(&self, cycle: &Cycle<'_>) -> Answer<PreFiltered> {
        let claims = self.claims_of(cycle.pod)?;
        if claims.is_empty() {
            return Ok(PreFiltered::Skip);
        }
        for claim in claims.iter().filter(|claim| !is_allocated(claim)) {
            let asked = claim.spec.devices.as_ref();
            let requests = asked.iter().flat_map(|claim| claim.requests.iter().flatten());
            for request in requests {
                let first = request.first_available.iter().flatten();
                let names = request.exactly.iter().map(|one| &one.device_class_name);
                for class in names.chain(first.map(|one| &one.device_class_name)) {
                    if self.classes.get(&Key::cluster(class.as_str())).is_none() {
                        let request = &request.name;
                        return Err(Refusal::unresolvable(format!(
                            "request {request}: device class {class} does not exist"
                        )));
                    }
                }
            }
        }
        cycle.state.put(self.attempt(claims));
        Ok(PreFiltered::All)
    }
}

impl Filter for DynamicResources {
    fn filter(&self, cycle: &Cycle<'_>, nodes: &[NodeIndex], verdicts: &mut [Verdict]) -> Answer {
        let Some(attempted) = cycle.state.get::<Attempted>() else { return Ok(()) };
        for (node, verdict) in nodes.iter().zip(verdicts) {
            let Some(object) = cycle.cluster.node(*node).object() else { continue };
            if self.judge(&attempted, object)?.is_err() {
                *verdict = Verdict::Unresolvable;
            }
        }
        Ok(())
    }

    fn reasons(&self, cycle: &Cycle<'_>, node: NodeIndex) -> Reasons {
        let attempted = cycle.state.get::<Attempted>();
        let object = cycle.cluster.node(node).object();
        let judged = attempted.zip(object).map(|(attempted, node)| self.judge(&attempted, node));
        match judged {
            Some(Ok(Err(why))) => vec![why.into()],
            Some(Err(refusal)) => refusal.reasons(),
            _ => Reasons::new(),
        }
    }
}

impl Reserve for DynamicResources {
    fn reserve(&self, cycle: &Cycle<'_>, node: &str) -> Answer {
        let claims = self.claims_of(cycle.pod)?;
        if claims.is_empty() {
            return Ok(());
        }
        let index = cycle.cluster.find(node);
        let object = index.and_then(|index| cycle.cluster.node(index).object());
        let Some(object) = object else {
            return Err(Refusal::error(format!("node {node:?} is gone")));
        };
        let attempted = self.attempt(claims);
        let found = self.judge(&attempted, object)?.map_err(Refusal::unresolvable)?;
        let mut assumed = self.assumed.lock();
        for (claim, allocation) in attempted.open.iter().zip(found) {
            let pod = cycle.pod.uid().clone();
            assumed.insert(claim.object().uid().to_owned(), Assumed { pod, allocation });
        }
        Ok(())
    }

    fn unreserve(&self, pod: &PodInfo, _: &str, _: &CycleState) {
        self.assumed.lock().retain(|_, assumed| assumed.pod != *pod.uid());
    }
}

#[async_trait]
impl PreBind for DynamicResources {
    async fn pre_bind(&self, pod: &PodInfo, _: &str, _: &CycleState) -> Answer {
        for claim in self.claims_of(pod)? {
            let known =
                self.assumed.lock().get(claim.object().uid()).map(|one| one.allocation.clone());
            let allocation = known.filter(|_| !is_allocated(&claim));
            self.write(&claim, allocation, pod).await?;
        }
        Ok(())
    }
}
