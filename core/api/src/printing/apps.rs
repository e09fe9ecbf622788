//! Workloads that run for as long as they are wanted.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{
    ControllerRevision, DaemonSet, Deployment, DeploymentStatus, ReplicaSet, StatefulSet,
};
use serde_json::Value;

use super::age::age;
use super::text::{self, NONE};
use super::typed::Entry;
use super::{AGE, Column, NAME, cells};

const CONTAINERS: Column = Column::text("Containers", "Names of the template's containers").wide();
const IMAGES: Column = Column::text("Images", "Images of the template's containers").wide();
const SELECTOR: Column = Column::text("Selector", "Labels of the pods that are counted").wide();

const DEPLOYMENT: &[Column] = &[
    NAME,
    Column::text("Ready", "Pods that are ready, of all that are wanted"),
    Column::text("Up-to-date", "Pods of the present template"),
    Column::text("Available", "Pods that have been ready for long enough"),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

const REPLICA_SET: &[Column] = &[
    NAME,
    Column::integer("Desired", "Pods that are wanted"),
    Column::integer("Current", "Pods that there are"),
    Column::integer("Ready", "Pods that are ready"),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

const DAEMON_SET: &[Column] = &[
    NAME,
    Column::integer("Desired", "Nodes that should run a pod of the set"),
    Column::integer("Current", "Nodes that should and do"),
    Column::integer("Ready", "Nodes whose pod is ready"),
    Column::integer("Up-to-date", "Nodes whose pod is of the present template"),
    Column::integer("Available", "Nodes whose pod has been ready for long enough"),
    Column::text("Node Selector", "Labels of the nodes that are meant"),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

const STATEFUL_SET: &[Column] = &[
    NAME,
    Column::text("Ready", "Pods that are ready, of all that are wanted"),
    AGE,
    CONTAINERS,
    IMAGES,
];

const CONTROLLER_REVISION: &[Column] = &[
    NAME,
    Column::text("Controller", "Object whose state the revision keeps"),
    Column::text("Revision", "Number of the revision"),
    AGE,
];

pub(super) fn printers() -> Vec<Entry> {
    vec![
        Entry::new(DEPLOYMENT, deployment),
        Entry::new(REPLICA_SET, replica_set),
        Entry::new(DAEMON_SET, daemon_set),
        Entry::new(STATEFUL_SET, stateful_set),
        Entry::new(CONTROLLER_REVISION, controller_revision),
    ]
}

fn deployment(deployment: &Deployment, now: Timestamp) -> Vec<Value> {
    let spec = deployment.spec.as_ref();
    let none = DeploymentStatus::default();
    let status = deployment.status.as_ref().unwrap_or(&none);
    let desired = spec.and_then(|spec| spec.replicas).unwrap_or(0);
    let (names, images) = text::template_containers(spec.map(|spec| &spec.template));
    let selector = spec.map(|spec| text::selector_text(&spec.selector));
    cells![
        deployment.metadata.name.as_deref(),
        format!("{}/{desired}", status.ready_replicas.unwrap_or(0)),
        status.updated_replicas.unwrap_or(0),
        status.available_replicas.unwrap_or(0),
        age(&deployment.metadata, now),
        names,
        images,
        selector.map(|text| text.unwrap_or_else(|| "<invalid>".to_owned())).unwrap_or_default(),
    ]
}

fn replica_set(set: &ReplicaSet, now: Timestamp) -> Vec<Value> {
    let spec = set.spec.as_ref();
    let status = set.status.as_ref();
    let (names, images) = text::template_containers(spec.and_then(|spec| spec.template.as_ref()));
    cells![
        set.metadata.name.as_deref(),
        spec.and_then(|spec| spec.replicas).unwrap_or(0),
        status.map_or(0, |status| status.replicas),
        status.and_then(|status| status.ready_replicas).unwrap_or(0),
        age(&set.metadata, now),
        names,
        images,
        text::selector(spec.map(|spec| &spec.selector)),
    ]
}

fn daemon_set(set: &DaemonSet, now: Timestamp) -> Vec<Value> {
    let spec = set.spec.as_ref();
    let template = spec.map(|spec| &spec.template);
    let status = set.status.clone().unwrap_or_default();
    let (names, images) = text::template_containers(template);
    let pod = template.and_then(|template| template.spec.as_ref());
    cells![
        set.metadata.name.as_deref(),
        status.desired_number_scheduled,
        status.current_number_scheduled,
        status.number_ready,
        status.updated_number_scheduled.unwrap_or(0),
        status.number_available.unwrap_or(0),
        text::labels(pod.and_then(|pod| pod.node_selector.as_ref())),
        age(&set.metadata, now),
        names,
        images,
        text::selector(spec.map(|spec| &spec.selector)),
    ]
}

fn stateful_set(set: &StatefulSet, now: Timestamp) -> Vec<Value> {
    let spec = set.spec.as_ref();
    let ready = set.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or(0);
    let desired = spec.and_then(|spec| spec.replicas).unwrap_or(0);
    let (names, images) = text::template_containers(spec.map(|spec| &spec.template));
    cells![
        set.metadata.name.as_deref(),
        format!("{ready}/{desired}"),
        age(&set.metadata, now),
        names,
        images,
    ]
}

fn controller_revision(revision: &ControllerRevision, now: Timestamp) -> Vec<Value> {
    let mut owners = revision.metadata.owner_references.iter().flatten();
    let controller = owners.find(|owner| owner.controller == Some(true)).map(|owner| {
        let kind = owner.kind.to_lowercase();
        match owner.api_version.split_once('/') {
            Some((group, _)) => format!("{kind}.{}/{}", group.to_lowercase(), owner.name),
            None => format!("{kind}/{}", owner.name),
        }
    });
    cells![
        revision.metadata.name.as_deref(),
        controller.as_deref().unwrap_or(NONE),
        revision.revision,
        age(&revision.metadata, now),
    ]
}
