//! Who is to look again when something changes that pods refer to.

use std::collections::{HashMap, HashSet};
use std::mem::{Discriminant, discriminant};
use std::sync::{Arc, Weak};
use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Secret};
use k8s_openapi::api::storage::v1::VolumeAttachment;
use parking_lot::Mutex;
use pinnace_api::{ApiError, Key, Object};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::agent::Shared;
use crate::config::Sight;
use crate::slot::Slot;
use crate::sources::Reference;

/// How long it is waited after a watch has failed: at first, and at most.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// A reference with the namespace that it is in; empty where there is none.
type Place = (Arc<str>, Reference);

/// Which pods refer to what.
pub(crate) struct References {
    sight: Sight,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// Which pods refer to what.
    users: HashMap<Place, Users>,
    /// The other way round.
    of: HashMap<Arc<str>, Vec<Place>>,
    /// The kinds of references whose caches are listened to.
    watched: HashSet<Discriminant<Reference>>,
}

#[derive(Default)]
struct Users {
    uids: HashSet<Arc<str>>,
    /// Ends the watch of this one object, where there is one.
    _watch: Option<DropGuard>,
}

impl References {
    pub(crate) fn new(sight: Sight) -> Self {
        Self { sight, known: Mutex::default() }
    }

    fn users(&self, place: &Place) -> Vec<Arc<str>> {
        let known = self.known.lock();
        known.users.get(place).iter().flat_map(|users| users.uids.iter().cloned()).collect()
    }
}

impl Shared {
    /// Has a pod looked at when anything changes that it refers to.
    pub(crate) fn watch_references(self: &Arc<Self>, slot: &Slot, references: Vec<Reference>) {
        self.watch_also(&slot.uid, slot.key.namespace(), references);
    }

    /// As [`Shared::watch_references`], for what shows only later that it is referred to.
    pub(crate) fn watch_also(
        self: &Arc<Self>,
        uid: &str,
        namespace: &str,
        references: Vec<Reference>,
    ) {
        if references.is_empty() {
            return;
        }
        let related = self.references.sight == Sight::Related;
        let mut new = Vec::new();
        {
            let known = &mut *self.references.known.lock();
            let (uid, namespace): (Arc<str>, Arc<str>) = (uid.into(), namespace.into());
            for reference in references {
                if !related && known.watched.insert(discriminant(&reference)) {
                    new.push(reference.clone());
                }
                let place = (namespace.clone(), reference);
                let users = known.users.entry(place.clone()).or_insert_with(|| Users {
                    uids: HashSet::new(),
                    _watch: related.then(|| self.watch_place(&place)).flatten(),
                });
                if users.uids.insert(uid.clone()) {
                    known.of.entry(uid.clone()).or_default().push(place);
                }
            }
        }
        for reference in new {
            match reference {
                Reference::ConfigMap(_) => self.watch_all::<ConfigMap>(Reference::ConfigMap),
                Reference::Secret(_) => self.watch_all::<Secret>(Reference::Secret),
                Reference::Claim(_) => self.watch_all::<PersistentVolumeClaim>(Reference::Claim),
                Reference::Attachment(_) => {
                    self.watch_all::<VolumeAttachment>(Reference::Attachment);
                }
            }
        }
    }

    /// Undoes [`Shared::watch_references`].
    pub(crate) fn unwatch_references(&self, slot: &Slot) {
        let known = &mut *self.references.known.lock();
        for place in known.of.remove(&slot.uid).into_iter().flatten() {
            if let Some(users) = known.users.get_mut(&place) {
                users.uids.remove(&slot.uid);
                if users.uids.is_empty() {
                    known.users.remove(&place);
                }
            }
        }
    }

    fn watch_all<K>(self: &Arc<Self>, reference: fn(String) -> Reference)
    where
        K: pinnace_api::Kind + k8s_openapi::Resource,
    {
        let Ok(lister) = self.informers.of::<K>() else { return };
        let weak = Arc::downgrade(self);
        lister.informer().on_change(move |delta| {
            if let (Some(shared), Some(object)) = (weak.upgrade(), delta.object()) {
                let name = reference(object.name().to_owned());
                shared.reference_changed(&(object.namespace().into(), name));
            }
        });
    }

    fn reference_changed(self: &Arc<Self>, place: &Place) {
        let content = matches!(place.1, Reference::ConfigMap(_) | Reference::Secret(_));
        for uid in self.references.users(place) {
            self.signal(&uid, |signals| match content {
                true => signals.references = true,
                false => signals.claims = true,
            });
        }
    }

    /// Watches one object until the guard is dropped. Nodes may not watch claims and attachments, as
    /// upstream: what waits for one looks again by itself.
    fn watch_place(self: &Arc<Self>, place: &Place) -> Option<DropGuard> {
        if matches!(place.1, Reference::Claim(_) | Reference::Attachment(_)) {
            return None;
        }
        let place = place.clone();
        let unwanted = CancellationToken::new();
        let guard = unwanted.clone().drop_guard();
        let (weak, stop) = (Arc::downgrade(self), self.stop.clone());
        self.tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = unwanted.cancelled() => {}
                () = follow(&weak, &place) => {}
            }
        });
        Some(guard)
    }
}

/// Tells of every change of an object, for as long as there is an agent.
async fn follow(shared: &Weak<Shared>, place: &Place) {
    let mut retry = RETRY_FIRST;
    // What the pods have seen of it was read before this began, and may be older.
    let mut seen = None;
    loop {
        let Some(client) = shared.upgrade().map(|shared| shared.client.clone()) else { return };
        let (api, name) = match &place.1 {
            Reference::ConfigMap(name) => {
                (client.of::<ConfigMap>().map(|api| api.dynamic().clone()), name)
            }
            Reference::Secret(name) => {
                (client.of::<Secret>().map(|api| api.dynamic().clone()), name)
            }
            Reference::Claim(_) | Reference::Attachment(_) => return,
        };
        let look = |object: Option<&Object>| {
            retry = RETRY_FIRST;
            let revision = object.map_or(0, Object::revision);
            if seen.replace(revision) != Some(revision) {
                let Some(shared) = shared.upgrade() else { return Ok(Some(())) };
                shared.reference_changed(place);
            }
            Ok::<_, ApiError>(None)
        };
        let followed = match api {
            Ok(api) => api.follow(&Key::new(&*place.0, name.as_str()), look).await,
            Err(error) => Err(error),
        };
        let Err(error) = followed else { return };
        tracing::debug!(namespace = &*place.0, reference = ?place.1, %error, "watch failed");
        tokio::time::sleep(retry).await;
        retry = (retry * 2).min(RETRY_MAX);
    }
}
