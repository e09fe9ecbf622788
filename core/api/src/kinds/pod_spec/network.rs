use k8s_openapi::api::core::v1::PodSpec;

use crate::field::{ErrorList, Path};
use crate::kinds::check::{Json, complain, ip, text};
use crate::kinds::names::rules;

// What the C library of Linux can do with a resolv.conf.
const NAMESERVERS_MAX: usize = 3;
const SEARCHES_MAX: usize = 32;
const SEARCH_CHARACTERS_MAX: usize = 2048;
/// Most bytes of a host's name on Linux.
const HOSTNAME_MAX: usize = 64;

/// On the host's network, a container's ports are the host's. A template may leave the latter
/// open, for they are filled in when a pod is made of it.
pub(super) fn validate_host_ports(
    spec: &PodSpec,
    in_pod: bool,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    if spec.host_network != Some(true) {
        return;
    }
    let list = path.child("containers");
    for (index, container) in spec.containers.iter().enumerate() {
        let at = list.index(index);
        let at = at.child("ports");
        for (index, port) in container.ports.iter().flatten().enumerate() {
            let host = port.host_port.unwrap_or(0);
            if (in_pod || host != 0) && host != port.container_port {
                let why = "must match `containerPort` when `hostNetwork` is true";
                errors.invalid(&at.index(index).child("hostPort"), host, why);
            }
        }
    }
}

/// Checks `dnsConfig`, and that there is one when the policy says that there is nothing else.
pub(super) fn validate_dns(spec: &PodSpec, path: &Path<'_>, errors: &mut ErrorList) {
    let own = text(&spec.dns_policy) == "None";
    let Some(config) = &spec.dns_config else {
        if own {
            errors.required(path, "must provide `dnsConfig` when `dnsPolicy` is None");
        }
        return;
    };
    let at = path.child("nameservers");
    let servers = config.nameservers.as_deref().unwrap_or_default();
    if own && servers.is_empty() {
        let why = "must provide at least one DNS nameserver when `dnsPolicy` is None";
        return errors.required(&at, why);
    }
    if servers.len() > NAMESERVERS_MAX {
        let why = format!("must not have more than {NAMESERVERS_MAX} nameservers");
        errors.invalid(&at, Json(&servers), &why);
    }
    for (index, server) in servers.iter().enumerate() {
        ip(errors, &at.index(index), server);
    }
    let at = path.child("searches");
    let searches = config.searches.as_deref().unwrap_or_default();
    if searches.len() > SEARCHES_MAX {
        let why = format!("must not have more than {SEARCHES_MAX} search paths");
        errors.invalid(&at, Json(&searches), &why);
    }
    let characters: usize = searches.iter().map(|search| search.len() + 1).sum();
    if characters > SEARCH_CHARACTERS_MAX + 1 {
        let why = format!(
            "must not have more than {SEARCH_CHARACTERS_MAX} characters (including spaces) in the \
             search list"
        );
        errors.invalid(&at, Json(&searches), &why);
    }
    for (index, search) in searches.iter().enumerate().filter(|(_, search)| *search != ".") {
        let search = search.strip_suffix('.').unwrap_or(search);
        complain(errors, &at.index(index), search, rules::search_domain(search));
    }
    let at = path.child("options");
    for (index, option) in config.options.iter().flatten().enumerate() {
        if text(&option.name).is_empty() {
            errors.required(&at.index(index), "must not be empty");
        }
    }
}

/// Checks entries for the hosts file.
pub(super) fn validate_host_aliases(spec: &PodSpec, path: &Path<'_>, errors: &mut ErrorList) {
    for (index, alias) in spec.host_aliases.iter().flatten().enumerate() {
        let path = path.index(index);
        ip(errors, &path.child("ip"), &alias.ip);
        let at = path.child("hostnames");
        for (index, name) in alias.hostnames.iter().flatten().enumerate() {
            complain(errors, &at.index(index), name, rules::dns_subdomain(name));
        }
    }
}

/// Checks the name that takes precedence over all else that makes a pod's host name.
pub(super) fn validate_hostname_override(spec: &PodSpec, path: &Path<'_>, errors: &mut ErrorList) {
    let Some(name) = &spec.hostname_override else { return };
    let at = path.child("hostnameOverride");
    complain(errors, &at, name, rules::dns_subdomain(name));
    if name.len() > HOSTNAME_MAX {
        errors.too_long(&at, HOSTNAME_MAX);
    }
    if spec.host_network == Some(true) {
        let why = "may not be set when `hostNetwork` is true";
        errors.forbidden(&at, why);
    }
    if spec.set_hostname_as_fqdn == Some(true) {
        let why = "may not be set when `setHostnameAsFQDN` is true";
        errors.forbidden(&at, why);
    }
}
