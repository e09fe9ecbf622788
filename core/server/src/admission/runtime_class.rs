use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Pod, PodSpec, Toleration};
use k8s_openapi::api::node::v1::{RuntimeClass as Class, Scheduling};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;
use pinnace_api::quantity::Quantity;
use pinnace_api::{ApiError, Key, Result};
use pinnace_store::Snapshot;

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
        let refused = |why: String| ApiError::forbidden(resource, name, &why);
        let spec = request.new.as_mut().and_then(|new| new.get_mut::<Pod>()?.spec.as_mut());
        let Some(spec) = spec else { return Ok(()) };
        let class = class_of(spec, snapshot).map_err(refused)?;
        if let Some(overhead) = overhead_of(class) {
            let given = spec.overhead.as_ref().is_some_and(|overhead| !overhead.is_empty());
            if !given {
                spec.overhead = Some(overhead.clone());
            }
        }
        check_overhead(spec, class).map_err(refused)?;
        if let Some(scheduling) = class.and_then(|class| class.scheduling.as_ref()) {
            set_scheduling(spec, scheduling).map_err(refused)?;
        }
        Ok(())
    }

    /// Webhooks may have given it another overhead.
    fn review(&self, request: &AdmissionRequest<'_>) -> Result<()> {
        let spec = request.new.as_deref().and_then(|new| new.get::<Pod>()?.spec.as_ref());
        let creates = request.operation == Operation::Create && request.subresource.is_none();
        let Some(spec) = spec.filter(|_| creates) else { return Ok(()) };
        class_of(spec, request.snapshot)
            .and_then(|class| check_overhead(spec, class))
            .map_err(|why| ApiError::forbidden(request.resource, request.key.name(), &why))
    }
}

/// The class of a pod that names one.
fn class_of<'s>(spec: &PodSpec, snapshot: &'s Snapshot) -> Result<Option<&'s Class>, String> {
    let named = spec.runtime_class_name.as_deref().filter(|name| !name.is_empty());
    let Some(name) = named else { return Ok(None) };
    let found = snapshot.get(CLASSES, &Key::cluster(name));
    let found = found.and_then(|class| class.get::<Class>().ok());
    found.map(Some).ok_or_else(|| format!("pod rejected: RuntimeClass {name:?} not found"))
}

fn overhead_of(class: Option<&Class>) -> Option<&BTreeMap<String, Text>> {
    class.and_then(|class| class.overhead.as_ref()?.pod_fixed.as_ref())
}

/// Whether a pod has the overhead of its class, however it is written.
fn check_overhead(spec: &PodSpec, class: Option<&Class>) -> Result<(), String> {
    let amounts = |list: &BTreeMap<String, Text>| -> BTreeMap<String, Option<Quantity>> {
        let amount = |(name, text): (&String, &Text)| (name.clone(), Quantity::try_from(text).ok());
        list.iter().map(amount).collect()
    };
    let given = spec.overhead.as_ref().filter(|overhead| !overhead.is_empty());
    let why = match (overhead_of(class), given) {
        (Some(overhead), given) if Some(amounts(overhead)) != given.map(amounts) => {
            "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead"
        }
        (None, Some(_)) => {
            "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead"
        }
        _ => return Ok(()),
    };
    Err(why.to_owned())
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
    if let Some(more) = &scheduling.tolerations {
        let own = spec.tolerations.take().unwrap_or_default();
        spec.tolerations = Some(merged([own, more.clone()].concat()));
    }
    Ok(())
}

/// Tolerations without those that others include; the first of equal ones stays.
fn merged(all: Vec<Toleration>) -> Vec<Toleration> {
    let mut merged: Vec<Toleration> = Vec::with_capacity(all.len());
    for (at, one) in all.iter().enumerate() {
        let before = merged.iter().any(|other| includes(other, one));
        let after = || all[at + 1..].iter().any(|other| other != one && includes(other, one));
        if !before && !after() {
            merged.push(one.clone());
        }
    }
    merged
}

/// Whether all taints that one tolerates are tolerated by another.
fn includes(other: &Toleration, one: &Toleration) -> bool {
    fn text(text: &Option<String>) -> &str {
        text.as_deref().unwrap_or_default()
    }
    let exists = text(&other.operator) == "Exists";
    let key = text(&one.key) == text(&other.key) || text(&other.key).is_empty() && exists;
    let effect = text(&one.effect) == text(&other.effect) || text(&other.effect).is_empty();
    let as_long = match (text(&other.effect), other.toleration_seconds) {
        ("NoExecute", Some(most)) => one.toleration_seconds.is_some_and(|some| some <= most),
        _ => true,
    };
    let value = match text(&other.operator) {
        "" | "Equal" => text(&one.operator) == "Equal" && text(&one.value) == text(&other.value),
        "Exists" => true,
        _ => false,
    };
    other == one || key && effect && as_long && value
}
