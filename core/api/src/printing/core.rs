//! The small kinds of the core group.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    ComponentStatus, ConfigMap, Namespace, ReplicationController, ResourceQuota, Secret,
    ServiceAccount,
};
use serde_json::Value;

use super::age::age;
use super::text;
use super::typed::Entry;
use super::{AGE, Column, NAME, cells};

const CONFIG_MAP: &[Column] =
    &[NAME, Column::text("Data", "How many entries the config map has"), AGE];

const SECRET: &[Column] = &[
    NAME,
    Column::text("Type", "What the secret is for"),
    Column::text("Data", "How many entries the secret has"),
    AGE,
];

const NAMESPACE: &[Column] = &[NAME, Column::text("Status", "Phase of the namespace"), AGE];

const SERVICE_ACCOUNT: &[Column] = &[NAME, AGE];

const REPLICATION_CONTROLLER: &[Column] = &[
    NAME,
    Column::integer("Desired", "Pods that are wanted"),
    Column::integer("Current", "Pods that there are"),
    Column::integer("Ready", "Pods that are ready"),
    AGE,
    Column::text("Containers", "Names of the template's containers").wide(),
    Column::text("Images", "Images of the template's containers").wide(),
    Column::text("Selector", "Labels of the pods that are counted").wide(),
];

const RESOURCE_QUOTA: &[Column] = &[
    NAME,
    Column::text("Request", "What is used and what may be, of requests and counts"),
    Column::text("Limit", "What is used and what may be, of limits"),
    AGE,
];

const COMPONENT_STATUS: &[Column] = &[
    NAME,
    Column::text("Status", "Whether the component is healthy"),
    Column::text("Message", "What the component says"),
    Column::text("Error", "What is wrong with the component"),
];

pub(super) fn printers() -> Vec<Entry> {
    vec![
        Entry::new(CONFIG_MAP, config_map),
        Entry::new(SECRET, secret),
        Entry::new(NAMESPACE, namespace),
        Entry::new(SERVICE_ACCOUNT, service_account),
        Entry::new(REPLICATION_CONTROLLER, replication_controller),
        Entry::new(RESOURCE_QUOTA, resource_quota),
        Entry::new(COMPONENT_STATUS, component_status),
    ]
}

fn config_map(map: &ConfigMap, now: Timestamp) -> Vec<Value> {
    let text = map.data.as_ref().map_or(0, |data| data.len());
    let binary = map.binary_data.as_ref().map_or(0, |data| data.len());
    cells![map.metadata.name.as_deref(), text + binary, age(&map.metadata, now)]
}

fn secret(secret: &Secret, now: Timestamp) -> Vec<Value> {
    cells![
        secret.metadata.name.as_deref(),
        secret.type_.as_deref().unwrap_or_default(),
        secret.data.as_ref().map_or(0, |data| data.len()),
        age(&secret.metadata, now),
    ]
}

fn namespace(namespace: &Namespace, now: Timestamp) -> Vec<Value> {
    let phase = namespace.status.as_ref().and_then(|status| status.phase.as_deref());
    cells![
        namespace.metadata.name.as_deref(),
        phase.unwrap_or_default(),
        age(&namespace.metadata, now),
    ]
}

fn service_account(account: &ServiceAccount, now: Timestamp) -> Vec<Value> {
    cells![account.metadata.name.as_deref(), age(&account.metadata, now)]
}

fn replication_controller(controller: &ReplicationController, now: Timestamp) -> Vec<Value> {
    let spec = controller.spec.as_ref();
    let status = controller.status.as_ref();
    let (names, images) = text::template_containers(spec.and_then(|spec| spec.template.as_ref()));
    cells![
        controller.metadata.name.as_deref(),
        spec.and_then(|spec| spec.replicas).unwrap_or(0),
        status.map_or(0, |status| status.replicas),
        status.and_then(|status| status.ready_replicas).unwrap_or(0),
        age(&controller.metadata, now),
        names,
        images,
        text::labels(spec.and_then(|spec| spec.selector.as_ref())),
    ]
}

fn resource_quota(quota: &ResourceQuota, now: Timestamp) -> Vec<Value> {
    let (mut requests, mut limits) = (Vec::new(), Vec::new());
    let status = quota.status.as_ref();
    let used = status.and_then(|status| status.used.as_ref());
    for (name, hard) in status.and_then(|status| status.hard.as_ref()).into_iter().flatten() {
        let used = text::quantity(used.and_then(|used| used.get(name)));
        let line = format!("{name}: {used}/{}", text::quantity(Some(hard)));
        if name.starts_with("limits.") { &mut limits } else { &mut requests }.push(line);
    }
    cells![
        quota.metadata.name.as_deref(),
        requests.join(", "),
        limits.join(", "),
        age(&quota.metadata, now),
    ]
}

fn component_status(component: &ComponentStatus, _: Timestamp) -> Vec<Value> {
    let healthy = component.conditions.iter().flatten().find(|one| one.type_ == "Healthy");
    let status = match healthy.map(|condition| &condition.status[..]) {
        Some("True") => "Healthy",
        Some(_) => "Unhealthy",
        None => "Unknown",
    };
    cells![
        component.metadata.name.as_deref(),
        status,
        healthy.and_then(|one| one.message.as_deref()).unwrap_or_default(),
        healthy.and_then(|one| one.error.as_deref()).unwrap_or_default(),
    ]
}
