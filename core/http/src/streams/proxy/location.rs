use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod, Service, ServicePort};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use pinnace_api::{ApiError, Key, Object, Reason, Result};
use pinnace_client::nodes::{NodeConnection, PodReference};

use super::{Target, unreachable};
use crate::streams::Connect;

const SLICES: &str = "endpointslices.discovery.k8s.io";
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// Who is to answer, and how it is spoken to.
pub(super) struct Upstream {
    pub(super) place: Place,
    pub(super) secure: bool,
    /// What the header `Host` says.
    pub(super) host: String,
}

/// Where it is.
pub(super) enum Place {
    /// A port of a pod, by way of its node.
    Pod { node: Arc<dyn NodeConnection>, reference: PodReference, port: u16 },
    /// An address of the network.
    Address(IpAddr, u16),
}

impl Connect<'_> {
    /// Finds what the path names.
    ///
    /// # Errors
    /// `NotFound`, `BadRequest` for a name or an address that cannot be, `ServiceUnavailable` where
    /// nobody could answer.
    pub(super) fn locate(&self) -> Result<Upstream> {
        match &*self.resource.plural {
            "pods" => self.locate_pod(),
            "services" => self.locate_service(),
            _ => self.locate_node(),
        }
    }

    fn find(&self, name: &str) -> Result<Object> {
        let key = if self.resource.is_namespaced() {
            Key::new(&*self.info.namespace, name)
        } else {
            Key::cluster(name)
        };
        let snapshot = self.server.store().snapshot();
        let object = snapshot.get(self.resource.name(), &key).cloned();
        object.ok_or_else(|| ApiError::not_found(self.resource, name))
    }

    fn locate_pod(&self) -> Result<Upstream> {
        let target = Target::parse("pod", &self.info.name)?;
        let object = self.find(target.name)?;
        let pod = object.typed::<Pod>()?;
        let port = match (target.port, target.number()) {
            (_, Some(port)) => port,
            ("", None) => first_port(&pod).unwrap_or_else(|| target.usual_port()),
            (name, None) => {
                let why = format!("dial tcp: lookup tcp/{name}: unknown port");
                return Err(unreachable(why));
            }
        };
        self.at_pod(&object, &pod, port, target.secure)
    }

    fn at_pod(&self, object: &Object, pod: &Pod, port: u16, secure: bool) -> Result<Upstream> {
        let name = object.name();
        let node = self.node(pod)?.ok_or_else(|| {
            ApiError::bad_request(format!("pod {name} does not have a host assigned"))
        })?;
        let reference = PodReference {
            namespace: object.namespace().to_owned(),
            name: name.to_owned(),
            uid: object.uid().to_owned(),
        };
        let address = pod.status.as_ref().and_then(|status| status.pod_ip.as_deref());
        let host = authority(address.unwrap_or("localhost"), port);
        Ok(Upstream { place: Place::Pod { node, reference, port }, secure, host })
    }

    fn locate_service(&self) -> Result<Upstream> {
        let target = Target::parse("service", &self.info.name)?;
        let service = self.find(target.name)?.typed::<Service>()?;
        let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
        let ports: Vec<&ServicePort> = ports.collect();
        let port = match (target.number(), &ports[..]) {
            (Some(number), ports) => {
                let found = ports.iter().find(|port| port.port == i32::from(number));
                Some(*found.ok_or_else(|| {
                    let name = target.name;
                    let why = format!("no service port {number} found for service {name:?}");
                    ApiError::new(Reason::ServiceUnavailable, why)
                })?)
            }
            (None, [only]) if target.port.is_empty() => Some(*only),
            (None, ports) => {
                ports.iter().copied().find(|port| name_of(port.name.as_ref()) == target.port)
            }
        };
        let found = match port {
            Some(port) if self.server.catalog().by_name(SLICES).is_some() => {
                self.endpoints(target.name, name_of(port.name.as_ref()))?
            }
            Some(port) => self.selected(&service, port)?,
            None => Vec::new(),
        };
        if found.is_empty() {
            let message = format!("no endpoints available for service {:?}", target.name);
            return Err(ApiError::new(Reason::ServiceUnavailable, message));
        }
        let chosen = self.server.env().random().below(found.len() as u64);
        let chosen = usize::try_from(chosen).unwrap_or(0);
        match found.into_iter().nth(chosen) {
            Some(Endpoint::Pod(object, port)) => {
                let pod = object.typed::<Pod>()?;
                self.at_pod(&object, &pod, port, target.secure)
            }
            Some(Endpoint::Address(address, port)) => at_address(&address, port, target.secure),
            None => Err(ApiError::internal("no endpoint was chosen")),
        }
    }

    /// The ready endpoints of a port of a service, as its slices have them.
    fn endpoints(&self, service: &str, port: &str) -> Result<Vec<Endpoint>> {
        let snapshot = self.server.store().snapshot();
        let namespace = &*self.info.namespace;
        let mut found = Vec::new();
        for object in snapshot.iter_namespace(SLICES, namespace) {
            let labels = object.meta().labels.as_ref();
            if labels.and_then(|labels| labels.get(SERVICE_NAME)).is_none_or(|of| of != service) {
                continue;
            }
            let slice = object.typed::<EndpointSlice>()?;
            let mut ports = slice.ports.iter().flatten();
            let number = ports.find(|one| name_of(one.name.as_ref()) == port);
            let Some(number) = number.and_then(|one| u16::try_from(one.port?).ok()) else {
                continue;
            };
            for endpoint in slice.endpoints.iter().flatten() {
                let ready = endpoint.conditions.as_ref().and_then(|conditions| conditions.ready);
                if ready == Some(false) {
                    continue;
                }
                let pod =
                    endpoint.target_ref.as_ref().filter(|of| of.kind.as_deref() == Some("Pod"));
                let pod = pod.and_then(|of| {
                    let key = Key::new(namespace, of.name.as_deref()?);
                    snapshot.get("pods", &key).cloned()
                });
                match (pod, endpoint.addresses.first()) {
                    (Some(pod), _) => found.push(Endpoint::Pod(pod, number)),
                    (None, Some(address)) => {
                        found.push(Endpoint::Address(address.clone(), number));
                    }
                    (None, None) => {}
                }
            }
        }
        Ok(found)
    }

    /// The ready pods that a service selects, where nothing keeps slices.
    fn selected(&self, service: &Service, port: &ServicePort) -> Result<Vec<Endpoint>> {
        let selector = service.spec.as_ref().and_then(|spec| spec.selector.as_ref());
        let Some(selector) = selector.filter(|selector| !selector.is_empty()) else {
            return Ok(Vec::new());
        };
        let snapshot = self.server.store().snapshot();
        let mut found = Vec::new();
        for object in snapshot.iter_namespace("pods", &self.info.namespace) {
            let labels = object.meta().labels.as_ref();
            let has = |(key, value)| labels.and_then(|labels| labels.get(key)) == Some(value);
            if object.is_deleting() || !selector.iter().all(has) {
                continue;
            }
            let pod = object.typed::<Pod>()?;
            let number = target_port(&pod, port);
            if let (true, Some(number)) = (is_ready(&pod), number) {
                found.push(Endpoint::Pod(object.clone(), number));
            }
        }
        Ok(found)
    }

    /// The agent of a node that a request to its usual port is for, if this server reaches it
    /// otherwise than by its address.
    ///
    /// # Errors
    /// `NotFound` for the node.
    pub(super) fn agent(&self, target: &Target<'_>) -> Result<Option<Arc<dyn NodeConnection>>> {
        let node = self.find(target.name)?.typed::<Node>()?;
        let shown = node.status.as_ref().and_then(|status| status.daemon_endpoints.as_ref());
        let shown = shown.and_then(|all| u16::try_from(all.kubelet_endpoint.as_ref()?.port).ok());
        let usual = target.port.is_empty() || target.number() == Some(shown.unwrap_or(AGENT_PORT));
        let nodes = self.nodes.filter(|_| usual);
        Ok(nodes.and_then(|nodes| nodes.node(target.name).ok()))
    }

    fn locate_node(&self) -> Result<Upstream> {
        let target = Target::parse("node", &self.info.name)?;
        let node = self.find(target.name)?.typed::<Node>()?;
        let status = node.status.as_ref();
        let agent = status
            .and_then(|status| status.daemon_endpoints.as_ref()?.kubelet_endpoint.as_ref())
            .and_then(|endpoint| u16::try_from(endpoint.port).ok());
        let addresses = status.iter().flat_map(|status| status.addresses.iter().flatten());
        let mut internal = addresses.filter(|address| address.type_ == "InternalIP");
        let address = internal.next().map(|address| address.address.clone());
        let address = address.ok_or_else(|| {
            ApiError::internal(format!("node {:?} has no internal address", target.name))
        })?;
        match (target.number(), agent) {
            (Some(port), agent) if agent != Some(port) => at_address(&address, port, target.secure),
            // The agent itself speaks TLS, whatever the path says.
            (_, agent) => at_address(&address, agent.unwrap_or(AGENT_PORT), true),
        }
    }
}

