//! Who a set's pods are: names, labels and claims that stay the same however often a pod is made.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimVolumeSource, Pod, PodSpec, PodTemplateSpec, Volume,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::claim::controller_reference;
use crate::history::HASH_LABEL;

const NAME_LABEL: &str = "statefulset.kubernetes.io/pod-name";
const INDEX_LABEL: &str = "apps.kubernetes.io/pod-index";

fn name_of(set: &StatefulSet) -> &str {
    set.metadata.name.as_deref().unwrap_or_default()
}

/// The number of a pod in its set; `None` for a pod with another name.
pub(super) fn ordinal(set: &str, pod: &str) -> Option<i32> {
    let digits = pod.strip_prefix(set)?.strip_prefix('-')?;
    // Two names for one number would be two pods in one place.
    let number: i32 = digits.parse().ok()?;
    (number >= 0 && number.to_string() == digits).then_some(number)
}

/// The labels that say which pod of its set one is.
pub(super) fn labels(pod: &str, ordinal: i32) -> [(&'static str, String); 2] {
    [(NAME_LABEL, pod.to_owned()), (INDEX_LABEL, ordinal.to_string())]
}

/// A set's pod of a number, made from a revision of the template.
pub(super) fn pod(
    set: &StatefulSet,
    template: &PodTemplateSpec,
    revision: &str,
    ordinal: i32,
) -> Pod {
    let name = format!("{}-{ordinal}", name_of(set));
    let meta = template.metadata.clone().unwrap_or_default();
    let mut all = meta.labels.unwrap_or_default();
    all.extend(labels(&name, ordinal).map(|(key, value)| (key.to_owned(), value)));
    all.insert(HASH_LABEL.to_owned(), revision.to_owned());
    let mut spec = template.spec.clone().unwrap_or_default();
    spec.hostname = Some(name.clone());
    spec.subdomain = set
        .spec
        .as_ref()
        .and_then(|spec| spec.service_name.clone())
        .filter(|service| !service.is_empty());
    mount_claims(set, ordinal, &mut spec);
    Pod {
        metadata: ObjectMeta {
            name: Some(name),
            generate_name: Some(format!("{}-", name_of(set))),
            namespace: set.metadata.namespace.clone(),
            labels: Some(all),
            annotations: meta.annotations,
            finalizers: meta.finalizers,
            owner_references: Some(vec![controller_reference(
                "apps/v1",
                "StatefulSet",
                &set.metadata,
            )]),
            ..ObjectMeta::default()
        },
        spec: Some(spec),
        status: None,
    }
}

/// A claim takes the place of a volume of its name in the template.
fn mount_claims(set: &StatefulSet, ordinal: i32, spec: &mut PodSpec) {
    let templates = claim_templates(set);
    if templates.is_empty() {
        return;
    }
    let name = |claim: &PersistentVolumeClaim| claim.metadata.name.clone().unwrap_or_default();
    let mut volumes: Vec<Volume> = templates
        .iter()
        .map(|claim| Volume {
            name: name(claim),
            persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
                claim_name: claim_name(set, claim, ordinal),
                read_only: Some(false),
            }),
            ..Volume::default()
        })
        .collect();
    let others = spec.volumes.take().unwrap_or_default().into_iter();
    volumes.extend(others.filter(|old| templates.iter().all(|claim| name(claim) != old.name)));
    spec.volumes = Some(volumes);
}

pub(super) fn claim_templates(set: &StatefulSet) -> &[PersistentVolumeClaim] {
    let spec = set.spec.as_ref();
    spec.and_then(|spec| spec.volume_claim_templates.as_deref()).unwrap_or_default()
}

/// The name of a pod's claim, such as `data-web-0`.
pub(super) fn claim_name(
    set: &StatefulSet,
    template: &PersistentVolumeClaim,
    ordinal: i32,
) -> String {
    let name = template.metadata.name.as_deref().unwrap_or_default();
    format!("{name}-{}-{ordinal}", name_of(set))
}

/// A pod's claim, without owners.
pub(super) fn claim(
    set: &StatefulSet,
    template: &PersistentVolumeClaim,
    ordinal: i32,
) -> PersistentVolumeClaim {
    let mut labels: BTreeMap<_, _> = template.metadata.labels.clone().unwrap_or_default();
    let selector = set.spec.as_ref().and_then(|spec| spec.selector.match_labels.clone());
    labels.extend(selector.unwrap_or_default());
    PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some(claim_name(set, template, ordinal)),
            namespace: set.metadata.namespace.clone(),
            labels: Some(labels),
            ..template.metadata.clone()
        },
        spec: template.spec.clone(),
        status: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_of_a_set_by_its_one_name() {
        for (pod, expected) in [
            ("web-0", Some(0)),
            ("web-12", Some(12)),
            ("web-01", None),
            ("web--1", None),
            ("web-+1", None),
            ("web-a-1", None),
            ("other-1", None),
            ("web", None),
        ] {
            assert_eq!(ordinal("web", pod), expected, "{pod}");
        }
    }
}
