use std::collections::HashSet;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use pinnace_api::{Key, Object, Resource, Result};
use pinnace_client::EventType;

use super::item::{Item, waits_for_dependents};
use super::{Shared, takes_part};

/// How many absent owners are remembered; the memory starts anew beyond that. An uid that is gone
/// never comes back.
const REMEMBERED: usize = 4096;

/// How long a dependent waits for its owner's kind to be watched before it is looked at again.
const UNTIL_JOINED: Duration = Duration::from_secs(1);

/// Owners that are known not to be.
#[derive(Debug, Default)]
pub(super) struct Absent {
    /// Those that were looked for: by uid, kind, name and the dependent's namespace.
    missed: HashSet<[String; 4], ahash::RandomState>,
    /// Those that were seen to go: by uid.
    ended: HashSet<String, ahash::RandomState>,
}

impl Absent {
    fn name(owner: &OwnerReference, namespace: &str) -> [String; 4] {
        let kind = format!("{} {}", owner.api_version, owner.kind);
        [owner.uid.clone(), kind, owner.name.clone(), namespace.to_owned()]
    }

    /// Notes that an object with this uid has gone.
    pub(super) fn ended(&mut self, uid: &str) {
        remember(&mut self.ended, uid.to_owned());
    }
}

fn remember<T: Eq + Hash>(all: &mut HashSet<T, ahash::RandomState>, one: T) {
    if all.len() >= REMEMBERED {
        all.clear();
    }
    all.insert(one);
}

/// The uids that an object's references name.
#[derive(Debug, Default)]
pub(super) struct Owners {
    /// Owners that are there.
    pub(super) solid: Vec<String>,
    /// Owners that are not.
    pub(super) dangling: Vec<String>,
    /// Owners that wait for their dependents to go.
    pub(super) waiting: Vec<String>,
}

/// Where the owner of an object in `namespace` is, or would be.
pub(super) fn owner_key(kind: &Resource, owner: &OwnerReference, namespace: &str) -> Key {
    let namespace = if kind.is_namespaced() { namespace } else { "" };
    Key::new(namespace, owner.name.as_str())
}

impl Shared {
    /// Looks the owners of an object up; `None` when they can never be resolved.
    pub(super) async fn owners_of(&self, item: &Item, object: &Object) -> Result<Option<Owners>> {
        let mut owners = Owners::default();
        for owner in object.meta().owner_references.iter().flatten() {
            let kind = self.catalog().by_kind(&owner.api_version, &owner.kind);
            let kind = kind.inspect_err(|_| self.rescan.notify_one())?;
            if kind.is_namespaced() && object.namespace().is_empty() {
                self.report_namespace(object, owner);
                return Ok(None);
            }
            if takes_part(&kind) && self.informer(kind.name()).is_none() {
                // Until the kind is watched nobody tells of the owner's end.
                self.rescan.notify_one();
                self.queue.add_after(item.clone(), UNTIL_JOINED);
            }
            let uid = owner.uid.clone();
            match self.owner(&kind, owner, object).await? {
                None => owners.dangling.push(uid),
                Some(found) if waits_for_dependents(&found) => owners.waiting.push(uid),
                Some(_) => owners.solid.push(uid),
            }
        }
        Ok(Some(owners))
    }

    async fn owner(
        &self,
        kind: &Arc<Resource>,
        owner: &OwnerReference,
        object: &Object,
    ) -> Result<Option<Object>> {
        let absent = Absent::name(owner, object.namespace());
        if self.absent.lock().missed.contains(&absent) {
            return Ok(None);
        }
        let api = self.informers.client().resource(kind.clone());
        let found = api.find(&owner_key(kind, owner, object.namespace())).await?;
        let found = found.filter(|found| found.uid() == owner.uid);
        if found.is_none() {
            // What was seen to go is nowhere else; the walk over the kind is for the odd one.
            let elsewhere = kind.is_namespaced()
                && !self.absent.lock().ended.contains(&owner.uid)
                && self.informer(kind.name()).is_some_and(|informer| {
                    informer.list(None).iter().any(|other| {
                        other.uid() == owner.uid && other.namespace() != object.namespace()
                    })
                });
            if elsewhere {
                self.report_namespace(object, owner);
            }
            remember(&mut self.absent.lock().missed, absent);
        }
        Ok(found)
    }

    fn report_namespace(&self, object: &Object, owner: &OwnerReference) {
        let namespace = object.namespace();
        let OwnerReference { api_version, kind, name, uid, .. } = owner;
        let message = format!(
            "ownerRef [{api_version}/{kind}, namespace: {namespace}, name: {name}, uid: {uid}] \
             does not exist in namespace {namespace:?}"
        );
        self.recorder.record(object, EventType::Warning, "OwnerRefInvalidNamespace", message);
    }
}
