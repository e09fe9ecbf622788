use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::StoreError;
use crate::core::Feed;
use crate::log::{Event, Place, TableLog};

/// A watch: a place in the event log of a table.
///
/// It holds no events of its own, so an idle cursor costs next to nothing, and one that falls too
/// far behind learns so from [`StoreError::Expired`].
pub struct Cursor {
    place: Place,
    log: Arc<TableLog>,
    feed: Arc<Feed>,
}

impl Cursor {
    pub(crate) fn new(place: Place, log: Arc<TableLog>, feed: Arc<Feed>) -> Self {
        Self { place, log, feed }
    }

    /// The next event, as soon as there is one.
    ///
    /// Cancel-safe: an event is given once, and dropping the future loses none.
    ///
    /// # Errors
    /// [`StoreError::Expired`] when the log was cut off ahead of the cursor: list and watch anew.
    /// [`StoreError::Closed`] when the store is closed and all events have been given.
    pub async fn next(&mut self) -> Result<Arc<Event>, StoreError> {
        // A long backlog must not keep a thread of the runtime to itself.
        tokio::task::coop::consume_budget().await;
        if let Some(event) = self.try_next()? {
            return Ok(event);
        }
        let log = self.log.clone();
        loop {
            let mut appended = pin!(log.appended.notified());
            appended.as_mut().enable();
            if let Some(event) = self.try_next()? {
                return Ok(event);
            }
            appended.await;
        }
    }

    /// The next event if there is one already.
    ///
    /// # Errors
    /// As [`Cursor::next`].
    pub fn try_next(&mut self) -> Result<Option<Arc<Event>>, StoreError> {
        // Asked first: events logged before the end are still given.
        let closed = self.feed.closed.load(Ordering::Acquire);
        match self.place.step() {
            Ok(None) if closed => Err(StoreError::Closed),
            Ok(event) => Ok(event),
            Err(_) => Err(StoreError::Expired {
                requested: self.place.revision,
                oldest: self.log.floor(),
            }),
        }
    }

    /// All events of the table up to this revision have been given. It moves with the whole
    /// store, also while nothing happens in the table: what a bookmark tells.
    pub fn revision(&self) -> u64 {
        // Asked first: events up to here are in the log when it is looked at.
        let logged = self.feed.logged.load(Ordering::Acquire);
        self.place.reached(logged)
    }
}

impl fmt::Debug for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cursor(@{})", self.revision())
    }
}
