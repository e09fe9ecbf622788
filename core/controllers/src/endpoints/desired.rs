//! Where a service should be served, as its pods are now.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{ObjectReference, Pod, Service, ServicePort};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use pinnace_api::{Object, Typed};

use crate::pods;

/// Endpoints that have the same ports and family: what a slice can hold.
pub(super) type Groups = BTreeMap<(String, Vec<Port>), Vec<Endpoint>>;

/// A port by name, protocol and number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Port {
    pub(super) name: String,
    pub(super) protocol: String,
    pub(super) number: i32,
    pub(super) application: Option<String>,
}

impl Port {
    /// As a slice has it.
    pub(super) fn endpoint_port(&self) -> EndpointPort {
        EndpointPort {
            name: Some(self.name.clone()),
            protocol: Some(self.protocol.clone()),
            port: Some(self.number),
            app_protocol: self.application.clone(),
        }
    }
}

/// Whether a change of a pod may change where a service is served.
pub(super) fn matters(old: Option<&Object>, new: Option<&Object>) -> bool {
    let (Some(old), Some(new)) = (old, new) else { return true };
    let view = |object: &Object| {
        let pod = object.get::<Pod>().ok()?;
        let status = pod.status.as_ref();
        Some((
            object.is_deleting(),
            pods::is_terminal(pod),
            pods::ready_since(pod).is_some(),
            pods::node_name(pod).to_owned(),
            status.and_then(|status| status.pod_ip.clone()),
            status.and_then(|status| status.pod_ips.clone()),
        ))
    };
    old.labels() != new.labels() || view(old) != view(new)
}

/// The endpoints of a service, grouped by what a slice can hold.
pub(super) fn of(
    service: &Service,
    selected: &[Typed<Pod>],
    zone: impl Fn(&str) -> Option<String>,
) -> Groups {
    let none = Default::default();
    let spec = service.spec.as_ref().unwrap_or(&none);
    let publish = spec.publish_not_ready_addresses == Some(true);
    let families = spec.ip_families.clone().filter(|families| !families.is_empty());
    let families = families.unwrap_or_else(|| vec!["IPv4".to_owned()]);
    let mut groups = Groups::new();
    for pod in selected.iter().filter(|pod| !pods::is_terminal(pod)) {
        let ports: Vec<Port> =
            spec.ports.iter().flatten().filter_map(|port| port_of(port, pod)).collect();
        for family in &families {
            let Some(address) = address_of(pod, family) else { continue };
            let mut endpoint = endpoint(service, pod, address, publish);
            endpoint.zone = endpoint.node_name.as_deref().and_then(&zone);
            groups.entry((family.clone(), ports.clone())).or_default().push(endpoint);
        }
    }
    groups
}

fn port_of(port: &ServicePort, pod: &Pod) -> Option<Port> {
    let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
    let number = match &port.target_port {
        None => port.port,
        Some(IntOrString::Int(0)) => port.port,
        Some(IntOrString::Int(number)) => *number,
        Some(IntOrString::String(name)) => named_port(pod, name, &protocol)?,
    };
    let name = port.name.clone().unwrap_or_default();
    Some(Port { name, protocol, number, application: port.app_protocol.clone() })
}

fn named_port(pod: &Pod, name: &str, protocol: &str) -> Option<i32> {
    let spec = pod.spec.as_ref()?;
    let sidecars = spec.init_containers.iter().flatten();
    let sidecars = sidecars.filter(|one| one.restart_policy.as_deref() == Some("Always"));
    let ports = spec.containers.iter().chain(sidecars).flat_map(|one| one.ports.iter().flatten());
    let mut matching = ports.filter(|port| {
        port.name.as_deref() == Some(name) && port.protocol.as_deref().unwrap_or("TCP") == protocol
    });
    matching.next().map(|port| port.container_port)
}

fn address_of(pod: &Pod, family: &str) -> Option<String> {
    let status = pod.status.as_ref()?;
    let several = status.pod_ips.iter().flatten().map(|ip| ip.ip.as_str());
    let mut all = several.chain(status.pod_ip.as_deref());
    let fits = |text: &&str| {
        text.parse::<IpAddr>().is_ok_and(|address| address.is_ipv4() == (family == "IPv4"))
    };
    all.find(fits).map(str::to_owned)
}

fn endpoint(service: &Service, pod: &Typed<Pod>, address: String, publish: bool) -> Endpoint {
    let ready = pods::ready_since(pod).is_some();
    let going = pod.object().is_deleting();
    let spec = pod.spec.as_ref();
    let hostname = spec.and_then(|spec| {
        let within = spec.subdomain.is_some() && spec.subdomain == service.metadata.name;
        spec.hostname.clone().filter(|_| within)
    });
    Endpoint {
        addresses: vec![address],
        conditions: Some(EndpointConditions {
            ready: Some(publish || (ready && !going)),
            serving: Some(ready),
            terminating: Some(going),
        }),
        hostname,
        node_name: Some(pods::node_name(pod).to_owned()).filter(|name| !name.is_empty()),
        target_ref: Some(ObjectReference {
            kind: Some("Pod".to_owned()),
            namespace: pod.metadata.namespace.clone(),
            name: pod.metadata.name.clone(),
            uid: pod.metadata.uid.clone(),
            ..Default::default()
        }),
        ..Default::default()
    }
}
