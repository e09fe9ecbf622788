//! Where services are served: EndpointSlices, and Endpoints as it once was.

use k8s_openapi::api::core::v1::{EndpointAddress, EndpointSubset, Endpoints};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointPort, EndpointSlice};

use super::check::{complain, immutable, ip, text};
use super::fill;
use super::names::rules;
use super::pod_spec::PROTOCOLS;
use crate::Strategy;
use crate::field::{ErrorList, Path};

/// Most endpoints of a slice, addresses of an endpoint, and ports.
const ENDPOINTS_MAX: usize = 1000;
const ADDRESSES_MAX: usize = 100;
const PORTS_MAX: usize = 20_000;

/// Where a service is served, all in one object.
pub(super) struct EndpointsStrategy;

impl Strategy for EndpointsStrategy {
    type Kind = Endpoints;

    fn default(&self, endpoints: &mut Endpoints) {
        let subsets = endpoints.subsets.iter_mut().flatten();
        for port in subsets.flat_map(|subset| &mut subset.ports).flatten() {
            fill(&mut port.protocol, "TCP");
        }
    }

    fn validate(&self, endpoints: &Endpoints, errors: &mut ErrorList) {
        let path = Path::root("subsets");
        for (index, subset) in endpoints.subsets.iter().flatten().enumerate() {
            validate_subset(subset, &path.index(index), errors);
        }
    }
}

fn validate_subset(subset: &EndpointSubset, path: &Path<'_>, errors: &mut ErrorList) {
    let ready = subset.addresses.as_deref().unwrap_or_default();
    let not_ready = subset.not_ready_addresses.as_deref().unwrap_or_default();
    if ready.is_empty() && not_ready.is_empty() {
        errors.required(path, "must specify `addresses` or `notReadyAddresses`");
    }
    for (field, addresses) in [("addresses", ready), ("notReadyAddresses", not_ready)] {
        let at = path.child(field);
        for (index, address) in addresses.iter().enumerate() {
            validate_address(address, &at.index(index), errors);
        }
    }
    let at = path.child("ports");
    let ports = subset.ports.as_deref().unwrap_or_default();
    for (index, port) in ports.iter().enumerate() {
        let at = at.index(index);
        let name = text(&port.name);
        if name.is_empty() && ports.len() > 1 {
            errors.required(&at.child("name"), "");
        } else if !name.is_empty() {
            complain(errors, &at.child("name"), name, rules::dns_label(name));
        }
        complain(errors, &at.child("port"), port.port, rules::port_number(port.port));
        protocol(&port.protocol, &at.child("protocol"), errors);
    }
}

fn protocol(value: &Option<String>, path: &Path<'_>, errors: &mut ErrorList) {
    match text(value) {
        "" => errors.required(path, ""),
        value if PROTOCOLS.contains(&value) => {}
        value => errors.not_supported(path, value, &PROTOCOLS),
    }
}

fn validate_address(address: &EndpointAddress, path: &Path<'_>, errors: &mut ErrorList) {
    special(&address.ip, &path.child("ip"), errors);
    let host = text(&address.hostname);
    if !host.is_empty() {
        complain(errors, &path.child("hostname"), host, rules::dns_label(host));
    }
    if let Some(node) = address.node_name.as_deref() {
        complain(errors, &path.child("nodeName"), node, rules::dns_subdomain(node));
    }
}

/// Addresses that mean this machine, or none, are not where a service is.
fn special(address: &str, path: &Path<'_>, errors: &mut ErrorList) {
    let Some(parsed) = ip(errors, path, address) else { return };
    if parsed.is_unspecified() {
        errors.invalid(path, address, &format!("may not be unspecified ({address})"));
    }
    if parsed.is_loopback() {
        errors.invalid(path, address, "may not be in the loopback range (127.0.0.0/8, ::1/128)");
    }
    let (link_local, multicast) = match parsed {
        std::net::IpAddr::V4(v4) => (v4.is_link_local(), v4.octets()[..3] == [224, 0, 0]),
        std::net::IpAddr::V6(v6) => (v6.is_unicast_link_local(), v6.segments()[0] == 0xff02),
    };
    if link_local {
        let why = "may not be in the link-local range (169.254.0.0/16, fe80::/10)";
        errors.invalid(path, address, why);
    }
    if multicast {
        let why = "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)";
        errors.invalid(path, address, why);
    }
}

