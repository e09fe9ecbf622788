//! What a claim has been given, by whom it is used, and what drivers say of it.

use std::net::IpAddr;

use k8s_openapi::api::resource::v1::{
    AllocatedDeviceStatus, AllocationResult, DeviceRequestAllocationResult, NetworkDeviceData,
    ResourceClaim, ResourceClaimConsumerReference, ResourceClaimStatus,
};

use super::class::CONFIG_MAX;
use super::request::{self, Names};
use super::{config, each, each_once, names};
use crate::field::{ErrorList, Path};
use crate::kinds::check::{immutable, text};
use crate::kinds::conditions;
use crate::kinds::pod_spec::validate_node_selector;

/// Most users of a claim, and devices that it is given.
const USERS_MAX: usize = 256;
const RESULTS_MAX: usize = 32;
/// Most conditions of a device, and most bytes and addresses that its driver says of it.
const CONDITIONS_MAX: usize = 8;
const DATA_MAX: usize = 10 * 1024;
const INTERFACE_MAX: usize = 256;
const HARDWARE_MAX: usize = 128;
const ADDRESSES_MAX: usize = 16;

/// Driver, pool, device, and which share of it: what tells a device from all others.
type Id<'a> = (&'a str, &'a str, &'a str, &'a str);

fn id_of_result(result: &DeviceRequestAllocationResult) -> Id<'_> {
    (&result.driver, &result.pool, &result.device, text(&result.share_id))
}

fn id_of_status(status: &AllocatedDeviceStatus) -> Id<'_> {
    (&status.driver, &status.pool, &status.device, text(&status.share_id))
}

fn shown((driver, pool, device, share): Id<'_>) -> String {
    if share.is_empty() {
        format!("{driver}/{pool}/{device}")
    } else {
        format!("{driver}/{pool}/{device}/{share}")
    }
}

fn allocated(status: Option<&ResourceClaimStatus>) -> Vec<Id<'_>> {
    let devices = status
        .and_then(|status| status.allocation.as_ref())
        .and_then(|allocation| allocation.devices.as_ref());
    devices.into_iter().flat_map(|all| all.results.iter().flatten()).map(id_of_result).collect()
}

/// Drops what drivers have said of devices that the claim no longer has.
pub(super) fn forget_released(new: &mut ResourceClaim, old: &ResourceClaim) {
    let now: Vec<String> = allocated(new.status.as_ref()).into_iter().map(shown).collect();
    let released: Vec<String> = allocated(old.status.as_ref())
        .into_iter()
        .map(shown)
        .filter(|id| !now.contains(id))
        .collect();
    let Some(status) = &mut new.status else { return };
    if let Some(devices) = &mut status.devices {
        devices.retain(|device| !released.contains(&shown(id_of_status(device))));
    }
    status.devices.take_if(|devices| devices.is_empty());
}

/// Checks a claim's status.
pub(super) fn validate_status(new: &ResourceClaim, old: &ResourceClaim, errors: &mut ErrorList) {
    let Some(status) = &new.status else { return };
    let path = Path::root("status");
    let known = request::names_of(new.spec.devices.as_ref());
    let at = path.child("reservedFor");
    let key = |user: &ResourceClaimConsumerReference| (user.uid.clone(), user.uid.clone());
    each_once(&status.reserved_for, USERS_MAX, &at, errors, key, validate_user);
    let given = allocated(new.status.as_ref());
    let key = |device: &AllocatedDeviceStatus| {
        let id = shown(id_of_status(device));
        (id.clone(), id)
    };
    let devices_at = path.child("devices");
    each_once(&status.devices, usize::MAX, &devices_at, errors, key, |one, path, errors| {
        validate_device(one, &given, path, errors);
    });
    let before = old.status.as_ref();
    let users = status.reserved_for.as_deref().unwrap_or_default();
    if !users.is_empty() && status.allocation.is_none() {
        errors.forbidden(&at, "may not be specified when `allocated` is not set");
    } else if new.metadata.deletion_timestamp.is_some() {
        let had = before.and_then(|status| status.reserved_for.as_deref()).unwrap_or_default();
        if users.iter().any(|user| !had.contains(user)) {
            let why = "new entries may not be added while `deallocationRequested` or \
                       `deletionTimestamp` are set";
            errors.forbidden(&at, why);
        }
    }
    let at = path.child("allocation");
    match (&status.allocation, before.and_then(|status| status.allocation.as_ref())) {
        (Some(new), Some(old)) => immutable(errors, &at, new, old),
        (Some(new), None) => validate_allocation(new, &known, &at, errors),
        (None, _) => {}
    }
}

