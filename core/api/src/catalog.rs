use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::RwLock;

use crate::{ApiError, Reason, Resource, Result, kinds};

/// Which kinds an engine knows. Kinds may come and go while it runs; readers see a consistent
/// state and never wait. Cheap to clone, clones share.
#[derive(Clone)]
pub struct Catalog(Arc<Shared>);

struct Shared {
    entries: ArcSwap<Entries>,
    listeners: RwLock<Vec<Listener>>,
}

/// Told that kinds have come, changed or gone.
type Listener = Box<dyn Fn() + Send + Sync>;

#[derive(Clone, Debug, Default)]
struct Entries {
    /// In the order of registration: what discovery shows and what a short name means first.
    all: Vec<Arc<Resource>>,
    /// Counts the changes.
    generation: u64,
    /// By `plural.group`; the preferred version.
    by_name: HashMap<Arc<str>, Arc<Resource>, ahash::RandomState>,
    /// By table in the store; the stored version.
    by_table: HashMap<Arc<str>, Arc<Resource>, ahash::RandomState>,
}

impl Catalog {
    /// The built-in kinds.
    pub fn builtin() -> Self {
        let mut entries = Entries::default();
        for resource in kinds::all() {
            entries.insert(Arc::new(resource));
        }
        let entries = ArcSwap::from_pointee(entries);
        Self(Arc::new(Shared { entries, listeners: RwLock::default() }))
    }

    /// Adds a kind, or replaces the one of the same group, version and plural.
    pub fn register(&self, resource: Resource) -> Arc<Resource> {
        let resource = Arc::new(resource);
        self.change(|entries| {
            entries.insert(resource.clone());
            true
        });
        resource
    }

    /// Removes every version of a kind.
    pub fn unregister(&self, group: &str, plural: &str) {
        self.replace(group, plural, Vec::new());
    }

    /// Has a kind be in these versions from now on, the preferred one first, and in no others.
    pub fn replace(&self, group: &str, plural: &str, versions: Vec<Resource>) {
        let versions: Vec<_> = versions.into_iter().map(Arc::new).collect();
        self.change(|entries| {
            let other = |entry: &Resource| {
                entry.group != group || entry.plural != plural || entry.is_elsewhere()
            };
            entries.all.retain(|entry| other(entry));
            entries.by_name.retain(|_, entry| other(entry));
            entries.by_table.retain(|_, entry| other(entry));
            entries.generation += 1;
            versions.iter().for_each(|version| entries.insert(version.clone()));
            true
        });
    }

    /// Has a version of a group have these kinds of another server from now on, and no others of
    /// another's. What is served here stays as it is.
    pub fn serve_elsewhere(&self, group: &str, version: &str, kinds: Vec<Resource>) {
        let kinds: Vec<_> = kinds.into_iter().map(Arc::new).collect();
        self.change(|entries| {
            let ours = |entry: &Resource| {
                entry.is_elsewhere() && entry.group == group && entry.version == version
            };
            let mut wanted = kinds.clone();
            wanted.retain(|kind| {
                let same = |entry: &Arc<Resource>| {
                    entry.name() == kind.name() && entry.version == version && !ours(entry)
                };
                !entries.all.iter().any(same)
            });
            let before = entries.all.iter().filter(|entry| ours(entry));
            if before.map(|entry| entry.names()).eq(wanted.iter().map(|kind| kind.names())) {
                return false;
            }
            entries.generation += 1;
            entries.all.retain(|entry| !ours(entry));
            entries.by_name.retain(|_, entry| !ours(entry));
            for entry in &entries.all {
                entries.by_name.entry(entry.name().clone()).or_insert_with(|| entry.clone());
            }
            wanted.into_iter().for_each(|kind| entries.insert(kind));
            true
        });
    }

    /// Has `listener` called whenever kinds have come, changed or gone. It must not block, and
    /// stays for as long as the catalog does.
    pub fn on_change(&self, listener: impl Fn() + Send + Sync + 'static) {
        self.0.listeners.write().push(Box::new(listener));
    }

    /// Changes the entries, unless `change` says that there is nothing to change.
    fn change(&self, change: impl Fn(&mut Entries) -> bool) {
        let before = self.generation();
        self.0.entries.rcu(|entries| {
            let mut new = Entries::clone(entries);
            if change(&mut new) { Arc::new(new) } else { Arc::clone(entries) }
        });
        if self.generation() != before {
            self.0.listeners.read().iter().for_each(|listener| listener());
        }
    }

    /// All kinds.
    pub fn all(&self) -> Vec<Arc<Resource>> {
        self.0.entries.load().all.clone()
    }

    /// How often kinds have come, changed or gone. Whoever reads it before [`Catalog::all`] and
    /// finds it unchanged later has seen all kinds that there are.
    pub fn generation(&self) -> u64 {
        self.0.entries.load().generation
    }

    /// The kind of a `k8s-openapi` type.
    ///
    /// # Errors
    /// `NotFound` when this engine does not serve it.
    pub fn of<K: k8s_openapi::Resource>(&self) -> Result<Arc<Resource>> {
        self.find(|entry| {
            entry.kind == K::KIND && entry.version == K::VERSION && entry.group == K::GROUP
        })
        .ok_or_else(|| no_match(&format!("{}, {}", K::API_VERSION, K::KIND)))
    }

