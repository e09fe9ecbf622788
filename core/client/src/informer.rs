use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::marker::PhantomData;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use parking_lot::{Mutex, RwLock};
use pinnace_api::{Key, Kind, Object, Resource, Result, Typed};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::{Client, DynamicApi, ListOptions, WatchEvent};

/// How long an informer waits after its list or watch has failed: at first, and at most.
const RETRY_FIRST: Duration = Duration::from_millis(10);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// The informers of one program: at most one per kind, started when first asked for.
///
/// Cheap to clone; clones share. Dropping the last one does not stop the informers:
/// [`Informers::shutdown`] does.
#[derive(Clone)]
pub struct Informers(Arc<Shared>);

struct Shared {
    client: Client,
    /// By name and version.
    by_resource: Mutex<HashMap<(Arc<str>, String), Informer>>,
    /// Of which objects of a kind, by its name, there are to be caches; all where nothing is said.
    selections: Mutex<HashMap<Arc<str>, ListOptions>>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Informers {
    /// Informers that read through `client`.
    pub fn new(client: Client) -> Self {
        Self(Arc::new(Shared {
            client,
            by_resource: Mutex::default(),
            selections: Mutex::default(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }))
    }

    /// The client they read through.
    pub fn client(&self) -> &Client {
        &self.0.client
    }

    /// The cache of a built-in kind, typed.
    ///
    /// # Errors
    /// `NotFound` when the API does not serve the kind.
    pub fn of<K: Kind + k8s_openapi::Resource>(&self) -> Result<Lister<K>> {
        let resource = self.0.client.catalog().of::<K>()?;
        Ok(Lister { informer: self.resource(resource), kind: PhantomData })
    }

    /// Has the cache of a built-in kind hold only what this selects: a node agent that may not read
    /// everything, or need not. It counts for a cache that nobody has asked for yet.
    ///
    /// # Errors
    /// `NotFound` when the API does not serve the kind.
    pub fn select<K: Kind + k8s_openapi::Resource>(&self, selection: ListOptions) -> Result<()> {
        let resource = self.0.client.catalog().of::<K>()?;
        self.0.selections.lock().insert(resource.name().clone(), selection);
        Ok(())
    }

    /// The cache of a kind of the catalog.
    pub fn resource(&self, resource: Arc<Resource>) -> Informer {
        let mut by_resource = self.0.by_resource.lock();
        by_resource
            .entry((resource.name().clone(), resource.version.to_string()))
            .or_insert_with(|| {
                let informer = Informer::new(resource.clone());
                let selection = self.0.selections.lock().get(resource.name()).cloned();
                let selection = selection.unwrap_or_default();
                let api = self.0.client.resource(resource);
                let stop = self.0.stop.clone();
                let run = informer.clone();
                self.0.tasks.spawn(async move {
                    stop.run_until_cancelled(run.run(api, selection)).await;
                });
                informer
            })
            .clone()
    }

    /// The kinds whose first list has not been read yet, but for those of other servers, which
    /// may not be there.
    pub fn unsynced(&self) -> Vec<Arc<str>> {
        let all = self.0.by_resource.lock();
        let waiting = all
            .values()
            .filter(|informer| !informer.has_synced() && !informer.resource().is_elsewhere());
        waiting.map(|informer| informer.resource().name().clone()).collect()
    }

    /// Stops all informers and waits until they have.
    pub async fn shutdown(&self) {
        self.0.stop.cancel();
        self.0.tasks.close();
        self.0.tasks.wait().await;
        // Handlers hold their controllers, and controllers hold listers: cut the circle.
        for informer in self.0.by_resource.lock().values() {
            informer.0.handlers.write().clear();
        }
    }
}

impl fmt::Debug for Informers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Informers")
    }
}

/// What changed about one object: from nothing to something, from one version to another, or from
/// something to nothing.
#[derive(Clone, Debug)]
pub struct Delta {
    /// What was known before.
    pub old: Option<Object>,
    /// What is known now.
    pub new: Option<Object>,
}

impl Delta {
    /// The newest that is known of the object.
    pub fn object(&self) -> Option<&Object> {
        self.new.as_ref().or(self.old.as_ref())
    }
}

type Handler = Box<dyn Fn(&Delta) + Send + Sync>;
type IndexFn = fn(&Object) -> Vec<String>;

/// A kind as a cache that a watch keeps up to date, with indexes. Cheap to clone; clones share.
#[derive(Clone)]
pub struct Informer(Arc<Inner>);

struct Inner {
    resource: Arc<Resource>,
    state: RwLock<State>,
    /// Held for reading while a change is stored and told, so that a handler that joins sees
    /// every object exactly once.
    handlers: RwLock<Vec<Handler>>,
    /// How far the cache is; 0 until the first list.
    revision: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<Key, Object>,
    indexes: HashMap<&'static str, Index>,
}

