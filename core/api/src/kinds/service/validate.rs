use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{addresses, is_headless, is_reached_from_outside, needs_health_check};
use crate::field::{Bare, ErrorList, Path};
use crate::kinds::check::{
    IMMUTABLE, Json, Seen, choice, cidr, complain, ip, port, required_choice, text,
};
use crate::kinds::metadata;
use crate::kinds::names::rules;
use crate::kinds::pod_spec::PROTOCOLS;

/// Most seconds a client sticks to an endpoint.
const AFFINITY_SECONDS_MAX: i32 = 86_400;
const BALANCED_ONLY: &str = "may only be used when `type` is 'LoadBalancer'";
const HINTS: &str = "service.kubernetes.io/topology-aware-hints";
const MODE: &str = "service.kubernetes.io/topology-mode";
const SOURCE_RANGES: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";
const TYPES: [&str; 4] = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];

/// Checks a service.
pub(super) fn service(service: &Service, spec: &ServiceSpec, errors: &mut ErrorList) {
    let path = Path::root("spec");
    let type_ = text(&spec.type_);
    validate_topology(service, errors);
    validate_type(spec, &path, errors);
    validate_ports(spec, &path.child("ports"), errors);
    metadata::labels(spec.selector.iter().flatten(), &path.child("selector"), errors);
    validate_affinity(spec, &path, errors);
    addresses::validate(spec, errors);
    let list = path.child("externalIPs");
    for (index, address) in spec.external_ips.iter().flatten().enumerate() {
        if let Some(parsed) = ip(errors, &list.index(index), address) {
            validate_not_special(parsed, address, &list.index(index), errors);
        }
    }
    required_choice(errors, &path.child("type"), &spec.type_, &TYPES);
    validate_port_clashes(spec, &path.child("ports"), errors);
    validate_source_ranges(service, spec, &path, errors);
    if spec.allocate_load_balancer_node_ports.is_some() && type_ != "LoadBalancer" {
        errors.forbidden(&path.child("allocateLoadBalancerNodePorts"), BALANCED_ONLY);
    }
    if spec.allocate_load_balancer_node_ports.is_none() && type_ == "LoadBalancer" {
        errors.required(&Path::root("allocateLoadBalancerNodePorts"), "");
    }
    if let Some(class) = &spec.load_balancer_class {
        let at = path.child("loadBalancerClass");
        if type_ == "LoadBalancer" {
            complain(errors, &at, class, rules::qualified_name(class));
        } else {
            errors.forbidden(&at, BALANCED_ONLY);
        }
    }
    validate_traffic(spec, &path, errors);
}

fn validate_topology(service: &Service, errors: &mut ErrorList) {
    let Some(annotations) = &service.metadata.annotations else { return };
    if let (Some(mode), Some(hints)) = (annotations.get(MODE), annotations.get(HINTS))
        && mode != hints
    {
        let meta = Path::root("metadata");
        let at = meta.child("annotations");
        let why = format!("must match annotations[{HINTS}] when both are specified");
        errors.invalid(&at.key(MODE), mode, &why);
    }
}

fn validate_type(spec: &ServiceSpec, path: &Path<'_>, errors: &mut ErrorList) {
    let type_ = text(&spec.type_);
    let ports = spec.ports.as_deref().unwrap_or_default();
    if ports.is_empty() && !is_headless(spec) && type_ != "ExternalName" {
        errors.required(&path.child("ports"), "");
    }
    match type_ {
        "LoadBalancer" | "NodePort" if is_headless(spec) => {
            let list = path.child("clusterIPs");
            let why = format!("may not be set to 'None' for {type_} services");
            errors.invalid(&list.index(0), "None", &why);
        }
        "ExternalName" => {
            let not_here = [
                ("clusterIPs", spec.cluster_ips.iter().flatten().next().is_some()),
                ("ipFamilies", spec.ip_families.iter().flatten().next().is_some()),
                ("ipFamilyPolicy", spec.ip_family_policy.is_some()),
            ];
            for (field, _) in not_here.into_iter().filter(|(_, set)| *set) {
                errors.forbidden(&path.child(field), "may not be set for ExternalName services");
            }
            let name = text(&spec.external_name);
            let name = name.strip_suffix('.').unwrap_or(name);
            let at = path.child("externalName");
            if name.is_empty() {
                errors.required(&at, "");
            } else {
                complain(errors, &at, name, rules::dns_subdomain(name));
            }
        }
        _ => {}
    }
}

