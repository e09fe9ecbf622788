//! Revisions and the other annotations by which a Deployment and its sets remember.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// Which rollout a set belongs to, from 1.
pub(crate) const REVISION: &str = "deployment.kubernetes.io/revision";
/// The revisions that a set had before it became new again.
const HISTORY: &str = "deployment.kubernetes.io/revision-history";
/// What the Deployment asked for when the set was last sized.
pub(super) const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
/// The most pods that the Deployment allowed then.
pub(super) const MAX: &str = "deployment.kubernetes.io/max-replicas";
/// The revision to go back to, of the API before `apps/v1`.
pub(super) const ROLLBACK: &str = "deprecated.deployment.rollback.to";
/// Written by kubectl, of no meaning on a set.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Longest history, in bytes.
const MAX_HISTORY: usize = 2000;

type Annotations = BTreeMap<String, String>;

/// An annotation.
pub(super) fn get<'a>(meta: &'a ObjectMeta, name: &str) -> Option<&'a str> {
    meta.annotations.as_ref()?.get(name).map(String::as_str)
}

/// The revision of a set, 0 for none.
pub(super) fn of(meta: &ObjectMeta) -> i64 {
    get(meta, REVISION).and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// Whether an annotation of a Deployment is for itself alone.
fn is_private(name: &str) -> bool {
    matches!(name, LAST_APPLIED | REVISION | HISTORY | DESIRED | MAX | ROLLBACK)
}

/// Copies the Deployment's annotations to a set's.
pub(super) fn copy_to_set(deployment: &ObjectMeta, annotations: &mut Annotations) {
    for (name, value) in deployment.annotations.iter().flatten() {
        if !is_private(name) {
            annotations.insert(name.clone(), value.clone());
        }
    }
}

/// Gives a set its revision, keeping the one it had in its history. A set never goes back.
pub(super) fn advance(annotations: &mut Annotations, revision: i64) {
    let old = annotations.get(REVISION).cloned();
    let number = old.as_deref().and_then(|old| old.parse::<i64>().ok()).unwrap_or(0);
    if number >= revision {
        return;
    }
    annotations.insert(REVISION.to_owned(), revision.to_string());
    let Some(old) = old else { return };
    let history = annotations.entry(HISTORY.to_owned()).or_default();
    if !history.is_empty() {
        history.push(',');
    }
    history.push_str(&old);
    while history.len() > MAX_HISTORY {
        let Some(comma) = history.find(',') else { break };
        history.drain(..=comma);
    }
}

/// Notes in a set what its Deployment asks for.
pub(super) fn note_size(annotations: &mut Annotations, desired: i32, max: i32) {
    annotations.insert(DESIRED.to_owned(), desired.to_string());
    annotations.insert(MAX.to_owned(), max.to_string());
}

/// What a set's Deployment asked for when it was last sized.
pub(super) fn noted(set: &ReplicaSet, what: &str) -> Option<i32> {
    get(&set.metadata, what)?.parse().ok()
}

/// Takes the annotations of a set back to its Deployment, for a rollback.
pub(super) fn copy_back(set: &ObjectMeta, deployment: &mut ObjectMeta) {
    let own = deployment.annotations.take().unwrap_or_default();
    let mut annotations: Annotations =
        own.into_iter().filter(|(name, _)| is_private(name)).collect();
    for (name, value) in set.annotations.iter().flatten() {
        if !is_private(name) {
            annotations.insert(name.clone(), value.clone());
        }
    }
    deployment.annotations = Some(annotations);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_that_becomes_new_again_keeps_its_history() {
        let mut annotations = Annotations::new();
        for revision in [1, 3, 2, 5] {
            advance(&mut annotations, revision);
        }
        assert_eq!(annotations[REVISION], "5");
        assert_eq!(annotations[HISTORY], "1,3");
    }
}
