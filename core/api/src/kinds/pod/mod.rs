//! Pods.

mod create;
mod fields;
mod parts;
mod status;
mod update;

use std::borrow::Cow;

use k8s_openapi::api::core::v1::{Binding, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

pub(super) use fields::FIELDS;

use super::names::rules;
use super::{next_generation, pod_spec};
use crate::field::{ErrorList, Path};
use crate::{Strategy, Subresource};

/// Bindings of pods to nodes by the names of the pods.
pub(super) struct BindingStrategy;

impl Strategy for BindingStrategy {
    type Kind = Binding;
}

/// Pods.
pub(super) struct PodStrategy;

impl Strategy for PodStrategy {
    type Kind = Pod;

    fn default(&self, pod: &mut Pod) {
        create::defaults(pod);
    }

    fn prepare_for_create(&self, pod: &mut Pod) {
        create::prepare(pod);
    }

    fn validate(&self, pod: &Pod, errors: &mut ErrorList) {
        validate_spec(pod, errors);
        create::validate(pod, errors);
    }

    fn prepare_for_update(&self, new: &mut Pod, old: &Pod) {
        new.status.clone_from(&old.status);
        let changed = new.spec != old.spec;
        next_generation(&mut new.metadata, &old.metadata, changed);
    }

    fn validate_update(&self, new: &Pod, old: &Pod, errors: &mut ErrorList) {
        validate_spec(new, errors);
        update::validate(new, old, errors);
    }

    fn prepare_for_status_update(&self, new: &mut Pod, old: &Pod) {
        new.metadata.owner_references.clone_from(&old.metadata.owner_references);
        status::prepare(new, old);
    }

    fn validate_status_update(&self, new: &Pod, old: &Pod, errors: &mut ErrorList) {
        status::validate(new, old, errors);
    }

    fn field<'a>(&self, pod: &'a Pod, path: &str) -> Option<Cow<'a, str>> {
        fields::field(pod, path)
    }

    fn prepare_for_part(&self, part: Subresource, new: &mut Pod, old: &Pod) {
        match part {
            Subresource::EphemeralContainers => parts::keep_all_but_ephemeral_containers(new, old),
            Subresource::Resize => parts::keep_all_but_resources(new, old),
            _ => {}
        }
    }

    fn validate_part(&self, part: Subresource, new: &Pod, old: &Pod, errors: &mut ErrorList) {
        validate_spec(new, errors);
        match part {
            Subresource::EphemeralContainers => {
                parts::validate_ephemeral_containers(new, old, errors);
            }
            Subresource::Resize => parts::validate_resize(new, old, errors),
            _ => {}
        }
    }

    fn warnings(&self, new: &Pod, old: Option<&Pod>) -> Vec<String> {
        let mut texts = Vec::new();
        let name = new.metadata.name.as_deref().unwrap_or_default();
        let complaints = rules::dns_label(name);
        if old.is_none() && !complaints.is_empty() {
            texts.push(format!(
                "metadata.name: this is used in the Pod's hostname, which can result in \
                 surprising behavior; a DNS label is recommended: [{}]",
                complaints.join(" ")
            ));
        }
        if let Some(spec) = &new.spec
            && old.is_none_or(|old| old.spec != new.spec)
        {
            texts.extend(pod_spec::pod_warnings(Some(&new.metadata), spec, None));
        }
        texts
    }

    fn grace_period(&self, pod: &Pod, requested: Option<i64>) -> Option<i64> {
        let spec = pod.spec.as_ref();
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        let node = spec.and_then(|spec| spec.node_name.as_deref()).unwrap_or_default();
        if node.is_empty() || matches!(phase, Some("Succeeded" | "Failed")) {
            return Some(0);
        }
        let period = requested.or_else(|| spec?.termination_grace_period_seconds);
        // Upstream takes a negative period for the shortest there is.
        Some(period.map_or(0, |period| if period < 0 { 1 } else { period }))
    }
}

/// Checks what must be right in every pod, new or changed.
fn validate_spec(pod: &Pod, errors: &mut ErrorList) {
    let none = Default::default();
    let spec = pod.spec.as_ref().unwrap_or(&none);
    let meta: &ObjectMeta = &pod.metadata;
    let at = Path::root("metadata");
    pod_spec::validate_pod_annotations(meta, spec, &at.child("annotations"), errors);
    let at = Path::root("spec");
    pod_spec::validate_pod_spec(spec, Some(meta), &at, errors);
    pod_spec::validate_pod_only(spec, &at, errors);
}
