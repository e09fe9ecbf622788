//! Devices, and the claims on them.

use jiff::Timestamp;
use k8s_openapi::api::resource::v1::{
    DeviceClass, ResourceClaim, ResourceClaimTemplate, ResourceSlice,
};
use k8s_openapi::api::resource::v1alpha3::{PoolStatus, ResourcePoolStatusRequest};
use k8s_openapi::api::resource::v1beta2::DeviceTaintRule;
use serde_json::Value;

use super::age::{age, since};
use super::text::{self, NONE};
use super::typed::Entry;
use super::{AGE, Column, NAME, cells};

const NAME_AND_AGE: &[Column] = &[NAME, AGE];

const CLAIM: &[Column] = &[NAME, Column::text("State", "What has become of the claim"), AGE];

const SLICE: &[Column] = &[
    NAME,
    Column::text("Node", "Node that has the devices"),
    Column::text("Driver", "Driver of the devices"),
    Column::text("Pool", "Pool that the devices belong to"),
    AGE,
];

const TAINT_RULE: &[Column] = &[
    NAME,
    Column::text("Key", "Key of the taint"),
    Column::text("Value", "Value of the taint"),
    Column::text("Effect", "What the taint does to claims"),
    Column::text("TimeAdded", "Time since the taint was added"),
    AGE,
];

const POOL_STATUS: &[Column] = &[
    NAME,
    Column::text("Driver", "Driver whose pools are asked for"),
    Column::text("Total", "Devices of all pools"),
    Column::text("Available", "Devices that are free"),
    Column::text("Allocated", "Devices that are in use"),
    Column::text("Unavailable", "Devices that cannot be used"),
    Column::text("Errors", "Pools that are not valid"),
    Column::integer("Pools", "Pools that match"),
    Column::text("Status", "What has become of the request"),
    Column::text("Completed", "Time since the answer was given"),
];

pub(super) fn printers() -> Vec<Entry> {
    vec![
        Entry::new(NAME_AND_AGE, device_class),
        Entry::new(CLAIM, claim),
        Entry::new(NAME_AND_AGE, claim_template),
        Entry::new(SLICE, slice),
        Entry::new(TAINT_RULE, taint_rule),
        Entry::new(POOL_STATUS, pool_status),
    ]
}

fn device_class(class: &DeviceClass, now: Timestamp) -> Vec<Value> {
    cells![class.metadata.name.as_deref(), age(&class.metadata, now)]
}

fn claim_template(template: &ResourceClaimTemplate, now: Timestamp) -> Vec<Value> {
    cells![template.metadata.name.as_deref(), age(&template.metadata, now)]
}

fn claim(claim: &ResourceClaim, now: Timestamp) -> Vec<Value> {
    let status = claim.status.as_ref();
    let is_allocated = status.is_some_and(|status| status.allocation.is_some());
    let reserved = status.and_then(|status| status.reserved_for.as_ref());
    let is_reserved = reserved.is_some_and(|users| !users.is_empty());
    let is_deleted = claim.metadata.deletion_timestamp.is_some();
    let states = [
        (is_deleted, "deleted"),
        (!is_allocated && !is_deleted, "pending"),
        (is_allocated, "allocated"),
        (is_allocated && is_reserved, "reserved"),
    ];
    let states: Vec<_> =
        states.into_iter().filter(|(holds, _)| *holds).map(|(_, word)| word).collect();
    cells![claim.metadata.name.as_deref(), states.join(","), age(&claim.metadata, now)]
}

fn slice(slice: &ResourceSlice, now: Timestamp) -> Vec<Value> {
    cells![
        slice.metadata.name.as_deref(),
        slice.spec.node_name.as_deref().unwrap_or_default(),
        &slice.spec.driver[..],
        &slice.spec.pool.name[..],
        age(&slice.metadata, now),
    ]
}

fn taint_rule(rule: &DeviceTaintRule, now: Timestamp) -> Vec<Value> {
    let taint = &rule.spec.taint;
    let added = taint.time_added.as_ref().map(|time| since(Some(time), now));
    cells![
        rule.metadata.name.as_deref(),
        &taint.key[..],
        taint.value.as_deref().unwrap_or_default(),
        &taint.effect[..],
        added.unwrap_or_default(),
        age(&rule.metadata, now),
    ]
}

fn pool_status(request: &ResourcePoolStatusRequest, now: Timestamp) -> Vec<Value> {
    let status = request.status.as_ref();
    let conditions = status.and_then(|status| status.conditions.as_ref());
    let pools = status.and_then(|status| status.pools.as_deref()).unwrap_or_default();
    let is_complete = text::is_true(conditions, "Complete");
    let is_failed = !is_complete && text::is_true(conditions, "Failed");
    let count = status.map_or(0, |status| status.pool_count);
    let word = match (is_complete, is_failed) {
        (true, _) if usize::try_from(count).unwrap_or(0) > pools.len() => {
            format!("Complete ({}/{count} pools)", pools.len())
        }
        (true, _) => "Complete".to_owned(),
        (_, true) => "Failed".to_owned(),
        _ => "Pending".to_owned(),
    };
    let sum = |of: fn(&PoolStatus) -> i32| match status {
        Some(_) if !is_failed => {
            pools.iter().map(|pool| i64::from(of(pool))).sum::<i64>().to_string()
        }
        _ => "-".to_owned(),
    };
    let mut all = conditions.into_iter().flatten();
    let done = all.find(|one| is_complete && one.type_ == "Complete" && one.status == "True");
    cells![
        request.metadata.name.as_deref(),
        &request.spec.driver[..],
        sum(|pool| pool.total_devices.unwrap_or(0)),
        sum(|pool| pool.available_devices.unwrap_or(0)),
        sum(|pool| pool.allocated_devices.unwrap_or(0)),
        sum(|pool| pool.unavailable_devices.unwrap_or(0)),
        sum(|pool| i32::from(pool.validation_error.is_some())),
        count,
        word,
        done.map_or_else(|| NONE.to_owned(), |one| since(Some(&one.last_transition_time), now)),
    ]
}
