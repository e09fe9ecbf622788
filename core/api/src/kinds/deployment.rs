use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::pod_spec::defaults;
use super::{fill, next_generation, omit_empty};
use crate::{ScaleView, Strategy};

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

    fn prepare_for_update(&self, new: &mut Deployment, old: &Deployment) {
        new.status.clone_from(&old.status);
        // Annotations count too: the controller copies them to replica sets.
        let changed = new.spec != old.spec || new.metadata.annotations != old.metadata.annotations;
        next_generation(&mut new.metadata, &old.metadata, changed);
    }

    fn prepare_for_status_update(&self, new: &mut Deployment, old: &Deployment) {
        new.spec.clone_from(&old.spec);
        new.metadata.labels.clone_from(&old.metadata.labels);
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
            selector: Some(spec.selector.clone()),
        })
    }

    fn set_replicas(&self, deployment: &mut Deployment, replicas: i32) {
        deployment.spec.get_or_insert_default().replicas = Some(replicas);
    }
}
