use k8s_openapi::api::core::v1::ServiceSpec;

use super::is_headless;
use crate::field::{ErrorList, Path};
use crate::kinds::check::{Json, Seen, choice, ip, is_dual_stack, text};

const FAMILIES: [&str; 2] = ["IPv4", "IPv6"];
const POLICIES: [&str; 3] = ["PreferDualStack", "RequireDualStack", "SingleStack"];
const ONCE: &str = "may not change once set";

/// Checks addresses and families of a service, and that they go together.
pub(super) fn validate(spec: &ServiceSpec, errors: &mut ErrorList) {
    if text(&spec.type_) == "ExternalName" {
        return;
    }
    let path = Path::root("spec");
    let at = path.child("clusterIPs");
    let first = text(&spec.cluster_ip);
    let all = spec.cluster_ips.as_deref().unwrap_or_default();
    match (first, all) {
        ("", []) => {}
        ("", _) => {
            errors.invalid(&at, Json(&all), "must be empty when `clusterIP` is not specified");
        }
        (_, []) => errors.required(&at, ""),
        (first, [same, ..]) if first == same => {}
        _ => errors.invalid(&at, Json(&all), "first value must match `clusterIP`"),
    }
    validate_families(spec, &path, errors);
    validate_ips(spec, all, &at, errors);
}

fn validate_families(spec: &ServiceSpec, path: &Path<'_>, errors: &mut ErrorList) {
    let at = path.child("ipFamilies");
    let mut seen = Seen::new();
    for (index, family) in spec.ip_families.iter().flatten().enumerate() {
        if !FAMILIES.contains(&family.as_str()) {
            errors.not_supported(&at.index(index), family, &FAMILIES);
        }
        if !seen.insert(family.as_str()) {
            errors.duplicate(&at.index(index), family);
        }
    }
    choice(errors, &path.child("ipFamilyPolicy"), &spec.ip_family_policy, &POLICIES);
}

fn validate_ips(spec: &ServiceSpec, all: &[String], path: &Path<'_>, errors: &mut ErrorList) {
    let mut parsed = Vec::new();
    let mut wrong = false;
    for (index, address) in all.iter().enumerate() {
        if index == 0 && address == "None" {
            if all.len() > 1 {
                wrong = true;
                errors.invalid(path, Json(&all), "'None' must be the first and only value");
            }
            continue;
        }
        match ip(errors, &path.index(index), address) {
            Some(address) => parsed.push(address),
            None => wrong = true,
        }
    }
    if all.len() > 2 {
        errors.invalid(path, Json(&all), "may only hold up to 2 values");
    }
    if wrong {
        return;
    }
    if all.len() > 1 && !is_dual_stack(&parsed) {
        let why = "may specify no more than one IP for each IP family";
        errors.invalid(path, Json(&all), why);
    }
    if is_headless(spec) {
        return;
    }
    let families = spec.ip_families.iter().flatten();
    for (index, (address, family)) in parsed.iter().zip(families).enumerate() {
        let fits = match family.as_str() {
            "IPv4" => address.is_ipv4(),
            "IPv6" => address.is_ipv6(),
            _ => true,
        };
        if !fits {
            let why = format!("expected an {family} value as indicated by `ipFamilies[{index}]`");
            errors.invalid(&path.index(index), &all[index], &why);
        }
    }
}

/// Checks that a service keeps its first address and family, and says so when it gives up the
/// second.
pub(super) fn validate_update(new: &ServiceSpec, old: &ServiceSpec, errors: &mut ErrorList) {
    let external = |spec: &ServiceSpec| text(&spec.type_) == "ExternalName";
    if external(new) || external(old) {
        return;
    }
    let headless = (is_headless(new), is_headless(old));
    let ips = |spec: &'_ ServiceSpec| spec.cluster_ips.clone().unwrap_or_default();
    let families = |spec: &'_ ServiceSpec| spec.ip_families.clone().unwrap_or_default();
    let single = text(&new.ip_family_policy) == "SingleStack";
    if headless != (true, true) {
        let change = Change { field: "clusterIPs", one: "clusterIP", single };
        change.validate(&ips(new), &ips(old), new, errors);
    }
    if headless == (false, false) {
        let change = Change { field: "ipFamilies", one: "ipFamily", single };
        change.validate(&families(new), &families(old), new, errors);
    }
}

struct Change {
    field: &'static str,
    one: &'static str,
    single: bool,
}

impl Change {
    fn validate(&self, new: &[String], old: &[String], spec: &ServiceSpec, errors: &mut ErrorList) {
        let root = Path::root("spec");
        let path = root.child(self.field);
        if new.len() == old.len() {
            for (index, _) in new.iter().zip(old).enumerate().filter(|(_, (new, old))| new != old) {
                // Upstream points at the first family whichever it is.
                let index = if self.one == "ipFamily" { 0 } else { index };
                errors.invalid(&path.index(index), Json(&new), ONCE);
            }
            return;
        }
        let first = path.index(0);
        if new.is_empty() {
            let why = format!("primary {} can not be unset", self.one);
            errors.invalid(&first, Json(&new), &why);
        } else if !old.is_empty() && new[0] != old[0] {
            errors.invalid(&first, Json(&new), ONCE);
        }
        if new.len() < old.len() && new.len() == 1 && !self.single {
            let why =
                format!("must be set to 'SingleStack' when releasing the secondary {}", self.one);
            errors.invalid(&root.child("ipFamilyPolicy"), Json(&spec.ip_family_policy), &why);
        }
    }
}
