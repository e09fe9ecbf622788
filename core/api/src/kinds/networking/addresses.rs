use std::net::IpAddr;

use k8s_openapi::api::networking::v1::{IPAddress, ServiceCIDR, ServiceCIDRStatus};

use super::super::check::{IMMUTABLE, Json, cidr, complain, immutable, is_dual_stack, text};
use super::super::metadata::keep_for_status;
use super::super::names::rules;
use super::super::{names, next_generation};
use crate::Strategy;
use crate::field::{ErrorList, Path};

/// Addresses that are taken.
pub(in crate::kinds) struct IpAddressStrategy;

impl Strategy for IpAddressStrategy {
    type Kind = IPAddress;

    fn prepare_for_create(&self, address: &mut IPAddress) {
        address.metadata.generation = Some(1);
    }

    fn validate_name(&self, name: &str) -> Result<(), String> {
        match name.parse::<IpAddr>() {
            Ok(address) if address.to_string() == name => Ok(()),
            Ok(_) => Err("must be a valid IP address in canonical format".to_owned()),
            Err(_) => Err(format!("{name} is not a valid IP address")),
        }
    }

    fn validate(&self, address: &IPAddress, errors: &mut ErrorList) {
        let spec = Path::root("spec");
        let path = spec.child("parentRef");
        let parent = &address.spec.parent_ref;
        let group = text(&parent.group);
        if !group.is_empty() {
            complain(errors, &path.child("group"), group, rules::dns_subdomain(group));
        }
        for (field, value) in [("resource", &parent.resource), ("name", &parent.name)] {
            let at = path.child(field);
            if value.is_empty() {
                errors.required(&at, "");
            } else if let Err(why) = names::path_segment(value) {
                errors.invalid(&at, value, &why);
            }
        }
        let namespace = text(&parent.namespace);
        if !namespace.is_empty()
            && let Err(why) = names::path_segment(namespace)
        {
            errors.invalid(&path.child("namespace"), namespace, &why);
        }
    }

    fn validate_update(&self, new: &IPAddress, old: &IPAddress, errors: &mut ErrorList) {
        self.validate(new, errors);
        let spec = Path::root("spec");
        let at = spec.child("parentRef");
        immutable(errors, &at, &new.spec.parent_ref, &old.spec.parent_ref);
    }
}

/// Ranges of addresses for services.
pub(in crate::kinds) struct ServiceCidrStrategy;

impl Strategy for ServiceCidrStrategy {
    type Kind = ServiceCIDR;

    fn prepare_for_create(&self, range: &mut ServiceCIDR) {
        range.metadata.generation = Some(1);
        range.status = Some(ServiceCIDRStatus::default());
    }

    fn validate(&self, range: &ServiceCIDR, errors: &mut ErrorList) {
        let ranges = range.spec.as_ref().and_then(|spec| spec.cidrs.as_deref());
        let ranges = ranges.unwrap_or_default();
        let spec = Path::root("spec");
        let path = spec.child("cidrs");
        match ranges.len() {
            0 => errors.required(&path, "at least one CIDR required"),
            1 | 2 => {}
            _ => {
                let why = "may only hold up to 2 values";
                errors.invalid(&path, Json(&ranges), why);
                return;
            }
        }
        let parsed: Vec<IpAddr> = ranges
            .iter()
            .enumerate()
            .filter_map(|(index, range)| cidr(errors, &path.index(index), range))
            .collect();
        if ranges.len() == 2 && parsed.len() == 2 && !is_dual_stack(&parsed) {
            let why = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and \
                       2001:db8::/64";
            errors.invalid(&path, Json(&ranges), why);
        }
    }

    fn prepare_for_update(&self, new: &mut ServiceCIDR, old: &ServiceCIDR) {
        new.status.clone_from(&old.status);
        let changed = new.spec != old.spec;
        next_generation(&mut new.metadata, &old.metadata, changed);
    }

    fn validate_update(&self, new: &ServiceCIDR, old: &ServiceCIDR, errors: &mut ErrorList) {
        self.validate(new, errors);
        let spec = Path::root("spec");
        validate_ranges_kept(ranges(new), ranges(old), &spec.child("cidrs"), errors);
    }

    fn prepare_for_status_update(&self, new: &mut ServiceCIDR, old: &ServiceCIDR) {
        new.spec.clone_from(&old.spec);
        keep_for_status(&mut new.metadata, &old.metadata);
    }
}

fn ranges(range: &ServiceCIDR) -> &[String] {
    range.spec.as_ref().and_then(|spec| spec.cidrs.as_deref()).unwrap_or_default()
}

/// Ranges stay, but a second family may come to the first.
fn validate_ranges_kept(new: &[String], old: &[String], path: &Path<'_>, errors: &mut ErrorList) {
    if new.len() != old.len() && (old.len(), new.len()) != (1, 2) {
        return errors.invalid(path, Json(&new), IMMUTABLE);
    }
    for (index, (new, old)) in new.iter().zip(old).enumerate() {
        if new != old {
            errors.invalid(&path.index(index), new, IMMUTABLE);
        }
    }
}
