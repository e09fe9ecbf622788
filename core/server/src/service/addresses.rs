use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use k8s_openapi::api::core::v1::{Service, ServiceSpec};
use k8s_openapi::api::networking::v1::{IPAddress, IPAddressSpec, ParentReference, ServiceCIDR};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use pinnace_api::field::{Bare, ErrorList, Path};
use pinnace_api::{ApiError, Draft, Key, Object, Result};
use pinnace_store::Snapshot;

use super::families::of_range;
use super::{ADDRESSES, HEADLESS, is_external, is_headless};
use crate::Server;

/// The table of ranges that are added while the cluster runs.
const RANGES: &str = "servicecidrs.networking.k8s.io";
/// How many addresses are looked at to find a free one.
const MAX_PROBES: u128 = 1 << 16;

/// Addresses of a spec, as the names of the objects that stand for them.
pub(super) fn of(spec: Option<&ServiceSpec>) -> Vec<String> {
    let Some(spec) = spec.filter(|spec| !is_external(spec)) else { return Vec::new() };
    let all = spec.cluster_ips.iter().flatten().filter(|address| *address != HEADLESS);
    all.filter_map(|address| Some(address.parse::<IpAddr>().ok()?.to_string())).collect()
}

/// The objects by which a service holds its addresses.
pub(super) fn held(
    service: Option<&Object>,
    spec: Option<&ServiceSpec>,
    snapshot: &Snapshot,
) -> Vec<Object> {
    let Some(service) = service else { return Vec::new() };
    let addresses = of(spec).into_iter();
    let found = addresses.filter_map(|name| snapshot.get(ADDRESSES, &Key::cluster(name.as_str())));
    let is_its = |address: &&Object| {
        address.get::<IPAddress>().is_ok_and(|address| {
            let parent = &address.spec.parent_ref;
            parent.resource == "services"
                && parent.name == service.name()
                && parent.namespace.as_deref().unwrap_or_default() == service.namespace()
        })
    };
    found.filter(is_its).cloned().collect()
}

/// A service that wants addresses.
pub(super) struct Wanted<'a> {
    pub(super) server: &'a Server,
    pub(super) snapshot: &'a Snapshot,
    pub(super) meta: &'a ObjectMeta,
}

