use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Pod, PodAffinityTerm};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use pinnace_api::selector::Selector;

type Labels = BTreeMap<String, String>;

/// Which pods are meant: those of some namespaces that a selector selects.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PodSelector {
    namespaces: Vec<String>,
    namespace_selector: Option<Selector>,
    selector: Selector,
}

impl PodSelector {
    /// The pods of one namespace.
    pub fn within(namespace: &str, selector: Selector) -> Self {
        Self { namespaces: vec![namespace.to_owned()], namespace_selector: None, selector }
    }

    /// Whether a pod is meant, by its namespace, the labels of that, and its own.
    pub fn selects(
        &self,
        namespace: &str,
        namespace_labels: Option<&Labels>,
        labels: &Labels,
    ) -> bool {
        let here = self.namespaces.iter().any(|one| one == namespace)
            || self.namespace_selector.as_ref().is_some_and(|one| one.matches(namespace_labels));
        here && self.selector.matches(Some(labels))
    }

    /// Whether a pod may be meant, of whose namespace the labels are not known.
    pub fn may_select(&self, pod: &Pod) -> bool {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let here =
            self.namespace_selector.is_some() || self.namespaces.iter().any(|one| one == namespace);
        here && self.selector.matches(pod.metadata.labels.as_ref())
    }

    /// Whether the labels of namespaces matter.
    pub(crate) fn reads_namespaces(&self) -> bool {
        self.namespace_selector.is_some()
    }
}

/// A term of a pod's affinity or anti-affinity to other pods.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PodTerm {
    /// The label key that says which nodes belong together.
    pub topology_key: String,
    /// The other pods.
    pub pods: PodSelector,
}

/// All that a pod says about other pods. Terms that cannot be read are left out: the API lets
/// none of them in.
#[derive(Clone, Debug, Default)]
pub struct PodTerms {
    /// Must be near pods that match all of these.
    pub affinity: Vec<PodTerm>,
    /// Must not be near pods that match one of these.
    pub anti_affinity: Vec<PodTerm>,
    /// Would like to be near, by weight; a negative one means far.
    pub preferred: Vec<(i64, PodTerm)>,
}

impl PodTerms {
    /// Reads a pod; `None` when it says nothing.
    pub fn of(pod: &Pod) -> Option<Self> {
        let affinity = pod.spec.as_ref()?.affinity.as_ref()?;
        if affinity.pod_affinity.is_none() && affinity.pod_anti_affinity.is_none() {
            return None;
        }
        let mut terms = Self::default();
        let read = |term: &PodAffinityTerm| PodTerm::read(pod, term);
        if let Some(near) = &affinity.pod_affinity {
            let required = near.required_during_scheduling_ignored_during_execution.iter();
            terms.affinity = required.flatten().filter_map(read).collect();
            let preferred = near.preferred_during_scheduling_ignored_during_execution.iter();
            terms.preferred.extend(preferred.flatten().filter_map(|weighted| {
                Some((weighted.weight.into(), read(&weighted.pod_affinity_term)?))
            }));
        }
        if let Some(far) = &affinity.pod_anti_affinity {
            let required = far.required_during_scheduling_ignored_during_execution.iter();
            terms.anti_affinity = required.flatten().filter_map(read).collect();
            let preferred = far.preferred_during_scheduling_ignored_during_execution.iter();
            terms.preferred.extend(preferred.flatten().filter_map(|weighted| {
                Some((-i64::from(weighted.weight), read(&weighted.pod_affinity_term)?))
            }));
        }
        Some(terms)
    }
}

impl PodTerm {
    /// Whether it may speak of a pod of whose namespace the labels are not known.
    pub fn may_select(&self, pod: &Pod) -> bool {
        self.pods.may_select(pod)
    }

    fn read(pod: &Pod, term: &PodAffinityTerm) -> Option<Self> {
        let mut namespaces = term.namespaces.clone().unwrap_or_default();
        if namespaces.is_empty() && term.namespace_selector.is_none() {
            namespaces.push(pod.metadata.namespace.clone().unwrap_or_default());
        }
        namespaces.sort();
        namespaces.dedup();
        let namespace_selector = match &term.namespace_selector {
            None => None,
            Some(selector) => Some(Selector::from_label_selector(selector).ok()?),
        };
        let matching = term.match_label_keys.as_deref().unwrap_or_default();
        let mismatching = term.mismatch_label_keys.as_deref().unwrap_or_default();
        let labels = pod.metadata.labels.as_ref();
        let selector = merged(term.label_selector.as_ref(), labels, matching, mismatching)?;
        let pods = PodSelector { namespaces, namespace_selector, selector };
        Some(Self { topology_key: term.topology_key.clone(), pods })
    }
}

/// A selector that also asks for the pod's own values of some labels, and for other values of
/// others. Labels that the pod does not have are not asked for. `None` when it cannot be read.
pub(crate) fn merged(
    selector: Option<&LabelSelector>,
    labels: Option<&Labels>,
    matching: &[String],
    mismatching: &[String],
) -> Option<Selector> {
    let own = |key: &String| labels.and_then(|labels| labels.get(key));
    let more: Vec<_> = [("In", matching), ("NotIn", mismatching)]
        .into_iter()
        .flat_map(|(operator, keys)| keys.iter().map(move |key| (operator, key)))
        .filter_map(|(operator, key)| {
            Some(LabelSelectorRequirement {
                key: key.clone(),
                operator: operator.to_owned(),
                values: Some(vec![own(key)?.clone()]),
            })
        })
        .collect();
    match selector {
        // Without a selector nothing is meant, whatever the keys say.
        None => Some(Selector::nothing()),
        Some(selector) if more.is_empty() => Selector::from_label_selector(selector).ok(),
        Some(selector) => {
            let mut selector = selector.clone();
            selector.match_expressions.get_or_insert_default().extend(more);
            Selector::from_label_selector(&selector).ok()
        }
    }
}
