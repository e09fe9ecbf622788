//! Kinds whose objects are made when they are read: no table holds them, and nobody watches them.

mod components;
mod metrics;

use std::sync::Arc;

use async_trait::async_trait;
use pinnace_api::{ApiError, Key, Object, Reason, Resource, Result};
use pinnace_client::nodes::{NodeConnection, NodeDirectory};
use pinnace_client::{List, ListOptions, Target};

use crate::read::{Filter, check_verb};
use crate::{Server, User};

/// How the objects of a kind are made.
#[async_trait]
trait Computed: Send + Sync + 'static {
    /// The object of a key; `None` when there is none.
    async fn get(&self, server: &Server, key: &Key) -> Result<Option<Object>>;

    /// All objects, of one namespace or of all, that `wanted` is about: it knows them by the names
    /// and labels of what they are made of.
    async fn list(
        &self,
        server: &Server,
        namespace: Option<&str>,
        wanted: &Wanted<'_>,
    ) -> Result<Vec<Object>>;
}

/// Which objects are asked for.
struct Wanted<'a> {
    resource: &'a Resource,
    filter: Filter,
}

impl Wanted<'_> {
    /// Whether an object of the name and labels of this one is wanted.
    fn has(&self, object: &Object) -> bool {
        self.filter.matches(self.resource, object)
    }
}

/// How objects of a kind are made; `None` for kinds that are kept.
fn of(resource: &Resource) -> Option<&'static dyn Computed> {
    match (&*resource.group, &*resource.kind) {
        ("", "ComponentStatus") => Some(&components::Components),
        (pinnace_api::metrics::GROUP, "NodeMetrics") => Some(&metrics::Nodes),
        (pinnace_api::metrics::GROUP, "PodMetrics") => Some(&metrics::Pods),
        _ => None,
    }
}

impl Server {
    /// As `get`, for a kind that may be computed.
    pub(crate) async fn read(&self, user: &User, target: &Target) -> Result<Object> {
        let resource = &*target.resource;
        let Some(computed) = of(resource).filter(|_| target.subresource.is_none()) else {
            return self.get(user, target).await;
        };
        let (namespace, name) = (target.key.namespace(), target.key.name());
        self.authorize(user, "get", resource, None, namespace, name)?;
        Self::check_scope(resource, &target.key)?;
        let found = computed.get(self, &target.key).await?;
        found.ok_or_else(|| ApiError::not_found(resource, name))
    }

    /// As `list`, for a kind that may be computed. All is given at once.
    pub(crate) async fn read_all(
        &self,
        user: &User,
        resource: &Arc<Resource>,
        namespace: Option<&str>,
        options: &ListOptions,
    ) -> Result<List<Object>> {
        self.authorize_several(user, "list", resource, namespace, options)?;
        check_verb(resource, "list")?;
        let Some(computed) = of(resource) else {
            return self.selected(resource, namespace, options).await;
        };
        let wanted = Wanted { resource, filter: Filter::new(resource, namespace, options)? };
        let items = computed.list(self, namespace, &wanted).await?;
        let revision = self.store().revision();
        Ok(List { items, revision, continue_token: None, remaining: None })
    }

    /// The agent of a node, where nodes are reached.
    fn node(&self, name: &str) -> Result<Arc<dyn NodeConnection>> {
        let nodes: &dyn NodeDirectory = self.nodes().ok_or_else(|| {
            ApiError::new(Reason::ServiceUnavailable, "this server reaches no nodes")
        })?;
        nodes.node(name)
    }
}
