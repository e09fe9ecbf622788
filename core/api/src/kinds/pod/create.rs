use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    AppArmorProfile, Container, Pod, PodAffinityTerm, PodCondition, PodSpec, PodStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

use crate::field::{ErrorList, Path};
use crate::kinds::check::text;
use crate::kinds::pod_spec::{self, defaults, resource_totals};
use crate::kinds::qos;

/// Names a container's AppArmor profile as it was done before there was a field.
const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";

type Labels = BTreeMap<String, String>;

/// Fills in what a pod leaves open.
pub(super) fn defaults(pod: &mut Pod) {
    let spec = pod.spec.get_or_insert_default();
    defaults::pod_spec(spec);
    spec.containers.iter_mut().for_each(requests_from_limits);
    spec.init_containers.iter_mut().flatten().for_each(requests_from_limits);
    resource_totals::default_pod_level(spec);
    spec.enable_service_links.get_or_insert(true);
    if spec.host_network == Some(true) {
        host_ports(spec);
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
    let containers = spec.containers.iter_mut().chain(init);
    for port in containers.flat_map(|container| container.ports.iter_mut().flatten()) {
        if port.host_port.unwrap_or(0) == 0 {
            port.host_port = Some(port.container_port);
        }
    }
}

/// Gives a new pod its first status, and settles what depends on its labels.
pub(super) fn prepare(pod: &mut Pod) {
    pod.metadata.generation = Some(1);
    let spec = pod.spec.get_or_insert_default();
    let gated = spec.scheduling_gates.iter().flatten().next().is_some();
    pod.status = Some(PodStatus {
        phase: Some("Pending".to_owned()),
        qos_class: Some(qos::class(spec).to_owned()),
        conditions: gated.then(|| vec![gated_condition()]),
        ..Default::default()
    });
    if let Some(labels) = &pod.metadata.labels {
        apply_label_keys(spec, labels);
    }
    if let Some(annotations) = &pod.metadata.annotations {
        apply_app_armor_annotations(spec, annotations);
    }
}

fn gated_condition() -> PodCondition {
    PodCondition {
        type_: "PodScheduled".to_owned(),
        status: "False".to_owned(),
        reason: Some("SchedulingGated".to_owned()),
        message: Some("Scheduling is blocked due to non-empty scheduling gates".to_owned()),
        ..Default::default()
    }
}

/// Turns keys of labels to match by into requirements, with the values that this pod has.
fn apply_label_keys(spec: &mut PodSpec, labels: &Labels) {
    for constraint in spec.topology_spread_constraints.iter_mut().flatten() {
        if let Some(selector) = &mut constraint.label_selector {
            add_requirements(selector, constraint.match_label_keys.as_deref(), "In", labels);
        }
    }
    let Some(affinity) = &mut spec.affinity else { return };
    if let Some(pods) = &mut affinity.pod_affinity {
        let required = pods.required_during_scheduling_ignored_during_execution.iter_mut();
        required.flatten().for_each(|term| apply_to_term(term, labels));
        let preferred = pods.preferred_during_scheduling_ignored_during_execution.iter_mut();
        preferred.flatten().for_each(|term| apply_to_term(&mut term.pod_affinity_term, labels));
    }
    if let Some(pods) = &mut affinity.pod_anti_affinity {
        let required = pods.required_during_scheduling_ignored_during_execution.iter_mut();
        required.flatten().for_each(|term| apply_to_term(term, labels));
        let preferred = pods.preferred_during_scheduling_ignored_during_execution.iter_mut();
        preferred.flatten().for_each(|term| apply_to_term(&mut term.pod_affinity_term, labels));
    }
}

fn apply_to_term(term: &mut PodAffinityTerm, labels: &Labels) {
    if let Some(selector) = &mut term.label_selector {
        add_requirements(selector, term.match_label_keys.as_deref(), "In", labels);
        add_requirements(selector, term.mismatch_label_keys.as_deref(), "NotIn", labels);
    }
}

fn add_requirements(
    selector: &mut LabelSelector,
    keys: Option<&[String]>,
    operator: &str,
    labels: &Labels,
) {
    for key in keys.unwrap_or_default() {
        let Some(value) = labels.get(key) else { continue };
        selector.match_expressions.get_or_insert_default().push(LabelSelectorRequirement {
            key: key.clone(),
            operator: operator.to_owned(),
            values: Some(vec![value.clone()]),
        });
    }
}

/// Sets the field from the old annotation where only that is there.
fn apply_app_armor_annotations(spec: &mut PodSpec, annotations: &Labels) {
    let any = annotations.keys().any(|key| key.starts_with(APP_ARMOR));
    if !any || spec.os.as_ref().is_some_and(|os| os.name == "windows") {
        return;
    }
    let pod = spec.security_context.as_ref().and_then(|context| context.app_armor_profile.clone());
    let init = spec.init_containers.iter_mut().flatten();
    for container in init.chain(&mut spec.containers) {
        let set = container
            .security_context
            .as_ref()
            .is_some_and(|context| context.app_armor_profile.is_some());
        let annotation = annotations.get(&format!("{APP_ARMOR}{}", container.name));
        let profile = annotation.filter(|_| !set).and_then(|text| app_armor_profile(text));
        if profile.is_some() && profile != pod {
            container.security_context.get_or_insert_default().app_armor_profile = profile;
        }
    }
}

fn app_armor_profile(annotation: &str) -> Option<AppArmorProfile> {
    let (type_, file) = match annotation {
        "runtime/default" => ("RuntimeDefault", None),
        "unconfined" => ("Unconfined", None),
        other => ("Localhost", Some(other.strip_prefix("localhost/")?)),
    };
    if file.is_some_and(|file| file.is_empty() || file.trim() != file) {
        return None;
    }
    Some(AppArmorProfile { type_: type_.to_owned(), localhost_profile: file.map(str::to_owned) })
}

/// Checks what may not be set when a pod is made.
pub(super) fn validate(pod: &Pod, errors: &mut ErrorList) {
    let Some(spec) = &pod.spec else { return };
    let path = Path::root("spec");
    if spec.ephemeral_containers.iter().flatten().next().is_some() {
        errors.forbidden(&path.child("ephemeralContainers"), "cannot be set on create");
    }
    let gated = spec.scheduling_gates.iter().flatten().next().is_some();
    if gated && !text(&spec.node_name).is_empty() {
        let why = "cannot be set until all schedulingGates have been cleared";
        errors.forbidden(&path.child("nodeName"), why);
    }
    pod_spec::validate_profiles_agree(&pod.metadata, spec, &path, errors);
}
