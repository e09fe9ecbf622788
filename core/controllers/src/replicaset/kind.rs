use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetStatus};
use k8s_openapi::api::core::v1::{
    PodTemplateSpec, ReplicationController, ReplicationControllerCondition,
    ReplicationControllerStatus,
};
use pinnace_api::selector::Selector;
use pinnace_api::{ApiError, Kind, Result};

/// A kind that asks for a number of pods of a template. Its status is that of a ReplicaSet, told in
/// the kind's own words.
pub(super) trait ReplicaKind: Kind + k8s_openapi::Resource {
    /// The name of the controller in logs.
    const CONTROLLER: &str;
    /// The name that its Events bear.
    const COMPONENT: &str;

    fn selector(&self) -> Result<Selector>;
    fn replicas(&self) -> Option<i32>;
    fn min_ready_seconds(&self) -> Option<i32>;
    fn template(&self) -> Option<&PodTemplateSpec>;
    fn conditions(&self) -> Option<Vec<ReplicaSetCondition>>;
    fn set_status(&mut self, status: ReplicaSetStatus);
}

fn no_spec(kind: &str) -> ApiError {
    ApiError::internal(format!("a {kind} has no spec"))
}

impl ReplicaKind for ReplicaSet {
    const CONTROLLER: &str = "replicaset";
    const COMPONENT: &str = "replicaset-controller";

    fn selector(&self) -> Result<Selector> {
        let spec = self.spec.as_ref().ok_or_else(|| no_spec("ReplicaSet"))?;
        Selector::from_label_selector(&spec.selector)
    }
    fn replicas(&self) -> Option<i32> {
        self.spec.as_ref()?.replicas
    }
    fn min_ready_seconds(&self) -> Option<i32> {
        self.spec.as_ref()?.min_ready_seconds
    }
    fn template(&self) -> Option<&PodTemplateSpec> {
        self.spec.as_ref()?.template.as_ref()
    }
    fn conditions(&self) -> Option<Vec<ReplicaSetCondition>> {
        self.status.as_ref()?.conditions.clone()
    }
    fn set_status(&mut self, status: ReplicaSetStatus) {
        self.status = Some(status);
    }
}

impl ReplicaKind for ReplicationController {
    const CONTROLLER: &str = "replicationcontroller";
    const COMPONENT: &str = "replication-controller";

    fn selector(&self) -> Result<Selector> {
        let spec = self.spec.as_ref().ok_or_else(|| no_spec("ReplicationController"))?;
        Ok(spec.selector.as_ref().map_or_else(Selector::nothing, Selector::from_labels))
    }
    fn replicas(&self) -> Option<i32> {
        self.spec.as_ref()?.replicas
    }
    fn min_ready_seconds(&self) -> Option<i32> {
        self.spec.as_ref()?.min_ready_seconds
    }
    fn template(&self) -> Option<&PodTemplateSpec> {
        self.spec.as_ref()?.template.as_ref()
    }
    fn conditions(&self) -> Option<Vec<ReplicaSetCondition>> {
        let conditions = self.status.as_ref()?.conditions.clone()?.into_iter();
        let told = conditions.map(|one| ReplicaSetCondition {
            last_transition_time: one.last_transition_time,
            message: one.message,
            reason: one.reason,
            status: one.status,
            type_: one.type_,
        });
        Some(told.collect())
    }
    fn set_status(&mut self, status: ReplicaSetStatus) {
        let told = |one: ReplicaSetCondition| ReplicationControllerCondition {
            last_transition_time: one.last_transition_time,
            message: one.message,
            reason: one.reason,
            status: one.status,
            type_: one.type_,
        };
        self.status = Some(ReplicationControllerStatus {
            available_replicas: status.available_replicas,
            conditions: status.conditions.map(|all| all.into_iter().map(told).collect()),
            fully_labeled_replicas: status.fully_labeled_replicas,
            observed_generation: status.observed_generation,
            ready_replicas: status.ready_replicas,
            replicas: status.replicas,
        });
    }
}
