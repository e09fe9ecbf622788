//! Priorities, and groups of pods that are placed together.

use jiff::Timestamp;
use k8s_openapi::api::scheduling::v1::PriorityClass;
use k8s_openapi::api::scheduling::v1alpha2::{PodGroup, Workload};
use serde_json::Value;

use super::age::age;
use super::text::NONE;
use super::typed::Entry;
use super::{AGE, Column, NAME, cells};

const PRIORITY_CLASS: &[Column] = &[
    NAME,
    Column::integer("Value", "Priority of the class's pods; higher comes first"),
    Column::boolean("Global-Default", "Whether pods without a class get this one"),
    AGE,
    Column::text("PreemptionPolicy", "Whether the class's pods may displace others"),
];

const WORKLOAD: &[Column] = &[NAME, AGE];

const POD_GROUP: &[Column] = &[
    NAME,
    Column::text("Policy", "How the pods of the group are placed"),
    Column::text("Workload", "Workload that the group belongs to"),
    Column::text("Status", "Whether the group has been placed"),
    AGE,
];

pub(super) fn printers() -> Vec<Entry> {
    vec![
        Entry::new(PRIORITY_CLASS, priority_class),
        Entry::new(WORKLOAD, workload),
        Entry::new(POD_GROUP, pod_group),
    ]
}

fn priority_class(class: &PriorityClass, now: Timestamp) -> Vec<Value> {
    cells![
        class.metadata.name.as_deref(),
        class.value.unwrap_or(0),
        class.global_default.unwrap_or(false),
        age(&class.metadata, now),
        class.preemption_policy.as_deref().unwrap_or_default(),
    ]
}

fn workload(workload: &Workload, now: Timestamp) -> Vec<Value> {
    cells![workload.metadata.name.as_deref(), age(&workload.metadata, now)]
}

fn pod_group(group: &PodGroup, now: Timestamp) -> Vec<Value> {
    let conditions = || group.status.iter().filter_map(|status| status.conditions.as_ref());
    let last = |kind: &str| conditions().flatten().rfind(|one| one.type_ == kind);
    let status = match (last("DisruptionTarget"), last("PodGroupScheduled")) {
        (Some(disrupted), _) => &disrupted.reason,
        (None, Some(scheduled)) if scheduled.status == "True" => "Scheduled",
        (None, Some(_)) => "Unschedulable",
        (None, None) => "Pending",
    };
    let template = group.spec.pod_group_template_ref.as_ref();
    let workload = template.and_then(|template| template.workload.as_ref());
    cells![
        group.metadata.name.as_deref(),
        if group.spec.scheduling_policy.gang.is_some() { "Gang" } else { "Basic" },
        workload.map_or(NONE, |workload| &workload.workload_name),
        status,
        age(&group.metadata, now),
    ]
}
