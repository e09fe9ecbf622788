use k8s_openapi::api::apps::v1::{
    DaemonSet, DaemonSetSpec, DaemonSetStatus, DaemonSetUpdateStrategy, RollingUpdateDaemonSet,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::check::{Json, immutable, non_negative, text};
use super::pod_spec::{self, defaults};
use super::replicated::{not_decremented, number, validate_share};
use super::{fill, label_selector, next_generation, omit_empty};
use crate::Strategy;
use crate::field::{ErrorList, Path};

/// Old revisions that are kept for rollbacks.
const REVISION_HISTORY_LIMIT: i32 = 10;

/// The annotation that counts how often the template has changed.
const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

/// Daemon sets.
pub(super) struct DaemonSetStrategy;

impl Strategy for DaemonSetStrategy {
    type Kind = DaemonSet;

    fn default(&self, set: &mut DaemonSet) {
        let spec = set.spec.get_or_insert_default();
        omit_empty!(spec; min_ready_seconds);
        let strategy = spec.update_strategy.get_or_insert_default();
        fill(&mut strategy.type_, "RollingUpdate");
        if strategy.type_.as_deref() == Some("RollingUpdate") {
            let rolling = strategy.rolling_update.get_or_insert_default();
            rolling.max_unavailable.get_or_insert(IntOrString::Int(1));
            rolling.max_surge.get_or_insert(IntOrString::Int(0));
        }
        spec.revision_history_limit.get_or_insert(REVISION_HISTORY_LIMIT);
        defaults::template(&mut spec.template);
    }

    fn prepare_for_create(&self, set: &mut DaemonSet) {
        set.metadata.generation = Some(1);
        set_template_generation(set, 1);
        set.status = Some(DaemonSetStatus::default());
    }

    fn validate(&self, set: &DaemonSet, errors: &mut ErrorList) {
        if let Some(spec) = &set.spec {
            validate_spec(spec, &Path::root("spec"), errors);
        }
    }

    fn prepare_for_update(&self, new: &mut DaemonSet, old: &DaemonSet) {
        new.status.clone_from(&old.status);
        let changed = new.spec != old.spec;
        next_generation(&mut new.metadata, &old.metadata, changed);
        let template = |set: &DaemonSet| set.spec.as_ref().map(|spec| spec.template.clone());
        let before = template_generation(old);
        let step = i64::from(template(new) != template(old));
        set_template_generation(new, before.saturating_add(step));
    }

    fn prepare_for_status_update(&self, new: &mut DaemonSet, old: &DaemonSet) {
        new.spec.clone_from(&old.spec);
    }

    fn validate_update(&self, new: &DaemonSet, old: &DaemonSet, errors: &mut ErrorList) {
        self.validate(new, errors);
        if let (Some(new), Some(old)) = (&new.spec, &old.spec) {
            let spec = Path::root("spec");
            immutable(errors, &spec.child("selector"), &new.selector, &old.selector);
        }
    }

    fn validate_status_update(&self, new: &DaemonSet, old: &DaemonSet, errors: &mut ErrorList) {
        let Some(status) = &new.status else { return };
        let path = Path::root("status");
        let counts: [(&str, i64); 8] = [
            ("currentNumberScheduled", status.current_number_scheduled.into()),
            ("numberMisscheduled", status.number_misscheduled.into()),
            ("desiredNumberScheduled", status.desired_number_scheduled.into()),
            ("numberReady", status.number_ready.into()),
            ("observedGeneration", status.observed_generation.unwrap_or(0)),
            ("updatedNumberScheduled", status.updated_number_scheduled.unwrap_or(0).into()),
            ("numberAvailable", status.number_available.unwrap_or(0).into()),
            ("numberUnavailable", status.number_unavailable.unwrap_or(0).into()),
        ];
        for (field, count) in counts {
            non_negative(errors, &path.child(field), count);
        }
        let collisions = status.collision_count;
        non_negative(errors, &path.child("collisionCount"), collisions.unwrap_or(0));
        let before = old.status.as_ref().and_then(|status| status.collision_count);
        not_decremented(collisions, before, &path, errors);
    }
}

fn template_generation(set: &DaemonSet) -> i64 {
    let annotations = set.metadata.annotations.as_ref();
    let text = annotations.and_then(|annotations| annotations.get(TEMPLATE_GENERATION));
    text.and_then(|text| text.parse().ok()).unwrap_or(1)
}

/// Nobody else may count: what a client says of it is written over.
fn set_template_generation(set: &mut DaemonSet, generation: i64) {
    let annotations = set.metadata.annotations.get_or_insert_default();
    annotations.insert(TEMPLATE_GENERATION.to_owned(), generation.to_string());
}

fn validate_spec(spec: &DaemonSetSpec, path: &Path<'_>, errors: &mut ErrorList) {
    let at = path.child("selector");
    label_selector::validate(&spec.selector, &at, errors);
    let template = path.child("template");
    pod_spec::selects(&spec.selector, &spec.template, &template, errors);
    if label_selector::is_empty(&spec.selector) {
        errors.invalid(&at, Json(&spec.selector), "empty selector is invalid for daemonset");
    }
    pod_spec::validate_daemon_template(&spec.template, &template, errors);
    let min_ready = spec.min_ready_seconds.unwrap_or(0);
    non_negative(errors, &path.child("minReadySeconds"), min_ready);
    if let Some(strategy) = &spec.update_strategy {
        validate_update_strategy(strategy, &path.child("updateStrategy"), errors);
    }
    let limit = spec.revision_history_limit.unwrap_or(0);
    non_negative(errors, &path.child("revisionHistoryLimit"), limit);
}

fn validate_update_strategy(
    strategy: &DaemonSetUpdateStrategy,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    match (text(&strategy.type_), &strategy.rolling_update) {
        ("OnDelete", _) => {}
        ("RollingUpdate", Some(rolling)) => {
            validate_rolling(rolling, &path.child("rollingUpdate"), errors);
        }
        ("RollingUpdate", None) => errors.required(&path.child("rollingUpdate"), ""),
        (_, _) => errors.not_supported(path, Json(strategy), &["RollingUpdate", "OnDelete"]),
    }
}

fn validate_rolling(rolling: &RollingUpdateDaemonSet, path: &Path<'_>, errors: &mut ErrorList) {
    let zero = IntOrString::Int(0);
    let unavailable = rolling.max_unavailable.as_ref().unwrap_or(&zero);
    let surge = rolling.max_surge.as_ref().unwrap_or(&zero);
    for (field, share) in [("maxUnavailable", unavailable), ("maxSurge", surge)] {
        let at = path.child(field);
        validate_share(share, &at, errors);
        if matches!(share, IntOrString::String(_)) && number(share) > 100 {
            errors.invalid(&at, Json(share), "must not be greater than 100%");
        }
    }
    let at = path.child("maxUnavailable");
    match (number(unavailable) != 0, number(surge) != 0) {
        (true, true) => errors.invalid(
            &path.child("maxSurge"),
            Json(surge),
            "may not be set when maxUnavailable is non-zero",
        ),
        (false, false) => errors.required(&at, "cannot be 0 when maxSurge is 0"),
        _ => {}
    }
}
