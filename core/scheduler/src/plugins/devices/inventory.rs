use std::collections::{BTreeMap, HashMap, HashSet};

use k8s_openapi::api::core::v1::{Node, NodeSelector};
use k8s_openapi::api::resource::v1::{Device, ResourceClaim, ResourceSlice};
use pinnace_api::Typed;
use pinnace_api::selector::NodeTerm;

/// A device by driver, pool and name.
pub(super) type DeviceId = (String, String, String);

/// The devices of the cluster, and who has which.
#[derive(Debug, Default)]
pub(super) struct Inventory {
    slices: Vec<Typed<ResourceSlice>>,
    /// The slices of single nodes by the names of those.
    by_node: HashMap<String, Vec<usize>, ahash::RandomState>,
    /// The slices that may be for several nodes.
    shared: Vec<usize>,
    pub(super) in_use: HashSet<DeviceId, ahash::RandomState>,
}

/// A device that a node has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Available<'a> {
    pub(super) driver: &'a str,
    pub(super) pool: &'a str,
    pub(super) device: &'a Device,
    /// Whether it is there for this node alone.
    pub(super) local: bool,
}

impl Available<'_> {
    pub(super) fn id(&self) -> DeviceId {
        (self.driver.to_owned(), self.pool.to_owned(), self.device.name.clone())
    }
}

impl Inventory {
    /// What slices offer: of each pool those of its newest generation, once all are there.
    pub(super) fn of(slices: Vec<Typed<ResourceSlice>>) -> Self {
        let mut pools: BTreeMap<(String, String), (i64, i64, i64)> = BTreeMap::new();
        for slice in &slices {
            let pool = &slice.spec.pool;
            let (newest, expected, seen) = pools.entry(key(slice)).or_default();
            if pool.generation > *newest || *seen == 0 {
                (*newest, *expected, *seen) = (pool.generation, pool.resource_slice_count, 0);
            }
            *seen += i64::from(pool.generation == *newest);
        }
        let whole = |slice: &Typed<ResourceSlice>| {
            let pool = pools.get(&key(slice));
            pool.is_some_and(|(newest, expected, seen)| {
                slice.spec.pool.generation == *newest && seen == expected
            })
        };
        let slices: Vec<_> = slices.into_iter().filter(whole).collect();
        let mut found = Self::default();
        for (index, slice) in slices.iter().enumerate() {
            match &slice.spec.node_name {
                Some(node) => found.by_node.entry(node.clone()).or_default().push(index),
                None => found.shared.push(index),
            }
        }
        found.slices = slices;
        found
    }

    /// Notes the devices that a claim has.
    pub(super) fn note(&mut self, claim: &ResourceClaim) {
        let allocation = claim.status.as_ref().and_then(|status| status.allocation.as_ref());
        let devices = allocation.and_then(|allocation| allocation.devices.as_ref());
        for result in devices.iter().flat_map(|devices| devices.results.iter().flatten()) {
            // Who looks after a device shares it with whoever uses it.
            if result.admin_access != Some(true) {
                let id = (result.driver.clone(), result.pool.clone(), result.device.clone());
                self.in_use.insert(id);
            }
        }
    }

    /// The devices that a node has, free or not.
    pub(super) fn on<'a>(&'a self, node: &Node) -> Vec<Available<'a>> {
        let name = node.metadata.name.as_deref().unwrap_or_default();
        let own = self.by_node.get(name).into_iter().flatten();
        let mut found = Vec::new();
        for index in own.chain(&self.shared) {
            let spec = &self.slices[*index].spec;
            let whole = spec.node_name.is_some()
                || reaches(spec.all_nodes, spec.node_selector.as_ref(), node);
            let each = spec.per_device_node_selection == Some(true);
            for device in spec.devices.iter().flatten() {
                let here = match each {
                    false => whole,
                    true => {
                        device.node_name.as_deref() == Some(name)
                            || reaches(device.all_nodes, device.node_selector.as_ref(), node)
                    }
                };
                // What shares counters with others cannot be told apart from them here.
                if here && device.consumes_counters.as_ref().is_none_or(Vec::is_empty) {
                    let local = spec.node_name.is_some() || device.node_name.is_some();
                    let (driver, pool) = (&spec.driver[..], &spec.pool.name[..]);
                    found.push(Available { driver, pool, device, local });
                }
            }
        }
        found
    }
}

fn key(slice: &ResourceSlice) -> (String, String) {
    (slice.spec.driver.clone(), slice.spec.pool.name.clone())
}

fn reaches(all: Option<bool>, selector: Option<&NodeSelector>, node: &Node) -> bool {
    all == Some(true) || selector.is_some_and(|selector| selected(selector, node))
}

/// Whether a selector selects a node.
pub(super) fn selected(selector: &NodeSelector, node: &Node) -> bool {
    let name = node.metadata.name.as_deref().unwrap_or_default();
    let terms = NodeTerm::of(selector);
    terms.iter().any(|term| term.matches(name, node.metadata.labels.as_ref()))
}
