use k8s_openapi::api::core::v1::{ClientIPConfig, Service, SessionAffinityConfig};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::kinds::{fill, omit_empty};

/// How long a client sticks to an endpoint, in seconds, when the service does not say.
const CLIENT_IP_AFFINITY_SECONDS: i32 = 10_800;

/// Fills in what a service leaves open.
pub(super) fn service(service: &mut Service) {
    let spec = service.spec.get_or_insert_default();
    omit_empty!(spec; cluster_ip, cluster_ips, external_ips, external_name, external_traffic_policy,
        health_check_node_port, ip_families, load_balancer_ip, load_balancer_source_ranges, ports,
        publish_not_ready_addresses, selector);
    fill(&mut spec.session_affinity, "None");
    match spec.session_affinity.as_deref() {
        Some("None") => spec.session_affinity_config = None,
        Some("ClientIP") => {
            let client_ip = spec.session_affinity_config.as_ref();
            let timeout = client_ip.and_then(|config| config.client_ip.as_ref()?.timeout_seconds);
            if timeout.is_none() {
                let timeout_seconds = Some(CLIENT_IP_AFFINITY_SECONDS);
                spec.session_affinity_config = Some(SessionAffinityConfig {
                    client_ip: Some(ClientIPConfig { timeout_seconds }),
                });
            }
        }
        _ => {}
    }
    fill(&mut spec.type_, "ClusterIP");
    for port in spec.ports.iter_mut().flatten() {
        omit_empty!(port; name, node_port);
        fill(&mut port.protocol, "TCP");
        let open = match &port.target_port {
            None | Some(IntOrString::Int(0)) => true,
            Some(IntOrString::String(name)) => name.is_empty(),
            Some(IntOrString::Int(_)) => false,
        };
        if open {
            port.target_port = Some(IntOrString::Int(port.port));
        }
    }
    let kind = spec.type_.as_deref().unwrap_or_default();
    let outside = matches!(kind, "NodePort" | "LoadBalancer")
        || kind == "ClusterIP" && spec.external_ips.is_some();
    if outside {
        fill(&mut spec.external_traffic_policy, "Cluster");
    }
    if spec.internal_traffic_policy.is_none()
        && matches!(kind, "NodePort" | "LoadBalancer" | "ClusterIP")
    {
        spec.internal_traffic_policy = Some("Cluster".to_owned());
    }
    if kind != "LoadBalancer" {
        return;
    }
    spec.allocate_load_balancer_node_ports.get_or_insert(true);
    let balancer = service.status.as_mut().and_then(|status| status.load_balancer.as_mut());
    for ingress in balancer.and_then(|balancer| balancer.ingress.as_mut()).into_iter().flatten() {
        if ingress.ip.as_deref().is_some_and(|ip| !ip.is_empty()) && ingress.ip_mode.is_none() {
            ingress.ip_mode = Some("VIP".to_owned());
        }
    }
}
