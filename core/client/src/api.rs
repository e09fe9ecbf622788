use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::autoscaling::v1::Scale;
use k8s_openapi::api::core::v1::{Binding, Namespace};
use k8s_openapi::api::policy::v1::Eviction;
use pinnace_api::patch::Patch;
use pinnace_api::{ApiError, Catalog, Draft, Key, Kind, Object, Resource, Result, Typed};

use crate::{
    DeleteOptions, List, ListOptions, Subresource, Target, Transport, WatchEvent, WatchStream,
    WriteOptions,
};

/// How long after the end of a watch the next one begins.
const WATCH_AGAIN: Duration = Duration::from_millis(10);

/// A client of the API, for one user. Cheap to clone.
#[derive(Clone)]
pub struct Client(Arc<dyn Transport>);

impl Client {
    /// A client over a transport.
    pub fn new(transport: impl Transport) -> Self {
        Self(Arc::new(transport))
    }

    /// The kinds that the API serves.
    pub fn catalog(&self) -> &Catalog {
        self.0.catalog()
    }

    /// The typed face of a built-in kind.
    ///
    /// # Errors
    /// `NotFound` when the API does not serve the kind.
    pub fn of<K: Kind + k8s_openapi::Resource>(&self) -> Result<Api<K>> {
        let resource = self.catalog().of::<K>()?;
        Ok(Api { inner: self.resource(resource), kind: PhantomData })
    }

    /// The face of a kind of the catalog.
    pub fn resource(&self, resource: Arc<Resource>) -> DynamicApi {
        DynamicApi { client: self.clone(), resource }
    }

    /// The face of a kind by any of the names that kubectl takes.
    ///
    /// # Errors
    /// `NotFound` when there is no such kind.
    pub fn named(&self, kind: &str) -> Result<DynamicApi> {
        Ok(self.resource(self.catalog().resolve(kind)?))
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client")
    }
}

/// The objects of one kind, whatever it is. See [`Api`] for the typed face.
#[derive(Clone, Debug)]
pub struct DynamicApi {
    client: Client,
    resource: Arc<Resource>,
}

impl DynamicApi {
    /// The kind.
    pub fn resource(&self) -> &Arc<Resource> {
        &self.resource
    }

    fn target(&self, key: &Key) -> Target {
        Target::new(self.resource.clone(), key.clone())
    }

    fn part(&self, key: &Key, subresource: Subresource) -> Target {
        Target::part(self.resource.clone(), key.clone(), subresource)
    }

