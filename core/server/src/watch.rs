use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use pinnace_api::{Resource, Result};
use pinnace_client::{ListOptions, WatchEvent, WatchStream};
use pinnace_store::{Change, Cursor, Event};
use tokio::time::Instant;

use crate::create::storage_error;
use crate::read::{Filter, check_verb};
use crate::{Server, User};

/// How often a watch that asked for it is told how far it is.
const BOOKMARK_INTERVAL: Duration = Duration::from_secs(60);

impl Server {
    pub(crate) fn watch(
        &self,
        user: &User,
        resource: Arc<Resource>,
        namespace: Option<&str>,
        options: &ListOptions,
    ) -> Result<WatchStream> {
        self.authorize(user, "watch", &resource, None, namespace.unwrap_or_default(), "")?;
        check_verb(&resource, "watch")?;
        let filter = Filter::new(&resource, namespace, options)?;
        let mut initial = VecDeque::new();
        let from = match options.resource_version {
            Some(revision) if revision > 0 && !options.initial_events => revision,
            _ => {
                let list = self.select(
                    &resource,
                    namespace,
                    &ListOptions {
                        labels: options.labels.clone(),
                        fields: options.fields.clone(),
                        ..ListOptions::default()
                    },
                )?;
                initial.extend(list.items.into_iter().map(WatchEvent::Added));
                if options.initial_events && options.bookmarks {
                    initial.push_back(WatchEvent::Bookmark(list.revision, true));
                }
                list.revision
            }
        };
        let cursor =
            self.store().watch(resource.table(), from).map_err(|error| storage_error(&error))?;
        let next_bookmark = options.bookmarks.then(|| Instant::now() + BOOKMARK_INTERVAL);
        let state = Watch { resource, filter, initial, cursor, next_bookmark, ended: false };
        Ok(futures::stream::unfold(state, Watch::step).boxed())
    }
}

struct Watch {
    resource: Arc<Resource>,
    filter: Filter,
    initial: VecDeque<WatchEvent>,
    cursor: Cursor,
    next_bookmark: Option<Instant>,
    ended: bool,
}

impl Watch {
    async fn step(mut self) -> Option<(Result<WatchEvent>, Self)> {
        if let Some(event) = self.initial.pop_front() {
            return Some((Ok(event), self));
        }
        if self.ended {
            return None;
        }
        loop {
            let next = match self.next_bookmark {
                None => Some(self.cursor.next().await),
                Some(at) => tokio::time::timeout_at(at, self.cursor.next()).await.ok(),
            };
            match next {
                None => {
                    self.next_bookmark = Some(Instant::now() + BOOKMARK_INTERVAL);
                    let revision = self.cursor.revision();
                    return Some((Ok(WatchEvent::Bookmark(revision, false)), self));
                }
                Some(Ok(event)) => {
                    if let Some(event) = self.show(&event) {
                        return Some((Ok(event), self));
                    }
                }
                Some(Err(error)) => {
                    self.ended = true;
                    return Some((Err(storage_error(&error)), self));
                }
            }
        }
    }

    /// What an event means to somebody who sees only what matches: an object that begins to match
    /// has been added, one that ceases to match is gone.
    fn show(&self, event: &Event) -> Option<WatchEvent> {
        let object = &event.object;
        let is = event.change != Change::Deleted && self.filter.matches(&self.resource, object);
        let was = match event.change {
            Change::Deleted => self.filter.matches(&self.resource, object),
            _ => {
                let previous = event.previous.as_ref();
                previous.is_some_and(|previous| self.filter.matches(&self.resource, previous))
            }
        };
        match (was, is) {
            (false, true) => Some(WatchEvent::Added(object.clone())),
            (true, true) => Some(WatchEvent::Modified(object.clone())),
            (true, false) => Some(WatchEvent::Deleted(object.clone())),
            (false, false) => None,
        }
    }
}