/// Where a service is served, a part of it.
pub(super) struct EndpointSliceStrategy;

impl Strategy for EndpointSliceStrategy {
    type Kind = EndpointSlice;

    fn default(&self, slice: &mut EndpointSlice) {
        for port in slice.ports.iter_mut().flatten() {
            port.name.get_or_insert_default();
            fill(&mut port.protocol, "TCP");
        }
    }

    fn prepare_for_create(&self, slice: &mut EndpointSlice) {
        slice.metadata.generation = Some(1);
    }

    fn validate(&self, slice: &EndpointSlice, errors: &mut ErrorList) {
        let at = Path::root("addressType");
        match slice.address_type.as_str() {
            "" => errors.required(&at, ""),
            "IPv4" | "IPv6" | "FQDN" => {}
            other => errors.not_supported(&at, other, &["FQDN", "IPv4", "IPv6"]),
        }
        let path = Path::root("endpoints");
        let endpoints = slice.endpoints.as_deref().unwrap_or_default();
        if endpoints.len() > ENDPOINTS_MAX {
            errors.too_many(&path, endpoints.len(), ENDPOINTS_MAX);
            return;
        }
        for (index, endpoint) in endpoints.iter().enumerate() {
            validate_endpoint(endpoint, &slice.address_type, &path.index(index), errors);
        }
        validate_ports(slice.ports.as_deref().unwrap_or_default(), errors);
    }

    fn prepare_for_update(&self, new: &mut EndpointSlice, old: &EndpointSlice) {
        let changed = (&new.endpoints, &new.ports) != (&old.endpoints, &old.ports)
            || new.metadata.labels != old.metadata.labels;
        super::next_generation(&mut new.metadata, &old.metadata, changed);
    }

    fn validate_update(&self, new: &EndpointSlice, old: &EndpointSlice, errors: &mut ErrorList) {
        self.validate(new, errors);
        immutable(errors, &Path::root("addressType"), &new.address_type, &old.address_type);
    }
}

fn validate_endpoint(endpoint: &Endpoint, kind: &str, path: &Path<'_>, errors: &mut ErrorList) {
    let at = path.child("addresses");
    if endpoint.addresses.is_empty() {
        errors.required(&at, "must contain at least 1 address");
    } else if endpoint.addresses.len() > ADDRESSES_MAX {
        errors.too_many(&at, endpoint.addresses.len(), ADDRESSES_MAX);
    }
    for (index, address) in endpoint.addresses.iter().enumerate() {
        let at = at.index(index);
        match kind {
            "IPv4" | "IPv6" => {
                let fits = address.parse::<std::net::IpAddr>();
                if fits.is_ok_and(|parsed| parsed.is_ipv4() != (kind == "IPv4")) {
                    errors.invalid(&at, address, &format!("must be a valid {kind} address"));
                } else {
                    special(address, &at, errors);
                }
            }
            "FQDN" => complain(errors, &at, address, rules::dns_subdomain(address)),
            _ => {}
        }
    }
    if let Some(node) = endpoint.node_name.as_deref() {
        complain(errors, &path.child("nodeName"), node, rules::dns_subdomain(node));
    }
    if let Some(host) = endpoint.hostname.as_deref() {
        complain(errors, &path.child("hostname"), host, rules::dns_label(host));
    }
}

fn validate_ports(ports: &[EndpointPort], errors: &mut ErrorList) {
    let path = Path::root("ports");
    if ports.len() > PORTS_MAX {
        errors.too_many(&path, ports.len(), PORTS_MAX);
        return;
    }
    for (index, port) in ports.iter().enumerate() {
        let at = path.index(index);
        let name = text(&port.name);
        if !name.is_empty() {
            complain(errors, &at.child("name"), name, rules::dns_label(name));
        }
        if ports[..index].iter().any(|other| text(&other.name) == name) {
            errors.duplicate(&at.child("name"), name);
        }
        protocol(&port.protocol, &at.child("protocol"), errors);
        if let Some(number) = port.port {
            complain(errors, &at.child("port"), number, rules::port_number(number));
        }
        if let Some(application) = port.app_protocol.as_deref() {
            let at = at.child("appProtocol");
            complain(errors, &at, application, rules::qualified_name(application));
        }
    }
}
