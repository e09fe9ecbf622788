use k8s_openapi::api::batch::v1::{JobSpec, JobStatus};
use k8s_openapi::api::core::v1::{Affinity, PodSpec, PodTemplateSpec};

use super::super::check::{Json, immutable, text};
use crate::field::{ErrorList, Path};

/// Checks what an update changes.
pub(super) fn validate(
    new: &JobSpec,
    old: &JobSpec,
    status: Option<&JobStatus>,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    if new.completions != old.completions {
        let at = path.child("completions");
        if text(&new.completion_mode) != "Indexed" {
            immutable(errors, &at, &new.completions, &old.completions);
        } else if new.completions.is_some() && new.completions != new.parallelism {
            let why = "can only be modified in tandem with spec.parallelism";
            errors.invalid(&at, Json(&new.completions), why);
        }
    }
    immutable(errors, &path.child("selector"), &new.selector, &old.selector);
    let started = status.and_then(|status| status.start_time.as_ref()).is_some();
    let waits = old.suspend == Some(true) && !started;
    let template = &path.child("template");
    if waits {
        // Before anything runs, a queue may still say where: that is what these are for.
        immutable(errors, template, &with_placement(&new.template, &old.template), &old.template);
    } else {
        immutable(errors, template, &new.template, &old.template);
    }
    immutable(errors, &path.child("completionMode"), &new.completion_mode, &old.completion_mode);
    let at = path.child("podFailurePolicy");
    immutable(errors, &at, &new.pod_failure_policy, &old.pod_failure_policy);
    let at = path.child("backoffLimitPerIndex");
    immutable(errors, &at, &new.backoff_limit_per_index, &old.backoff_limit_per_index);
    immutable(errors, &path.child("managedBy"), &new.managed_by, &old.managed_by);
    immutable(errors, &path.child("successPolicy"), &new.success_policy, &old.success_policy);
}

/// The new template with everything of the old one that says where its pods go and how they are
/// labelled.
fn with_placement(new: &PodTemplateSpec, old: &PodTemplateSpec) -> PodTemplateSpec {
    let mut same = new.clone();
    if let (Some(meta), Some(before)) = (&mut same.metadata, &old.metadata) {
        meta.labels.clone_from(&before.labels);
        meta.annotations.clone_from(&before.annotations);
    }
    if let (Some(spec), Some(before)) = (&mut same.spec, &old.spec) {
        spec.node_selector.clone_from(&before.node_selector);
        spec.tolerations.clone_from(&before.tolerations);
        spec.scheduling_gates.clone_from(&before.scheduling_gates);
        place_by_node(spec, before);
    }
    same
}

/// Only the affinity to nodes says where; that to other pods stays.
fn place_by_node(spec: &mut PodSpec, before: &PodSpec) {
    let of_old = before.affinity.as_ref();
    let mut affinity = spec.affinity.take().unwrap_or_default();
    affinity.node_affinity = of_old.and_then(|affinity| affinity.node_affinity.clone());
    let nothing = affinity == Affinity::default();
    spec.affinity = Some(affinity).filter(|_| !nothing || of_old.is_some());
}
