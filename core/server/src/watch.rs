use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use pinnace_api::{Key, Object, Resource, Result};
use pinnace_client::{ListOptions, WatchEvent, WatchStream};
use pinnace_store::{Change, Cursor, Event, Store, StoreError};
use tokio::time::Instant;

use crate::create::storage_error;
use crate::read::{Filter, check_verb};
use crate::versions::selects_converted;
use crate::{Server, User};

/// The table of the definitions of custom kinds, which are named as the tables of their objects.
const DEFINITIONS: &str = "customresourcedefinitions.apiextensions.k8s.io";
/// How often a watch that asked for it is told how far it is.
const BOOKMARK_INTERVAL: Duration = Duration::from_secs(60);
/// How long before its end a watch is told so once more.
const LAST_BOOKMARK: Duration = Duration::from_secs(2);
/// How long a version that is to come is waited for.
const VERSION_PATIENCE: Duration = Duration::from_secs(3);

impl Server {
    pub(crate) async fn watch(
        &self,
        user: &User,
        resource: Arc<Resource>,
        namespace: Option<&str>,
        options: &ListOptions,
    ) -> Result<WatchStream> {
        self.authorize_several(user, "watch", &resource, namespace, options)?;
        check_verb(&resource, "watch")?;
        let filter = Filter::new(&resource, namespace, options)?;
        let converter = selects_converted(&resource, options).then(|| self.clone());
        let mut initial = VecDeque::new();
        let version = options.resource_version.unwrap_or(0);
        self.wait_for(version).await?;
        let from = if options.initial_events.unwrap_or(version == 0) {
            let all = ListOptions {
                labels: options.labels.clone(),
                fields: options.fields.clone(),
                ..ListOptions::default()
            };
            let list = self.selected(&resource, namespace, &all).await?;
            initial.extend(list.items.into_iter().map(WatchEvent::Added));
            if options.bookmarks {
                initial.push_back(WatchEvent::Bookmark(list.revision, true));
            }
            list.revision
        } else if version > 0 {
            version
        } else {
            self.store().revision()
        };
        let cursor =
            self.store().watch(resource.table(), from).map_err(|error| storage_error(&error))?;
        let last_bookmark = options
            .timeout
            .map(|timeout| Instant::now() + timeout.checked_sub(LAST_BOOKMARK).unwrap_or_default());
        let next_bookmark = if options.bookmarks { bookmark_after(last_bookmark) } else { None };
        let definition = Definition::of(&resource, self.store())?;
        let state = Watch {
            definition,
            converter,
            resource,
            filter,
            initial,
            cursor,
            next_bookmark,
            last_bookmark,
            ended: false,
        };
        Ok(futures::stream::unfold(Box::new(state), Watch::step).boxed())
    }

    /// Waits a little for a revision that has not happened yet. It may never happen: a store in
    /// memory begins anew, and who comes with a version from before has to learn that.
    async fn wait_for(&self, revision: u64) -> Result<()> {
        // Which of the two ended the waiting shows in what follows.
        let _ = tokio::time::timeout(VERSION_PATIENCE, self.store().reached(revision)).await;
        let current = self.store().revision();
        if revision > current {
            return Err(storage_error(&StoreError::Future { requested: revision, current }));
        }
        Ok(())
    }
}

/// When the next bookmark is due: after the usual time, or when the last one is.
fn bookmark_after(last: Option<Instant>) -> Option<Instant> {
    let now = Instant::now();
    let usual = now + BOOKMARK_INTERVAL;
    let next = last.map_or(usual, |last| last.min(usual));
    (next > now).then_some(next)
}

struct Watch {
    definition: Option<Definition>,
    /// Who converts objects before they are looked at, where that matters.
    converter: Option<Server>,
    resource: Arc<Resource>,
    filter: Filter,
    initial: VecDeque<WatchEvent>,
    cursor: Cursor,
    next_bookmark: Option<Instant>,
    last_bookmark: Option<Instant>,
    ended: bool,
}

impl Watch {
    /// The next event. Thousands of these wait at once, so what is rare is in boxes.
    async fn step(mut self: Box<Self>) -> Option<(Result<WatchEvent>, Box<Self>)> {
        if let Some(event) = self.initial.pop_front() {
            return Some((Ok(event), self));
        }
        if self.ended {
            return None;
        }
        loop {
            // What has happened before the end of a kind is still told.
            let next = tokio::select! {
                biased;
                event = self.cursor.next() => Some(event),
                () = goes(self.definition.as_mut()) => return None,
                () = passes(self.next_bookmark) => None,
            };
            match next {
                None => {
                    self.next_bookmark = bookmark_after(self.last_bookmark);
                    let revision = self.cursor.revision();
                    return Some((Ok(WatchEvent::Bookmark(revision, false)), self));
                }
                Some(Ok(event)) => {
                    let shown = match &self.converter {
                        None => self.show(&event),
                        Some(server) => {
                            let converted = server.loaded_event(&self.resource, &event);
                            let converted = Box::pin(converted).await;
                            converted.and_then(|event| self.show(&event))
                        }
                    };
                    match shown {
                        Ok(None) => {}
                        Ok(Some(event)) => return Some((Ok(event), self)),
                        Err(error) => {
                            self.ended = true;
                            return Some((Err(error), self));
                        }
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
    /// has been added, one that ceases to match is gone, and was last seen as it matched.
    fn show(&self, event: &Event) -> Result<Option<WatchEvent>> {
        let matches = |object: &&Object| self.filter.matches(&self.resource, object);
        let object = &event.object;
        if event.change == Change::Deleted {
            return Ok(matches(&object).then(|| WatchEvent::Deleted(object.clone())));
        }
        let previous = event.previous.as_ref().filter(matches);
        Ok(match (previous, matches(&object)) {
            (None, true) => Some(WatchEvent::Added(object.clone())),
            (Some(_), true) => Some(WatchEvent::Modified(object.clone())),
            (Some(last), false) => Some(WatchEvent::Deleted(last.draft()?.commit(event.revision))),
            (None, false) => None,
        })
    }
}

/// Waits until a kind goes, which a built-in one never does.
async fn goes(definition: Option<&mut Definition>) {
    match definition {
        Some(definition) => Box::pin(definition.goes()).await,
        None => std::future::pending().await,
    }
}

async fn passes(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// The definition of a custom kind: when it has gone, nothing of the kind happens any more.
struct Definition {
    /// Its name, which is also that of the table of the kind's objects.
    name: Arc<str>,
    store: Store,
    cursor: Cursor,
}

impl Definition {
    fn of(resource: &Resource, store: &Store) -> Result<Option<Self>> {
        if !resource.is_custom() {
            return Ok(None);
        }
        let cursor = store.watch(DEFINITIONS, store.revision());
        let cursor = cursor.map_err(|error| storage_error(&error))?;
        Ok(Some(Self { name: resource.table().clone(), store: store.clone(), cursor }))
    }

    /// Waits until it goes.
    async fn goes(&mut self) {
        let Self { name, store, cursor } = self;
        loop {
            match cursor.next().await {
                Ok(event) => {
                    if matches!(event.change, Change::Deleted) && event.key.name() == &**name {
                        return;
                    }
                }
                Err(StoreError::Expired { .. }) => {
                    // What was missed is told by what is there.
                    let Ok(anew) = store.watch(DEFINITIONS, store.revision()) else { return };
                    *cursor = anew;
                    if store.snapshot().get(DEFINITIONS, &Key::cluster(&**name)).is_none() {
                        return;
                    }
                }
                // The store has closed, which ends everything.
                Err(_) => return std::future::pending().await,
            }
        }
    }
}
