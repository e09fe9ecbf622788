//! What makes two pod templates the same, and the short name of one.

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::PodTemplateSpec;

/// The label that tells the pods of one template from those of another.
pub(super) const HASH_LABEL: &str = "pod-template-hash";
/// The characters of a hash: those of generated names.
const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

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

/// A short name for a template, different after each collision.
pub(super) fn hash(template: &PodTemplateSpec, collisions: i32) -> String {
    // FNV-1a: stable across versions and machines, which a hasher of the standard library is not.
    let mut hash: u32 = 0x811c_9dc5;
    let json = serde_json::to_vec(template).unwrap_or_default();
    for byte in json.into_iter().chain(collisions.to_le_bytes()) {
        hash = (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    }
    let digits = hash.to_string();
    digits.bytes().map(|digit| char::from(ALPHABET[usize::from(digit) % ALPHABET.len()])).collect()
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

    #[test]
    fn a_collision_gives_another_name() {
        let template = PodTemplateSpec::default();
        assert_ne!(hash(&template, 0), hash(&template, 1));
    }
}
