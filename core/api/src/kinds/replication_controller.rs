use std::borrow::Cow;

use k8s_openapi::api::core::v1::{PodTemplate, ReplicationController, ReplicationControllerStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::check::non_negative;
use super::pod_spec::{self, defaults};
use super::replicated::Counts;
use super::{metadata, next_generation, omit_empty};
use crate::field::{ErrorList, Path};
use crate::{PodsOf, ScaleView, Strategy};

/// What ReplicaSets were before.
pub(super) struct ReplicationControllerStrategy;

impl Strategy for ReplicationControllerStrategy {
    type Kind = ReplicationController;

    fn default(&self, controller: &mut ReplicationController) {
        let spec = controller.spec.get_or_insert_default();
        omit_empty!(spec; min_ready_seconds);
        spec.replicas.get_or_insert(1);
        if let Some(template) = &mut spec.template {
            defaults::template(template);
            let labels = template.metadata.as_ref().and_then(|meta| meta.labels.clone());
            if spec.selector.as_ref().is_none_or(std::collections::BTreeMap::is_empty) {
                spec.selector.clone_from(&labels);
            }
            let own = &mut controller.metadata.labels;
            if own.as_ref().is_none_or(std::collections::BTreeMap::is_empty) {
                *own = labels;
            }
        }
    }

    fn prepare_for_create(&self, controller: &mut ReplicationController) {
        controller.metadata.generation = Some(1);
        controller.status = Some(ReplicationControllerStatus::default());
    }

    fn validate(&self, controller: &ReplicationController, errors: &mut ErrorList) {
        let Some(spec) = &controller.spec else { return };
        let path = Path::root("spec");
        non_negative(errors, &path.child("minReadySeconds"), spec.min_ready_seconds.unwrap_or(0));
        let selector = spec.selector.clone().unwrap_or_default();
        let at = path.child("selector");
        metadata::labels(selector.iter(), &at, errors);
        if selector.is_empty() {
            errors.required(&at, "");
        }
        non_negative(errors, &path.child("replicas"), spec.replicas.unwrap_or(0));
        let at = path.child("template");
        match &spec.template {
            None => errors.required(&at, ""),
            Some(template) => {
                let selector = LabelSelector { match_labels: Some(selector), ..Default::default() };
                pod_spec::validate_replicated_template(template, &selector, &at, errors);
            }
        }
    }

    fn prepare_for_update(&self, new: &mut ReplicationController, old: &ReplicationController) {
        new.status.clone_from(&old.status);
        let changed = new.spec != old.spec;
        next_generation(&mut new.metadata, &old.metadata, changed);
    }

    fn prepare_for_status_update(
        &self,
        new: &mut ReplicationController,
        old: &ReplicationController,
    ) {
        new.spec.clone_from(&old.spec);
    }

    fn validate_status_update(
        &self,
        new: &ReplicationController,
        _: &ReplicationController,
        errors: &mut ErrorList,
    ) {
        let Some(status) = &new.status else { return };
        let counts = Counts {
            replicas: status.replicas,
            ready: status.ready_replicas.unwrap_or(0),
            available: status.available_replicas.unwrap_or(0),
            ready_is_called: "readyReplicas",
            parts: &[("fullyLabeledReplicas", status.fully_labeled_replicas.unwrap_or(0))],
            others: &[("observedGeneration", status.observed_generation.unwrap_or(0))],
        };
        counts.validate(&Path::root("status"), errors);
    }

    fn field<'a>(&self, controller: &'a ReplicationController, path: &str) -> Option<Cow<'a, str>> {
        let replicas = controller.status.as_ref().map_or(0, |status| status.replicas);
        (path == "status.replicas").then(|| Cow::Owned(replicas.to_string()))
    }

    fn scale(&self, controller: &ReplicationController) -> Option<ScaleView> {
        let spec = controller.spec.as_ref()?;
        let selector = LabelSelector { match_labels: spec.selector.clone(), ..Default::default() };
        Some(ScaleView {
            replicas: spec.replicas.unwrap_or(0),
            status_replicas: controller.status.as_ref().map_or(0, |status| status.replicas),
            selector: Some(PodsOf::Labels(selector)),
        })
    }

    fn set_replicas(&self, controller: &mut ReplicationController, replicas: i32) {
        controller.spec.get_or_insert_default().replicas = Some(replicas);
    }
}

/// Templates of pods that stand alone.
pub(super) struct PodTemplateStrategy;

impl Strategy for PodTemplateStrategy {
    type Kind = PodTemplate;

    fn default(&self, template: &mut PodTemplate) {
        if let Some(template) = &mut template.template {
            defaults::template(template);
        }
    }

    fn prepare_for_create(&self, template: &mut PodTemplate) {
        template.metadata.generation = Some(1);
    }

    fn validate(&self, template: &PodTemplate, errors: &mut ErrorList) {
        let path = Path::root("template");
        match &template.template {
            Some(template) => pod_spec::validate_template(template, &path, errors),
            None => errors.required(&path, ""),
        }
    }

    fn prepare_for_update(&self, new: &mut PodTemplate, old: &PodTemplate) {
        let changed = new.template != old.template;
        next_generation(&mut new.metadata, &old.metadata, changed);
    }
}