    /// Reads an object.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn get(&self, key: &Key) -> Result<Object> {
        self.client.0.get(self.target(key)).await
    }

    /// Reads an object; `None` when there is none.
    ///
    /// # Errors
    /// All but `NotFound`.
    pub async fn find(&self, key: &Key) -> Result<Option<Object>> {
        match self.get(key).await {
            Ok(object) => Ok(Some(object)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Lists objects, in one namespace or in all.
    ///
    /// # Errors
    /// `Expired` for a revision or token that is too old, `BadRequest` for a bad selector.
    pub async fn list(
        &self,
        namespace: Option<&str>,
        options: ListOptions,
    ) -> Result<List<Object>> {
        self.client.0.list(self.resource.clone(), namespace, options).await
    }

    /// Watches objects, in one namespace or in all.
    ///
    /// # Errors
    /// `Expired` for a revision that is too old, also later in the stream.
    pub async fn watch(
        &self,
        namespace: Option<&str>,
        options: ListOptions,
    ) -> Result<WatchStream> {
        self.client.0.watch(self.resource.clone(), namespace, options).await
    }

    /// Shows `look` an object as it is, `None` where there is none, and again whenever that changes,
    /// until it gives something. A watch that ends is begun anew.
    ///
    /// # Errors
    /// Those of `look`, and those of [`list`](Self::list) and [`watch`](Self::watch) but for a watch
    /// that has fallen behind.
    pub async fn follow<T, E: From<ApiError>>(
        &self,
        key: &Key,
        mut look: impl FnMut(Option<&Object>) -> Result<Option<T>, E>,
    ) -> Result<T, E> {
        let namespace = self.resource.is_namespaced().then(|| key.namespace());
        let only = ListOptions::default().fields(&format!("metadata.name={}", key.name()))?;
        loop {
            let list = self.list(namespace, only.clone()).await?;
            if let Some(end) = look(list.items.first())? {
                return Ok(end);
            }
            let options = ListOptions { bookmarks: true, ..only.clone() };
            let mut events = self.watch(namespace, options.after(list.revision)).await?;
            while let Some(event) = events.next().await {
                let seen = match event {
                    Ok(WatchEvent::Added(object) | WatchEvent::Modified(object)) => Some(object),
                    Ok(WatchEvent::Deleted(_)) => None,
                    Ok(WatchEvent::Bookmark(..)) => continue,
                    Err(error) if error.is_expired() => break,
                    Err(error) => return Err(error.into()),
                };
                if let Some(end) = look(seen.as_ref())? {
                    return Ok(end);
                }
            }
            // A server that ends every watch at once is not asked without a pause.
            tokio::time::sleep(WATCH_AGAIN).await;
        }
    }

    /// Creates an object.
    ///
    /// # Errors
    /// `AlreadyExists`, `Invalid`, or `NotFound` for its namespace.
    pub async fn create(&self, draft: Draft, options: WriteOptions) -> Result<Object> {
        let target = self.target(&draft.key());
        self.client.0.create(target, draft, options).await
    }

    /// Replaces an object.
    ///
    /// # Errors
    /// `Conflict` when its `resourceVersion` is not the current one, `Invalid`, `NotFound`.
    pub async fn update(&self, draft: Draft, options: WriteOptions) -> Result<Object> {
        let target = self.target(&draft.key());
        self.client.0.update(target, draft, options).await
    }

    /// Replaces the status of an object.
    ///
    /// # Errors
    /// As [`DynamicApi::update`].
    pub async fn update_status(&self, draft: Draft, options: WriteOptions) -> Result<Object> {
        let target = self.part(&draft.key(), Subresource::Status);
        self.client.0.update(target, draft, options).await
    }

    /// Changes an object.
    ///
    /// # Errors
    /// `NotFound`, `Invalid`, `Conflict`, and `BadRequest` for a patch that cannot be read.
    pub async fn patch(&self, key: &Key, patch: Patch, options: WriteOptions) -> Result<Object> {
        self.client.0.patch(self.target(key), patch, options).await
    }

    /// Changes the status of an object.
    ///
    /// # Errors
    /// As [`DynamicApi::patch`].
    pub async fn patch_status(
        &self,
        key: &Key,
        patch: Patch,
        options: WriteOptions,
    ) -> Result<Object> {
        self.client.0.patch(self.part(key, Subresource::Status), patch, options).await
    }

    /// Deletes an object.
    ///
    /// # Errors
    /// `NotFound`, `Conflict` when a precondition does not hold.
    pub async fn delete(&self, key: &Key, options: DeleteOptions) -> Result<Object> {
        self.client.0.delete(self.target(key), options).await
    }

    /// Deletes what a list would give.
    ///
    /// # Errors
    /// As [`DynamicApi::list`] and [`DynamicApi::delete`].
    pub async fn delete_collection(
        &self,
        namespace: Option<&str>,
        selection: ListOptions,
        options: DeleteOptions,
    ) -> Result<List<Object>> {
        let resource = self.resource.clone();
        self.client.0.delete_collection(resource, namespace, selection, options).await
    }

    /// Reads the `scale` subresource.
    ///
    /// # Errors
    /// `NotFound`, also for kinds that cannot be scaled.
    pub async fn scale(&self, key: &Key) -> Result<Typed<Scale>> {
        self.client.0.get(self.part(key, Subresource::Scale)).await?.typed()
    }

    /// Sets how many replicas there should be.
    ///
    /// # Errors
    /// As [`DynamicApi::scale`], and `Invalid`.
    pub async fn set_replicas(&self, key: &Key, replicas: i32) -> Result<Typed<Scale>> {
        let patch = Patch::Merge(serde_json::json!({ "spec": { "replicas": replicas } }));
        let target = self.part(key, Subresource::Scale);
        self.client.0.patch(target, patch, WriteOptions::default()).await?.typed()
    }
}

/// The objects of one built-in kind.
pub struct Api<K> {
    inner: DynamicApi,
    kind: PhantomData<fn() -> K>,
}

impl<K> Clone for Api<K> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), kind: PhantomData }
    }
}

