//! A cluster as it was when it was read: for what is answered once.

use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt as _;
use pinnace_api::patch::Patch;
use pinnace_api::{ApiError, Catalog, Draft, Object, Resource, Result};
use pinnace_client::{
    DeleteOptions, List, ListOptions, Target, Transport, WatchStream, WriteOptions,
};
use pinnace_remote::Remote;
use tokio::sync::watch;

/// Reads from a cluster; watches never tell anything, so that caches stay as they were first, and
/// nothing is written.
pub(crate) struct Snapshot {
    remote: Remote,
    /// The first thing that cannot be read.
    failed: watch::Sender<Option<String>>,
}

impl Snapshot {
    /// A cluster, and where is told what cannot be read of it.
    pub(crate) fn new(remote: Remote) -> (Self, watch::Receiver<Option<String>>) {
        let (failed, failures) = watch::channel(None);
        (Self { remote, failed }, failures)
    }
}

fn refused(resource: &Resource, verb: &str) -> ApiError {
    ApiError::method_not_supported(resource, verb)
}

#[async_trait]
impl Transport for Snapshot {
    fn catalog(&self) -> &Catalog {
        self.remote.catalog()
    }

    async fn get(&self, target: Target) -> Result<Object> {
        self.remote.get(target).await
    }

    async fn list(
        &self,
        resource: Arc<Resource>,
        namespace: Option<&str>,
        options: ListOptions,
    ) -> Result<List<Object>> {
        let plural = resource.plural.clone();
        match self.remote.list(resource, namespace, options).await {
            // A cluster that does not serve a kind has no objects of it.
            Err(error) if error.code() == 404 => {
                Ok(List { items: Vec::new(), revision: 1, continue_token: None, remaining: None })
            }
            Err(error) => {
                self.failed.send_if_modified(|failed| {
                    let first = failed.is_none();
                    failed.get_or_insert_with(|| format!("{plural}: {error}"));
                    first
                });
                Err(error)
            }
            listed => listed,
        }
    }

    async fn watch(
        &self,
        _: Arc<Resource>,
        _: Option<&str>,
        _: ListOptions,
    ) -> Result<WatchStream> {
        Ok(futures::stream::pending().boxed())
    }

    async fn create(&self, target: Target, _: Draft, _: WriteOptions) -> Result<Object> {
        Err(refused(&target.resource, "create"))
    }

    async fn update(&self, target: Target, _: Draft, _: WriteOptions) -> Result<Object> {
        Err(refused(&target.resource, "update"))
    }

    async fn patch(&self, target: Target, _: Patch, _: WriteOptions) -> Result<Object> {
        Err(refused(&target.resource, "patch"))
    }

    async fn delete(&self, target: Target, _: DeleteOptions) -> Result<Object> {
        Err(refused(&target.resource, "delete"))
    }

    async fn delete_collection(
        &self,
        resource: Arc<Resource>,
        _: Option<&str>,
        _: ListOptions,
        _: DeleteOptions,
    ) -> Result<List<Object>> {
        Err(refused(&resource, "delete"))
    }
}