fn validate_ports(spec: &ServiceSpec, path: &Path<'_>, errors: &mut ErrorList) {
    let ports = spec.ports.as_deref().unwrap_or_default();
    let mut names = Seen::new();
    for (index, one) in ports.iter().enumerate() {
        let path = path.index(index);
        let name = text(&one.name);
        let at = path.child("name");
        if !name.is_empty() {
            complain(errors, &at, name, rules::dns_label(name));
            if !names.insert(name) {
                errors.duplicate(&at, name);
            }
        } else if ports.len() > 1 {
            errors.required(&at, "");
        }
        complain(errors, &path.child("port"), one.port, rules::port_number(one.port));
        required_choice(errors, &path.child("protocol"), &one.protocol, &PROTOCOLS);
        let target = one.target_port.as_ref().unwrap_or(&IntOrString::Int(0));
        port(errors, &path.child("targetPort"), target);
        if let Some(protocol) = &one.app_protocol {
            let complaints = rules::qualified_name(protocol);
            complain(errors, &path.child("appProtocol"), protocol, complaints);
        }
    }
}

fn validate_port_clashes(spec: &ServiceSpec, path: &Path<'_>, errors: &mut ErrorList) {
    let ports = spec.ports.as_deref().unwrap_or_default();
    let mut seen = Seen::new();
    for (index, port) in ports.iter().enumerate() {
        let at = path.index(index);
        let at = at.child("nodePort");
        let number = port.node_port.unwrap_or(0);
        if number != 0 && text(&spec.type_) == "ClusterIP" {
            errors.forbidden(&at, "may not be used when `type` is 'ClusterIP'");
        }
        if number != 0 && !seen.insert((text(&port.protocol), number)) {
            errors.duplicate(&at, number);
        }
    }
    let mut seen = Seen::new();
    for (index, ServicePort { protocol, port, .. }) in ports.iter().enumerate() {
        let protocol = text(protocol);
        if !seen.insert((protocol, *port)) {
            let shown = format!(
                "{{\"Name\":\"\",\"Protocol\":{protocol:?},\"AppProtocol\":null,\"Port\":{port},\
                 \"TargetPort\":0,\"NodePort\":0}}"
            );
            errors.duplicate(&path.index(index), Bare(shown));
        }
    }
}

fn validate_affinity(spec: &ServiceSpec, path: &Path<'_>, errors: &mut ErrorList) {
    let affinity = &spec.session_affinity;
    required_choice(errors, &path.child("sessionAffinity"), affinity, &["ClientIP", "None"]);
    let at = path.child("sessionAffinityConfig");
    match (text(affinity), &spec.session_affinity_config) {
        ("None", Some(_)) => {
            errors.forbidden(&at, "must not be set when session affinity is None");
        }
        ("ClientIP", config) => {
            const WHEN: &str = "when session affinity type is ClientIP";
            let client = config.as_ref().and_then(|config| config.client_ip.as_ref());
            let below = at.child("clientIP");
            match (config, client.map(|client| client.timeout_seconds)) {
                (None, _) => errors.required(&at, WHEN),
                (Some(_), None) => errors.required(&below, WHEN),
                (_, Some(None)) => errors.required(&below.child("timeoutSeconds"), WHEN),
                (_, Some(Some(seconds))) if !(1..=AFFINITY_SECONDS_MAX).contains(&seconds) => {
                    let why =
                        format!("must be greater than 0 and less than {AFFINITY_SECONDS_MAX}");
                    errors.invalid(&below.child("timeoutSeconds"), seconds, &why);
                }
                _ => {}
            }
        }
        _ => {}
    }
}

/// Addresses that mean something else to every machine are no addresses of a service.
fn validate_not_special(address: IpAddr, shown: &str, path: &Path<'_>, errors: &mut ErrorList) {
    let unspecified = format!("may not be unspecified ({shown})");
    let (link_local, link_local_multicast) = match address {
        IpAddr::V4(address) => (address.is_link_local(), address.octets()[..3] == [224, 0, 0]),
        IpAddr::V6(address) => {
            (address.is_unicast_link_local(), address.segments()[0] & 0xff0f == 0xff02)
        }
    };
    let rules = [
        (address.is_unspecified(), unspecified.as_str()),
        (address.is_loopback(), "may not be in the loopback range (127.0.0.0/8, ::1/128)"),
        (link_local, "may not be in the link-local range (169.254.0.0/16, fe80::/10)"),
        (
            link_local_multicast,
            "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)",
        ),
    ];
    for (_, why) in rules.into_iter().filter(|(is, _)| *is) {
        errors.invalid(path, shown, why);
    }
}

