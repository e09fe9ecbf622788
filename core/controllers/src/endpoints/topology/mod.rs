//! Hints that keep traffic in its zone, for services with `service.kubernetes.io/topology-mode: Auto`:
//! each zone gets as large a part of the endpoints as it has of the nodes' processors.
//!
//! Endpoints serve their own zone, but for as many as another zone lacks. Where no part can be found
//! that keeps every endpoint from being loaded by more than a fifth too much, there are no hints,
//! and the service is told why.

mod allocation;
mod zones;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointHints, ForZone};
use parking_lot::Mutex;
use pinnace_api::{Key, Typed};
use pinnace_client::{EventType, Lister, Recorder};

use super::hints::is_ready;
use super::slices::Planned;
use allocation::{Allocations, Counts, allocate, is_overloaded, moves};
use zones::Shares;
pub(super) use zones::matters;

/// The annotation, and the name that it had before, which comes first.
const MODE: &str = "service.kubernetes.io/topology-mode";
const OLD_MODE: &str = "service.kubernetes.io/topology-aware-hints";

/// Whether a service asks for such hints.
pub(super) fn is_wanted(service: &Service) -> bool {
    let annotations = service.metadata.annotations.as_ref();
    let mode = annotations.and_then(|all| all.get(OLD_MODE).or_else(|| all.get(MODE)));
    mode.is_some_and(|mode| mode == "Auto" || mode == "auto")
}

/// What is known of zones and of the services that ask for hints.
pub(super) struct Topology {
    nodes: Lister<Node>,
    recorder: Recorder,
    /// The parts that zones have of the processors, or why they have none; `None` until somebody
    /// asks.
    shares: Mutex<Option<Arc<Result<Shares, String>>>>,
    services: Mutex<HashMap<Key, ByFamily, ahash::RandomState>>,
}

/// How many endpoints serve each zone, by address family; nothing for a family without hints.
type ByFamily = BTreeMap<String, Counts>;

impl Topology {
    pub(super) fn new(nodes: Lister<Node>, recorder: Recorder) -> Self {
        Self { nodes, recorder, shares: Mutex::default(), services: Mutex::default() }
    }

    /// Says that nodes are not what they were. Gives whether any service depends on them.
    pub(super) fn expire(&self) -> bool {
        *self.shares.lock() = None;
        !self.services.lock().is_empty()
    }

    /// Looks at the nodes anew. Gives the services that have no hints, or not enough endpoints for
    /// some zone any more.
    pub(super) fn nodes_changed(&self) -> Vec<Key> {
        let shares = self.look();
        let services = self.services.lock();
        let stale = services.iter().filter(|(_, families)| {
            let overloaded = |counts: &Counts| match &*shares {
                Ok(shares) => is_overloaded(counts, shares),
                Err(_) => true,
            };
            families.is_empty() || families.values().any(overloaded)
        });
        stale.map(|(key, _)| key.clone()).collect()
    }

    fn look(&self) -> Arc<Result<Shares, String>> {
        let shares = Arc::new(zones::shares(&self.nodes.list(None)));
        *self.shares.lock() = Some(shares.clone());
        shares
    }

    /// Forgets a service that is gone.
    pub(super) fn forget(&self, service: &Key) {
        self.services.lock().remove(service);
    }

    /// Says that a service has lost its hints because it asks for none any more.
    pub(super) fn is_not_wanted(&self, service: &Typed<Service>) {
        let families = self.services.lock().remove(&service.object().key());
        for family in families.iter().flat_map(BTreeMap::keys) {
            self.disabled(service, "Topology Aware Hints has been disabled", family);
        }
    }

