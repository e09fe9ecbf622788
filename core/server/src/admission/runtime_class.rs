use k8s_openapi::api::core::v1::{Pod, PodSpec};
use k8s_openapi::api::node::v1::{RuntimeClass as Class, Scheduling};
use pinnace_api::{Key, Result};

use super::{Admission, AdmissionRequest, Operation};

const CLASSES: &str = "runtimeclasses.node.k8s.io";

/// Gives pods what their runtime costs, and sends them to the nodes that have it.
pub(super) struct RuntimeClass;

impl Admission for RuntimeClass {
    fn name(&self) -> &'static str {
        "RuntimeClass"
    }

    fn admit(&self, request: &mut AdmissionRequest<'_>) -> Result<()> {
        if request.operation != Operation::Create || request.subresource.is_some() {
            return Ok(());
        }
        let (snapshot, resource, name) = (request.snapshot, request.resource, request.key.name());
        let refused = |why: String| pinnace_api::ApiError::forbidden(resource, name, &why);
        let spec = request.new.as_mut().and_then(|new| new.get_mut::<Pod>()?.spec.as_mut());
        let Some(spec) = spec else { return Ok(()) };
        let class = match spec.runtime_class_name.as_deref().filter(|name| !name.is_empty()) {
            None => None,
            Some(class) => {
                let found = snapshot.get(CLASSES, &Key::cluster(class));
                let missing = || refused(format!("pod rejected: RuntimeClass {class:?} not found"));
                Some(found.ok_or_else(missing)?.get::<Class>()?)
            }
        };
        set_overhead(spec, class).map_err(refused)?;
        if let Some(scheduling) = class.and_then(|class| class.scheduling.as_ref()) {
            set_scheduling(spec, scheduling).map_err(refused)?;
        }
        Ok(())
    }
}

fn set_overhead(spec: &mut PodSpec, class: Option<&Class>) -> Result<(), String> {
    let overhead = class.and_then(|class| class.overhead.as_ref()?.pod_fixed.as_ref());
    let given = spec.overhead.as_ref().filter(|overhead| !overhead.is_empty());
    match (overhead, given) {
        (Some(overhead), None) => spec.overhead = Some(overhead.clone()),
        (Some(overhead), Some(given)) if overhead != given => {
            return Err(
                "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead"
                    .to_owned(),
            );
        }
        (None, Some(_)) => {
            return Err(
                "pod rejected: Pod Overhead set without corresponding RuntimeClass defined \
                        Overhead"
                    .to_owned(),
            );
        }
        _ => {}
    }
    Ok(())
}

fn set_scheduling(spec: &mut PodSpec, scheduling: &Scheduling) -> Result<(), String> {
    for (key, value) in scheduling.node_selector.iter().flatten() {
        let selector = spec.node_selector.get_or_insert_default();
        if let Some(given) = selector.get(key).filter(|given| *given != value) {
            return Err(format!(
                "conflict: runtimeClass.scheduling.nodeSelector[{key}] = {value}; \
                 pod.spec.nodeSelector[{key}] = {given}"
            ));
        }
        selector.insert(key.clone(), value.clone());
    }
    for toleration in scheduling.tolerations.iter().flatten() {
        let tolerations = spec.tolerations.get_or_insert_default();
        if !tolerations.contains(toleration) {
            tolerations.push(toleration.clone());
        }
    }
    Ok(())
}