fn validate_user(user: &ResourceClaimConsumerReference, path: &Path<'_>, errors: &mut ErrorList) {
    for (field, value) in [("resource", &user.resource), ("name", &user.name), ("uid", &user.uid)] {
        if value.is_empty() {
            errors.required(&path.child(field), "");
        }
    }
}

fn validate_allocation(
    allocation: &AllocationResult,
    known: &Names<'_>,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    if let Some(devices) = &allocation.devices {
        let path = path.child("devices");
        let at = path.child("results");
        each(&devices.results, RESULTS_MAX, &at, errors, |result, path, errors| {
            validate_result(result, known, path, errors);
        });
        let at = path.child("config");
        // Of the class and of the claim.
        each(&devices.config, 2 * CONFIG_MAX, &at, errors, |one, path, errors| {
            let at = path.child("source");
            match one.source.as_str() {
                "" => errors.required(&at, ""),
                "FromClaim" | "FromClass" => {}
                other => errors.not_supported(&at, other, &["FromClaim", "FromClass"]),
            }
            request::references(&one.requests, known, &path.child("requests"), errors);
            config::opaque(one.opaque.as_ref(), false, path, errors);
        });
    }
    if let Some(selector) = &allocation.node_selector {
        validate_node_selector(selector, &path.child("nodeSelector"), errors);
    }
}

fn validate_result(
    result: &DeviceRequestAllocationResult,
    known: &Names<'_>,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    request::reference(&result.request, known, &path.child("request"), errors);
    names::driver(&result.driver, &path.child("driver"), errors);
    names::pool(&result.pool, &path.child("pool"), errors);
    names::label(&result.device, &path.child("device"), errors);
    names::binding_conditions(
        &result.binding_conditions,
        &result.binding_failure_conditions,
        path,
        errors,
    );
    request::tolerations(&result.tolerations, path, errors);
    if let Some(share) = &result.share_id {
        names::uid(share, &path.child("shareID"), errors);
    }
}

fn validate_device(
    device: &AllocatedDeviceStatus,
    given: &[Id<'_>],
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    names::driver(&device.driver, &path.child("driver"), errors);
    names::pool(&device.pool, &path.child("pool"), errors);
    names::label(&device.device, &path.child("device"), errors);
    if let Some(share) = &device.share_id {
        names::uid(share, &path.child("shareID"), errors);
    }
    let id = id_of_status(device);
    if !given.contains(&id) {
        errors.invalid(path, shown(id), "must be an allocated device in the claim");
    }
    let all = device.conditions.as_deref().unwrap_or_default();
    let at = path.child("conditions");
    if all.len() > CONDITIONS_MAX {
        errors.too_many(&at, all.len(), CONDITIONS_MAX);
    }
    conditions::validate(all, &at, errors);
    if let Some(data) = &device.data {
        config::raw(data, DATA_MAX, &path.child("data"), errors);
    }
    if let Some(network) = &device.network_data {
        validate_network(network, &path.child("networkData"), errors);
    }
}

fn validate_network(network: &NetworkDeviceData, path: &Path<'_>, errors: &mut ErrorList) {
    let texts = [
        ("interfaceName", &network.interface_name, INTERFACE_MAX),
        ("hardwareAddress", &network.hardware_address, HARDWARE_MAX),
    ];
    for (field, value, max) in texts {
        if text(value).len() > max {
            errors.too_long(&path.child(field), max);
        }
    }
    let key = |address: &String| (address.clone(), address.clone());
    let at = path.child("ips");
    each_once(&network.ips, ADDRESSES_MAX, &at, errors, key, |address: &String, at, errors| {
        if !is_interface_address(address) {
            let why = "must be a valid address in CIDR form, (e.g. 10.9.8.7/24 or 2001:db8::1/64)";
            errors.invalid(at, address, why);
        }
    });
}

/// An address with the length of its network, as interfaces have it.
fn is_interface_address(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else { return false };
    let Ok(address) = address.parse::<IpAddr>() else { return false };
    let most = if address.is_ipv4() { 32 } else { 128 };
    length.parse::<u8>().is_ok_and(|length| length <= most)
}
