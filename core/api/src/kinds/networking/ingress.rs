use k8s_openapi::api::networking::v1::{
    HTTPIngressPath, Ingress, IngressBackend, IngressRule, IngressSpec, IngressStatus,
    ServiceBackendPort,
};

use super::super::check::{Json, complain, ip, text};
use super::super::names::rules;
use super::super::{names, next_generation};
use crate::Strategy;
use crate::field::{ErrorList, Path};

/// What a path may not contain, and not end with: it would not be what it looks like.
const BAD_SEQUENCES: [&str; 5] = ["//", "/./", "/../", "%2f", "%2F"];
const BAD_ENDINGS: [&str; 2] = ["/..", "/."];
const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";

/// Ingresses.
pub(in crate::kinds) struct IngressStrategy;

impl Strategy for IngressStrategy {
    type Kind = Ingress;

    fn prepare_for_create(&self, ingress: &mut Ingress) {
        ingress.metadata.generation = Some(1);
        ingress.status = Some(IngressStatus::default());
    }

    fn validate(&self, ingress: &Ingress, errors: &mut ErrorList) {
        let annotations = ingress.metadata.annotations.as_ref();
        let annotated = annotations.is_some_and(|all| all.contains_key(CLASS_ANNOTATION));
        let class = ingress.spec.as_ref().and_then(|spec| spec.ingress_class_name.as_ref());
        if let (true, Some(class)) = (annotated, class) {
            let annotations = Path::root("annotations");
            let why = "can not be set when the class field is also set";
            errors.invalid(&annotations.child(CLASS_ANNOTATION), class, why);
        }
        if let Some(spec) = &ingress.spec {
            validate_spec(spec, &Path::root("spec"), errors);
        }
    }

    fn prepare_for_update(&self, new: &mut Ingress, old: &Ingress) {
        new.status.clone_from(&old.status);
        let changed = new.spec != old.spec;
        next_generation(&mut new.metadata, &old.metadata, changed);
    }

    fn validate_update(&self, new: &Ingress, _: &Ingress, errors: &mut ErrorList) {
        if let Some(spec) = &new.spec {
            validate_spec(spec, &Path::root("spec"), errors);
        }
    }

    fn prepare_for_status_update(&self, new: &mut Ingress, old: &Ingress) {
        new.spec.clone_from(&old.spec);
    }

    fn validate_status_update(&self, new: &Ingress, _: &Ingress, errors: &mut ErrorList) {
        let balancer = new.status.as_ref().and_then(|status| status.load_balancer.as_ref());
        let status = Path::root("status");
        let balancer_path = status.child("loadBalancer");
        let path = balancer_path.child("ingress");
        let points = balancer.and_then(|balancer| balancer.ingress.as_ref());
        for (index, point) in points.into_iter().flatten().enumerate() {
            let at = path.index(index);
            if let Some(address) = point.ip.as_deref().filter(|address| !address.is_empty()) {
                ip(errors, &at.child("ip"), address);
            }
            let Some(name) = point.hostname.as_deref().filter(|name| !name.is_empty()) else {
                continue;
            };
            let at = at.child("hostname");
            complain(errors, &at, name, rules::dns_subdomain(name));
            if name.parse::<std::net::IpAddr>().is_ok() {
                errors.invalid(&at, name, "must be a DNS name, not an IP address");
            }
        }
    }
}

fn validate_spec(spec: &IngressSpec, path: &Path<'_>, errors: &mut ErrorList) {
    let no_rules = spec.rules.as_ref().is_none_or(Vec::is_empty);
    match &spec.default_backend {
        Some(backend) => validate_backend(backend, &path.child("defaultBackend"), errors),
        None if no_rules => {
            let why = "either `defaultBackend` or `rules` must be specified";
            errors.invalid(path, Json(&spec.rules), why);
        }
        None => {}
    }
    let at = path.child("rules");
    for (index, rule) in spec.rules.iter().flatten().enumerate() {
        validate_rule(rule, &at.index(index), errors);
    }
    let at = path.child("tls");
    for (index, tls) in spec.tls.iter().flatten().enumerate() {
        let at = at.index(index);
        let hosts = at.child("hosts");
        for (index, host) in tls.hosts.iter().flatten().enumerate() {
            validate_host(host, &hosts.index(index), errors);
        }
        let secret = text(&tls.secret_name);
        if !secret.is_empty() {
            complain(errors, &at.child("secretName"), secret, rules::dns_subdomain(secret));
        }
    }
    if let Some(class) = spec.ingress_class_name.as_deref()
        && let Err(why) = names::dns_subdomain(class)
    {
        errors.invalid(&path.child("ingressClassName"), class, &why);
    }
}

