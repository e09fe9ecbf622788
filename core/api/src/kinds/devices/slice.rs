use std::borrow::Cow;

use k8s_openapi::api::resource::v1::{
    Counter, CounterSet, Device, ResourceSlice, ResourceSliceSpec,
};

use super::{device, each_once, names, request_policy};
use crate::Strategy;
use crate::field::{ErrorList, Path};
use crate::kinds::check::{Json, complain, immutable, text};
use crate::kinds::names::rules;
use crate::kinds::next_generation;
use crate::kinds::pod_spec::validate_node_selector;

/// What a field selector may name.
pub(in crate::kinds) const FIELDS: &[&str] = &["spec.driver", "spec.nodeName"];
/// Most devices of a slice, and most where they are described at length.
const DEVICES_MAX: usize = 128;
const LONG_DEVICES_MAX: usize = 64;
/// Most sets of counters, and most counters of each.
const COUNTER_SETS_MAX: usize = 8;
pub(super) const COUNTERS_MAX: usize = 32;

/// Devices that there are.
pub(in crate::kinds) struct ResourceSliceStrategy;

impl Strategy for ResourceSliceStrategy {
    type Kind = ResourceSlice;

    fn prepare_for_create(&self, slice: &mut ResourceSlice) {
        slice.metadata.generation = Some(1);
    }

    fn validate(&self, slice: &ResourceSlice, errors: &mut ErrorList) {
        validate(&slice.spec, None, errors);
    }

    fn prepare_for_update(&self, new: &mut ResourceSlice, old: &ResourceSlice) {
        let changed = new.spec != old.spec;
        next_generation(&mut new.metadata, &old.metadata, changed);
    }

    fn validate_update(&self, new: &ResourceSlice, old: &ResourceSlice, errors: &mut ErrorList) {
        validate(&new.spec, Some(&old.spec), errors);
    }

    fn field<'a>(&self, slice: &'a ResourceSlice, path: &str) -> Option<Cow<'a, str>> {
        match path {
            "spec.driver" => Some(Cow::Borrowed(slice.spec.driver.as_str())),
            "spec.nodeName" => Some(Cow::Borrowed(text(&slice.spec.node_name))),
            _ => None,
        }
    }
}

fn validate(spec: &ResourceSliceSpec, old: Option<&ResourceSliceSpec>, errors: &mut ErrorList) {
    let path = Path::root("spec");
    names::driver(&spec.driver, &path.child("driver"), errors);
    let at = path.child("pool");
    names::pool(&spec.pool.name, &at.child("name"), errors);
    let count = spec.pool.resource_slice_count;
    if count <= 0 {
        errors.invalid(&at.child("resourceSliceCount"), count, "must be greater than zero");
    }
    let generation = spec.pool.generation;
    if generation < 0 {
        let why = "must be greater than or equal to zero";
        errors.invalid(&at.child("generation"), generation, why);
    }
    if let Some(old) = old {
        immutable(errors, &at.child("name"), &spec.pool.name, &old.pool.name);
        immutable(errors, &path.child("driver"), &spec.driver, &old.driver);
        immutable(errors, &path.child("nodeName"), &spec.node_name, &old.node_name);
    }
    validate_nodes(spec, &path, errors);
    if spec.shared_counters.is_some() && spec.devices.is_some() {
        errors.invalid(&path, "", "only one of `sharedCounters` or `devices` is allowed");
    }
    let max = if spec.devices.iter().flatten().any(device::is_long) {
        LONG_DEVICES_MAX
    } else {
        DEVICES_MAX
    };
    let per_device = spec.per_device_node_selection == Some(true);
    let key = |device: &Device| (device.name.clone(), device.name.clone());
    each_once(&spec.devices, max, &path.child("devices"), errors, key, |one, path, errors| {
        let before = old.and_then(|old| old.devices.iter().flatten().find(|d| d.name == one.name));
        device::validate(one, before, per_device, path, errors);
    });
    let key = |set: &CounterSet| (set.name.clone(), set.name.clone());
    let at = path.child("sharedCounters");
    each_once(&spec.shared_counters, COUNTER_SETS_MAX, &at, errors, key, |set, path, errors| {
        names::required_label(&set.name, &path.child("name"), errors);
        counters(set.counters.iter(), &path.child("counters"), errors);
    });
}

/// Checks counters, of a set or of what a device takes of one.
pub(super) fn counters<'a>(
    all: impl ExactSizeIterator<Item = (&'a String, &'a Counter)>,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    match all.len() {
        0 => return errors.required(path, ""),
        count if count > COUNTERS_MAX => return errors.too_many(path, count, COUNTERS_MAX),
        _ => {}
    }
    for (name, counter) in all {
        complain(errors, path, name, rules::dns_label(name));
        request_policy::quantity(&counter.value, &path.key(name).child("value"), errors);
    }
}

/// Checks where devices are: it is said in exactly one way.
fn validate_nodes(spec: &ResourceSliceSpec, path: &Path<'_>, errors: &mut ErrorList) {
    let mut given = Vec::new();
    if let Some(name) = &spec.node_name {
        let at = path.child("nodeName");
        if name.is_empty() {
            errors.invalid(&at, name, "must be either unset or set to a non-empty string");
        } else {
            given.push("`nodeName`");
            complain(errors, &at, name, rules::dns_subdomain(name));
        }
    }
    if let Some(selector) = &spec.node_selector {
        given.push("`nodeSelector`");
        let at = path.child("nodeSelector");
        validate_node_selector(selector, &at, errors);
        let terms = &selector.node_selector_terms;
        if terms.len() != 1 {
            let why = "must have exactly one node selector term";
            errors.invalid(&at.child("nodeSelectorTerms"), Json(terms), why);
        }
    }
    let flags = [
        (spec.all_nodes, "allNodes", "`allNodes`"),
        (spec.per_device_node_selection, "perDeviceNodeSelection", "`perDeviceNodeSelection`"),
    ];
    for (flag, field, quoted) in flags {
        match flag {
            Some(true) => given.push(quoted),
            Some(false) => {
                let why = "must be either unset or set to true";
                errors.invalid(&path.child(field), false, why);
            }
            None => {}
        }
    }
    let why = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is \
               required";
    match given.len() {
        0 => errors.required(path, why),
        1 => {}
        _ => {
            let shown = format!("{{{}}}", given.join(", "));
            errors.invalid(path, shown, &format!("{why}, but multiple fields are set"));
        }
    }
}
