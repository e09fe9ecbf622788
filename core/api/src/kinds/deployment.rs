use k8s_openapi::api::apps::v1::{
    Deployment, DeploymentSpec, DeploymentStatus, DeploymentStrategy as Rollout,
    RollingUpdateDeployment,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::check::{Json, immutable, non_negative, text};
use super::pod_spec::{self, defaults};
use super::replicated::{Counts, not_decremented, number, validate_selector, validate_share};
use super::{fill, next_generation, omit_empty};
use crate::field::{Bare, ErrorList, Path};
use crate::{PodsOf, ScaleView, Strategy};

/// Old replica sets that are kept for rollbacks.
const REVISION_HISTORY_LIMIT: i32 = 10;
/// Seconds without progress after which a rollout has failed.
const PROGRESS_DEADLINE_SECONDS: i32 = 600;
/// How many pods may be missing, and how many too many there may be, during a rollout.
const ROLLING_SHARE: &str = "25%";

/// Deployments.
pub(super) struct DeploymentStrategy;

impl Strategy for DeploymentStrategy {
    type Kind = Deployment;

    fn default(&self, deployment: &mut Deployment) {
        let spec = deployment.spec.get_or_insert_default();
        omit_empty!(spec; min_ready_seconds, paused);
        spec.replicas.get_or_insert(1);
        spec.revision_history_limit.get_or_insert(REVISION_HISTORY_LIMIT);
        spec.progress_deadline_seconds.get_or_insert(PROGRESS_DEADLINE_SECONDS);
        let strategy = spec.strategy.get_or_insert_default();
        fill(&mut strategy.type_, "RollingUpdate");
        if strategy.type_.as_deref() == Some("RollingUpdate") {
            let rolling = strategy.rolling_update.get_or_insert_default();
            let share = || IntOrString::String(ROLLING_SHARE.to_owned());
            rolling.max_unavailable.get_or_insert_with(share);
            rolling.max_surge.get_or_insert_with(share);
        }
        defaults::template(&mut spec.template);
    }

    fn prepare_for_create(&self, deployment: &mut Deployment) {
        deployment.metadata.generation = Some(1);
        deployment.status = Some(DeploymentStatus::default());
    }

    fn validate(&self, deployment: &Deployment, errors: &mut ErrorList) {
        if let Some(spec) = &deployment.spec {
            validate_spec(spec, &Path::root("spec"), errors);
        }
    }

    fn prepare_for_update(&self, new: &mut Deployment, old: &Deployment) {
        new.status.clone_from(&old.status);
        // Annotations count too: the controller copies them to replica sets.
        let changed = new.spec != old.spec || new.metadata.annotations != old.metadata.annotations;
        next_generation(&mut new.metadata, &old.metadata, changed);
    }

    fn warnings(&self, new: &Deployment, old: Option<&Deployment>) -> Vec<String> {
        let Some(spec) = &new.spec else { return Vec::new() };
        let before = old.and_then(|old| old.spec.as_ref()).map(|spec| &spec.template);
        let Some(pod) = spec.template.spec.as_ref().filter(|_| before != Some(&spec.template))
        else {
            return Vec::new();
        };
        let path = Path::root("spec");
        let template = path.child("template");
        pod_spec::pod_warnings(spec.template.metadata.as_ref(), pod, Some(&template))
    }

    fn prepare_for_status_update(&self, new: &mut Deployment, old: &Deployment) {
        new.spec.clone_from(&old.spec);
        new.metadata.labels.clone_from(&old.metadata.labels);
    }

    fn validate_update(&self, new: &Deployment, old: &Deployment, errors: &mut ErrorList) {
        self.validate(new, errors);
        if let (Some(new), Some(old)) = (&new.spec, &old.spec) {
            let spec = Path::root("spec");
            immutable(errors, &spec.child("selector"), &new.selector, &old.selector);
        }
    }

    fn validate_status_update(&self, new: &Deployment, old: &Deployment, errors: &mut ErrorList) {
        if let Some(status) = &new.status {
            validate_status(status, old.status.as_ref(), &Path::root("status"), errors);
        }
    }

    fn scale(&self, deployment: &Deployment) -> Option<ScaleView> {
        let spec = deployment.spec.as_ref()?;
        Some(ScaleView {
            replicas: spec.replicas.unwrap_or(0),
            status_replicas: deployment
                .status
                .as_ref()
                .and_then(|status| status.replicas)
                .unwrap_or(0),
            selector: Some(PodsOf::Labels(spec.selector.clone())),
        })
    }

    fn set_replicas(&self, deployment: &mut Deployment, replicas: i32) {
        deployment.spec.get_or_insert_default().replicas = Some(replicas);
    }
}

fn validate_spec(spec: &DeploymentSpec, path: &Path<'_>, errors: &mut ErrorList) {
    non_negative(errors, &path.child("replicas"), spec.replicas.unwrap_or(0));
    validate_selector(&spec.selector, &path.child("selector"), errors);
    let at = path.child("template");
    pod_spec::validate_replicated_template(&spec.template, &spec.selector, &at, errors);
    if let Some(strategy) = &spec.strategy {
        validate_rollout(strategy, &path.child("strategy"), errors);
    }
    let min_ready = spec.min_ready_seconds.unwrap_or(0);
    non_negative(errors, &path.child("minReadySeconds"), min_ready);
    let limit = spec.revision_history_limit.unwrap_or(0);
    non_negative(errors, &path.child("revisionHistoryLimit"), limit);
    if let Some(deadline) = spec.progress_deadline_seconds {
        let at = path.child("progressDeadlineSeconds");
        non_negative(errors, &at, deadline);
        if deadline <= min_ready {
            errors.invalid(&at, deadline, "must be greater than minReadySeconds");
        }
    }
}

fn validate_rollout(strategy: &Rollout, path: &Path<'_>, errors: &mut ErrorList) {
    let at = path.child("rollingUpdate");
    match (text(&strategy.type_), &strategy.rolling_update) {
        ("Recreate", None) => {}
        ("Recreate", Some(_)) => {
            let why = "may not be specified when strategy `type` is 'Recreate'";
            errors.forbidden(&at, why);
        }
        ("RollingUpdate", Some(rolling)) => validate_rolling(rolling, &at, errors),
        ("RollingUpdate", None) => {
            errors.required(&at, "this should be defaulted and never be nil");
        }
        (other, rolling) => {
            let rolling = serde_json::to_string(rolling).unwrap_or_default();
            let shown = format!("{{\"type\":{other:?},\"rollingUpdate\":{rolling}}}");
            errors.not_supported(path, Bare(shown), &["Recreate", "RollingUpdate"]);
        }
    }
}

fn validate_rolling(rolling: &RollingUpdateDeployment, path: &Path<'_>, errors: &mut ErrorList) {
    let zero = IntOrString::Int(0);
    let unavailable = rolling.max_unavailable.as_ref().unwrap_or(&zero);
    let surge = rolling.max_surge.as_ref().unwrap_or(&zero);
    let at = path.child("maxUnavailable");
    validate_share(unavailable, &at, errors);
    validate_share(surge, &path.child("maxSurge"), errors);
    if number(unavailable) == 0 && number(surge) == 0 {
        errors.invalid(&at, Json(unavailable), "may not be 0 when `maxSurge` is 0");
    }
    if matches!(unavailable, IntOrString::String(_)) && number(unavailable) > 100 {
        errors.invalid(&at, Json(unavailable), "must not be greater than 100%");
    }
}

fn validate_status(
    status: &DeploymentStatus,
    old: Option<&DeploymentStatus>,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    let collisions = status.collision_count;
    let counts = Counts {
        replicas: status.replicas.unwrap_or(0),
        ready: status.ready_replicas.unwrap_or(0),
        available: status.available_replicas.unwrap_or(0),
        ready_is_called: "readyReplicas",
        parts: &[("updatedReplicas", status.updated_replicas.unwrap_or(0))],
        others: &[
            ("observedGeneration", status.observed_generation.unwrap_or(0)),
            ("unavailableReplicas", status.unavailable_replicas.unwrap_or(0).into()),
            ("terminatingReplicas", status.terminating_replicas.unwrap_or(0).into()),
            ("collisionCount", collisions.unwrap_or(0).into()),
        ],
    };
    counts.validate(path, errors);
    let before = old.and_then(|old| old.collision_count);
    not_decremented(collisions, before, path, errors);
}
