//! Where objects change between the version that a client speaks and the one that is stored.
//!
//! All between here and the store is about the stored version, strategies and admission included;
//! only ownership is kept of the fields that the client sees. Kinds that a webhook converts are
//! different ([`outside`]): there all is about the version of the request, and the webhook is asked
//! where objects come out of the store and where they go there.

mod outside;

use std::sync::Arc;

use futures::StreamExt as _;
use pinnace_api::{Draft, Object, Resource, Result};
use pinnace_client::{List, Subresource, Target, WatchEvent, WatchStream};

pub(crate) use outside::selects_converted;

use crate::Server;

impl Server {
    /// What a client has sent, of the kind that the request is about: as it is stored, and
    /// defaulted.
    pub(crate) fn accept(resource: &Resource, draft: Draft) -> Result<Draft> {
        Self::check_kind(resource, &draft)?;
        let mut draft = resource.to_stored(draft)?;
        resource.strategy.default(&mut draft);
        Ok(draft)
    }

    /// An answer, as the client of this version sees it.
    pub(crate) async fn served(&self, target: &Target, answer: Result<Object>) -> Result<Object> {
        match target.subresource {
            // The same in all versions.
            Some(Subresource::Scale) => answer,
            _ => target.resource.to_served(self.loaded(&target.resource, answer?).await?),
        }
    }

    /// As [`Server::served`], for a list.
    pub(crate) async fn served_list(
        &self,
        resource: &Resource,
        answer: Result<List<Object>>,
    ) -> Result<List<Object>> {
        let mut list = answer?;
        if resource.converts() {
            let items = self.loaded_all(resource, list.items).await?;
            let items = items.into_iter().map(|object| resource.to_served(object));
            list.items = items.collect::<Result<_>>()?;
        }
        Ok(list)
    }

    /// As [`Server::served`], for a watch.
    pub(crate) fn served_events(
        &self,
        resource: Arc<Resource>,
        events: WatchStream,
    ) -> WatchStream {
        if !resource.converts() {
            return events;
        }
        let server = self.clone();
        events
            .then(move |event| {
                let (server, resource) = (server.clone(), resource.clone());
                async move { server.served_event(&resource, event?).await }
            })
            .boxed()
    }

    async fn served_event(&self, resource: &Resource, event: WatchEvent) -> Result<WatchEvent> {
        let (object, make): (_, fn(Object) -> WatchEvent) = match event {
            WatchEvent::Added(object) => (object, WatchEvent::Added),
            WatchEvent::Modified(object) => (object, WatchEvent::Modified),
            WatchEvent::Deleted(object) => (object, WatchEvent::Deleted),
            mark @ WatchEvent::Bookmark(..) => return Ok(mark),
        };
        let object = self.loaded(resource, object).await?;
        resource.to_served(object).map(make)
    }
}
