use k8s_openapi::api::resource::v1::{
    Device, DeviceAttribute, DeviceCapacity, DeviceCounterConsumption,
    NodeAllocatableResourceMapping,
};

use super::{each, each_once, names, request_policy, slice};
use crate::field::{Bare, ErrorList, Path};
use crate::kinds::check::{Json, complain};
use crate::kinds::names::rules;
use crate::kinds::pod_spec::validate_node_selector;

/// Most attributes and capacities of a device together, and most values of attributes.
const DESCRIPTIONS_MAX: usize = 32;
const VALUES_MAX: usize = 48;
/// Longest text of an attribute, in bytes.
const TEXT_MAX: usize = 64;
const TAINTS_MAX: usize = 16;
/// Most sets of counters that a device takes from.
const CONSUMED_MAX: usize = 2;
/// What nodes have of their own, beside devices.
const OF_NODES: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];

/// Whether a device is described at length, so that a slice has room for fewer.
pub(super) fn is_long(device: &Device) -> bool {
    let has = |length: Option<usize>| length.is_some_and(|length| length > 0);
    has(device.taints.as_ref().map(Vec::len))
        || has(device.consumes_counters.as_ref().map(Vec::len))
        || device.attributes.iter().flatten().any(|(_, attribute)| {
            attribute.bools.is_some()
                || attribute.ints.is_some()
                || attribute.strings.is_some()
                || attribute.versions.is_some()
        })
}

/// Checks a device; what has not changed is not held to rules that came later.
pub(super) fn validate(
    device: &Device,
    old: Option<&Device>,
    per_device: bool,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    names::label(&device.name, &path.child("name"), errors);
    validate_amounts(device, path, errors);
    let at = path.child("attributes");
    for (name, attribute) in device.attributes.iter().flatten() {
        names::qualified(name, &at, errors);
        validate_attribute(attribute, &at.key(name), errors);
    }
    if old.is_none_or(|old| old.capacity != device.capacity) {
        let shared = device.allow_multiple_allocations == Some(true);
        let at = path.child("capacity");
        for (name, capacity) in device.capacity.iter().flatten() {
            names::qualified(name, &at, errors);
            validate_capacity(capacity, shared, &at.key(name), errors);
        }
    }
    if old.is_none_or(|old| old.taints != device.taints) {
        each(&device.taints, TAINTS_MAX, &path.child("taints"), errors, names::taint);
    }
    let key = |one: &DeviceCounterConsumption| (one.counter_set.clone(), one.counter_set.clone());
    let at = path.child("consumesCounters");
    each_once(&device.consumes_counters, CONSUMED_MAX, &at, errors, key, |one, path, errors| {
        names::required_label(&one.counter_set, &path.child("counterSet"), errors);
        slice::counters(one.counters.iter(), &path.child("counters"), errors);
    });
    validate_nodes(device, per_device, path, errors);
    names::binding_conditions(
        &device.binding_conditions,
        &device.binding_failure_conditions,
        path,
        errors,
    );
    let at = path.child("nodeAllocatableResourceMappings");
    for (name, mapping) in device.node_allocatable_resource_mappings.iter().flatten() {
        validate_mapping(name, mapping, device, &at.key(name), errors);
    }
}

fn validate_amounts(device: &Device, path: &Path<'_>, errors: &mut ErrorList) {
    let attributes = device.attributes.as_ref().map_or(0, |all| all.len());
    let described = attributes + device.capacity.as_ref().map_or(0, |all| all.len());
    if described > DESCRIPTIONS_MAX {
        let why = format!(
            "the total number of attributes and capacities must not exceed {DESCRIPTIONS_MAX}"
        );
        errors.invalid(path, described, &why);
    }
    let of = |attribute: &DeviceAttribute| {
        let lengths = [
            attribute.bools.as_ref().map(Vec::len),
            attribute.ints.as_ref().map(Vec::len),
            attribute.strings.as_ref().map(Vec::len),
            attribute.versions.as_ref().map(Vec::len),
        ];
        lengths.into_iter().flatten().sum::<usize>().max(1)
    };
    let values = device.attributes.iter().flatten().map(|(_, one)| of(one)).sum::<usize>();
    if values > VALUES_MAX {
        let why = format!("the total number of attribute values must not exceed {VALUES_MAX}");
        errors.invalid(path, values, &why);
    }
}

