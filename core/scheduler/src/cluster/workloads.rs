use std::collections::{BTreeMap, HashMap};

use pinnace_api::Object;
use pinnace_api::selector::Selector;

type Labels = BTreeMap<String, String>;

/// Kinds whose pods are spread by default: `(apiVersion, kind)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Owner {
    ReplicationController,
    ReplicaSet,
    StatefulSet,
}

impl Owner {
    fn of(version: &str, kind: &str) -> Option<Self> {
        match (version, kind) {
            ("v1", "ReplicationController") => Some(Self::ReplicationController),
            ("apps/v1", "ReplicaSet") => Some(Self::ReplicaSet),
            ("apps/v1", "StatefulSet") => Some(Self::StatefulSet),
            _ => None,
        }
    }
}

/// Which pods belong together: what Services select and what the owners of pods do.
#[derive(Debug, Default)]
pub(super) struct Workloads {
    /// By namespace and name.
    services: BTreeMap<String, BTreeMap<String, Labels>>,
    owners: HashMap<(Owner, String, String), Selector, ahash::RandomState>,
    /// Counts the changes.
    pub(super) generation: u64,
}

impl Workloads {
    pub(super) fn set_service(&mut self, namespace: &str, name: &str, selector: Option<&Labels>) {
        let services = self.services.entry(namespace.to_owned()).or_default();
        let changed = match selector.filter(|selector| !selector.is_empty()) {
            Some(selector) => {
                services.insert(name.to_owned(), selector.clone()).as_ref() != Some(selector)
            }
            None => services.remove(name).is_some(),
        };
        if services.is_empty() {
            self.services.remove(namespace);
        }
        self.generation += u64::from(changed);
    }

    pub(super) fn set_owner(&mut self, kind: Owner, object: &Object, selector: Option<Selector>) {
        let key = object.key();
        let key = (kind, key.namespace().to_owned(), key.name().to_owned());
        let changed = match selector {
            Some(selector) => self.owners.insert(key, selector.clone()).as_ref() != Some(&selector),
            None => self.owners.remove(&key).is_some(),
        };
        self.generation += u64::from(changed);
    }

    /// What selects the pods that belong together with this one; `None` when nothing does.
    pub(super) fn selector(&self, pod: &k8s_openapi::api::core::v1::Pod) -> Option<Selector> {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let none = Labels::new();
        let labels = pod.metadata.labels.as_ref().unwrap_or(&none);
        let mut asked = Labels::new();
        for selector in self.services.get(namespace).into_iter().flat_map(BTreeMap::values) {
            if selector.iter().all(|(key, value)| labels.get(key) == Some(value)) {
                asked.extend(selector.clone());
            }
        }
        let mut selector = Selector::from_labels(&asked);
        let mut owners = pod.metadata.owner_references.iter().flatten();
        let owner = owners.find(|owner| owner.controller == Some(true));
        let owned = owner.and_then(|owner| {
            let kind = Owner::of(&owner.api_version, &owner.kind)?;
            self.owners.get(&(kind, namespace.to_owned(), owner.name.clone()))
        });
        if let Some(owned) = owned.filter(|owned| !owned.is_nothing()) {
            selector = selector.and(owned);
        }
        (!selector.is_everything()).then_some(selector)
    }
}
