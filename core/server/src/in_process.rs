use std::sync::Arc;

use async_trait::async_trait;
use pinnace_api::patch::Patch;
use pinnace_api::{ApiError, Catalog, Draft, Object, Resource, Result};
use pinnace_client::{
    DeleteOptions, List, ListOptions, Subresource, Target, Transport, WatchStream, WriteOptions,
};

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
        self.server.get(&self.user, &target)
    }

    async fn list(
        &self,
        resource: Arc<Resource>,
        namespace: Option<&str>,
        options: ListOptions,
    ) -> Result<List<Object>> {
        self.server.list(&self.user, &resource, namespace, &options)
    }

    async fn watch(
        &self,
        resource: Arc<Resource>,
        namespace: Option<&str>,
        options: ListOptions,
    ) -> Result<WatchStream> {
        self.server.watch(&self.user, resource, namespace, &options)
    }

    async fn create(&self, target: Target, draft: Draft, options: WriteOptions) -> Result<Object> {
        match target.subresource {
            None => self.server.create(&self.user, target, draft, options).await,
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
        self.server.update(&self.user, target, draft, options).await
    }

    async fn patch(&self, target: Target, patch: Patch, options: WriteOptions) -> Result<Object> {
        self.server.patch(&self.user, target, patch, options).await
    }

    async fn delete(&self, target: Target, options: DeleteOptions) -> Result<Object> {
        self.server.delete(&self.user, target, options).await
    }

    async fn delete_collection(
        &self,
        resource: Arc<Resource>,
        namespace: Option<&str>,
        selection: ListOptions,
        options: DeleteOptions,
    ) -> Result<List<Object>> {
        let user = &self.user;
        self.server.delete_collection(user, resource, namespace, selection, options).await
    }
}
