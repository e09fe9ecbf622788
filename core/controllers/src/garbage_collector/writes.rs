use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use pinnace_api::{ApiError, Object, Result};
use pinnace_client::{DeleteOptions, DynamicApi, Preconditions, PropagationPolicy, WriteOptions};

use super::item::{FOREGROUND, Item, ORPHAN, has, waits_for_dependents, waits_for_orphans};
use super::owners::Owners;
use super::{Shared, YIELD_EVERY};

impl Shared {
    /// Looks at one object, live, and does what its owners or its own deletion ask for.
    pub(super) async fn look_at(&self, item: &Item) -> Result<()> {
        let Some(api) = self.api(item) else { return Ok(()) };
        let Some(object) = api.find(&item.key).await? else { return Ok(()) };
        if waits_for_dependents(&object) {
            return self.delete_dependents(item, &object).await;
        }
        if waits_for_orphans(&object) {
            return self.orphan_dependents(item, &object).await;
        }
        if object.is_deleting() || object.meta().owner_references.is_none() {
            return Ok(());
        }
        let Some(owners) = self.owners_of(item, &object).await? else { return Ok(()) };
        let Owners { solid, dangling, waiting } = &owners;
        if !solid.is_empty() {
            if dangling.is_empty() && waiting.is_empty() {
                return Ok(());
            }
            // An owner that waits for its dependents waits for this one no longer.
            return self
                .edit(item, |meta| {
                    remove_owners(meta, |uid| dangling.contains(uid) || waiting.contains(uid))
                })
                .await;
        }
        if dangling.is_empty() && waiting.is_empty() {
            return Ok(());
        }
        let dependents = self.graph.lock().dependents(object.uid());
        if waiting.is_empty() || dependents.is_empty() {
            let policy = match () {
                () if has(&object, ORPHAN) => PropagationPolicy::Orphan,
                () if has(&object, FOREGROUND) => PropagationPolicy::Foreground,
                () => PropagationPolicy::Background,
            };
            return delete(&api, &object, policy).await;
        }
        // A circle: the dependent would wait for its owner, and the owner for it.
        if dependents.iter().any(|dependent| self.cached_waits(dependent)) {
            self.edit(item, unblock_owners).await?;
            // The deletion below must name the version that the edit has made.
            let Some(edited) = api.find(&item.key).await? else { return Ok(()) };
            return delete(&api, &edited, PropagationPolicy::Foreground).await;
        }
        delete(&api, &object, PropagationPolicy::Foreground).await
    }

    /// The next step of an object that waits for its dependents.
    async fn delete_dependents(&self, item: &Item, object: &Object) -> Result<()> {
        // An object elsewhere may name this one, but does not depend on it.
        let namespace = object.namespace();
        let is_near =
            |dependent: &Item| namespace.is_empty() || dependent.key.namespace() == namespace;
        let mut blocking = self.graph.lock().blocking(object.uid());
        blocking.retain(is_near);
        if blocking.is_empty() {
            return self.edit(item, |meta| remove_finalizer(meta, FOREGROUND)).await;
        }
        for dependent in blocking {
            if !self.cached_waits(&dependent) {
                self.queue.add(dependent);
            }
        }
        Ok(())
    }

    /// Lets the dependents of an object go free, then the object.
    async fn orphan_dependents(&self, item: &Item, object: &Object) -> Result<()> {
        let dependents = self.graph.lock().dependents(object.uid());
        for (count, dependent) in dependents.iter().enumerate() {
            self.edit(dependent, |meta| remove_owners(meta, |uid| uid == object.uid())).await?;
            if count % YIELD_EVERY == YIELD_EVERY - 1 {
                tokio::task::yield_now().await;
            }
        }
        self.edit(item, |meta| remove_finalizer(meta, ORPHAN)).await
    }

    fn cached_waits(&self, item: &Item) -> bool {
        let cached = self.informer(&item.kind).and_then(|informer| informer.get(&item.key));
        cached.is_some_and(|object| waits_for_dependents(&object))
    }

    fn api(&self, item: &Item) -> Option<DynamicApi> {
        let kind = self.catalog().by_name(&item.kind)?;
        Some(self.informers.client().resource(kind))
    }

    /// Changes the metadata of an object as it is now; an object that is gone needs no change. A
    /// conflict brings the item back.
    async fn edit(&self, item: &Item, change: impl FnOnce(&mut ObjectMeta) -> bool) -> Result<()> {
        let Some(api) = self.api(item) else { return Ok(()) };
        let Some(object) = api.find(&item.key).await? else { return Ok(()) };
        let mut draft = object.draft()?;
        if !change(draft.meta_mut()) {
            return Ok(());
        }
        gone_is_fine(api.update(draft, WriteOptions::default()).await)
    }
}

/// Deletes an object if it is still what was looked at.
async fn delete(api: &DynamicApi, object: &Object, policy: PropagationPolicy) -> Result<()> {
    let options = DeleteOptions {
        propagation: Some(policy),
        preconditions: Some(Preconditions {
            uid: object.meta().uid.clone(),
            resource_version: object.meta().resource_version.clone(),
        }),
        ..DeleteOptions::default()
    };
    gone_is_fine(api.delete(&object.key(), options).await)
}

fn gone_is_fine(result: Result<Object, ApiError>) -> Result<()> {
    match result {
        Err(error) if !error.is_not_found() => Err(error),
        _ => Ok(()),
    }
}

fn remove_owners(meta: &mut ObjectMeta, is_unwanted: impl Fn(&String) -> bool) -> bool {
    let Some(owners) = &mut meta.owner_references else { return false };
    let before = owners.len();
    owners.retain(|owner| !is_unwanted(&owner.uid));
    let changed = owners.len() != before;
    if owners.is_empty() {
        meta.owner_references = None;
    }
    changed
}

fn unblock_owners(meta: &mut ObjectMeta) -> bool {
    let mut changed = false;
    for owner in meta.owner_references.iter_mut().flatten() {
        changed |= owner.block_owner_deletion == Some(true);
        owner.block_owner_deletion = Some(false);
    }
    changed
}

fn remove_finalizer(meta: &mut ObjectMeta, name: &str) -> bool {
    let Some(finalizers) = &mut meta.finalizers else { return false };
    let before = finalizers.len();
    finalizers.retain(|finalizer| finalizer != name);
    let changed = finalizers.len() != before;
    if finalizers.is_empty() {
        meta.finalizers = None;
    }
    changed
}