impl Wanted<'_> {
    /// Fills in the addresses that are missing. Gives the objects that stand for all that the
    /// service has not had.
    pub(super) fn take(
        &self,
        spec: &mut ServiceSpec,
        old: Option<&ServiceSpec>,
        errors: &mut ErrorList,
    ) -> Result<Vec<Draft>> {
        if is_external(spec) || is_headless(spec) {
            return Ok(Vec::new());
        }
        let had = of(old);
        let families = spec.ip_families.clone().unwrap_or_default();
        let mut addresses = spec.cluster_ips.clone().unwrap_or_default();
        addresses.resize(families.len().max(addresses.len()), String::new());
        let ranges = self.ranges();
        let mut taken = Vec::new();
        for (address, family) in addresses.iter_mut().zip(&families) {
            let ranges: Vec<_> = ranges.iter().filter(|range| of_range(range) == family).collect();
            let Some(range) = ranges.first() else { continue };
            if address.is_empty() {
                let free = ranges.iter().find_map(|range| self.free(range));
                *address = free.ok_or_else(full)?.to_string();
            } else {
                // Validation has said what is no address.
                let Ok(parsed) = address.parse::<IpAddr>() else { continue };
                if had.contains(&parsed.to_string()) {
                    continue;
                }
                let own = ranges.iter().find(|range| range.contains(&parsed)).unwrap_or(range);
                if let Err(why) = self.check(own, parsed) {
                    let shown = Bare(serde_json::json!(spec.cluster_ips).to_string());
                    let spec = Path::root("spec");
                    let why = format!("failed to allocate IP {address}: {why}");
                    errors.invalid(&spec.child("clusterIPs"), shown, &why);
                    continue;
                }
            }
            if let Ok(parsed) = address.parse::<IpAddr>() {
                taken.push(Draft::new(self.object(parsed, family)));
            }
        }
        spec.cluster_ip = addresses.first().cloned();
        spec.cluster_ips = Some(addresses);
        Ok(taken)
    }

    /// The ranges that services have addresses of: those of the configuration, and then those that
    /// objects have added since.
    fn ranges(&self) -> Vec<IpNet> {
        let mut ranges = self.server.service_network().ranges.clone();
        for object in self.snapshot.iter(RANGES).filter(|object| !object.is_deleting()) {
            let Ok(added) = object.get::<ServiceCIDR>() else { continue };
            let texts = added.spec.as_ref().and_then(|spec| spec.cidrs.as_ref());
            let added = texts.into_iter().flatten().filter_map(|text| text.parse().ok());
            added.for_each(|range| {
                if !ranges.contains(&range) {
                    ranges.push(range);
                }
            });
        }
        ranges
    }

    fn check(&self, range: &IpNet, address: IpAddr) -> Result<(), String> {
        let (first, last) = bounds(range);
        if !(first..=last).contains(&number(address)) {
            return Err(format!(
                "the provided IP ({address}) is not in the valid range. The range of valid IPs is \
                 {range}"
            ));
        }
        if self.is_taken(address) {
            return Err("provided IP is already allocated".to_owned());
        }
        Ok(())
    }

    /// Whether an object stands for it. A service that was stored without one has its address too;
    /// it is looked for only where one is asked for by number.
    fn is_taken(&self, address: IpAddr) -> bool {
        let name = address.to_string();
        self.snapshot.get(ADDRESSES, &Key::cluster(name.as_str())).is_some()
            || self.snapshot.iter("services").any(|service| {
                let spec = service.get::<Service>().ok().and_then(|service| service.spec.as_ref());
                of(spec).contains(&name)
            })
    }

    /// A free address: from the upper part of the range while there is one, since the lower is for
    /// those who ask by number.
    fn free(&self, range: &IpNet) -> Option<IpAddr> {
        let (first, last) = bounds(range);
        let size = last.checked_sub(first)?.saturating_add(1);
        let lower = (size / 16).clamp(16, 256).min(size);
        let is_free = |address: &IpAddr| {
            let name = address.to_string();
            self.snapshot.get(ADDRESSES, &Key::cluster(name.as_str())).is_none()
        };
        let probe = |from: u128, len: u128| {
            let bound = u64::try_from(len).unwrap_or(u64::MAX);
            let start = u128::from(self.server.env().random().below(bound.max(1)));
            (0..len.min(MAX_PROBES))
                .map(|step| address(range, from + (start + step) % len))
                .find(is_free)
        };
        let upper = size - lower;
        let found = if upper > 0 { probe(first + lower, upper) } else { None };
        found.or_else(|| probe(first, lower))
    }

    fn object(&self, address: IpAddr, family: &str) -> IPAddress {
        let labels = [
            ("ipaddress.kubernetes.io/ip-family", family),
            ("ipaddress.kubernetes.io/managed-by", "ipallocator.k8s.io"),
        ];
        let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
        IPAddress {
            metadata: ObjectMeta {
                name: Some(address.to_string()),
                uid: Some(self.server.env().random().uid()),
                creation_timestamp: Some(Time(self.server.env().clock().now_seconds())),
                generation: Some(1),
                labels: Some(BTreeMap::from(labels)),
                ..ObjectMeta::default()
            },
            spec: IPAddressSpec {
                parent_ref: ParentReference {
                    resource: "services".to_owned(),
                    namespace: self.meta.namespace.clone(),
                    name: self.meta.name.clone().unwrap_or_default(),
                    ..ParentReference::default()
                },
            },
        }
    }
}

fn full() -> ApiError {
    ApiError::internal("failed to allocate a serviceIP: range is full")
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address),
    }
}

fn address(range: &IpNet, number: u128) -> IpAddr {
    match range {
        IpNet::V4(_) => Ipv4Addr::from(u32::try_from(number).unwrap_or_default()).into(),
        IpNet::V6(_) => Ipv6Addr::from(number).into(),
    }
}

/// First and last address that a service can have: not the network's own, and not the one of all.
fn bounds(range: &IpNet) -> (u128, u128) {
    let first = number(range.network()).saturating_add(1);
    let last = number(range.broadcast());
    (first, if range.addr().is_ipv4() { last.saturating_sub(1) } else { last })
}
