//! Ingresses, network policies, and the addresses of services.

use jiff::Timestamp;
use k8s_openapi::api::networking::v1::{
    IPAddress, Ingress, IngressClass, IngressRule, NetworkPolicy, ServiceCIDR,
};
use serde_json::Value;

use super::age::age;
use super::text::{self, NONE};
use super::typed::Entry;
use super::{AGE, Column, NAME, cells};

const INGRESS: &[Column] = &[
    NAME,
    Column::text("Class", "Class whose controller serves the ingress"),
    Column::text("Hosts", "Hosts that the rules are for"),
    Column::text("Address", "Where the ingress is reached"),
    Column::text("Ports", "Ports that are served"),
    AGE,
];

const INGRESS_CLASS: &[Column] = &[
    NAME,
    Column::text("Controller", "Controller that serves the class"),
    Column::text("Parameters", "Object with more settings of the class"),
    AGE,
];

const NETWORK_POLICY: &[Column] =
    &[NAME, Column::text("Pod-Selector", "Labels of the pods that the policy is for"), AGE];

const SERVICE_CIDR: &[Column] =
    &[NAME, Column::text("CIDRs", "Ranges that services get their addresses from"), AGE];

const IP_ADDRESS: &[Column] =
    &[NAME, Column::text("ParentRef", "Object that the address belongs to")];

const DEFAULT_CLASS: &str = "ingressclass.kubernetes.io/is-default-class";
/// Most hosts that are shown.
const HOSTS_SHOWN: usize = 3;

pub(super) fn printers() -> Vec<Entry> {
    vec![
        Entry::new(INGRESS, ingress),
        Entry::new(INGRESS_CLASS, ingress_class),
        Entry::new(NETWORK_POLICY, network_policy),
        Entry::new(SERVICE_CIDR, service_cidr),
        Entry::new(IP_ADDRESS, ip_address),
    ]
}

fn ingress(ingress: &Ingress, now: Timestamp) -> Vec<Value> {
    let none = Default::default();
    let spec = ingress.spec.as_ref().unwrap_or(&none);
    let balancer = ingress.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let points = balancer.and_then(|balancer| balancer.ingress.as_ref()).into_iter().flatten();
    let addresses = points.filter_map(|point| {
        let address = point.ip.as_deref().filter(|ip| !ip.is_empty());
        address.or(point.hostname.as_deref()).filter(|name| !name.is_empty())
    });
    let is_encrypted = spec.tls.as_ref().is_some_and(|tls| !tls.is_empty());
    cells![
        ingress.metadata.name.as_deref(),
        spec.ingress_class_name.as_deref().unwrap_or(NONE),
        hosts(spec.rules.as_deref().unwrap_or_default()),
        text::sorted(addresses),
        if is_encrypted { "80, 443" } else { "80" },
        age(&ingress.metadata, now),
    ]
}

fn hosts(rules: &[IngressRule]) -> String {
    let named = |rule: &IngressRule| rule.host.clone().filter(|host| !host.is_empty());
    let mut shown = Vec::new();
    for rule in rules {
        if shown.len() == HOSTS_SHOWN {
            return format!("{} + {} more...", shown.join(","), rules.len() - HOSTS_SHOWN);
        }
        shown.extend(named(rule));
    }
    text::or(Some(&shown.join(",")), "*").to_owned()
}

fn ingress_class(class: &IngressClass, now: Timestamp) -> Vec<Value> {
    let spec = class.spec.as_ref();
    let parameters = spec.and_then(|spec| spec.parameters.as_ref()).map(|parameters| {
        match &parameters.api_group {
            Some(group) => format!("{}.{group}/{}", parameters.kind, parameters.name),
            None => format!("{}/{}", parameters.kind, parameters.name),
        }
    });
    cells![
        text::with_default(&class.metadata, &[DEFAULT_CLASS]),
        spec.and_then(|spec| spec.controller.as_deref()).unwrap_or_default(),
        parameters.as_deref().unwrap_or(NONE),
        age(&class.metadata, now),
    ]
}

fn network_policy(policy: &NetworkPolicy, now: Timestamp) -> Vec<Value> {
    let selector = policy.spec.as_ref().and_then(|spec| spec.pod_selector.as_ref());
    cells![policy.metadata.name.as_deref(), text::selector(selector), age(&policy.metadata, now),]
}

fn service_cidr(range: &ServiceCIDR, now: Timestamp) -> Vec<Value> {
    let cidrs = range.spec.as_ref().and_then(|spec| spec.cidrs.as_deref());
    cells![
        range.metadata.name.as_deref(),
        cidrs.unwrap_or_default().join(","),
        age(&range.metadata, now),
    ]
}

fn ip_address(address: &IPAddress, _: Timestamp) -> Vec<Value> {
    let parent = &address.spec.parent_ref;
    let mut text = parent.resource.to_lowercase();
    if let Some(group) = parent.group.as_deref().filter(|group| !group.is_empty()) {
        text = format!("{text}.{}", group.to_lowercase());
    }
    if let Some(namespace) = parent.namespace.as_deref().filter(|name| !name.is_empty()) {
        text = format!("{text}/{namespace}");
    }
    cells![address.metadata.name.as_deref(), format!("{text}/{}", parent.name)]
}