impl<K> fmt::Debug for Api<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.inner.resource, f)
    }
}

impl<K: Kind> Api<K> {
    /// The untyped face of the same kind, with the verbs that need no type.
    pub fn dynamic(&self) -> &DynamicApi {
        &self.inner
    }

    /// See [`DynamicApi::get`].
    ///
    /// # Errors
    /// As there.
    pub async fn get(&self, key: &Key) -> Result<Typed<K>> {
        self.inner.get(key).await?.typed()
    }

    /// See [`DynamicApi::find`].
    ///
    /// # Errors
    /// As there.
    pub async fn find(&self, key: &Key) -> Result<Option<Typed<K>>> {
        self.inner.find(key).await?.map(|object| object.typed()).transpose()
    }

    /// See [`DynamicApi::list`].
    ///
    /// # Errors
    /// As there.
    pub async fn list(
        &self,
        namespace: Option<&str>,
        options: ListOptions,
    ) -> Result<List<Typed<K>>> {
        let list = self.inner.list(namespace, options).await?;
        let items = list.items.iter().map(Object::typed).collect::<Result<_>>()?;
        Ok(List {
            items,
            revision: list.revision,
            continue_token: list.continue_token,
            remaining: list.remaining,
        })
    }

    /// See [`DynamicApi::create`].
    ///
    /// # Errors
    /// As there.
    pub async fn create(&self, object: K) -> Result<Typed<K>> {
        self.inner.create(Draft::new(object), WriteOptions::default()).await?.typed()
    }

    /// See [`DynamicApi::update`].
    ///
    /// # Errors
    /// As there.
    pub async fn update(&self, object: K) -> Result<Typed<K>> {
        self.inner.update(Draft::new(object), WriteOptions::default()).await?.typed()
    }

    /// See [`DynamicApi::update_status`].
    ///
    /// # Errors
    /// As there.
    pub async fn update_status(&self, object: K) -> Result<Typed<K>> {
        self.inner.update_status(Draft::new(object), WriteOptions::default()).await?.typed()
    }

    /// See [`DynamicApi::patch`].
    ///
    /// # Errors
    /// As there.
    pub async fn patch(&self, key: &Key, patch: Patch) -> Result<Typed<K>> {
        self.inner.patch(key, patch, WriteOptions::default()).await?.typed()
    }

    /// Reads, changes and writes an object until no other writer comes between, at most
    /// [`MODIFY_ATTEMPTS`] times. `change` may be called several times, and says `false` to leave
    /// the object as it is.
    ///
    /// # Errors
    /// As [`DynamicApi::update`].
    pub async fn modify(
        &self,
        key: &Key,
        change: impl FnMut(&mut K) -> bool + Send,
    ) -> Result<Typed<K>> {
        self.modify_part(key, None, change).await
    }

    /// As [`Api::modify`], for the status.
    ///
    /// # Errors
    /// As there.
    pub async fn modify_status(
        &self,
        key: &Key,
        change: impl FnMut(&mut K) -> bool + Send,
    ) -> Result<Typed<K>> {
        self.modify_part(key, Some(Subresource::Status), change).await
    }

    /// As [`Api::modify`], for the approval of a request for a certificate.
    ///
    /// # Errors
    /// As there.
    pub async fn modify_approval(
        &self,
        key: &Key,
        change: impl FnMut(&mut K) -> bool + Send,
    ) -> Result<Typed<K>> {
        self.modify_part(key, Some(Subresource::Approval), change).await
    }

