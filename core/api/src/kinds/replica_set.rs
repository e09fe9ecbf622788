use std::borrow::Cow;

use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetStatus};

use super::check::{immutable, non_negative};
use super::pod_spec::{self, defaults};
use super::replicated::{Counts, validate_selector};
use super::{next_generation, omit_empty};
use crate::field::{ErrorList, Path};
use crate::{PodsOf, ScaleView, Strategy};

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

    fn validate(&self, set: &ReplicaSet, errors: &mut ErrorList) {
        let Some(spec) = &set.spec else { return };
        let path = Path::root("spec");
        non_negative(errors, &path.child("replicas"), spec.replicas.unwrap_or(0));
        non_negative(errors, &path.child("minReadySeconds"), spec.min_ready_seconds.unwrap_or(0));
        validate_selector(&spec.selector, &path.child("selector"), errors);
        if let Some(template) = &spec.template {
            let at = path.child("template");
            pod_spec::validate_replicated_template(template, &spec.selector, &at, errors);
        }
    }

    fn prepare_for_update(&self, new: &mut ReplicaSet, old: &ReplicaSet) {
        new.status.clone_from(&old.status);
        let changed = new.spec != old.spec;
        next_generation(&mut new.metadata, &old.metadata, changed);
    }

    fn prepare_for_status_update(&self, new: &mut ReplicaSet, old: &ReplicaSet) {
        new.spec.clone_from(&old.spec);
    }

    fn validate_update(&self, new: &ReplicaSet, old: &ReplicaSet, errors: &mut ErrorList) {
        self.validate(new, errors);
        if let (Some(new), Some(old)) = (&new.spec, &old.spec) {
            let spec = Path::root("spec");
            immutable(errors, &spec.child("selector"), &new.selector, &old.selector);
        }
    }

    fn validate_status_update(&self, new: &ReplicaSet, _: &ReplicaSet, errors: &mut ErrorList) {
        let Some(status) = &new.status else { return };
        let counts = Counts {
            replicas: status.replicas,
            ready: status.ready_replicas.unwrap_or(0),
            available: status.available_replicas.unwrap_or(0),
            ready_is_called: "readyReplicas",
            parts: &[("fullyLabeledReplicas", status.fully_labeled_replicas.unwrap_or(0))],
            others: &[
                ("observedGeneration", status.observed_generation.unwrap_or(0)),
                ("terminatingReplicas", status.terminating_replicas.unwrap_or(0).into()),
            ],
        };
        counts.validate(&Path::root("status"), errors);
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
            selector: Some(PodsOf::Labels(spec.selector.clone())),
        })
    }

    fn set_replicas(&self, set: &mut ReplicaSet, replicas: i32) {
        set.spec.get_or_insert_default().replicas = Some(replicas);
    }
}
