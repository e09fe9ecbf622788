use k8s_openapi::api::core::v1::Service;

use super::Amounts;
use crate::quantity::Quantity;

const LOAD_BALANCERS: &str = "services.loadbalancers";
const NODE_PORTS: &str = "services.nodeports";
/// What quotas call services and what they take.
pub(super) const NAMES: [&str; 3] = ["services", LOAD_BALANCERS, NODE_PORTS];

pub(super) fn measure(service: &Service, amounts: &mut Amounts) {
    let spec = service.spec.as_ref();
    let ports = spec.and_then(|spec| spec.ports.as_deref()).unwrap_or_default();
    let kind = spec.and_then(|spec| spec.type_.as_deref()).unwrap_or_default();
    let allocates = spec.and_then(|spec| spec.allocate_load_balancer_node_ports).unwrap_or(true);
    // Ports may not be given yet: what counts is what is wanted.
    let node_ports = match kind {
        "NodePort" => ports.len(),
        "LoadBalancer" if allocates => ports.len(),
        "LoadBalancer" => ports.iter().filter(|port| port.node_port.unwrap_or(0) != 0).count(),
        _ => 0,
    };
    let mut charge = |name: &str, count: usize| {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        amounts.insert(name.to_owned(), Quantity::from_units(count));
    };
    charge("services", 1);
    charge(LOAD_BALANCERS, usize::from(kind == "LoadBalancer"));
    charge(NODE_PORTS, node_ports);
}
