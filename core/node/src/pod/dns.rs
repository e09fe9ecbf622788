use std::fmt::Write as _;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{HostAlias, PodSpec};

/// Limits of resolvers that follow glibc's, as upstream applies them.
const MAX_SERVERS: usize = 3;
const MAX_SEARCHES: usize = 32;

/// `/etc/resolv.conf` of a pod; empty for the machine's own, whose text is `machine`.
pub(crate) fn resolv_conf(spec: &PodSpec, machine: impl FnOnce() -> String) -> String {
    let Some(config) = &spec.dns_config else {
        return String::new();
    };
    let base = if spec.dns_policy.as_deref() == Some("None") { String::new() } else { machine() };
    let (mut servers, mut searches, mut options) = (Vec::new(), Vec::new(), Vec::new());
    for line in base.lines() {
        let mut words = line.split_ascii_whitespace().map(str::to_owned);
        match words.next().as_deref() {
            Some("nameserver") => servers.extend(words.take(1)),
            Some("search") => searches = words.collect(),
            Some("options") => options.extend(words),
            _ => {}
        }
    }
    servers.extend(config.nameservers.iter().flatten().cloned());
    searches.extend(config.searches.iter().flatten().cloned());
    for option in config.options.iter().flatten() {
        let Some(name) = &option.name else { continue };
        options.retain(|present: &String| present.split(':').next() != Some(name));
        options.push(match option.value.as_deref() {
            Some(value) if !value.is_empty() => format!("{name}:{value}"),
            _ => name.clone(),
        });
    }
    let mut out = String::new();
    for server in unique(servers).iter().take(MAX_SERVERS) {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "nameserver {server}");
    }
    let searches: Vec<String> = unique(searches).into_iter().take(MAX_SEARCHES).collect();
    if !searches.is_empty() {
        let _ = writeln!(out, "search {}", searches.join(" "));
    }
    if !options.is_empty() {
        let _ = writeln!(out, "options {}", options.join(" "));
    }
    out
}

fn unique(mut words: Vec<String>) -> Vec<String> {
    let mut seen = std::collections::BTreeSet::new();
    words.retain(|word| seen.insert(word.clone()));
    words
}

/// `/etc/hosts` of a pod without the line of the pod itself; `machine` is what to begin with on
/// the machine's network.
pub(crate) fn hosts(spec: &PodSpec, machine: Option<String>) -> String {
    let mut out = match machine {
        Some(machine) => machine,
        None => "# Kubernetes-managed hosts file.\n\
                 127.0.0.1\tlocalhost\n\
                 ::1\tlocalhost ip6-localhost ip6-loopback\n\
                 fe00::\tip6-localnet\n\
                 fe00::\tip6-mcastprefix\n\
                 fe00::1\tip6-allnodes\n\
                 fe00::2\tip6-allrouters\n"
            .to_owned(),
    };
    aliases(&mut out, spec.host_aliases.as_deref().unwrap_or_default());
    out
}

fn aliases(out: &mut String, aliases: &[HostAlias]) {
    if aliases.is_empty() {
        return;
    }
    if !out.is_empty() && !out.ends_with('\n') {
        out.push('\n');
    }
    out.push_str("\n# Entries added by HostAliases.\n");
    for alias in aliases {
        let names = alias.hostnames.as_deref().unwrap_or_default();
        // An address that is none would make the file unreadable for some resolvers.
        if alias.ip.parse::<IpAddr>().is_ok() {
            let _ = writeln!(out, "{}\t{}", alias.ip, names.join("\t"));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn dns_config_is_added_to_the_machines_or_stands_alone() {
        let check = |spec: serde_json::Value, expected: &str| {
            let spec: PodSpec = serde_json::from_value(spec).unwrap();
            let machine = || "nameserver 10.0.0.1\nsearch lan\noptions ndots:1\n".to_owned();
            assert_eq!(resolv_conf(&spec, machine), expected);
        };
        let config = json!({
            "nameservers": ["192.0.2.1", "10.0.0.1"], "searches": ["example.org"],
            "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}]
        });
        check(json!({"containers": [], "dnsPolicy": "Default"}), "");
        check(
            json!({"containers": [], "dnsPolicy": "None", "dnsConfig": config}),
            "nameserver 192.0.2.1\nnameserver 10.0.0.1\nsearch example.org\noptions ndots:2 edns0\n",
        );
        check(
            json!({"containers": [], "dnsPolicy": "Default", "dnsConfig": config}),
            "nameserver 10.0.0.1\nnameserver 192.0.2.1\nsearch lan example.org\n\
             options ndots:2 edns0\n",
        );
    }
}
