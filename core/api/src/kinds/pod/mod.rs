use std::borrow::Cow;

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, PodStatus};

use super::pod_spec::defaults;
use super::{next_generation, qos};
use crate::Strategy;

/// Pods.
pub(super) struct PodStrategy;

/// The fields that selectors of pods may name.
pub(super) const FIELDS: &[&str] = &[
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.schedulerName",
    "spec.serviceAccountName",
    "spec.hostNetwork",
    "status.phase",
    "status.podIP",
    "status.nominatedNodeName",
];

impl Strategy for PodStrategy {
    type Kind = Pod;

    fn default(&self, pod: &mut Pod) {
        let spec = pod.spec.get_or_insert_default();
        defaults::pod_spec(spec);
        spec.containers.iter_mut().for_each(requests_from_limits);
        spec.init_containers.iter_mut().flatten().for_each(requests_from_limits);
        spec.enable_service_links.get_or_insert(true);
        if spec.host_network == Some(true) {
            host_ports(spec);
        }
    }

    fn prepare_for_create(&self, pod: &mut Pod) {
        pod.metadata.generation = Some(1);
        pod.status = Some(PodStatus {
            phase: Some("Pending".to_owned()),
            qos_class: pod.spec.as_ref().map(|spec| qos::class(spec).to_owned()),
            ..Default::default()
        });
    }

    fn prepare_for_update(&self, new: &mut Pod, old: &Pod) {
        new.status.clone_from(&old.status);
        let changed = new.spec != old.spec;
        next_generation(&mut new.metadata, &old.metadata, changed);
    }

    fn prepare_for_status_update(&self, new: &mut Pod, old: &Pod) {
        new.spec.clone_from(&old.spec);
        new.metadata.owner_references.clone_from(&old.metadata.owner_references);
    }

    fn field<'a>(&self, pod: &'a Pod, path: &str) -> Option<Cow<'a, str>> {
        let spec = pod.spec.as_ref();
        let status = pod.status.as_ref();
        let text = match path {
            "spec.nodeName" => spec.and_then(|spec| spec.node_name.as_deref()),
            "spec.restartPolicy" => spec.and_then(|spec| spec.restart_policy.as_deref()),
            "spec.schedulerName" => spec.and_then(|spec| spec.scheduler_name.as_deref()),
            "spec.serviceAccountName" => spec.and_then(|spec| spec.service_account_name.as_deref()),
            "spec.hostNetwork" => {
                let host = spec.and_then(|spec| spec.host_network) == Some(true);
                Some(if host { "true" } else { "false" })
            }
            "status.phase" => status.and_then(|status| status.phase.as_deref()),
            "status.podIP" => status.and_then(|status| status.pod_ip.as_deref()),
            "status.nominatedNodeName" => {
                status.and_then(|status| status.nominated_node_name.as_deref())
            }
            _ => return None,
        };
        Some(Cow::Borrowed(text.unwrap_or_default()))
    }

    fn grace_period(&self, pod: &Pod, requested: Option<i64>) -> Option<i64> {
        let spec = pod.spec.as_ref();
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        let scheduled =
            spec.and_then(|spec| spec.node_name.as_deref()).is_some_and(|node| !node.is_empty());
        if !scheduled || matches!(phase, Some("Succeeded" | "Failed")) {
            return Some(0);
        }
        let period =
            requested.or_else(|| spec?.termination_grace_period_seconds).unwrap_or_default();
        Some(if period < 0 { 1 } else { period })
    }
}

/// What a container is limited to and does not request, it requests. Only pods get this, not
/// templates: defaults of a namespace may come in between.
fn requests_from_limits(container: &mut Container) {
    let Some(resources) = &mut container.resources else { return };
    let Some(limits) = &resources.limits else { return };
    let requests = resources.requests.get_or_insert_default();
    for (name, limit) in limits {
        if !requests.contains_key(name) {
            requests.insert(name.clone(), limit.clone());
        }
    }
}

/// On the host's network a container's ports are the host's.
fn host_ports(spec: &mut PodSpec) {
    let init = spec.init_containers.iter_mut().flatten();
    for port in
        spec.containers.iter_mut().chain(init).flat_map(|one| one.ports.iter_mut().flatten())
    {
        if port.host_port.unwrap_or(0) == 0 {
            port.host_port = Some(port.container_port);
        }
    }
}
