use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use pinnace_api::Object;
use pinnace_client::Delta;

use super::Shared;
use super::item::{Item, waits_for_dependents, waits_for_orphans};

/// How long an owner waits before its dependents are let go: those that were made right before its
/// deletion must be in the index by then, or they would go with it.
const SETTLE: Duration = Duration::from_millis(10);

/// Who depends on whom.
#[derive(Debug, Default)]
pub(super) struct Graph {
    /// By the owner's uid: its dependents, and whether each blocks its deletion.
    dependents: HashMap<String, HashMap<Item, bool, ahash::RandomState>, ahash::RandomState>,
}

impl Graph {
    /// The objects that refer to an owner.
    pub(super) fn dependents(&self, uid: &str) -> Vec<Item> {
        let dependents = self.dependents.get(uid);
        dependents.map(|all| all.keys().cloned().collect()).unwrap_or_default()
    }

    /// Those of them that block its deletion.
    pub(super) fn blocking(&self, uid: &str) -> Vec<Item> {
        let dependents = self.dependents.get(uid).into_iter().flatten();
        dependents.filter(|(_, blocks)| **blocks).map(|(item, _)| item.clone()).collect()
    }

    fn change(&mut self, item: &Item, old: &[OwnerReference], new: &[OwnerReference]) {
        for gone in old.iter().filter(|gone| !new.iter().any(|one| one.uid == gone.uid)) {
            if let Some(dependents) = self.dependents.get_mut(&gone.uid) {
                dependents.remove(item);
                if dependents.is_empty() {
                    self.dependents.remove(&gone.uid);
                }
            }
        }
        for owner in new {
            let dependents = match self.dependents.get_mut(&owner.uid) {
                Some(dependents) => dependents,
                None => self.dependents.entry(owner.uid.clone()).or_default(),
            };
            dependents.insert(item.clone(), blocks(owner));
        }
    }
}

fn blocks(owner: &OwnerReference) -> bool {
    owner.block_owner_deletion == Some(true)
}

fn owners(object: Option<&Object>) -> &[OwnerReference] {
    object.and_then(|object| object.meta().owner_references.as_deref()).unwrap_or_default()
}

impl Shared {
    /// Takes a change into the index and enqueues what it concerns. Most changes are of status and
    /// concern nothing.
    pub(super) fn observe(&self, kind: &Arc<str>, delta: &Delta) {
        match (&delta.old, &delta.new) {
            (Some(old), Some(new)) if old.uid() != new.uid() => {
                self.change(kind, Some(old), None);
                self.change(kind, None, Some(new));
            }
            (old, new) => self.change(kind, old.as_ref(), new.as_ref()),
        }
    }

    fn change(&self, kind: &Arc<str>, old: Option<&Object>, new: Option<&Object>) {
        let (before, after) = (owners(old), owners(new));
        let begins = |waits: fn(&Object) -> bool| new.is_some_and(waits) && !old.is_some_and(waits);
        let to_delete = begins(waits_for_dependents);
        let to_orphan = begins(waits_for_orphans);
        if new.is_some() && before == after && !to_delete && !to_orphan {
            return;
        }
        let Some(object) = new.or(old) else { return };
        let item = Item::new(kind, object);
        let dependents = {
            let mut graph = self.graph.lock();
            graph.change(&item, before, after);
            if new.is_none() || to_delete { graph.dependents(object.uid()) } else { Vec::new() }
        };
        if new.is_none() && !dependents.is_empty() {
            self.absent.lock().ended(object.uid());
        }
        for dependent in dependents {
            self.queue.add(dependent);
        }
        if to_delete {
            self.queue.add(item.clone());
        } else if to_orphan {
            self.queue.add_after(item.clone(), SETTLE);
        }
        for owner in before {
            let still = after.iter().find(|one| one.uid == owner.uid);
            let unblocked = blocks(owner) && !still.is_some_and(blocks);
            // An owner may wait for the last of its dependents to cease blocking.
            if unblocked
                && let Some(waiting) = self.cached_owner(owner, object.namespace())
                && waits_for_dependents(&waiting.1)
            {
                self.queue.add(waiting.0);
            }
        }
        let new_owners = after.iter().filter(|owner| !before.contains(owner));
        // The index has the dependent before the owner is looked for here, and an owner leaves its
        // cache before its dependents are looked up above: one of the two sees the other.
        let suspicious = |owner: &OwnerReference| match self.cached_owner(owner, object.namespace())
        {
            None => true,
            Some((_, owner)) => waits_for_dependents(&owner),
        };
        if new_owners.into_iter().any(suspicious) {
            self.queue.add(item);
        }
    }

    /// The owner that a reference names, if a cache has it.
    fn cached_owner(&self, owner: &OwnerReference, namespace: &str) -> Option<(Item, Object)> {
        let kind = self.catalog().by_kind(&owner.api_version, &owner.kind).ok()?;
        let key = super::owners::owner_key(&kind, owner, namespace);
        let object = self.informer(kind.name())?.get(&key)?;
        (object.uid() == owner.uid).then(|| (Item { kind: kind.name().clone(), key }, object))
    }
}
