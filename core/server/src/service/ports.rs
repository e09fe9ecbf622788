use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::Arc;

use k8s_openapi::api::core::v1::ServiceSpec;
use parking_lot::Mutex;
use pinnace_api::field::{ErrorList, Path};
use pinnace_api::{ApiError, Result};
use pinnace_store::Snapshot;

use super::services;
use crate::Server;

/// Node ports of services that are being written.
#[derive(Clone, Default)]
pub(crate) struct PortsInFlight(Arc<Mutex<BTreeSet<u16>>>);

/// Ports that nobody else gets until this is dropped.
pub(crate) struct Reservation {
    ports: BTreeSet<u16>,
    in_flight: PortsInFlight,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.in_flight.0.lock().retain(|port| !self.ports.contains(port));
    }
}

struct Choice<'a> {
    server: &'a Server,
    range: RangeInclusive<u16>,
    used: BTreeSet<u16>,
    had: BTreeSet<u16>,
    chosen: BTreeSet<u16>,
}

impl PortsInFlight {
    /// Fills in the ports that a service is to be given. The snapshot is one that shows every
    /// service whose ports are no longer in flight.
    pub(crate) fn reserve(
        &self,
        server: &Server,
        spec: &mut ServiceSpec,
        old: Option<&ServiceSpec>,
        errors: &mut ErrorList,
    ) -> Result<(Option<Reservation>, Snapshot)> {
        if !needs_ports(spec) {
            return Ok((None, server.snapshot()));
        }
        let mut in_flight = self.0.lock();
        let snapshot = server.snapshot();
        let had: BTreeSet<u16> = old.into_iter().flat_map(ports_of).collect();
        let mut used: BTreeSet<u16> = services(&snapshot).flat_map(ports_of).collect();
        used.extend(in_flight.iter().copied());
        let range = server.service_network().node_ports.clone();
        let mut choice = Choice { server, range, used, had, chosen: BTreeSet::new() };
        choice.fill(spec, errors)?;
        in_flight.extend(&choice.chosen);
        drop(in_flight);
        let reservation = Reservation { ports: choice.chosen, in_flight: self.clone() };
        Ok((Some(reservation), snapshot))
    }
}

impl Choice<'_> {
    fn fill(&mut self, spec: &mut ServiceSpec, errors: &mut ErrorList) -> Result<()> {
        let path = Path::root("spec");
        let allocates = allocates_ports(spec);
        let may_have = has_ports(spec);
        let wants_health = wants_health_check(spec);
        let list = path.child("ports");
        // One port may be open for several protocols; they then share the number on the nodes.
        let mut numbers: Vec<(i32, u16)> = Vec::new();
        let mut ports = spec.ports.take().unwrap_or_default();
        for index in 0..ports.len() {
            let (port, wanted) = (ports[index].port, asked(ports[index].node_port));
            if !may_have || wanted.is_none() && !allocates {
                continue;
            }
            let shared = numbers.iter().find(|(of, _)| *of == port).map(|(_, number)| *number);
            let requested =
                ports.iter().filter(|other| other.port == port).find_map(|p| asked(p.node_port));
            let number = match (wanted, shared) {
                (None, Some(shared)) => shared,
                (Some(wanted), Some(shared)) if wanted == shared => shared,
                (Some(wanted), _) => {
                    self.take(wanted, &list.index(index).child("nodePort"), errors);
                    wanted
                }
                (None, None) => match requested {
                    Some(requested) => {
                        self.take(requested, &list.index(index).child("nodePort"), errors);
                        requested
                    }
                    None => self.next().ok_or_else(|| full("nodePort"))?,
                },
            };
            if shared.is_none() {
                numbers.push((port, number));
            }
            ports[index].node_port = Some(i32::from(number));
        }
        spec.ports = Some(ports).filter(|ports| !ports.is_empty());
        if wants_health {
            match asked(spec.health_check_node_port) {
                Some(wanted) => self.take(wanted, &path.child("healthCheckNodePort"), errors),
                None => {
                    let number = self.next().ok_or_else(|| full("HealthCheck NodePort"))?;
                    spec.health_check_node_port = Some(i32::from(number));
                }
            }
        }
        Ok(())
    }

    fn take(&mut self, number: u16, path: &Path<'_>, errors: &mut ErrorList) {
        if self.had.contains(&number) {
            return;
        }
        if !self.range.contains(&number) {
            let why = format!(
                "provided port is not in the valid range. The range of valid ports is {}-{}",
                self.range.start(),
                self.range.end()
            );
            return errors.invalid(path, i32::from(number), &why);
        }
        if !self.used.insert(number) {
            return errors.invalid(path, i32::from(number), "provided port is already allocated");
        }
        self.chosen.insert(number);
    }

    /// A free port: from the upper part of the range while there is one.
    fn next(&mut self) -> Option<u16> {
        let first = u32::from(*self.range.start());
        let size = u32::from(*self.range.end()).checked_sub(first)?.saturating_add(1);
        let lower = if size < 16 { 0 } else { (size / 32).clamp(16, 128).min(size) };
        let upper = size - lower;
        let start = self.server.env().random().below(u64::from(upper.max(1)));
        let start = u32::try_from(start).unwrap_or_default();
        let probes = (0..upper)
            .map(|step| lower + (start + step) % upper.max(1))
            .chain(0..lower)
            .filter_map(|offset| u16::try_from(first + offset).ok());
        let found = probes.into_iter().find(|port| !self.used.contains(port))?;
        self.used.insert(found);
        self.chosen.insert(found);
        Some(found)
    }
}

fn asked(port: Option<i32>) -> Option<u16> {
    port.filter(|port| *port != 0).and_then(|port| u16::try_from(port).ok())
}

fn ports_of(spec: &ServiceSpec) -> impl Iterator<Item = u16> {
    let ports = spec.ports.iter().flatten().map(|port| port.node_port);
    ports.chain([spec.health_check_node_port]).filter_map(asked)
}

fn has_ports(spec: &ServiceSpec) -> bool {
    matches!(spec.type_.as_deref(), Some("NodePort" | "LoadBalancer"))
}

fn allocates_ports(spec: &ServiceSpec) -> bool {
    match spec.type_.as_deref() {
        Some("NodePort") => true,
        Some("LoadBalancer") => spec.allocate_load_balancer_node_ports != Some(false),
        _ => false,
    }
}

fn wants_health_check(spec: &ServiceSpec) -> bool {
    spec.type_.as_deref() == Some("LoadBalancer")
        && spec.external_traffic_policy.as_deref() == Some("Local")
}

fn needs_ports(spec: &ServiceSpec) -> bool {
    has_ports(spec) || wants_health_check(spec)
}

fn full(what: &str) -> ApiError {
    ApiError::internal(format!("failed to allocate a {what}: range is full"))
}