fn validate_attribute(attribute: &DeviceAttribute, path: &Path<'_>, errors: &mut ErrorList) {
    if let Some(value) = &attribute.string {
        validate_text(value, &path.child("string"), errors);
    }
    if let Some(value) = &attribute.version {
        validate_version(value, &path.child("version"), errors);
    }
    let empty = [
        ("bools", attribute.bools.as_ref().map(Vec::is_empty)),
        ("ints", attribute.ints.as_ref().map(Vec::is_empty)),
        ("strings", attribute.strings.as_ref().map(Vec::is_empty)),
        ("versions", attribute.versions.as_ref().map(Vec::is_empty)),
    ];
    for (field, _) in empty.iter().filter(|(_, is_empty)| *is_empty == Some(true)) {
        errors.invalid(&path.child(field), Bare("[]"), "must not be empty if specified");
    }
    let at = path.child("strings");
    for (index, value) in attribute.strings.iter().flatten().enumerate() {
        validate_text(value, &at.index(index), errors);
    }
    let at = path.child("versions");
    for (index, value) in attribute.versions.iter().flatten().enumerate() {
        validate_version(value, &at.index(index), errors);
    }
    let scalars = [
        attribute.bool.is_some(),
        attribute.int.is_some(),
        attribute.string.is_some(),
        attribute.version.is_some(),
    ];
    let lists = empty.iter().map(|(_, is_empty)| is_empty.is_some());
    let why = "exactly one value must be specified";
    match scalars.into_iter().chain(lists).filter(|given| *given).count() {
        0 => errors.invalid(path, "", why),
        1 => {}
        _ => errors.invalid(path, Json(attribute), why),
    }
}

fn validate_text(value: &str, path: &Path<'_>, errors: &mut ErrorList) {
    if value.len() > TEXT_MAX {
        errors.too_long(path, TEXT_MAX);
    }
}

fn validate_version(value: &str, path: &Path<'_>, errors: &mut ErrorList) {
    if !is_semantic_version(value) {
        errors.invalid(path, value, "must be a string compatible with semver.org spec 2.0.0");
    }
    validate_text(value, path, errors);
}

/// Whether a text is a version as <https://semver.org> writes it.
fn is_semantic_version(text: &str) -> bool {
    let (text, build) =
        text.split_once('+').map_or((text, None), |(text, build)| (text, Some(build)));
    let (core, before) =
        text.split_once('-').map_or((text, None), |(core, before)| (core, Some(before)));
    let is_word = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte == b'-' || byte.is_ascii_alphanumeric())
    };
    let is_number = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|byte| byte.is_ascii_digit())
            && (part == "0" || !part.starts_with('0'))
    };
    let is_before = |part: &str| {
        is_word(part) && (is_number(part) || !part.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let numbers: Vec<&str> = core.split('.').collect();
    numbers.len() == 3
        && numbers.into_iter().all(is_number)
        && before.is_none_or(|before| before.split('.').all(is_before))
        && build.is_none_or(|build| build.split('.').all(is_word))
}

fn validate_capacity(
    capacity: &DeviceCapacity,
    shared: bool,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    let most = request_policy::quantity(&capacity.value, &path.child("value"), errors);
    let Some(policy) = &capacity.request_policy else { return };
    let at = path.child("requestPolicy");
    if !shared {
        errors.forbidden(&at, "allowMultipleAllocations must be true");
    } else if let Some(most) = most {
        request_policy::validate(policy, most, &at, errors);
    }
}

fn validate_nodes(device: &Device, per_device: bool, path: &Path<'_>, errors: &mut ErrorList) {
    if !per_device {
        let given = device.node_name.is_some()
            || device.node_selector.is_some()
            || device.all_nodes.is_some();
        if given {
            let why = "`nodeName`, `nodeSelector` and `allNodes` can only be set if \
                       `perDeviceNodeSelection` is set to true in the ResourceSlice spec";
            errors.invalid(path, Bare("null"), why);
        }
        return;
    }
    let mut given = Vec::new();
    if let Some(name) = &device.node_name {
        let at = path.child("nodeName");
        if name.is_empty() {
            errors.invalid(&at, name, "must not be empty");
        } else {
            given.push("`nodeName`");
            complain(errors, &at, name, rules::dns_subdomain(name));
        }
    }
    if let Some(selector) = &device.node_selector {
        given.push("`nodeSelector`");
        validate_node_selector(selector, &path.child("nodeSelector"), errors);
    }
    match device.all_nodes {
        Some(true) => given.push("`allNodes`"),
        Some(false) => {
            let why = "must be either unset or set to true";
            errors.invalid(&path.child("allNodes"), false, why);
        }
        None => {}
    }
    let why = "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when \
               `perDeviceNodeSelection` is set to true in the ResourceSlice spec";
    match given.len() {
        0 => errors.required(path, why),
        1 => {}
        _ => errors.invalid(path, format!("{{{}}}", given.join(", ")), why),
    }
}

/// Checks what a device takes of its node.
fn validate_mapping(
    name: &str,
    mapping: &NodeAllocatableResourceMapping,
    device: &Device,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    if !OF_NODES.contains(&name) && !name.starts_with("hugepages-") {
        errors.invalid(path, name, "must be a node allocatable resource name");
    }
    if let Some(key) = &mapping.capacity_key {
        let at = path.child("capacityKey");
        if key.is_empty() {
            errors.invalid(&at, "", "capacityKey must not be an empty string");
        } else if !device.capacity.as_ref().is_some_and(|all| all.contains_key(key)) {
            errors.not_found(&at, key);
        }
    }
    let at = path.child("allocationMultiplier");
    if let Some(factor) = &mapping.allocation_multiplier
        && let Some(factor) = request_policy::quantity(factor, &at, errors)
        && (factor.is_negative() || factor.is_zero())
    {
        errors.invalid(&at, factor.to_string(), "must be positive");
    }
}
