use std::sync::Arc;

use async_trait::async_trait;
use pinnace_api::patch::Patch;
use pinnace_api::{ApiError, Catalog, Draft, Object, Resource, Result};
use pinnace_client::{
    DeleteOptions, List, ListOptions, Subresource, Target, Transport, WatchStream, WriteOptions,
};

use crate::versions::{served, served_events, served_list};
use crate::{Server, User};

/// The way from a client to the server in the same process: a function call.
#[derive(Clone, Debug)]
pub struct InProcess {
    server: Server,
    user: User,
}

impl InProcess {
    /// A transport that acts as `user`.
    pub fn new(server: Server, user: User) -> Self {
        Self { server, user }
    }
}

#[async_trait]
impl Transport for InProcess {
    fn catalog(&self) -> &Catalog {
        self.server.catalog()
    }

    async fn get(&self, target: Target) -> Result<Object> {
        served(&target, self.server.get(&self.user, &target))
    }

    async fn list(
        &self,
        resource: Arc<Resource>,
        namespace: Option<&str>,
        options: ListOptions,
    ) -> Result<List<Object>> {
        served_list(&resource, self.server.list(&self.user, &resource, namespace, &options))
    }

    async fn watch(
        &self,
        resource: Arc<Resource>,
        namespace: Option<&str>,
        options: ListOptions,
    ) -> Result<WatchStream> {
        let stream = self.server.watch(&self.user, resource.clone(), namespace, &options)?;
        Ok(served_events(resource, stream))
    }

    async fn create(&self, target: Target, draft: Draft, options: WriteOptions) -> Result<Object> {
        match target.subresource {
            None => {
                let created = self.server.create(&self.user, target.clone(), draft, options).await;
                served(&target, created)
            }
            Some(Subresource::Binding) => {
                self.server.bind(&self.user, target, draft, options).await
            }
            Some(Subresource::Eviction) => {
                self.server.evict(&self.user, target, draft, options).await
            }
            Some(Subresource::Token) => self.server.create_token(&self.user, &target, draft),
            Some(_) => Err(ApiError::method_not_supported(&target.resource, "create")),
        }
    }

    async fn update(&self, target: Target, draft: Draft, options: WriteOptions) -> Result<Object> {
        let updated = self.server.update(&self.user, target.clone(), draft, options).await;
        served(&target, updated)
    }

    async fn patch(&self, target: Target, patch: Patch, options: WriteOptions) -> Result<Object> {
        let patched = self.server.patch(&self.user, target.clone(), patch, options).await;
        served(&target, patched)
    }

    async fn delete(&self, target: Target, options: DeleteOptions) -> Result<Object> {
        served(&target, self.server.delete(&self.user, target.clone(), options).await)
    }

    async fn delete_collection(
        &self,
        resource: Arc<Resource>,
        namespace: Option<&str>,
        selection: ListOptions,
        options: DeleteOptions,
    ) -> Result<List<Object>> {
        let user = &self.user;
        let deleted = self
            .server
            .delete_collection(user, resource.clone(), namespace, selection, options)
            .await;
        served_list(&resource, deleted)
    }
}
