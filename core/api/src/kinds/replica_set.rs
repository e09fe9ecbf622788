use std::borrow::Cow;

use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetStatus};

use super::pod_spec::defaults;
use super::{next_generation, omit_empty};
use crate::{ScaleView, Strategy};

/// Replica sets.
pub(super) struct ReplicaSetStrategy;

impl Strategy for ReplicaSetStrategy {
    type Kind = ReplicaSet;

    fn default(&self, set: &mut ReplicaSet) {
        let spec = set.spec.get_or_insert_default();
        omit_empty!(spec; min_ready_seconds);
        spec.replicas.get_or_insert(1);
        defaults::template(spec.template.get_or_insert_default());
    }

    fn prepare_for_create(&self, set: &mut ReplicaSet) {
        set.metadata.generation = Some(1);
        set.status = Some(ReplicaSetStatus::default());
    }

    fn prepare_for_update(&self, new: &mut ReplicaSet, old: &ReplicaSet) {
        new.status.clone_from(&old.status);
        let changed = new.spec != old.spec;
        next_generation(&mut new.metadata, &old.metadata, changed);
    }

    fn prepare_for_status_update(&self, new: &mut ReplicaSet, old: &ReplicaSet) {
        new.spec.clone_from(&old.spec);
    }

    fn field<'a>(&self, set: &'a ReplicaSet, path: &str) -> Option<Cow<'a, str>> {
        let replicas = set.status.as_ref().map_or(0, |status| status.replicas);
        (path == "status.replicas").then(|| Cow::Owned(replicas.to_string()))
    }

    fn scale(&self, set: &ReplicaSet) -> Option<ScaleView> {
        let spec = set.spec.as_ref()?;
        Some(ScaleView {
            replicas: spec.replicas.unwrap_or(0),
            status_replicas: set.status.as_ref().map_or(0, |status| status.replicas),
            selector: Some(spec.selector.clone()),
        })
    }

    fn set_replicas(&self, set: &mut ReplicaSet, replicas: i32) {
        set.spec.get_or_insert_default().replicas = Some(replicas);
    }
}
