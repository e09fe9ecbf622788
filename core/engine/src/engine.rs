use std::fmt;
use std::sync::Arc;

use pinnace_api::{Draft, Key, Object, Resource};
use pinnace_client::{
    Client, DeleteOptions, Informers, List, ListOptions, Recorder, WatchStream, WriteOptions,
};
use pinnace_env::Env;
use pinnace_reconcile::{Controller, Reconciler};
use pinnace_server::User;

use crate::reference::Reference;
use crate::startup::Parts;
use crate::{EngineBuilder, Error, Patch, Result, Runtime};

/// The namespace that a handle uses unless it is told another.
const DEFAULT_NAMESPACE: &str = "default";
/// The group of everybody who is known.
const AUTHENTICATED: &str = "system:authenticated";

/// A cluster in this process.
///
/// A cheap handle: clones share the engine, and any thread may use them. Objects are named as
/// kubectl names them (`deployments/web`, `deploy/web`, `nodes/n1`), in the handle's namespace,
/// which is `default` unless [`Engine::in_namespace`] has chosen another.
///
/// [`Engine::shutdown`] ends it in order and waits for everything; dropping the last handle does
/// the same as far as a destructor can.
#[derive(Clone)]
pub struct Engine {
    parts: Arc<Parts>,
    namespace: Arc<str>,
}

impl Engine {
    /// An engine to be configured.
    pub fn builder() -> EngineBuilder {
        EngineBuilder::new()
    }

    pub(crate) fn new(parts: Parts) -> Self {
        Self { parts: Arc::new(parts), namespace: DEFAULT_NAMESPACE.into() }
    }

    pub(crate) fn parts(&self) -> &Parts {
        &self.parts
    }

    /// The same engine with another default namespace.
    pub fn in_namespace(&self, namespace: &str) -> Self {
        Self { parts: self.parts.clone(), namespace: namespace.into() }
    }

    /// The namespace of this handle.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// A client that may do everything.
    pub fn client(&self) -> &Client {
        &self.parts.client
    }

    /// A client that acts as a user: it may do what roles and bindings allow that user and these
    /// groups, and what they allow everybody who is known.
    pub fn as_user(&self, name: &str, groups: impl IntoIterator<Item = String>) -> Client {
        let groups = groups.into_iter().chain([AUTHENTICATED.to_owned()]);
        self.parts.server.client(User::new(name, groups))
    }

    /// The caches that the engine's own controllers read from, to share.
    pub fn informers(&self) -> &Informers {
        &self.parts.informers
    }

    /// Records Events.
    pub fn recorder(&self) -> &Recorder {
        &self.parts.recorder
    }

    /// Time and chance of this engine.
    pub fn env(&self) -> &Env {
        &self.parts.env
    }

    /// Which runtime runs the containers, and why that one was taken.
    pub fn runtime(&self) -> &crate::builder::Discovered {
        &self.parts.runtime
    }