/// Where upstream's node agent listens.
const AGENT_PORT: u16 = 10250;

enum Endpoint {
    Pod(Object, u16),
    Address(String, u16),
}

fn name_of(name: Option<&String>) -> &str {
    name.map_or("", String::as_str)
}

fn authority(address: &str, port: u16) -> String {
    if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
}

/// An address, unless it is one that only means something on this machine.
fn at_address(address: &str, port: u16, secure: bool) -> Result<Upstream> {
    let refused = || ApiError::bad_request("address not allowed");
    let ip: IpAddr = address.parse().map_err(|_| refused())?;
    let local = match ip {
        IpAddr::V4(ip) => ip.is_link_local() || ip == std::net::Ipv4Addr::BROADCAST,
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    if local || ip.is_loopback() || ip.is_unspecified() || ip.is_multicast() {
        return Err(refused());
    }
    Ok(Upstream { place: Place::Address(ip, port), secure, host: authority(address, port) })
}

fn first_port(pod: &Pod) -> Option<u16> {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let mut ports = containers.filter_map(|container| container.ports.as_ref()?.first());
    ports.next().and_then(|port| u16::try_from(port.container_port).ok())
}

fn target_port(pod: &Pod, port: &ServicePort) -> Option<u16> {
    let number = match &port.target_port {
        Some(IntOrString::String(name)) => {
            let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
            let mut ports = containers.flat_map(|container| container.ports.iter().flatten());
            ports.find(|one| one.name.as_ref() == Some(name))?.container_port
        }
        Some(IntOrString::Int(number)) if *number > 0 => *number,
        _ => port.port,
    };
    u16::try_from(number).ok()
}

fn is_ready(pod: &Pod) -> bool {
    let mut conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True")
}
