//! Names of devices, their drivers, pools and attributes.

use k8s_openapi::api::resource::v1::{DeviceTaint, DeviceToleration};

use super::each;
use crate::field::{ErrorList, Path};
use crate::kinds::check::{complain, text};
use crate::kinds::names::rules;
use crate::kinds::storage::driver_name;

/// Longest name of a pool, and longest name of an attribute without its domain, in bytes.
const POOL_MAX: usize = 253;
const ID_MAX: usize = 32;
const EFFECTS: [&str; 3] = ["NoExecute", "NoSchedule", "None"];
/// Most conditions that a device waits for before it is bound, and most that fail it.
const CONDITIONS_MAX: usize = 4;
const IDENTIFIER: &str = "a valid C identifier must start with alphabetic character or '_', \
    followed by a string of alphanumeric characters or '_' (e.g. 'my_name',  or 'MY_NAME',  or \
    'MyName', regex used for validation is '[A-Za-z_][A-Za-z0-9_]*')";

/// Checks a driver's name.
pub(super) fn driver(name: &str, path: &Path<'_>, errors: &mut ErrorList) {
    driver_name(name, path, errors);
}

/// Checks a name that is a DNS label.
pub(super) fn label(name: &str, path: &Path<'_>, errors: &mut ErrorList) {
    complain(errors, path, name, rules::dns_label(name));
}

/// Checks a name that is a DNS label and must be there.
pub(super) fn required_label(name: &str, path: &Path<'_>, errors: &mut ErrorList) {
    if name.is_empty() { errors.required(path, "") } else { label(name, path, errors) }
}

/// Checks the name of a pool: subdomains with slashes between.
pub(super) fn pool(name: &str, path: &Path<'_>, errors: &mut ErrorList) {
    if name.is_empty() {
        return errors.required(path, "");
    }
    if name.len() > POOL_MAX {
        errors.too_long(path, POOL_MAX);
    }
    for part in name.split('/') {
        complain(errors, path, part, rules::dns_subdomain(part));
    }
}

/// Checks the name of an attribute or a capacity, with or without the domain of its driver.
pub(super) fn qualified(name: &str, path: &Path<'_>, errors: &mut ErrorList) {
    let parts: Vec<&str> = name.split('/').collect();
    match parts[..] {
        [id] => identifier(id, path, errors),
        [domain, id] => {
            if domain.is_empty() {
                errors.invalid(path, "", "the domain must not be empty");
            } else {
                driver(domain, path, errors);
            }
            if id.is_empty() {
                errors.invalid(path, "", "the name must not be empty");
            } else {
                identifier(id, path, errors);
            }
        }
        _ => errors.invalid(path, name, "must not contain more than one slash"),
    }
}

/// Checks the name of an attribute with its domain.
pub(super) fn fully_qualified(name: &str, path: &Path<'_>, errors: &mut ErrorList) {
    qualified(name, path, errors);
    if !name.contains('/') {
        let why = "a fully qualified name must be a domain and a name separated by a slash";
        errors.invalid(path, name, why);
    }
}

fn identifier(id: &str, path: &Path<'_>, errors: &mut ErrorList) {
    if id.len() > ID_MAX {
        errors.too_long(path, ID_MAX);
    }
    let fits = |byte: u8| byte == b'_' || byte.is_ascii_alphanumeric();
    let starts = id.bytes().next().is_some_and(|byte| !byte.is_ascii_digit());
    if !starts || !id.bytes().all(fits) {
        errors.invalid(path, id, IDENTIFIER);
    }
}

/// Checks a uid: as RFC 4122 writes it, in lower case.
pub(super) fn uid(uid: &str, path: &Path<'_>, errors: &mut ErrorList) {
    let lengths: Vec<usize> = uid.split('-').map(str::len).collect();
    let fits = |byte: u8| matches!(byte, b'-' | b'0'..=b'9' | b'a'..=b'f');
    if lengths != [8, 4, 4, 4, 12] || !uid.bytes().all(fits) {
        let why = "uid must be in RFC 4122 normalized form, `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx` \
                   with lowercase hexadecimal characters";
        errors.invalid(path, uid, why);
    }
}

/// Checks why a device is to be avoided.
pub(super) fn taint(taint: &DeviceTaint, path: &Path<'_>, errors: &mut ErrorList) {
    complain(errors, &path.child("key"), &taint.key, rules::qualified_name(&taint.key));
    let value = text(&taint.value);
    complain(errors, &path.child("value"), value, rules::label_value(value));
    let at = path.child("effect");
    match taint.effect.as_str() {
        "" => errors.required(&at, ""),
        effect if EFFECTS.contains(&effect) => {}
        other => errors.not_supported(&at, other, &EFFECTS),
    }
}

/// Checks which taints do not matter.
pub(super) fn toleration(toleration: &DeviceToleration, path: &Path<'_>, errors: &mut ErrorList) {
    let key = text(&toleration.key);
    if !key.is_empty() {
        complain(errors, &path.child("key"), key, rules::qualified_name(key));
    }
    let value = text(&toleration.value);
    let at = path.child("value");
    match text(&toleration.operator) {
        "Exists" if !value.is_empty() => {
            errors.invalid(&at, value, "must be empty for operator `Exists`");
        }
        "Exists" => {}
        "Equal" => complain(errors, &at, value, rules::label_value(value)),
        "" => errors.required(&path.child("operator"), ""),
        other => errors.not_supported(&path.child("operator"), other, &["Equal", "Exists"]),
    }
    let effect = text(&toleration.effect);
    if !effect.is_empty() && !EFFECTS.contains(&effect) {
        errors.not_supported(&path.child("effect"), effect, &EFFECTS);
    }
}

/// Checks the conditions that a device waits for, and those that fail it: one kind needs the other.
pub(super) fn binding_conditions(
    wanted: &Option<Vec<String>>,
    failing: &Option<Vec<String>>,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    let (wanted_at, failing_at) =
        (path.child("bindingConditions"), path.child("bindingFailureConditions"));
    for (all, at) in [(wanted, &wanted_at), (failing, &failing_at)] {
        each(all, CONDITIONS_MAX, at, errors, |name: &String, at, errors| {
            complain(errors, at, name, rules::qualified_name(name));
        });
    }
    let (wanted, failing) =
        (wanted.as_deref().unwrap_or_default(), failing.as_deref().unwrap_or_default());
    for (all, at) in [(wanted, &wanted_at), (failing, &failing_at)] {
        for (index, name) in all.iter().enumerate().filter(|(i, name)| all[..*i].contains(name)) {
            errors.duplicate(&at.index(index), name);
        }
    }
    for (index, name) in failing.iter().enumerate().filter(|(_, name)| wanted.contains(name)) {
        let why = "bindingFailureConditions must not overlap with bindingConditions";
        errors.invalid(&failing_at.index(index), name, why);
    }
    let none = crate::field::Bare("[]");
    match (wanted.is_empty(), failing.is_empty()) {
        (true, false) => {
            let why = "bindingConditions are required to use bindingFailureConditions";
            errors.invalid(&wanted_at, none, why);
        }
        (false, true) => {
            let why = "bindingFailureConditions are required to use bindingConditions";
            errors.invalid(&failing_at, none, why);
        }
        _ => {}
    }
}