    async fn modify_part(
        &self,
        key: &Key,
        subresource: Option<Subresource>,
        mut change: impl FnMut(&mut K) -> bool + Send,
    ) -> Result<Typed<K>> {
        let mut attempt = 1;
        loop {
            let current = self.get(key).await?;
            let mut new = current.to_owned();
            if !change(&mut new) {
                return Ok(current);
            }
            let target =
                Target { resource: self.inner.resource.clone(), key: key.clone(), subresource };
            let written =
                self.inner.client.0.update(target, Draft::new(new), WriteOptions::default()).await;
            match written {
                Err(error) if error.is_conflict() && attempt < MODIFY_ATTEMPTS => attempt += 1,
                written => return written?.typed(),
            }
        }
    }

    /// See [`DynamicApi::delete`].
    ///
    /// # Errors
    /// As there.
    pub async fn delete(&self, key: &Key, options: DeleteOptions) -> Result<Typed<K>> {
        self.inner.delete(key, options).await?.typed()
    }

    /// See [`DynamicApi::watch`]; the events carry untyped objects.
    ///
    /// # Errors
    /// As there.
    pub async fn watch(
        &self,
        namespace: Option<&str>,
        options: ListOptions,
    ) -> Result<WatchStream> {
        self.inner.watch(namespace, options).await
    }
}

impl Api<k8s_openapi::api::core::v1::Pod> {
    /// Binds a pod to a node, as a scheduler does.
    ///
    /// # Errors
    /// `Conflict` when the pod is already bound or going, `NotFound`.
    pub async fn bind(&self, key: &Key, binding: Binding) -> Result<Object> {
        let target = self.inner.part(key, Subresource::Binding);
        self.inner.client.0.create(target, Draft::new(binding), WriteOptions::default()).await
    }

    /// Deletes a pod if its disruption budget allows.
    ///
    /// # Errors
    /// `TooManyRequests` when the budget does not, `NotFound`, `Conflict` for another pod than the one
    /// that was meant.
    pub async fn evict(&self, key: &Key, eviction: Eviction) -> Result<Object> {
        let target = self.inner.part(key, Subresource::Eviction);
        self.inner.client.0.create(target, Draft::new(eviction), WriteOptions::default()).await
    }

    /// Changes the resources of a pod's containers while they run.
    ///
    /// # Errors
    /// `NotFound`, `Invalid` for what cannot be changed, `BadRequest` for a patch that cannot be
    /// read.
    pub async fn resize(
        &self,
        key: &Key,
        patch: Patch,
    ) -> Result<Typed<k8s_openapi::api::core::v1::Pod>> {
        let target = self.inner.part(key, Subresource::Resize);
        self.inner.client.0.patch(target, patch, WriteOptions::default()).await?.typed()
    }
}

impl Api<k8s_openapi::api::core::v1::ServiceAccount> {
    /// Has a token made for a service account.
    ///
    /// # Errors
    /// `NotFound`, `Invalid`, `Forbidden`.
    pub async fn token(&self, key: &Key, request: TokenRequest) -> Result<Typed<TokenRequest>> {
        let target = self.inner.part(key, Subresource::Token);
        let options = WriteOptions::default();
        self.inner.client.0.create(target, Draft::new(request), options).await?.typed()
    }
}

impl Api<Namespace> {
    /// As [`Api::modify`], for `spec.finalizers`: what holds a namespace that is being deleted.
    ///
    /// # Errors
    /// As there.
    pub async fn finalize(
        &self,
        key: &Key,
        change: impl FnMut(&mut Namespace) -> bool + Send,
    ) -> Result<Typed<Namespace>> {
        self.modify_part(key, Some(Subresource::Finalize), change).await
    }
}

/// How often [`Api::modify`] tries before it gives the conflict to its caller.
pub const MODIFY_ATTEMPTS: usize = 16;
