//! Where objects change between the version that a client speaks and the one that is stored. All
//! between here and the store is about the stored version, strategies and admission included;
//! only ownership is kept of the fields that the client sees.

use std::sync::Arc;

use futures::StreamExt as _;
use pinnace_api::{Draft, Object, Resource, Result};
use pinnace_client::{List, Subresource, Target, WatchEvent, WatchStream};

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
}

/// An answer, as the client of this version sees it.
pub(crate) fn served(target: &Target, answer: Result<Object>) -> Result<Object> {
    match target.subresource {
        // The same in all versions.
        Some(Subresource::Scale) => answer,
        _ => target.resource.to_served(answer?),
    }
}

/// As [`served`], for a list.
pub(crate) fn served_list(
    resource: &Resource,
    answer: Result<List<Object>>,
) -> Result<List<Object>> {
    let mut list = answer?;
    if resource.converts() {
        let items = list.items.into_iter().map(|object| resource.to_served(object));
        list.items = items.collect::<Result<_>>()?;
    }
    Ok(list)
}

/// As [`served`], for a watch.
pub(crate) fn served_events(resource: Arc<Resource>, events: WatchStream) -> WatchStream {
    if !resource.converts() {
        return events;
    }
    let serve = move |event: WatchEvent| {
        Ok(match event {
            WatchEvent::Added(object) => WatchEvent::Added(resource.to_served(object)?),
            WatchEvent::Modified(object) => WatchEvent::Modified(resource.to_served(object)?),
            WatchEvent::Deleted(object) => WatchEvent::Deleted(resource.to_served(object)?),
            mark @ WatchEvent::Bookmark(..) => mark,
        })
    };
    events.map(move |event| event.and_then(&serve)).boxed()
}
