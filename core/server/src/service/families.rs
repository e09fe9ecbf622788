use std::net::IpAddr;

use ipnet::IpNet;
use k8s_openapi::api::core::v1::ServiceSpec;
use pinnace_api::field::{Bare, ErrorList, Path};

use super::{HEADLESS, ServiceNetwork, is_external, is_headless};

const SINGLE: &str = "SingleStack";
const PREFER: &str = "PreferDualStack";
const REQUIRE: &str = "RequireDualStack";
const IPV4: &str = "IPv4";
const IPV6: &str = "IPv6";

pub(super) fn of_range(range: &IpNet) -> &'static str {
    if range.addr().is_ipv4() { IPV4 } else { IPV6 }
}

fn other(family: &str) -> &'static str {
    if family == IPV4 { IPV6 } else { IPV4 }
}

/// Fills in families and their policy, or says why what is asked for cannot be.
pub(super) fn fill(
    spec: &mut ServiceSpec,
    old: Option<&ServiceSpec>,
    network: &ServiceNetwork,
    errors: &mut ErrorList,
) {
    if is_external(spec) || stays_as_preferred(spec, old) {
        return;
    }
    let headless_alone = is_headless(spec) && spec.selector.as_ref().is_none_or(|s| s.is_empty());
    if spec.ip_family_policy.is_none() {
        let before = old.and_then(|old| old.ip_family_policy.clone());
        let policy = if headless_alone { REQUIRE } else { SINGLE };
        spec.ip_family_policy = before.or_else(|| Some(policy.to_owned()));
    }
    let policy = spec.ip_family_policy.clone().unwrap_or_default();
    let path = Path::root("spec");
    check_policy(spec, old, &policy, &path, errors);
    infer_from_addresses(spec, network, &path, errors);
    if !errors.is_empty() {
        return;
    }
    let default = network.ranges.first().map_or(IPV4, of_range);
    let families = spec.ip_families.get_or_insert_default();
    if headless_alone {
        // It names addresses of its own, of any family.
        if families.is_empty() {
            families.push(default.to_owned());
        }
    } else {
        let at = path.child("ipFamilyPolicy");
        if policy == REQUIRE && network.ranges.len() < 2 {
            let why = "this cluster is not configured for dual-stack services";
            errors.invalid(&at, policy.as_str(), why);
        }
        let at = path.child("ipFamilies");
        for (index, family) in families.iter().enumerate() {
            if !network.ranges.iter().any(|range| of_range(range) == family) {
                errors.invalid(&at.index(index), family.as_str(), "not configured on this cluster");
            }
        }
        if families.is_empty() {
            families.push(default.to_owned());
        }
        if network.ranges.len() < 2 {
            return;
        }
    }
    if policy != SINGLE
        && let [one] = &families[..]
    {
        families.push(other(one).to_owned());
    }
}

/// Who prefers two families keeps what there is: a cluster that comes to have two changes nothing.
fn stays_as_preferred(spec: &ServiceSpec, old: Option<&ServiceSpec>) -> bool {
    old.is_some_and(|old| {
        let prefers = |spec: &ServiceSpec| spec.ip_family_policy.as_deref() == Some(PREFER);
        prefers(spec)
            && prefers(old)
            && spec.cluster_ips == old.cluster_ips
            && spec.ip_families == old.ip_families
    })
}

fn check_policy(
    spec: &mut ServiceSpec,
    old: Option<&ServiceSpec>,
    policy: &str,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    let at = path.child("ipFamilyPolicy");
    let lists = [
        (&mut spec.cluster_ips, old.map(|old| &old.cluster_ips), "cluster IP", "cluster IPs"),
        (&mut spec.ip_families, old.map(|old| &old.ip_families), "IP family", "IP families"),
    ];
    for (list, before, one, many) in lists {
        let len = |list: &Option<Vec<String>>| list.as_ref().map_or(0, Vec::len);
        if let Some(before) = before {
            if policy == SINGLE && list == before {
                list.iter_mut().for_each(|list| list.truncate(1));
            } else if policy != SINGLE && len(list) == 1 && len(before) == 2 {
                let why = format!("must be 'SingleStack' to release the secondary {one}");
                errors.invalid(&at, policy, &why);
            }
        }
        if policy == SINGLE && len(list) == 2 {
            let why = format!(
                "must be 'RequireDualStack' or 'PreferDualStack' when multiple {many} are specified"
            );
            errors.invalid(&at, policy, &why);
        }
    }
}

fn infer_from_addresses(
    spec: &mut ServiceSpec,
    network: &ServiceNetwork,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    let addresses = spec.cluster_ips.as_deref().unwrap_or_default();
    let families = spec.ip_families.get_or_insert_default();
    let at = path.child("clusterIPs");
    for (index, address) in addresses.iter().enumerate().skip(families.len()) {
        if address == HEADLESS {
            break;
        }
        let Ok(parsed) = address.parse::<IpAddr>() else { continue };
        let family = if parsed.is_ipv4() { IPV4 } else { IPV6 };
        if network.ranges.iter().any(|range| of_range(range) == family) {
            families.push(family.to_owned());
        } else {
            let shown = Bare(serde_json::json!(addresses).to_string());
            let why = format!("{family} is not configured on this cluster");
            errors.invalid(&at.index(index), shown, &why);
        }
    }
}
