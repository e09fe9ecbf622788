use k8s_openapi::api::core::v1::{ServicePort, ServiceSpec};

use super::{is_reached_from_outside, needs_health_check};
use crate::kinds::check::text;

/// `clusterIP` is the first of `clusterIPs`; whoever sets the one alone sets both.
pub(super) fn cluster_ips(new: &mut ServiceSpec, old: Option<&ServiceSpec>) {
    let first = text(&new.cluster_ip);
    let unset = new.cluster_ips.iter().flatten().next().is_none();
    let follows = match old {
        None => !first.is_empty() && unset,
        Some(old) if first == text(&old.cluster_ip) => false,
        Some(old) => new.cluster_ips == old.cluster_ips || !first.is_empty() && unset,
    };
    if follows {
        new.cluster_ips = (!first.is_empty()).then(|| vec![first.to_owned()]);
    }
}

/// Who leaves out what has been given to a service wants to keep it.
pub(super) fn keep_what_was_given(new: &mut ServiceSpec, old: &ServiceSpec) {
    if has_cluster_ip(old) && has_cluster_ip(new) {
        if text(&new.cluster_ip).is_empty() {
            new.cluster_ip.clone_from(&old.cluster_ip);
        }
        if new.cluster_ips.iter().flatten().next().is_none() && new.cluster_ip == old.cluster_ip {
            new.cluster_ips.clone_from(&old.cluster_ips);
        }
    }
    if has_node_ports(old) && has_node_ports(new) {
        keep_node_ports(new, old);
    }
    if needs_health_check(old)
        && needs_health_check(new)
        && new.health_check_node_port.unwrap_or(0) == 0
    {
        new.health_check_node_port = old.health_check_node_port;
    }
}

fn keep_node_ports(new: &mut ServiceSpec, old: &ServiceSpec) {
    let given = |port: &&ServicePort| port.node_port.unwrap_or(0) != 0;
    let used: Vec<(Option<String>, i32)> = (new.ports.iter().flatten())
        .filter(given)
        .map(|port| (port.protocol.clone(), port.node_port.unwrap_or(0)))
        .collect();
    for port in new.ports.iter_mut().flatten().filter(|port| port.node_port.unwrap_or(0) == 0) {
        let mut before = old.ports.iter().flatten();
        let before = before.find(|old| old.port == port.port && old.protocol == port.protocol);
        let Some(number) = before.and_then(|before| before.node_port) else { continue };
        if !used.contains(&(port.protocol.clone(), number)) {
            port.node_port = Some(number);
        }
    }
}

/// Who changes the type without a word of what only the old type has wants it gone.
pub(super) fn drop_what_no_longer_applies(new: &mut ServiceSpec, old: &ServiceSpec) {
    if has_cluster_ip(old)
        && !has_cluster_ip(new)
        && (&new.cluster_ip, &new.cluster_ips) == (&old.cluster_ip, &old.cluster_ips)
    {
        new.cluster_ip = None;
        new.cluster_ips = None;
    }
    if has_node_ports(old) && !has_node_ports(new) && node_ports(new) == node_ports(old) {
        new.ports.iter_mut().flatten().for_each(|port| port.node_port = None);
    }
    if needs_health_check(old)
        && !needs_health_check(new)
        && new.health_check_node_port == old.health_check_node_port
    {
        new.health_check_node_port = None;
    }
    if is_reached_from_outside(old)
        && !is_reached_from_outside(new)
        && new.external_traffic_policy == old.external_traffic_policy
    {
        new.external_traffic_policy = None;
    }
    let balanced = |spec: &ServiceSpec| text(&spec.type_) == "LoadBalancer";
    if balanced(old) && !balanced(new) {
        if new.allocate_load_balancer_node_ports == old.allocate_load_balancer_node_ports {
            new.allocate_load_balancer_node_ports = None;
        }
        if new.load_balancer_class == old.load_balancer_class {
            new.load_balancer_class = None;
        }
    }
    let external = |spec: &ServiceSpec| text(&spec.type_) == "ExternalName";
    if external(new) && !external(old) {
        if new.ip_families == old.ip_families {
            new.ip_families = None;
        }
        if new.ip_family_policy == old.ip_family_policy {
            new.ip_family_policy = None;
        }
    }
}

fn has_cluster_ip(spec: &ServiceSpec) -> bool {
    matches!(text(&spec.type_), "ClusterIP" | "NodePort" | "LoadBalancer")
}

fn has_node_ports(spec: &ServiceSpec) -> bool {
    match text(&spec.type_) {
        "NodePort" => true,
        "LoadBalancer" => spec.allocate_load_balancer_node_ports != Some(false),
        _ => false,
    }
}

fn node_ports(spec: &ServiceSpec) -> Vec<i32> {
    spec.ports.iter().flatten().map(|port| port.node_port.unwrap_or(0)).collect()
}
