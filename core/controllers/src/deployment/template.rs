//! What makes two pod templates the same.

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::PodTemplateSpec;

/// The label that tells the pods of one template from those of another.
pub(super) const HASH_LABEL: &str = "pod-template-hash";

/// Whether a set makes the pods that the Deployment asks for now.
pub(super) fn is_same(set: &ReplicaSet, deployment: &Deployment) -> bool {
    let Some(wanted) = deployment.spec.as_ref().map(|spec| &spec.template) else { return false };
    let Some(made) = set.spec.as_ref().and_then(|spec| spec.template.as_ref()) else {
        return false;
    };
    made.spec == wanted.spec && same_metadata(made, wanted)
}

/// Compares metadata without the label that the controller itself has put there. A missing map and
/// an empty one are the same.
fn same_metadata(made: &PodTemplateSpec, wanted: &PodTemplateSpec) -> bool {
    let strip = |template: &PodTemplateSpec| {
        let mut meta = template.metadata.clone().unwrap_or_default();
        meta.labels.get_or_insert_default().remove(HASH_LABEL);
        meta.annotations.get_or_insert_default();
        meta.creation_timestamp = None;
        meta
    };
    strip(made) == strip(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_template_is_the_same_whatever_its_hash_label() {
        let template = json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": []}});
        let deployment: Deployment =
            serde_json::from_value(json!({"spec": {"selector": {}, "template": template}}))
                .unwrap();
        let mut made = template.clone();
        made["metadata"]["labels"][HASH_LABEL] = json!("x");
        let set = |template| -> ReplicaSet {
            serde_json::from_value(json!({"spec": {"selector": {}, "template": template}})).unwrap()
        };
        assert!(is_same(&set(made.clone()), &deployment));
        made["metadata"]["labels"]["app"] = json!("other");
        assert!(!is_same(&set(made), &deployment));
    }
}