fn validate_host(host: &str, path: &Path<'_>, errors: &mut ErrorList) {
    match host.strip_prefix("*.") {
        Some(_) => complain(errors, path, host, rules::wildcard_dns_subdomain(host)),
        None if host.contains('*') => {
            complain(errors, path, host, rules::wildcard_dns_subdomain(host));
        }
        None => complain(errors, path, host, rules::dns_subdomain(host)),
    }
}

fn validate_rule(rule: &IngressRule, path: &Path<'_>, errors: &mut ErrorList) {
    let host = text(&rule.host);
    if !host.is_empty() {
        let at = path.child("host");
        if host.parse::<std::net::IpAddr>().is_ok() {
            errors.invalid(&at, host, "must be a DNS name, not an IP address");
        }
        validate_host(host, &at, errors);
    }
    let Some(http) = &rule.http else { return };
    let at = path.child("http");
    let at = at.child("paths");
    if http.paths.is_empty() {
        errors.required(&at, "");
    }
    for (index, one) in http.paths.iter().enumerate() {
        validate_path(one, &at.index(index), errors);
    }
}

fn validate_path(one: &HTTPIngressPath, path: &Path<'_>, errors: &mut ErrorList) {
    let at = path.child("path");
    let value = text(&one.path);
    match one.path_type.as_str() {
        "" => errors.required(&path.child("pathType"), "pathType must be specified"),
        "Exact" | "Prefix" => {
            if !value.starts_with('/') {
                errors.invalid(&at, value, "must be an absolute path");
            }
            for sequence in BAD_SEQUENCES.into_iter().filter(|bad| value.contains(bad)) {
                errors.invalid(&at, value, &format!("must not contain '{sequence}'"));
            }
            for ending in BAD_ENDINGS.into_iter().filter(|bad| value.ends_with(bad)) {
                errors.invalid(&at, value, &format!("cannot end with '{ending}'"));
            }
        }
        "ImplementationSpecific" => {
            if !value.is_empty() && !value.starts_with('/') {
                errors.invalid(&at, value, "must be an absolute path");
            }
        }
        other => {
            let types = ["Exact", "ImplementationSpecific", "Prefix"];
            errors.not_supported(&path.child("pathType"), other, &types);
        }
    }
    validate_backend(&one.backend, &path.child("backend"), errors);
}

fn validate_backend(backend: &IngressBackend, path: &Path<'_>, errors: &mut ErrorList) {
    match (&backend.resource, &backend.service) {
        (Some(_), Some(_)) => {
            let why = "cannot set both resource and service backends";
            errors.invalid(path, "", why);
        }
        (Some(resource), None) => {
            let at = path.child("resource");
            for (field, value) in [("kind", &resource.kind), ("name", &resource.name)] {
                if value.is_empty() {
                    errors.required(&at.child(field), "");
                }
            }
        }
        (None, Some(service)) => {
            let path = path.child("service");
            let at = path.child("name");
            if service.name.is_empty() {
                errors.required(&at, "");
            } else if let Err(why) = names::dns_label_1035(&service.name) {
                errors.invalid(&at, &service.name, &why);
            }
            validate_port(service.port.as_ref(), &path, errors);
        }
        (None, None) => {
            errors.required(path, "port name or number is required");
        }
    }
}

fn validate_port(port: Option<&ServiceBackendPort>, path: &Path<'_>, errors: &mut ErrorList) {
    let name = port.and_then(|port| port.name.as_deref()).unwrap_or_default();
    let number = port.and_then(|port| port.number).unwrap_or(0);
    match (name.is_empty(), number == 0) {
        (false, false) => {
            errors.invalid(path, "", "cannot set both port name & port number");
        }
        (false, true) => {
            let at = path.child("port");
            complain(errors, &at.child("name"), name, rules::port_name(name));
        }
        (true, false) => {
            let at = path.child("port");
            complain(errors, &at.child("number"), number, rules::port_number(number));
        }
        (true, true) => errors.required(path, "port name or number is required"),
    }
}