    /// A kind by its `plural.group`.
    pub fn by_name(&self, name: &str) -> Option<Arc<Resource>> {
        self.0.entries.load().by_name.get(name).cloned()
    }

    /// What a table of the store holds: the kind in the version that is stored.
    pub fn by_table(&self, table: &str) -> Option<Arc<Resource>> {
        self.0.entries.load().by_table.get(table).cloned()
    }

    /// A kind by group, version and plural, as in a request's path.
    pub fn by_path(&self, group: &str, version: &str, plural: &str) -> Option<Arc<Resource>> {
        self.find(|entry| {
            entry.plural == plural && entry.group == group && entry.version == version
        })
    }

    /// A kind by the `apiVersion` and `kind` of a manifest.
    ///
    /// # Errors
    /// `NotFound`, worded as kubectl words it, when there is no such kind.
    pub fn by_kind(&self, api_version: &str, kind: &str) -> Result<Arc<Resource>> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        self.find(|entry| entry.kind == kind && entry.group == group && entry.version == version)
            .ok_or_else(|| {
                let message = format!("no matches for kind {kind:?} in version {api_version:?}");
                ApiError::new(Reason::NotFound, message)
            })
    }

    /// A kind by any of the names that kubectl takes: plural, singular, short name or kind, each
    /// also with `.group` or `.version.group` behind it; upper and lower case are the same.
    ///
    /// # Errors
    /// `NotFound`, worded as kubectl words it, when there is no such kind.
    pub fn resolve(&self, text: &str) -> Result<Arc<Resource>> {
        let wanted = text.to_ascii_lowercase();
        let (name, group) = wanted.split_once('.').unwrap_or((&wanted, ""));
        let entries = self.0.entries.load();
        let qualified = |entry: &Resource| {
            group.is_empty()
                || entry.group == group
                || group
                    .split_once('.')
                    .map_or(entry.group.is_empty() && entry.version == group, |(version, rest)| {
                        entry.version == version && entry.group == rest
                    })
        };
        let names: [fn(&Resource, &str) -> bool; 3] = [
            |entry, name| entry.plural == name,
            |entry, name| entry.singular == name || entry.kind.eq_ignore_ascii_case(name),
            |entry, name| entry.short_names.iter().any(|short| short == name),
        ];
        names
            .iter()
            .find_map(|is| entries.all.iter().find(|entry| is(entry, name) && qualified(entry)))
            .cloned()
            .ok_or_else(|| no_match(text))
    }

    fn find(&self, is: impl Fn(&Resource) -> bool) -> Option<Arc<Resource>> {
        self.0.entries.load().all.iter().find(|entry| is(entry)).cloned()
    }
}

impl fmt::Debug for Catalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Catalog({} kinds)", self.0.entries.load().all.len())
    }
}

impl Entries {
    fn insert(&mut self, resource: Arc<Resource>) {
        self.generation += 1;
        if resource.is_stored() {
            self.by_table.insert(resource.table().clone(), resource.clone());
        }
        if !resource.is_served() {
            return;
        }
        self.by_name.entry(resource.name().clone()).or_insert_with(|| resource.clone());
        let same = |entry: &Arc<Resource>| {
            entry.name() == resource.name() && entry.version == resource.version
        };
        match self.all.iter().position(same) {
            Some(index) => {
                self.all[index] = resource.clone();
                let preferred = &self.by_name[resource.name()];
                if preferred.version == resource.version {
                    self.by_name.insert(resource.name().clone(), resource);
                }
            }
            None => self.all.push(resource),
        }
    }
}

fn no_match(text: &str) -> ApiError {
    ApiError::new(Reason::NotFound, format!("the server doesn't have a resource type {text:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_found_by_every_name_that_kubectl_takes() {
        let catalog = Catalog::builtin();
        for text in
            ["deploy", "deployment", "Deployment", "deployments.apps", "deployments.v1.apps"]
        {
            assert_eq!(&*catalog.resolve(text).unwrap().kind, "Deployment", "{text}");
        }
        assert_eq!(&*catalog.resolve("po").unwrap().kind, "Pod");
        let error = catalog.resolve("shps").unwrap_err();
        assert_eq!(error.message(), "the server doesn't have a resource type \"shps\"");
    }

    #[test]
    fn every_strategy_belongs_to_its_codec() {
        for resource in Catalog::builtin().all() {
            let value = serde_json::json!({
                "apiVersion": resource.api_version(), "kind": resource.kind, "metadata": {}
            });
            let draft = crate::Draft::from_value(resource.codec, value).unwrap();
            assert_eq!(draft.kind(), resource.kind);
            let stored = resource.to_stored(draft).unwrap();
            let holder = Catalog::builtin().by_table(resource.table()).unwrap();
            assert_eq!(stored.api_version(), holder.api_version(), "{resource:?}");
            assert_eq!(resource.draft_to_served(&stored).unwrap().kind(), resource.kind);
        }
    }
}