struct Index {
    values_of: IndexFn,
    objects: HashMap<String, BTreeMap<Key, Object>, ahash::RandomState>,
}

impl Informer {
    fn new(resource: Arc<Resource>) -> Self {
        Self(Arc::new(Inner {
            resource,
            state: RwLock::default(),
            handlers: RwLock::default(),
            revision: watch::Sender::new(0),
        }))
    }

    /// The kind.
    pub fn resource(&self) -> &Arc<Resource> {
        &self.0.resource
    }

    /// Adds an index: `values_of` says under which values an object is found. Adding one of the
    /// same name again changes nothing.
    pub fn index(&self, name: &'static str, values_of: IndexFn) {
        let state = &mut *self.0.state.write();
        state.indexes.entry(name).or_insert_with(|| {
            let mut index = Index { values_of, objects: HashMap::default() };
            for (key, object) in &state.objects {
                index.add(key, object);
            }
            index
        });
    }

    /// Has `handler` called for every change, in order, and first for everything that is there.
    /// It runs on the informer's task and must not block: it only notes what to do.
    pub fn on_change(&self, handler: impl Fn(&Delta) + Send + Sync + 'static) {
        let mut handlers = self.0.handlers.write();
        for object in self.list(None) {
            handler(&Delta { old: None, new: Some(object) });
        }
        handlers.push(Box::new(handler));
    }

    /// An object as the cache knows it.
    pub fn get(&self, key: &Key) -> Option<Object> {
        self.0.state.read().objects.get(key).cloned()
    }

    /// All objects, or those of one namespace, in order.
    pub fn list(&self, namespace: Option<&str>) -> Vec<Object> {
        let state = self.0.state.read();
        match namespace {
            None => state.objects.values().cloned().collect(),
            Some(namespace) => state
                .objects
                .range((Bound::Included(Key::new(namespace, "")), Bound::Unbounded))
                .take_while(|(key, _)| key.namespace() == namespace)
                .map(|(_, object)| object.clone())
                .collect(),
        }
    }

    /// The objects that an index has under a value, in order; none for an unknown index.
    pub fn by_index(&self, index: &str, value: &str) -> Vec<Object> {
        let state = self.0.state.read();
        let found = state.indexes.get(index).and_then(|index| index.objects.get(value));
        found.map(|objects| objects.values().cloned().collect()).unwrap_or_default()
    }

    /// How many objects an index has under a value.
    pub fn count_by_index(&self, index: &str, value: &str) -> usize {
        let state = self.0.state.read();
        let found = state.indexes.get(index).and_then(|index| index.objects.get(value));
        found.map_or(0, BTreeMap::len)
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.0.state.read().objects.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the first list has been read.
    pub fn has_synced(&self) -> bool {
        *self.0.revision.borrow() >= 1
    }

    /// Waits until the first list has been read.
    pub async fn synced(&self) {
        self.caught_up(1).await;
    }

    /// Waits until the cache has seen `revision` of an object of its kind: what a controller does
    /// before it counts what it has just made.
    pub async fn caught_up(&self, revision: u64) {
        // The sender lives in `self`, so the channel cannot close under the wait.
        let _ = self.0.revision.subscribe().wait_for(|seen| *seen >= revision).await;
    }

    async fn run(self, api: DynamicApi, selection: ListOptions) {
        let mut retry = RETRY_FIRST;
        loop {
            match self.follow(&api, &selection).await {
                Ok(()) => retry = RETRY_FIRST,
                Err(error) if error.is_expired() => retry = RETRY_FIRST,
                Err(error) => {
                    tracing::warn!(resource = %self.0.resource.name(), %error, "watch failed");
                    tokio::time::sleep(retry).await;
                    retry = (retry * 2).min(RETRY_MAX);
                }
            }
        }
    }

    async fn follow(&self, api: &DynamicApi, selection: &ListOptions) -> Result<()> {
        let list = api.list(None, selection.clone()).await?;
        self.replace(list.items, list.revision);
        let options = ListOptions { bookmarks: true, ..selection.clone() };
        let mut events = api.watch(None, options.after(list.revision)).await?;
        while let Some(event) = events.next().await {
            match event? {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                    let revision = object.revision();
                    self.store(object.key(), Some(object), revision);
                }
                WatchEvent::Deleted(object) => {
                    self.store(object.key(), None, object.revision());
                }
                WatchEvent::Bookmark(revision, _) => self.seen(revision),
            }
        }
        Ok(())
    }

