use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use pinnace_api::selector::Selector;

/// How many pods may be disrupted that a budget protects.
#[derive(Debug, PartialEq)]
struct Budget {
    selector: Selector,
    allowed: i32,
    disrupted: BTreeSet<String>,
}

/// The disruption budgets of a cluster.
#[derive(Debug, Default)]
pub(crate) struct Budgets {
    by_namespace: BTreeMap<String, BTreeMap<String, Budget>>,
    /// Counts the changes.
    pub(crate) generation: u64,
}

impl Budgets {
    /// A budget as it is now; `None` when it went.
    pub(super) fn set(
        &mut self,
        namespace: &str,
        name: &str,
        budget: Option<&PodDisruptionBudget>,
    ) {
        let budget = budget.and_then(Budget::read);
        let here = self.by_namespace.entry(namespace.to_owned()).or_default();
        if here.get(name) == budget.as_ref() {
            return;
        }
        self.generation += 1;
        match budget {
            Some(budget) => _ = here.insert(name.to_owned(), budget),
            None => _ = here.remove(name),
        }
    }

    /// Whether a budget protects a pod.
    pub(crate) fn protects(&self, pod: &Pod) -> bool {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let here = self.by_namespace.get(namespace).into_iter().flatten();
        here.into_iter().any(|(_, budget)| budget.selector.matches(pod.metadata.labels.as_ref()))
    }

    /// For each of the pods, in their order, whether its going would violate a budget when those
    /// before it go too.
    pub(crate) fn violated<'a>(&self, pods: impl Iterator<Item = &'a Pod>) -> Vec<bool> {
        let mut spent: BTreeMap<(&str, &str), i32> = BTreeMap::new();
        pods.map(|pod| {
            let mut violated = false;
            let Some(labels) = pod.metadata.labels.as_ref().filter(|labels| !labels.is_empty())
            else {
                return false;
            };
            let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
            let pod_name = pod.metadata.name.as_deref().unwrap_or_default();
            let Some((namespace, here)) = self.by_namespace.get_key_value(namespace) else {
                return false;
            };
            for (name, budget) in here {
                if !budget.selector.matches(Some(labels)) || budget.disrupted.contains(pod_name) {
                    continue;
                }
                let spent = spent.entry((namespace, name)).or_default();
                *spent += 1;
                violated |= *spent > budget.allowed;
            }
            violated
        })
        .collect()
    }
}

impl Budget {
    /// `None` when it protects nothing: that is so of one whose selector is missing or empty too.
    fn read(budget: &PodDisruptionBudget) -> Option<Self> {
        let selector = budget.spec.as_ref()?.selector.as_ref()?;
        let selector = Selector::from_label_selector(selector).ok()?;
        let status = budget.status.as_ref();
        let disrupted = status.and_then(|status| status.disrupted_pods.as_ref());
        (!selector.is_everything()).then(|| Self {
            selector,
            allowed: status.and_then(|status| status.disruptions_allowed).unwrap_or(0),
            disrupted: disrupted.into_iter().flatten().map(|(name, _)| name.clone()).collect(),
        })
    }
}
