use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{
    Affinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, Pod, PodSpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::look::{GENERATION_LABEL, generation};
use super::placement::{NAME_FIELD, tolerations};
use crate::claim::controller_reference;
use crate::history::HASH_LABEL;

/// The pods of a set's template, to be had for one node after the other.
pub(super) struct Template {
    pod: Pod,
}

impl Template {
    pub(super) fn new(set: &DaemonSet, hash: &str) -> Self {
        let template = set.spec.as_ref().map(|spec| spec.template.clone()).unwrap_or_default();
        let meta = template.metadata.unwrap_or_default();
        let mut spec = template.spec.unwrap_or_default();
        spec.tolerations = Some(tolerations(&spec));
        let mut labels = meta.labels.unwrap_or_default();
        labels.insert(HASH_LABEL.to_owned(), hash.to_owned());
        if let Some(generation) = generation(set) {
            labels.insert(GENERATION_LABEL.to_owned(), generation.clone());
        }
        let owner = controller_reference("apps/v1", "DaemonSet", &set.metadata);
        let name = set.metadata.name.as_deref().unwrap_or_default();
        let metadata = ObjectMeta {
            generate_name: Some(format!("{name}-")),
            namespace: set.metadata.namespace.clone(),
            labels: Some(labels),
            annotations: meta.annotations,
            finalizers: meta.finalizers,
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        };
        Self { pod: Pod { metadata, spec: Some(spec), status: None } }
    }

    /// A pod that the scheduler can bind to one node only.
    pub(super) fn on(&self, node: &str) -> Pod {
        let mut pod = self.pod.clone();
        require(pod.spec.get_or_insert_default(), node);
        pod
    }
}

/// The node's name takes the place of what the template requires: that has been asked already.
fn require(spec: &mut PodSpec, node: &str) {
    let by_name = NodeSelectorRequirement {
        key: NAME_FIELD.to_owned(),
        operator: "In".to_owned(),
        values: Some(vec![node.to_owned()]),
    };
    let term = NodeSelectorTerm { match_fields: Some(vec![by_name]), match_expressions: None };
    let affinity: &mut Affinity = spec.affinity.get_or_insert_default();
    affinity
        .node_affinity
        .get_or_insert_default()
        .required_during_scheduling_ignored_during_execution =
        Some(NodeSelector { node_selector_terms: vec![term] });
}
