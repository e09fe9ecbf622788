use k8s_openapi::api::batch::v1::{JobSpec, JobStatus};
use k8s_openapi::api::core::v1::PodTemplateSpec;

use super::super::check::{Json, immutable, text};
use super::optional;
use super::policies::count_indexes;
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
        } else if new.completions.is_none() || new.completions != new.parallelism {
            let why = "can only be modified in tandem with parallelism";
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
        spec.affinity.clone_from(&before.affinity);
    }
    same
}

/// Checks a status: counts, lists of indexes, and that what is over stays over.
pub(super) fn validate_status(
    new: &JobStatus,
    old: Option<&JobStatus>,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    let counts = [
        ("active", new.active),
        ("succeeded", new.succeeded),
        ("failed", new.failed),
        ("ready", new.ready),
        ("terminating", new.terminating),
    ];
    for (field, count) in counts {
        optional(errors, &path.child(field), count);
    }
    if new.ready.unwrap_or(0) > new.active.unwrap_or(0) {
        let why = "cannot set more ready pods than active";
        errors.invalid(&path.child("ready"), new.ready.unwrap_or(0), why);
    }
    for (field, indexes) in
        [("completedIndexes", &new.completed_indexes), ("failedIndexes", &new.failed_indexes)]
    {
        if let Err(why) = count_indexes(text(indexes), i32::MAX) {
            let why = format!("error parsing {field}: {why}");
            errors.invalid(&path.child(field), text(indexes), &why);
        }
    }
    let is = |status: Option<&JobStatus>, kind: &str| {
        let conditions = status.and_then(|status| status.conditions.as_ref());
        conditions.into_iter().flatten().any(|one| one.type_ == kind && one.status == "True")
    };
    let at = path.child("conditions");
    if is(Some(new), "Complete") && is(Some(new), "Failed") {
        errors.invalid(
            &at,
            Json(&new.conditions),
            "cannot set Complete=True and Failed=true conditions",
        );
    }
    for kind in ["Complete", "Failed"] {
        if is(old, kind) && !is(Some(new), kind) {
            let why = format!("cannot disable the {kind}=True condition");
            errors.invalid(&at, Json(&new.conditions), &why);
        }
    }
    let finished = is(Some(new), "Complete") || is(Some(new), "Failed");
    if finished && new.active.unwrap_or(0) > 0 {
        errors.invalid(
            &path.child("active"),
            new.active.unwrap_or(0),
            "active>0 is invalid for finished job",
        );
    }
    if new.completion_time.is_some() && !is(Some(new), "Complete") {
        let why = "cannot set completionTime when there is no Complete=True condition";
        errors.invalid(&path.child("completionTime"), Json(&new.completion_time), why);
    }
}
