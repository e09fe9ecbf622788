//! Small checks that many kinds share.

use std::borrow::Borrow;
use std::collections::HashSet;
use std::hash::Hash;
use std::net::IpAddr;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde::Serialize;

use super::names::rules;
use crate::field::{ErrorList, Path, Shown};

/// Said of a field that may not change.
pub(super) const IMMUTABLE: &str = "field is immutable";
/// Said of a number below zero.
pub(super) const NEGATIVE: &str = "must be greater than or equal to 0";
/// Said of a number that is zero or below.
pub(super) const NOT_POSITIVE: &str = "must be greater than zero";

/// The text of a field, empty if absent.
pub(super) fn text(field: &Option<String>) -> &str {
    field.as_deref().unwrap_or_default()
}

/// Adds every complaint about a value.
pub(super) fn complain<V>(
    errors: &mut ErrorList,
    path: &Path<'_>,
    value: V,
    complaints: Vec<String>,
) where
    V: Shown + Copy,
{
    for complaint in complaints {
        errors.invalid(path, value, &complaint);
    }
}

/// Adds all complaints about a value as one.
pub(super) fn complain_once<V: Shown>(
    errors: &mut ErrorList,
    path: &Path<'_>,
    value: V,
    complaints: &[String],
) {
    if !complaints.is_empty() {
        errors.invalid(path, value, &complaints.join(","));
    }
}

/// A number may not be below zero.
pub(super) fn non_negative(errors: &mut ErrorList, path: &Path<'_>, value: impl Into<i64>) {
    let value = value.into();
    if value < 0 {
        errors.invalid(path, value, NEGATIVE);
    }
}

/// A text must be one of a few; an absent one is asked for.
pub(super) fn required_choice(
    errors: &mut ErrorList,
    path: &Path<'_>,
    value: &Option<String>,
    choices: &[&str],
) {
    match text(value) {
        "" => errors.required(path, ""),
        value if choices.contains(&value) => {}
        value => errors.not_supported(path, value, choices),
    }
}

/// A text, if there is one, must be one of a few.
pub(super) fn choice(
    errors: &mut ErrorList,
    path: &Path<'_>,
    value: &Option<String>,
    choices: &[&str],
) {
    if let Some(value) = value.as_deref()
        && !choices.contains(&value)
    {
        errors.not_supported(path, value, choices);
    }
}

/// A value may not change.
pub(super) fn immutable<T>(errors: &mut ErrorList, path: &Path<'_>, new: &T, old: &T)
where
    T: PartialEq + Serialize,
{
    if new != old {
        errors.invalid(path, Json(new), IMMUTABLE);
    }
}

/// A port by number or by name.
pub(super) fn port(errors: &mut ErrorList, path: &Path<'_>, port: &IntOrString) {
    match port {
        IntOrString::Int(number) => complain(errors, path, *number, rules::port_number(*number)),
        IntOrString::String(name) => complain(errors, path, name, rules::port_name(name)),
    }
}

/// An address of either family; whether it is one.
pub(super) fn ip(errors: &mut ErrorList, path: &Path<'_>, address: &str) -> Option<IpAddr> {
    let parsed = address.parse().ok();
    if parsed.is_none() {
        let why = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
        errors.invalid(path, address, why);
    }
    parsed
}

/// A range of addresses of either family; its address, if it is one.
pub(super) fn cidr(errors: &mut ErrorList, path: &Path<'_>, range: &str) -> Option<IpAddr> {
    let parsed = range.split_once('/').and_then(|(address, length)| {
        let address: IpAddr = address.parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let digits = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
        (digits && length.parse::<u8>().ok()? <= most).then_some(address)
    });
    if parsed.is_none() {
        let why = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
        errors.invalid(path, range, why);
    }
    parsed
}

/// Whether there is at most one address of each family, and both.
pub(super) fn is_dual_stack(addresses: &[IpAddr]) -> bool {
    addresses.iter().any(IpAddr::is_ipv4) && addresses.iter().any(IpAddr::is_ipv6)
}

/// A value shown as JSON, as upstream shows what is neither text nor number.
#[derive(Clone, Copy)]
pub(crate) struct Json<'a, T>(pub(crate) &'a T);

impl<T: Serialize> Shown for Json<'_, T> {
    fn shown(&self) -> String {
        serde_json::to_string(self.0).unwrap_or_else(|error| error.to_string())
    }
}

/// What has been seen, to find duplicates. A few need no memory.
pub(super) struct Seen<T> {
    few: [Option<T>; FEW],
    len: usize,
    many: Option<HashSet<T, ahash::RandomState>>,
}

/// Up to how many are looked through one by one.
pub(super) const FEW: usize = 12;

impl<T: Copy + Eq + Hash> Seen<T> {
    /// Nothing yet.
    pub(super) fn new() -> Self {
        Self { few: [None; FEW], len: 0, many: None }
    }

    /// Takes a value in; whether it is new.
    pub(super) fn insert(&mut self, value: T) -> bool {
        if let Some(many) = &mut self.many {
            return many.insert(value);
        }
        if self.contains(&value) {
            return false;
        }
        if self.len < FEW {
            self.few[self.len] = Some(value);
            self.len += 1;
        } else {
            let mut many: HashSet<T, _> = self.few.iter().copied().flatten().collect();
            many.insert(value);
            self.many = Some(many);
        }
        true
    }

    /// Whether a value has been taken in.
    pub(super) fn contains<Q>(&self, value: &Q) -> bool
    where
        T: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        match &self.many {
            Some(many) => many.contains(value),
            None => self.few[..self.len].iter().flatten().any(|seen| seen.borrow() == value),
        }
    }
}
