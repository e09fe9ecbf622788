//! What services are given when they are stored: addresses, node ports and the families they
//! follow from.
//!
//! An address is taken by an `IPAddress` object that is written in the same transaction as the
//! service, so it is taken once, whoever else writes, and the store alone knows what is free. Ports
//! are those of the services there are, and of those that are being written.

mod addresses;
mod families;
mod ports;

use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

use ipnet::{IpNet, Ipv4Net};
use k8s_openapi::api::core::v1::{Service, ServiceSpec};
use k8s_openapi::api::networking::v1::IPAddress;
use pinnace_api::field::ErrorList;
use pinnace_api::{ApiError, Draft, Object, Resource, Result};
use pinnace_store::{Expect, Snapshot, Transaction};

use crate::Server;
pub(crate) use ports::PortsInFlight;

/// Table of the addresses that are taken.
const ADDRESSES: &str = "ipaddresses.networking.k8s.io";
const HEADLESS: &str = "None";

/// Where services get their addresses and ports from.
#[derive(Clone, Debug)]
pub struct ServiceNetwork {
    /// Ranges of cluster addresses, at most one of each family. The first is of the default family.
    pub ranges: Vec<IpNet>,
    /// Ports that nodes keep for services.
    pub node_ports: RangeInclusive<u16>,
}

impl Default for ServiceNetwork {
    fn default() -> Self {
        let range = Ipv4Net::new_assert(Ipv4Addr::new(10, 96, 0, 0), 16);
        Self { ranges: vec![range.into()], node_ports: 30_000..=32_767 }
    }
}

/// What is given to a service, to be written with it or given back.
#[derive(Default)]
pub(crate) struct Claims {
    taken: Vec<Draft>,
    released: Vec<Object>,
    /// Held until the service is written.
    _ports: Option<ports::Reservation>,
}

impl Server {
    /// Gives a service what it needs; nothing to objects of other kinds.
    ///
    /// # Errors
    /// `Invalid` when what it asks for is taken or not to be had, `InternalError` when there is
    /// nothing left.
    pub(crate) fn claim(
        &self,
        resource: &Resource,
        new: &mut Draft,
        old: Option<&Object>,
    ) -> Result<Claims> {
        if !Self::claims(resource) {
            return Ok(Claims::default());
        }
        let old_spec = match old {
            Some(old) => old.get::<Service>()?.spec.clone(),
            None => None,
        };
        let Some(service) = new.get_mut::<Service>() else { return Ok(Claims::default()) };
        let meta = service.metadata.clone();
        let Some(spec) = &mut service.spec else { return Ok(Claims::default()) };
        let mut errors = ErrorList::default();
        let refused = |errors: &ErrorList| {
            ApiError::invalid(resource, meta.name.as_deref().unwrap_or_default(), errors)
        };
        let network = self.service_network();
        families::fill(spec, old_spec.as_ref(), network, &mut errors);
        if !errors.is_empty() {
            return Err(refused(&errors));
        }
        // Ports first: they are held from before the snapshot until after the commit.
        let (ports, snapshot) = self.ports().reserve(self, spec, old_spec.as_ref(), &mut errors)?;
        let wanted = addresses::Wanted { server: self, snapshot: &snapshot, meta: &meta };
        let taken = wanted.take(spec, old_spec.as_ref(), &mut errors)?;
        if !errors.is_empty() {
            return Err(refused(&errors));
        }
        let kept = addresses::of(Some(spec));
        let mut released = addresses::held(old, old_spec.as_ref(), &snapshot);
        released.retain(|address| !kept.iter().any(|kept| kept == address.name()));
        Ok(Claims { taken, released, _ports: ports })
    }

    /// Gives back what a service had that is removed.
    pub(crate) fn release(&self, resource: &Resource, old: &Object) -> Result<Claims> {
        if !Self::claims(resource) {
            return Ok(Claims::default());
        }
        let spec = old.get::<Service>()?.spec.as_ref();
        let released = addresses::held(Some(old), spec, &self.snapshot());
        Ok(Claims { released, ..Claims::default() })
    }

    /// Adds what is to be written beside the service. The claims must be kept until it is.
    ///
    /// # Errors
    /// `NotFound` when the catalog has no addresses.
    pub(crate) fn write_claims(
        &self,
        claims: &mut Claims,
        transaction: &mut Transaction,
    ) -> Result<()> {
        if claims.taken.is_empty() && claims.released.is_empty() {
            return Ok(());
        }
        let addresses = self.catalog().of::<IPAddress>()?;
        let table = addresses.name();
        for address in claims.released.drain(..) {
            let expect = Expect::Revision(address.revision());
            transaction.delete(table, address.key(), expect);
        }
        for address in claims.taken.drain(..) {
            transaction.put(table, address.key(), Expect::Absent, address);
        }
        Ok(())
    }

    /// Whether objects of a kind are given anything.
    pub(crate) fn claims(resource: &Resource) -> bool {
        &**resource.name() == "services"
    }
}

fn is_external(spec: &ServiceSpec) -> bool {
    spec.type_.as_deref() == Some("ExternalName")
}

fn is_headless(spec: &ServiceSpec) -> bool {
    spec.cluster_ip.as_deref() == Some(HEADLESS)
}

/// The services that a snapshot shows.
fn services(snapshot: &Snapshot) -> impl Iterator<Item = &ServiceSpec> {
    snapshot.iter("services").filter_map(|service| service.get::<Service>().ok()?.spec.as_ref())
}