    fn replace(&self, items: Vec<Object>, revision: u64) {
        let new: BTreeMap<Key, Object> =
            items.into_iter().map(|object| (object.key(), object)).collect();
        let gone: Vec<Key> = {
            let state = self.0.state.read();
            state.objects.keys().filter(|key| !new.contains_key(key)).cloned().collect()
        };
        for key in gone {
            self.store(key, None, 0);
        }
        for (key, object) in new {
            let known = self.get(&key).is_some_and(|old| {
                old.revision() == object.revision() && old.uid() == object.uid()
            });
            if !known {
                self.store(key, Some(object), 0);
            }
        }
        self.seen(revision.max(1));
    }

    fn store(&self, key: Key, new: Option<Object>, revision: u64) {
        let handlers = self.0.handlers.read();
        let old = self.0.state.write().store(key, new.clone());
        let delta = Delta { old, new };
        for handler in handlers.iter() {
            handler(&delta);
        }
        drop(handlers);
        self.seen(revision);
    }

    fn seen(&self, revision: u64) {
        self.0.revision.send_if_modified(|seen| {
            let newer = revision > *seen;
            *seen = revision.max(*seen);
            newer
        });
    }
}

impl fmt::Debug for Informer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Informer({})", self.0.resource.name())
    }
}

impl State {
    fn store(&mut self, key: Key, new: Option<Object>) -> Option<Object> {
        let old = match &new {
            Some(new) => self.objects.insert(key.clone(), new.clone()),
            None => self.objects.remove(&key),
        };
        for index in self.indexes.values_mut() {
            index.change(&key, old.as_ref(), new.as_ref());
        }
        old
    }
}

impl Index {
    fn add(&mut self, key: &Key, object: &Object) {
        for value in (self.values_of)(object) {
            self.objects.entry(value).or_default().insert(key.clone(), object.clone());
        }
    }

    /// Most changes of an object leave it where it is, so only values that go are taken out.
    fn change(&mut self, key: &Key, old: Option<&Object>, new: Option<&Object>) {
        let before = old.map(self.values_of).unwrap_or_default();
        let after = new.map(self.values_of).unwrap_or_default();
        for value in before.iter().filter(|value| !after.contains(value)) {
            if let Some(objects) = self.objects.get_mut(value) {
                objects.remove(key);
                if objects.is_empty() {
                    self.objects.remove(value);
                }
            }
        }
        let Some(new) = new else { return };
        for value in after {
            match self.objects.get_mut(&value).and_then(|objects| objects.get_mut(key)) {
                Some(object) => *object = new.clone(),
                None => {
                    self.objects.entry(value).or_default().insert(key.clone(), new.clone());
                }
            }
        }
    }
}

/// An [`Informer`] of a built-in kind, typed.
pub struct Lister<K> {
    informer: Informer,
    kind: PhantomData<fn() -> K>,
}

impl<K> Clone for Lister<K> {
    fn clone(&self) -> Self {
        Self { informer: self.informer.clone(), kind: PhantomData }
    }
}

impl<K> fmt::Debug for Lister<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.informer, f)
    }
}

/// The index that [`Lister::owned_by`] reads.
const BY_CONTROLLER: &str = "controller";

impl<K: Kind> Lister<K> {
    /// The cache itself.
    pub fn informer(&self) -> &Informer {
        &self.informer
    }

    /// See [`Informer::get`].
    pub fn get(&self, key: &Key) -> Option<Typed<K>> {
        self.informer.get(key)?.typed().ok()
    }

    /// See [`Informer::list`].
    pub fn list(&self, namespace: Option<&str>) -> Vec<Typed<K>> {
        typed(self.informer.list(namespace))
    }

    /// See [`Informer::by_index`].
    pub fn by_index(&self, index: &str, value: &str) -> Vec<Typed<K>> {
        typed(self.informer.by_index(index, value))
    }

    /// Makes [`Lister::owned_by`] work.
    pub fn index_by_controller(self) -> Self {
        self.informer.index(BY_CONTROLLER, |object| {
            object.controller().map(|owner| owner.uid.clone()).into_iter().collect()
        });
        self
    }

    /// The objects whose controller has this uid. Needs [`Lister::index_by_controller`].
    pub fn owned_by(&self, uid: &str) -> Vec<Typed<K>> {
        self.by_index(BY_CONTROLLER, uid)
    }

    /// How many [`Lister::owned_by`] gives.
    pub fn count_owned_by(&self, uid: &str) -> usize {
        self.informer.count_by_index(BY_CONTROLLER, uid)
    }
}

fn typed<K: Kind>(objects: Vec<Object>) -> Vec<Typed<K>> {
    objects.iter().filter_map(|object| object.typed().ok()).collect()
}
