use std::sync::Arc;

use async_trait::async_trait;
use pinnace_api::patch::Patch;
use pinnace_api::{Catalog, Draft, Key, Object, Resource, Result, Subresource};

use crate::{DeleteOptions, List, ListOptions, WatchStream, WriteOptions};

/// Which object a request is about, or which part of it.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its kind.
    pub resource: Arc<Resource>,
    /// Its namespace and name.
    pub key: Key,
    /// Which part; `None` for the object itself.
    pub subresource: Option<Subresource>,
}

impl Target {
    /// An object as a whole.
    pub fn new(resource: Arc<Resource>, key: Key) -> Self {
        Self { resource, key, subresource: None }
    }

    /// A part of an object.
    pub fn part(resource: Arc<Resource>, key: Key, subresource: Subresource) -> Self {
        Self { resource, key, subresource: Some(subresource) }
    }
}

/// How a [`Client`](crate::Client) reaches the API. A transport acts for one user.
///
/// Errors are those of the API, see [`pinnace_api::ApiError`].
#[async_trait]
pub trait Transport: Send + Sync + 'static {
    /// The kinds that the API serves.
    fn catalog(&self) -> &Catalog;
    /// Reads an object.
    async fn get(&self, target: Target) -> Result<Object>;
    /// Lists the objects of a kind, in one namespace or in all.
    async fn list(
        &self,
        resource: Arc<Resource>,
        namespace: Option<&str>,
        options: ListOptions,
    ) -> Result<List<Object>>;
    /// Watches the objects of a kind, in one namespace or in all.
    async fn watch(
        &self,
        resource: Arc<Resource>,
        namespace: Option<&str>,
        options: ListOptions,
    ) -> Result<WatchStream>;
    /// Creates an object in the target's namespace, or posts to a subresource of it.
    async fn create(&self, target: Target, draft: Draft, options: WriteOptions) -> Result<Object>;
    /// Replaces an object or a part of it.
    async fn update(&self, target: Target, draft: Draft, options: WriteOptions) -> Result<Object>;
    /// Changes an object or a part of it.
    async fn patch(&self, target: Target, patch: Patch, options: WriteOptions) -> Result<Object>;
    /// Deletes an object; the answer is what it looked like last, or looks like while it goes.
    async fn delete(&self, target: Target, options: DeleteOptions) -> Result<Object>;
    /// Deletes what a list would give.
    async fn delete_collection(
        &self,
        resource: Arc<Resource>,
        namespace: Option<&str>,
        selection: ListOptions,
        options: DeleteOptions,
    ) -> Result<List<Object>>;
}