    /// Whether the engine has not been shut down.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub(crate) fn check_open(&self) -> Result<()> {
        if self.parts.is_ended() { Err(Error::Closed) } else { Ok(()) }
    }

    pub(crate) fn reference(&self, object: &str) -> Result<Reference> {
        self.check_open()?;
        Reference::parse(self.client().catalog(), object, &self.namespace)
    }

    /// Reads an object.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn get(&self, object: &str) -> Result<Object> {
        let Reference { resource, key } = self.reference(object)?;
        Ok(self.client().resource(resource).get(&key).await?)
    }

    /// Lists the objects of a kind in this handle's namespace.
    ///
    /// # Errors
    /// `NotFound` for an unknown kind, `BadRequest` for a bad selector.
    pub async fn list(&self, kind: &str, options: ListOptions) -> Result<List<Object>> {
        self.check_open()?;
        let api = self.client().named(kind)?;
        let namespace = api.resource().is_namespaced().then_some(&*self.namespace);
        Ok(api.list(namespace, options).await?)
    }

    /// Lists the objects of a kind in all namespaces.
    ///
    /// # Errors
    /// As [`Engine::list`].
    pub async fn list_all(&self, kind: &str, options: ListOptions) -> Result<List<Object>> {
        self.check_open()?;
        Ok(self.client().named(kind)?.list(None, options).await?)
    }

    /// Watches the objects of a kind in this handle's namespace: first what is there, as added,
    /// then what happens.
    ///
    /// # Errors
    /// As [`Engine::list`].
    pub async fn watch(&self, kind: &str, options: ListOptions) -> Result<WatchStream> {
        self.check_open()?;
        let api = self.client().named(kind)?;
        let namespace = api.resource().is_namespaced().then_some(&*self.namespace);
        Ok(api.watch(namespace, options).await?)
    }

    /// Watches the objects of a kind in all namespaces.
    ///
    /// # Errors
    /// As [`Engine::list`].
    pub async fn watch_all(&self, kind: &str, options: ListOptions) -> Result<WatchStream> {
        self.check_open()?;
        Ok(self.client().named(kind)?.watch(None, options).await?)
    }

    /// Creates an object from JSON.
    ///
    /// # Errors
    /// `AlreadyExists`, `Invalid`, `BadRequest`.
    pub async fn create(&self, json: &[u8]) -> Result<Object> {
        let (api, draft) = self.draft(json)?;
        Ok(api.create(draft, WriteOptions::default()).await?)
    }

    /// Replaces an object by JSON.
    ///
    /// # Errors
    /// `Conflict` when the object has changed since it was read, `NotFound`, `Invalid`.
    pub async fn update(&self, json: &[u8]) -> Result<Object> {
        let (api, draft) = self.draft(json)?;
        Ok(api.update(draft, WriteOptions::default()).await?)
    }

    /// Replaces the status of an object by that of a JSON document.
    ///
    /// # Errors
    /// As [`Engine::update`].
    pub async fn update_status(&self, json: &[u8]) -> Result<Object> {
        let (api, draft) = self.draft(json)?;
        Ok(api.update_status(draft, WriteOptions::default()).await?)
    }

    fn draft(&self, json: &[u8]) -> Result<(pinnace_client::DynamicApi, Draft)> {
        self.check_open()?;
        let value: serde_json::Value =
            serde_json::from_slice(json).map_err(|error| pinnace_api::ApiError::decode(&error))?;
        let text = |name: &str| value[name].as_str().unwrap_or_default();
        let resource = self.client().catalog().by_kind(text("apiVersion"), text("kind"))?;
        let mut draft = Draft::from_value(resource.codec, value)?;
        let meta = draft.meta_mut();
        if resource.is_namespaced() && meta.namespace.as_deref().unwrap_or_default().is_empty() {
            meta.namespace = Some(self.namespace.to_string());
        }
        Ok((self.client().resource(resource), draft))
    }

    /// Changes an object.
    ///
    /// # Errors
    /// `NotFound`, `Invalid`, `Conflict`, `BadRequest`.
    pub async fn patch(&self, object: &str, patch: Patch) -> Result<Object> {
        let Reference { resource, key } = self.reference(object)?;
        let options = WriteOptions { field_manager: Some("pinnace".into()), ..Default::default() };
        Ok(self.client().resource(resource).patch(&key, patch, options).await?)
    }

    /// Deletes an object. It may stay for a while, until its finalizers and its grace period allow
    /// it to go: [`Engine::wait`] with `delete` waits for that.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn delete(&self, object: &str, options: DeleteOptions) -> Result<Object> {
        let Reference { resource, key } = self.reference(object)?;
        Ok(self.client().resource(resource).delete(&key, options).await?)
    }

    /// Sets how many replicas there should be.
    ///
    /// # Errors
    /// `NotFound`, also for kinds that cannot be scaled; `Invalid` for a negative number.
    pub async fn scale(&self, object: &str, replicas: i32) -> Result<()> {
        let Reference { resource, key } = self.reference(object)?;
        self.client().resource(resource).set_replicas(&key, replicas).await?;
        Ok(())
    }

    /// A controller for a reconciler of the host's; [`Engine::run`] starts it once it watches what
    /// it is to watch.
    pub fn controller(&self, reconciler: impl Reconciler) -> Controller {
        Controller::new(reconciler, &self.parts.env)
    }

    /// A controller for the objects of a kind, in all namespaces, that also runs when an object of
    /// one of the kinds in `owns` changes: for the one that owns it. [`Engine::run`] starts it.
    ///
    /// # Errors
    /// `NotFound` for an unknown kind.
    pub fn controller_of(
        &self,
        kind: &str,
        owns: &[&str],
        reconciler: impl Reconciler,
    ) -> Result<Controller> {
        self.check_open()?;
        let catalog = self.client().catalog();
        let owner = catalog.resolve(kind)?;
        let mut controller =
            self.controller(reconciler).watches(&self.informers().resource(owner.clone()));
        for owned in owns {
            let informer = self.informers().resource(catalog.resolve(owned)?);
            let owner = owner.clone();
            controller = controller.maps(&informer, move |delta, queue| {
                for object in [&delta.old, &delta.new].into_iter().flatten() {
                    if let Some(key) = owner_of(object, &owner) {
                        queue.add(key);
                    }
                }
            });
        }
        Ok(controller)
    }

    /// Runs a controller until the engine is shut down.
    pub fn run(&self, controller: Controller) {
        self.parts.spawn(controller.run(self.parts.stop.child_token()));
    }

    /// Ends the engine: host controllers, scheduler, controllers and node agents stop, and
    /// everything is joined. Pods go with an engine that keeps its objects in memory, and go on
    /// running, to be adopted by the next one, with an engine that keeps them on disk, unless
    /// [`EngineBuilder::on_shutdown`] says otherwise. Later calls find the engine closed.
    ///
    /// # Errors
    /// When something could not be cleaned up or written; the engine has ended all the same.
    pub async fn shutdown(&self) -> Result<()> {
        self.parts.shutdown().await
    }
}

/// The object of a kind that controls another.
fn owner_of(object: &Object, owner: &Resource) -> Option<Key> {
    let reference = object.controller()?;
    let group = reference.api_version.split_once('/').map_or("", |(group, _)| group);
    let namespace = if owner.is_namespaced() { object.namespace() } else { "" };
    (reference.kind == *owner.kind && group == owner.group)
        .then(|| Key::new(namespace, reference.name.as_str()))
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Engine({})", self.parts.runtime.name)
    }
}

impl Default for Runtime {
    fn default() -> Self {
        Self::auto()
    }
}
