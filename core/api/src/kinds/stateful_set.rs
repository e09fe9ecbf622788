use k8s_openapi::api::apps::v1::{
    StatefulSet, StatefulSetSpec, StatefulSetStatus, StatefulSetUpdateStrategy,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::check::{Json, non_negative, required_choice, text};
use super::pod_spec::{self, defaults};
use super::replicated::{self, Counts};
use super::{
    fill, is_blank, label_selector, names, next_generation, omit_empty, persistent_volume_claim,
};
use crate::field::{ErrorList, Path};
use crate::{PodsOf, ScaleView, Strategy};

/// Old revisions that are kept for rollbacks.
const REVISION_HISTORY_LIMIT: i32 = 10;

/// Stateful sets.
pub(super) struct StatefulSetStrategy;

impl Strategy for StatefulSetStrategy {
    type Kind = StatefulSet;

    fn default(&self, set: &mut StatefulSet) {
        let spec = set.spec.get_or_insert_default();
        omit_empty!(spec; min_ready_seconds);
        fill(&mut spec.pod_management_policy, "OrderedReady");
        let strategy = spec.update_strategy.get_or_insert_default();
        if is_blank(&strategy.type_) {
            fill(&mut strategy.type_, "RollingUpdate");
            strategy.rolling_update.get_or_insert_default();
        }
        if strategy.type_.as_deref() == Some("RollingUpdate")
            && let Some(rolling) = &mut strategy.rolling_update
        {
            rolling.partition.get_or_insert(0);
        }
        let retention = spec.persistent_volume_claim_retention_policy.get_or_insert_default();
        fill(&mut retention.when_deleted, "Retain");
        fill(&mut retention.when_scaled, "Retain");
        spec.replicas.get_or_insert(1);
        spec.revision_history_limit.get_or_insert(REVISION_HISTORY_LIMIT);
        defaults::template(&mut spec.template);
        for claim in spec.volume_claim_templates.iter_mut().flatten() {
            persistent_volume_claim::default_claim(claim);
        }
    }

    fn prepare_for_create(&self, set: &mut StatefulSet) {
        set.metadata.generation = Some(1);
        set.status = Some(StatefulSetStatus::default());
    }

    fn validate_name(&self, name: &str) -> Result<(), String> {
        names::dns_label(name)
    }

    fn validate(&self, set: &StatefulSet, errors: &mut ErrorList) {
        if let Some(spec) = &set.spec {
            validate_spec(spec, &Path::root("spec"), errors);
        }
    }

    fn prepare_for_update(&self, new: &mut StatefulSet, old: &StatefulSet) {
        new.status.clone_from(&old.status);
        let changed = new.spec != old.spec;
        next_generation(&mut new.metadata, &old.metadata, changed);
    }

    fn prepare_for_status_update(&self, new: &mut StatefulSet, old: &StatefulSet) {
        new.spec.clone_from(&old.spec);
    }

    fn validate_update(&self, new: &StatefulSet, old: &StatefulSet, errors: &mut ErrorList) {
        self.validate(new, errors);
        let (Some(new), Some(old)) = (&new.spec, &old.spec) else { return };
        let same = StatefulSetSpec {
            replicas: old.replicas,
            template: old.template.clone(),
            update_strategy: old.update_strategy.clone(),
            min_ready_seconds: old.min_ready_seconds,
            ordinals: old.ordinals.clone(),
            revision_history_limit: old.revision_history_limit,
            persistent_volume_claim_retention_policy: old
                .persistent_volume_claim_retention_policy
                .clone(),
            ..new.clone()
        };
        if &same != old {
            let why = "updates to statefulset spec for fields other than 'replicas', 'ordinals', \
                       'template', 'updateStrategy', 'revisionHistoryLimit', \
                       'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";
            errors.forbidden(&Path::root("spec"), why);
        }
    }

    fn validate_status_update(&self, new: &StatefulSet, old: &StatefulSet, errors: &mut ErrorList) {
        let Some(status) = &new.status else { return };
        let path = Path::root("status");
        let counts = Counts {
            replicas: status.replicas,
            ready: status.ready_replicas.unwrap_or(0),
            available: status.available_replicas.unwrap_or(0),
            ready_is_called: "status.readyReplicas",
            parts: &[
                ("currentReplicas", status.current_replicas.unwrap_or(0)),
                ("updatedReplicas", status.updated_replicas.unwrap_or(0)),
            ],
            others: &[
                ("observedGeneration", status.observed_generation.unwrap_or(0)),
                ("collisionCount", status.collision_count.unwrap_or(0).into()),
            ],
        };
        counts.validate(&path, errors);
        let before = old.status.as_ref().and_then(|status| status.collision_count);
        replicated::not_decremented(status.collision_count, before, &path, errors);
    }

    fn scale(&self, set: &StatefulSet) -> Option<ScaleView> {
        let spec = set.spec.as_ref()?;
        Some(ScaleView {
            replicas: spec.replicas.unwrap_or(0),
            status_replicas: set.status.as_ref().map_or(0, |status| status.replicas),
            selector: Some(PodsOf::Labels(spec.selector.clone())),
        })
    }

    fn set_replicas(&self, set: &mut StatefulSet, replicas: i32) {
        set.spec.get_or_insert_default().replicas = Some(replicas);
    }
}

fn validate_spec(spec: &StatefulSetSpec, path: &Path<'_>, errors: &mut ErrorList) {
    let at = path.child("podManagementPolicy");
    match text(&spec.pod_management_policy) {
        "" => errors.required(&at, ""),
        "OrderedReady" | "Parallel" => {}
        other => errors.invalid(&at, other, "must be 'OrderedReady' or 'Parallel'"),
    }
    if let Some(strategy) = &spec.update_strategy {
        validate_update_strategy(strategy, &path.child("updateStrategy"), errors);
    }
    if let Some(retention) = &spec.persistent_volume_claim_retention_policy {
        let at = path.child("persistentVolumeClaimRetentionPolicy");
        let choices = ["Retain", "Delete"];
        required_choice(errors, &at.child("whenDeleted"), &retention.when_deleted, &choices);
        required_choice(errors, &at.child("whenScaled"), &retention.when_scaled, &choices);
    }
    let min_ready = spec.min_ready_seconds.unwrap_or(0);
    non_negative(errors, &path.child("replicas"), spec.replicas.unwrap_or(0));
    non_negative(errors, &path.child("minReadySeconds"), min_ready);
    let limit = spec.revision_history_limit.unwrap_or(0);
    non_negative(errors, &path.child("revisionHistoryLimit"), limit);
    if let Some(ordinals) = &spec.ordinals {
        let start = ordinals.start.unwrap_or(0);
        non_negative(errors, &path.child("ordinals.start"), start);
    }
    validate_selector(spec, path, errors);
    let template = path.child("template");
    pod_spec::validate_set_template(&spec.template, &spec.selector, &template, errors);
}

fn validate_selector(spec: &StatefulSetSpec, path: &Path<'_>, errors: &mut ErrorList) {
    let at = path.child("selector");
    label_selector::validate(&spec.selector, &at, errors);
    if label_selector::is_empty(&spec.selector) {
        let why = "empty selector is invalid for statefulset";
        errors.invalid(&at, Json(&spec.selector), why);
    }
}

fn validate_update_strategy(
    strategy: &StatefulSetUpdateStrategy,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    let at = path.child("rollingUpdate");
    match (text(&strategy.type_), &strategy.rolling_update) {
        ("", _) => errors.required(path, ""),
        ("OnDelete", None) | ("RollingUpdate", None) => {}
        ("OnDelete", Some(rolling)) => {
            let why = "only allowed for updateStrategy 'RollingUpdate'";
            errors.invalid(&at, Json(rolling), why);
        }
        ("RollingUpdate", Some(rolling)) => {
            non_negative(errors, &at.child("partition"), rolling.partition.unwrap_or(0));
            if let Some(share) = &rolling.max_unavailable {
                let at = at.child("maxUnavailable");
                replicated::validate_share(share, &at, errors);
                if replicated::number(share) == 0 {
                    errors.invalid(&at, Json(share), "cannot be 0");
                }
                if matches!(share, IntOrString::String(_)) && replicated::number(share) > 100 {
                    errors.invalid(&at, Json(share), "must not be greater than 100%");
                }
            }
        }
        (_, _) => {
            errors.invalid(path, Json(strategy), "must be 'RollingUpdate' or 'OnDelete'");
        }
    }
}
