use k8s_openapi::api::networking::v1::{
    IPBlock, NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::super::check::{cidr, complain, port, text};
use super::super::names::rules;
use super::super::pod_spec::PROTOCOLS;
use super::super::{fill, label_selector, next_generation};
use crate::Strategy;
use crate::field::{ErrorList, Path};

/// Who may speak to whom.
pub(in crate::kinds) struct NetworkPolicyStrategy;

impl Strategy for NetworkPolicyStrategy {
    type Kind = NetworkPolicy;

    fn default(&self, policy: &mut NetworkPolicy) {
        let Some(spec) = &mut policy.spec else { return };
        let ingress = spec.ingress.iter_mut().flatten().flat_map(|rule| &mut rule.ports);
        let egress = spec.egress.iter_mut().flatten().flat_map(|rule| &mut rule.ports);
        for port in ingress.chain(egress).flatten() {
            fill(&mut port.protocol, "TCP");
        }
        if spec.policy_types.as_ref().is_none_or(Vec::is_empty) {
            let mut types = vec!["Ingress".to_owned()];
            if spec.egress.as_ref().is_some_and(|rules| !rules.is_empty()) {
                types.push("Egress".to_owned());
            }
            spec.policy_types = Some(types);
        }
    }

    fn prepare_for_create(&self, policy: &mut NetworkPolicy) {
        policy.metadata.generation = Some(1);
    }

    fn validate(&self, policy: &NetworkPolicy, errors: &mut ErrorList) {
        if let Some(spec) = &policy.spec {
            validate_spec(spec, &Path::root("spec"), errors);
        }
    }

    fn prepare_for_update(&self, new: &mut NetworkPolicy, old: &NetworkPolicy) {
        let changed = new.spec != old.spec;
        next_generation(&mut new.metadata, &old.metadata, changed);
    }
}

fn validate_spec(spec: &NetworkPolicySpec, path: &Path<'_>, errors: &mut ErrorList) {
    if let Some(selector) = &spec.pod_selector {
        label_selector::validate(selector, &path.child("podSelector"), errors);
    }
    let at = path.child("ingress");
    for (index, rule) in spec.ingress.iter().flatten().enumerate() {
        let at = at.index(index);
        validate_ports(rule.ports.as_deref(), &at.child("ports"), errors);
        validate_peers(rule.from.as_deref(), &at.child("from"), errors);
    }
    let at = path.child("egress");
    for (index, rule) in spec.egress.iter().flatten().enumerate() {
        let at = at.index(index);
        validate_ports(rule.ports.as_deref(), &at.child("ports"), errors);
        validate_peers(rule.to.as_deref(), &at.child("to"), errors);
    }
    let at = path.child("policyTypes");
    let types = spec.policy_types.as_deref().unwrap_or_default();
    if types.len() > 2 {
        errors.invalid(
            &at,
            super::super::check::Json(&types),
            "may not specify more than two policyTypes",
        );
        return;
    }
    for (index, one) in types.iter().enumerate() {
        if !matches!(one.as_str(), "Ingress" | "Egress") {
            errors.not_supported(&at.index(index), one, &["Egress", "Ingress"]);
        }
    }
}

fn validate_ports(ports: Option<&[NetworkPolicyPort]>, path: &Path<'_>, errors: &mut ErrorList) {
    for (index, one) in ports.unwrap_or_default().iter().enumerate() {
        let path = path.index(index);
        let protocol = text(&one.protocol);
        if !protocol.is_empty() && !PROTOCOLS.contains(&protocol) {
            errors.not_supported(&path.child("protocol"), protocol, &PROTOCOLS);
        }
        if let Some(number) = &one.port {
            port(errors, &path.child("port"), number);
        }
        let Some(end) = one.end_port else { continue };
        let at = path.child("endPort");
        match &one.port {
            None => errors
                .required(&path.child("port"), "must be specified when `endPort` is specified"),
            Some(IntOrString::String(name)) => {
                errors.invalid(
                    &path.child("port"),
                    name,
                    "must be an integer when `endPort` is specified",
                );
            }
            Some(IntOrString::Int(start)) => {
                if end < *start {
                    errors.invalid(&at, *start, "must be greater than or equal to `port`");
                }
                complain(errors, &at, end, rules::port_number(end));
            }
        }
    }
}

fn validate_peers(peers: Option<&[NetworkPolicyPeer]>, path: &Path<'_>, errors: &mut ErrorList) {
    for (index, peer) in peers.unwrap_or_default().iter().enumerate() {
        let path = path.index(index);
        let selectors =
            [("podSelector", &peer.pod_selector), ("namespaceSelector", &peer.namespace_selector)];
        for (field, selector) in selectors {
            if let Some(selector) = selector {
                label_selector::validate(selector, &path.child(field), errors);
            }
        }
        if let Some(block) = &peer.ip_block {
            validate_block(block, &path.child("ipBlock"), errors);
        }
        let selects = peer.pod_selector.is_some() || peer.namespace_selector.is_some();
        if peer.ip_block.is_some() && selects {
            errors.forbidden(&path, "may not specify both ipBlock and another peer");
        } else if peer.ip_block.is_none() && !selects {
            errors.required(&path, "must specify a peer");
        }
    }
}

fn validate_block(block: &IPBlock, path: &Path<'_>, errors: &mut ErrorList) {
    let at = path.child("cidr");
    if block.cidr.is_empty() {
        errors.required(&at, "");
        return;
    }
    if cidr(errors, &at, &block.cidr).is_none() {
        return;
    }
    let at = path.child("except");
    for (index, except) in block.except.iter().flatten().enumerate() {
        let at = at.index(index);
        if cidr(errors, &at, except).is_some() && !strictly_within(except, &block.cidr) {
            let why = format!("must be a strict subset of `cidr`: {}", block.cidr);
            errors.invalid(&at, except, &why);
        }
    }
}

/// Whether a range lies in another and is not all of it; both are known to be ranges.
fn strictly_within(inner: &str, outer: &str) -> bool {
    let parts = |range: &str| -> Option<(u128, u32, bool)> {
        let (address, length) = range.split_once('/')?;
        let length: u32 = length.parse().ok()?;
        match address.parse().ok()? {
            std::net::IpAddr::V4(v4) => Some((u128::from(u32::from(v4)) << 96, length, true)),
            std::net::IpAddr::V6(v6) => Some((u128::from(v6), length, false)),
        }
    };
    let (Some((inner, inner_length, a)), Some((outer, outer_length, b))) =
        (parts(inner), parts(outer))
    else {
        return false;
    };
    let shift = 128 - outer_length;
    let same = shift == 128 || inner >> shift == outer >> shift;
    a == b && inner_length > outer_length && same
}
