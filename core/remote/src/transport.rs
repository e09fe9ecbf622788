use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{APIGroupList, APIResourceList};
use pinnace_api::patch::Patch;
use pinnace_api::{ApiError, Catalog, Draft, Object, Resource, Result, elsewhere};
use pinnace_client::wire::{self, Wire};
use pinnace_client::{
    DeleteOptions, List, ListOptions, Target, Transport, WatchStream, WriteOptions,
};
use serde::de::DeserializeOwned;

use crate::Kubeconfig;
use crate::https::Https;

/// How many objects of a list are asked for at once.
const PAGE: u64 = 500;

/// The API of a cluster on another machine, for one user.
///
/// A list that nobody has limited is read in pages, and anew as a whole when it has changed too much
/// meanwhile. Watches go on until the other side ends them: to take them up again is the caller's, as an
/// [`Informer`](pinnace_client::Informer) does.
pub struct Remote {
    catalog: Catalog,
    wire: Wire<Https>,
}

impl Remote {
    /// The cluster of a kubeconfig. Nothing is asked yet.
    ///
    /// # Errors
    /// [`Error::Kubeconfig`](crate::Error::Kubeconfig) for certificates that are none.
    pub fn new(config: &Kubeconfig) -> crate::Result<Self> {
        Ok(Self { catalog: Catalog::builtin(), wire: Wire(Https::new(config)?) })
    }

    /// Adds the kinds that the cluster has and that are not built in to the catalog: custom ones, and
    /// those of other servers behind it.
    ///
    /// # Errors
    /// What the cluster answers.
    pub async fn discover(&self) -> Result<()> {
        let groups: APIGroupList = self.read("/apis").await?;
        let known = self.catalog.all();
        let known: BTreeSet<&str> = known.iter().map(|kind| &*kind.group).collect();
        for group in groups.groups.iter().filter(|group| !known.contains(&*group.name)) {
            for version in &group.versions {
                let listed: APIResourceList =
                    match self.read(&format!("/apis/{}", version.group_version)).await {
                        Ok(listed) => listed,
                        Err(error) => {
                            let version = &*version.group_version;
                            tracing::warn!(version, %error, "what a group has is not known");
                            continue;
                        }
                    };
                let kinds = elsewhere::kinds(&group.name, &version.version, &listed.resources);
                self.catalog.serve_elsewhere(&group.name, &version.version, kinds);
            }
        }
        Ok(())
    }

    async fn read<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let answer = self.wire.0.ask("GET", path, None).await?;
        let (status, body) = (answer.status, wire::collect(answer.body).await?);
        if status != 200 {
            return Err(wire::failure(status, &body));
        }
        serde_json::from_slice(&body).map_err(|error| ApiError::decode(&error))
    }

    async fn pages(
        &self,
        resource: &Arc<Resource>,
        namespace: Option<&str>,
        options: &ListOptions,
    ) -> Result<List<Object>> {
        let mut page = ListOptions { limit: Some(PAGE), ..options.clone() };
        let mut items = Vec::new();
        loop {
            let mut list = match self.wire.list(resource, namespace, &page).await {
                Ok(list) => list,
                Err(error) if error.is_expired() && page.continue_token.is_some() => {
                    return self.wire.list(resource, namespace, options).await;
                }
                Err(error) => return Err(error),
            };
            if items.is_empty() {
                items = list.items;
            } else {
                items.append(&mut list.items);
            }
            page.continue_token = list.continue_token;
            // The token says of when the rest is.
            page.resource_version = None;
            page.version_match = None;
            if page.continue_token.is_none() {
                return Ok(List {
                    items,
                    revision: list.revision,
                    continue_token: None,
                    remaining: None,
                });
            }
        }
    }
}

#[async_trait]
impl Transport for Remote {
    fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    async fn get(&self, target: Target) -> Result<Object> {
        self.wire.get(&target).await
    }

    async fn list(
        &self,
        resource: Arc<Resource>,
        namespace: Option<&str>,
        options: ListOptions,
    ) -> Result<List<Object>> {
        if options.limit.is_some() || options.continue_token.is_some() {
            return self.wire.list(&resource, namespace, &options).await;
        }
        self.pages(&resource, namespace, &options).await
    }

    async fn watch(
        &self,
        resource: Arc<Resource>,
        namespace: Option<&str>,
        options: ListOptions,
    ) -> Result<WatchStream> {
        self.wire.watch(&resource, namespace, &options).await
    }

    async fn create(&self, target: Target, draft: Draft, options: WriteOptions) -> Result<Object> {
        self.wire.create(&target, &draft, &options).await
    }

    async fn update(&self, target: Target, draft: Draft, options: WriteOptions) -> Result<Object> {
        self.wire.update(&target, &draft, &options).await
    }

    async fn patch(&self, target: Target, patch: Patch, options: WriteOptions) -> Result<Object> {
        self.wire.patch(&target, &patch, &options).await
    }

    async fn delete(&self, target: Target, options: DeleteOptions) -> Result<Object> {
        self.wire.delete(&target, &options).await
    }

    async fn delete_collection(
        &self,
        resource: Arc<Resource>,
        namespace: Option<&str>,
        selection: ListOptions,
        options: DeleteOptions,
    ) -> Result<List<Object>> {
        self.wire.delete_collection(&resource, namespace, &selection, &options).await
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Remote")
    }
}
