//! Services and the endpoints behind them.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    EndpointSubset, Endpoints, LoadBalancerStatus, Service, ServicePort, ServiceSpec,
};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::Value;

use super::age::age;
use super::text::{self, NONE, or_none};
use super::typed::Entry;
use super::{AGE, Column, NAME, cells};

const SERVICE: &[Column] = &[
    NAME,
    Column::text("Type", "How the service is reached"),
    Column::text("Cluster-IP", "Address of the service within the cluster"),
    Column::text("External-IP", "Addresses of the service from outside"),
    Column::text("Port(s)", "Ports of the service, with those of the nodes"),
    AGE,
    Column::text("Selector", "Labels of the pods behind the service").wide(),
];

const ENDPOINTS: &[Column] =
    &[NAME, Column::text("Endpoints", "Addresses and ports that are ready"), AGE];

const ENDPOINT_SLICE: &[Column] = &[
    NAME,
    Column::text("AddressType", "What kind of addresses the slice holds"),
    Column::text("Ports", "Ports of every endpoint"),
    Column::text("Endpoints", "Addresses of the endpoints"),
    AGE,
];

/// Most addresses of endpoints that are shown.
const ENDPOINTS_SHOWN: usize = 3;

pub(super) fn printers() -> Vec<Entry> {
    vec![
        Entry::new(SERVICE, service),
        Entry::new(ENDPOINTS, endpoints),
        Entry::new(ENDPOINT_SLICE, endpoint_slice),
    ]
}

fn service(service: &Service, now: Timestamp) -> Vec<Value> {
    let none = ServiceSpec::default();
    let spec = service.spec.as_ref().unwrap_or(&none);
    let balancer = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let ports: Vec<_> = spec.ports.iter().flatten().map(port).collect();
    cells![
        service.metadata.name.as_deref(),
        spec.type_.as_deref().unwrap_or_default(),
        spec.cluster_ips.iter().flatten().next().map_or(NONE, |address| address),
        external_addresses(spec, balancer),
        or_none(Some(&ports.join(","))),
        age(&service.metadata, now),
        text::labels(spec.selector.as_ref()),
    ]
}

fn external_addresses(spec: &ServiceSpec, balancer: Option<&LoadBalancerStatus>) -> String {
    let external = spec.external_ips.iter().flatten().map(|address| &address[..]);
    match spec.type_.as_deref() {
        Some("ClusterIP" | "NodePort") => {
            or_none(Some(&external.collect::<Vec<_>>().join(","))).to_owned()
        }
        Some("LoadBalancer") => {
            let ingress = balancer.and_then(|balancer| balancer.ingress.as_ref());
            let ingress = ingress.into_iter().flatten();
            let given = text::sorted(ingress.filter_map(|one| {
                let address = one.ip.as_deref().filter(|ip| !ip.is_empty());
                address.or(one.hostname.as_deref()).filter(|name| !name.is_empty())
            }));
            let all: Vec<_> = Some(&given[..])
                .filter(|text| !text.is_empty())
                .into_iter()
                .chain(external)
                .collect();
            text::or(Some(&all.join(",")), "<pending>").to_owned()
        }
        Some("ExternalName") => spec.external_name.clone().unwrap_or_default(),
        _ => "<unknown>".to_owned(),
    }
}

fn port(port: &ServicePort) -> String {
    let protocol = port.protocol.as_deref().unwrap_or_default();
    match port.node_port {
        Some(node) if node > 0 => format!("{}:{node}/{protocol}", port.port),
        _ => format!("{}/{protocol}", port.port),
    }
}

fn endpoints(endpoints: &Endpoints, now: Timestamp) -> Vec<Value> {
    let all: Vec<_> = endpoints.subsets.iter().flatten().flat_map(addresses).collect();
    let is_empty = endpoints.subsets.as_ref().is_none_or(Vec::is_empty);
    let text = match all.len().checked_sub(ENDPOINTS_SHOWN) {
        _ if is_empty => NONE.to_owned(),
        Some(more) if more > 0 => {
            format!("{} + {more} more...", all[..ENDPOINTS_SHOWN].join(","))
        }
        _ => all.join(","),
    };
    cells![endpoints.metadata.name.as_deref(), text, age(&endpoints.metadata, now)]
}

fn addresses(subset: &EndpointSubset) -> Vec<String> {
    let all = || subset.addresses.iter().flatten();
    match subset.ports.as_deref() {
        // Headless services may have no ports.
        None | Some([]) => all().map(|address| address.ip.clone()).collect(),
        Some(ports) => ports
            .iter()
            .flat_map(|port| all().map(move |address| with_port(&address.ip, port.port)))
            .collect(),
    }
}

fn with_port(address: &str, port: i32) -> String {
    if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
}

fn endpoint_slice(slice: &EndpointSlice, now: Timestamp) -> Vec<Value> {
    let ports = slice.ports.iter().flatten().map(|port| match (port.port, &port.name) {
        (Some(number), _) => number.to_string(),
        (None, Some(name)) => name.clone(),
        (None, None) => "*".to_owned(),
    });
    let addresses = slice.endpoints.iter().flatten().flat_map(|endpoint| &endpoint.addresses);
    cells![
        slice.metadata.name.as_deref(),
        &slice.address_type[..],
        text::shortened(ports),
        text::shortened(addresses),
        age(&slice.metadata, now),
    ]
}