fn validate_source_ranges(
    service: &Service,
    spec: &ServiceSpec,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    let balanced = text(&spec.type_) == "LoadBalancer";
    let ranges = spec.load_balancer_source_ranges.as_deref().unwrap_or_default();
    if !ranges.is_empty() {
        let at = path.child("LoadBalancerSourceRanges");
        if !balanced {
            errors.forbidden(&at, BALANCED_ONLY);
        }
        for (index, range) in ranges.iter().enumerate() {
            cidr(errors, &at.index(index), range.trim());
        }
        return;
    }
    let annotations = service.metadata.annotations.as_ref();
    let Some(ranges) = annotations.and_then(|all| all.get(SOURCE_RANGES)) else { return };
    let meta = Path::root("metadata");
    let at = meta.child("annotations");
    let at = at.key(SOURCE_RANGES);
    if !balanced {
        errors.forbidden(&at, BALANCED_ONLY);
    }
    if !ranges.trim().is_empty() {
        for range in ranges.split(',') {
            cidr(errors, &at, range.trim());
        }
    }
}

fn validate_traffic(spec: &ServiceSpec, path: &Path<'_>, errors: &mut ErrorList) {
    let at = path.child("externalTrafficPolicy");
    let policy = &spec.external_traffic_policy;
    if is_reached_from_outside(spec) {
        required_choice(errors, &at, policy, &["Cluster", "Local"]);
    } else if !text(policy).is_empty() {
        let why = "may only be set for externally-accessible services";
        errors.invalid(&at, text(policy), why);
    }
    // One that is missing is given when the service is stored, as its addresses are.
    let number = spec.health_check_node_port.unwrap_or(0);
    let at = path.child("healthCheckNodePort");
    if number != 0 && needs_health_check(spec) {
        complain(errors, &at, number, rules::port_number(number));
    } else if number != 0 {
        let why = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is \
                   'Local'";
        errors.invalid(&at, number, why);
    }
    let at = path.child("internalTrafficPolicy");
    let policy = &spec.internal_traffic_policy;
    let needed = matches!(text(&spec.type_), "NodePort" | "LoadBalancer" | "ClusterIP");
    if policy.is_none() && needed {
        errors.required(&at, "");
    }
    choice(errors, &at, policy, &["Cluster", "Local"]);
    let ways = ["PreferClose", "PreferSameNode", "PreferSameZone"];
    choice(errors, &path.child("trafficDistribution"), &spec.traffic_distribution, &ways);
}

/// Checks what a load balancer keeps.
pub(super) fn update(new: &ServiceSpec, old: &ServiceSpec, errors: &mut ErrorList) {
    let path = Path::root("spec");
    let balanced = |spec: &ServiceSpec| text(&spec.type_) == "LoadBalancer";
    if balanced(new) && balanced(old) && new.load_balancer_class != old.load_balancer_class {
        let at = path.child("loadBalancerClass");
        errors.invalid(&at, Json(&new.load_balancer_class), "may not change once set");
    }
    if needs_health_check(new)
        && needs_health_check(old)
        && new.health_check_node_port.unwrap_or(0) != old.health_check_node_port.unwrap_or(0)
    {
        errors.forbidden(&path.child("healthCheckNodePort"), IMMUTABLE);
    }
}

/// Checks what a load balancer says of itself.
pub(super) fn status(service: &Service, errors: &mut ErrorList) {
    let type_ = service.spec.as_ref().map_or("", |spec| text(&spec.type_));
    let status = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let ingress = status.and_then(|status| status.ingress.as_deref()).unwrap_or_default();
    let path = Path::root("status");
    let path = path.child("loadBalancer");
    let path = path.child("ingress");
    if type_ != "LoadBalancer" && !ingress.is_empty() {
        let why = "may only be used when `spec.type` is 'LoadBalancer'";
        return errors.forbidden(&path, why);
    }
    for (index, ingress) in ingress.iter().enumerate() {
        let path = path.index(index);
        let address = text(&ingress.ip);
        if !address.is_empty() {
            ip(errors, &path.child("ip"), address);
        }
        let at = path.child("ipMode");
        match &ingress.ip_mode {
            None if address.is_empty() => {}
            None => errors.required(&at, "must be specified when `ip` is set"),
            Some(_) if address.is_empty() => {
                errors.forbidden(&at, "may not be specified when `ip` is not set");
            }
            mode => choice(errors, &at, mode, &["Proxy", "VIP"]),
        }
        let name = text(&ingress.hostname);
        if !name.is_empty() {
            let at = path.child("hostname");
            complain(errors, &at, name, rules::dns_subdomain(name));
            if name.parse::<IpAddr>().is_ok() {
                errors.invalid(&at, name, "must be a DNS name, not an IP address");
            }
        }
    }
}
