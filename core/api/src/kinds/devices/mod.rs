//! Devices that are allocated to pods: their classes, claims for them, and where they are.

mod allocation;
mod claim;
mod claim_status;
mod class;
mod config;
mod device;
mod names;
mod request;
mod request_policy;
mod slice;

use crate::field::{ErrorList, Path};

pub(super) use claim::{ResourceClaimStrategy, ResourceClaimTemplateStrategy};
pub(super) use class::DeviceClassStrategy;
pub(super) use slice::{FIELDS, ResourceSliceStrategy};

/// Checks each item of a list, and that there are no more than `max`: more are not looked at.
fn each<T>(
    list: &Option<Vec<T>>,
    max: usize,
    path: &Path<'_>,
    errors: &mut ErrorList,
    mut check: impl FnMut(&T, &Path<'_>, &mut ErrorList),
) -> bool {
    let list = list.as_deref().unwrap_or_default();
    if list.len() > max {
        errors.too_many(path, list.len(), max);
        return false;
    }
    for (index, item) in list.iter().enumerate() {
        check(item, &path.index(index), errors);
    }
    true
}

/// As [`each`], for items of which no two have the same key.
fn each_once<'a, T, K: PartialEq>(
    list: &'a Option<Vec<T>>,
    max: usize,
    path: &Path<'_>,
    errors: &mut ErrorList,
    key: impl Fn(&'a T) -> (K, String),
    check: impl FnMut(&T, &Path<'_>, &mut ErrorList),
) {
    if !each(list, max, path, errors, check) {
        return;
    }
    let mut seen: Vec<K> = Vec::new();
    for (index, item) in list.iter().flatten().enumerate() {
        let (key, shown) = key(item);
        if seen.contains(&key) {
            errors.duplicate(&path.index(index), shown);
        } else {
            seen.push(key);
        }
    }
}