    /// Gives hints to the endpoints of a service, or none to any of a family that cannot have them.
    pub(super) fn give(&self, service: &Typed<Service>, slices: &mut [Planned]) {
        let known = self.shares.lock().clone();
        let shares = known.unwrap_or_else(|| self.look());
        let key = service.object().key();
        let mut families = self.services.lock().get(&key).cloned().unwrap_or_default();
        let mut rest = slices;
        while let Some(first) = rest.first() {
            let family = first.family.clone();
            // Slices are planned family by family.
            let count = rest.iter().take_while(|slice| slice.family == family).count();
            let (of_family, others) = rest.split_at_mut(count);
            rest = others;
            match give_to_family(of_family, &shares) {
                Ok(counts) => {
                    if families.is_empty() {
                        let message = said("Topology Aware Hints has been enabled", &family);
                        let (kind, reason) = (EventType::Normal, "TopologyAwareHintsEnabled");
                        self.recorder.record(service.object(), kind, reason, message);
                    }
                    families.insert(family, counts);
                }
                Err(why) => {
                    let endpoints = of_family.iter_mut().flat_map(|slice| &mut slice.endpoints);
                    endpoints.for_each(|endpoint| endpoint.hints = None);
                    families.remove(&family);
                    self.disabled(service, &why, &family);
                }
            }
        }
        self.services.lock().insert(key, families);
    }

    fn disabled(&self, service: &Typed<Service>, why: &str, family: &str) {
        let reason = "TopologyAwareHintsDisabled";
        let message = said(why, family);
        self.recorder.record(service.object(), EventType::Warning, reason, message);
    }
}

fn said(what: &str, family: &str) -> String {
    format!("{what}, addressType: {family}")
}

/// Gives hints to all endpoints of a family. Slices that need no other change keep theirs as long as
/// those leave every zone what it needs.
///
/// # Errors
/// Why there can be none.
fn give_to_family(
    slices: &mut [Planned],
    shares: &Result<Shares, String>,
) -> Result<Counts, String> {
    let shares = shares.as_ref().map_err(Clone::clone)?;
    let ready =
        slices.iter().flat_map(|slice| &slice.endpoints).filter(|one| is_ready(one)).count();
    let allocations = allocate(shares, ready)?;
    let mut counts = Counts::new();
    let mut changing = Vec::new();
    for slice in slices {
        match kept(slice, &counts, &allocations) {
            Some(kept) => {
                for (zone, count) in kept {
                    *counts.entry(zone).or_default() += count;
                }
                slice.keep();
            }
            None => changing.push(slice),
        }
    }
    let endpoints = changing.into_iter().flat_map(|slice| &mut slice.endpoints);
    let mut endpoints: Vec<&mut Endpoint> = endpoints.filter(|one| is_ready(one)).collect();
    for endpoint in &mut endpoints {
        let zone = endpoint.zone.clone().filter(|zone| !zone.is_empty());
        let zone = zone.ok_or("One or more endpoints do not have a zone specified")?;
        *counts.entry(zone.clone()).or_default() += 1;
        endpoint.hints = hint(zone);
    }
    let (mut giving, receiving) = moves(&allocations, &counts);
    let mut receiving =
        receiving.into_iter().flat_map(|(zone, count)| std::iter::repeat_n(zone, count));
    for endpoint in endpoints {
        let Some(own) = endpoint.zone.clone() else { continue };
        let Some(left) = giving.get_mut(&own).filter(|left| **left > 0) else { continue };
        let Some(zone) = receiving.next() else { break };
        *left -= 1;
        *counts.entry(own).or_default() -= 1;
        *counts.entry(zone.clone()).or_default() += 1;
        endpoint.hints = hint(zone);
    }
    Ok(counts)
}

fn hint(zone: String) -> Option<EndpointHints> {
    Some(EndpointHints { for_zones: Some(vec![ForZone { name: zone }]), for_nodes: None })
}

/// How many endpoints of each zone a slice has, if it needs no change: not for anything but hints,
/// and not because its hints are missing, or leave too little to other zones.
fn kept(slice: &Planned, counts: &Counts, allocations: &Allocations) -> Option<Counts> {
    let mut kept = Counts::new();
    for endpoint in slice.unchanged()?.iter().filter(|one| is_ready(one)) {
        let zones = endpoint.hints.as_ref().and_then(|hints| hints.for_zones.as_deref());
        for zone in zones.filter(|zones| !zones.is_empty())? {
            *kept.entry(zone.name.clone()).or_default() += 1;
        }
    }
    let fits = |(zone, count): (&String, &usize)| {
        let before = counts.get(zone).copied().unwrap_or(0);
        allocations.get(zone).is_some_and(|one| count + before <= one.most)
    };
    kept.iter().all(fits).then_some(kept)
}

#[cfg(test)]
mod tests;
