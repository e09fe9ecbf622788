//! Disruption budgets, and who may do what.

use jiff::Timestamp;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, RoleBinding, RoleRef, Subject};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

use super::age::age;
use super::text;
use super::typed::Entry;
use super::{AGE, Column, NAME, cells};

const BUDGET: &[Column] = &[
    NAME,
    Column::text("Min Available", "Pods that must stay available"),
    Column::text("Max Unavailable", "Pods that may be unavailable"),
    Column::integer("Allowed Disruptions", "Pods that may be evicted now"),
    AGE,
];

const BINDING: &[Column] = &[
    NAME,
    Column::text("Role", "Role that is given"),
    AGE,
    Column::text("Users", "Users that have it").wide(),
    Column::text("Groups", "Groups that have it").wide(),
    Column::text("ServiceAccounts", "Service accounts that have it").wide(),
];

pub(super) fn printers() -> Vec<Entry> {
    vec![
        Entry::new(BUDGET, budget),
        Entry::new(BINDING, role_binding),
        Entry::new(BINDING, cluster_role_binding),
    ]
}

fn budget(budget: &PodDisruptionBudget, now: Timestamp) -> Vec<Value> {
    let spec = budget.spec.as_ref();
    let bound = |value: Option<_>| value.map_or_else(|| "N/A".to_owned(), text::int_or_string);
    cells![
        budget.metadata.name.as_deref(),
        bound(spec.and_then(|spec| spec.min_available.as_ref())),
        bound(spec.and_then(|spec| spec.max_unavailable.as_ref())),
        budget.status.as_ref().and_then(|status| status.disruptions_allowed).unwrap_or(0),
        age(&budget.metadata, now),
    ]
}

fn role_binding(binding: &RoleBinding, now: Timestamp) -> Vec<Value> {
    let subjects = binding.subjects.as_deref().unwrap_or_default();
    bound(&binding.metadata, &binding.role_ref, subjects, now)
}

fn cluster_role_binding(binding: &ClusterRoleBinding, now: Timestamp) -> Vec<Value> {
    let subjects = binding.subjects.as_deref().unwrap_or_default();
    bound(&binding.metadata, &binding.role_ref, subjects, now)
}

fn bound(meta: &ObjectMeta, role: &RoleRef, subjects: &[Subject], now: Timestamp) -> Vec<Value> {
    let of = |kind: &str| -> String {
        let those = subjects.iter().filter(|one| one.kind == kind);
        let names: Vec<_> = those
            .map(|one| match one.namespace.as_deref().unwrap_or_default() {
                namespace if kind == "ServiceAccount" => format!("{namespace}/{}", one.name),
                _ => one.name.clone(),
            })
            .collect();
        names.join(", ")
    };
    cells![
        meta.name.as_deref(),
        format!("{}/{}", role.kind, role.name),
        age(meta, now),
        of("User"),
        of("Group"),
        of("ServiceAccount"),
    ]
}
