use std::collections::VecDeque;
use std::sync::{Arc, OnceLock, Weak};

use parking_lot::Mutex;
use pinnace_api::{Key, Object};
use tokio::sync::Notify;

use crate::StoreError;

/// How many events a segment of the log has room for: the log is cut off in such pieces.
const SEGMENT_EVENTS: usize = 64;

/// One event of a segment in this many is measured to estimate what the segment holds in memory.
const SAMPLED_EVENTS: usize = 8;

/// What an object takes in memory beside its JSON form: headers, and the typed form, which is
/// about as large again as the JSON.
const OBJECT_OVERHEAD_BYTES: usize = 512;

/// How far back the event log of each table reaches. What comes first cuts it off; the last
/// segment (64 events) always stays.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The number of events.
    pub log_events: usize,
    /// Their size in memory in bytes, by estimate.
    pub log_bytes: usize,
}

impl Limits {
    /// Events kept per table unless asked otherwise.
    pub const LOG_EVENTS: usize = 10_000;
    /// Bytes of events kept per table unless asked otherwise: 10,000 versions of a usual pod.
    pub const LOG_BYTES: usize = 64 << 20;
}

impl Default for Limits {
    fn default() -> Self {
        Self { log_events: Self::LOG_EVENTS, log_bytes: Self::LOG_BYTES }
    }
}

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Change {
    /// It was not there before.
    Added,
    /// It was replaced by a new version.
    Modified,
    /// It was removed.
    Deleted,
}

/// One change of one object, stored once whatever the number of watchers.
#[derive(Clone, Debug)]
pub struct Event {
    /// The revision of the change; no two events have the same.
    pub revision: u64,
    /// What happened.
    pub change: Change,
    /// The key of the object.
    pub key: Key,
    /// The new version; for a removal the last one, with the revision of the removal as its
    /// `resourceVersion`.
    pub object: Object,
    /// The version before.
    pub previous: Option<Object>,
}

/// The events of one table.
pub(crate) struct TableLog {
    segments: Mutex<Segments>,
    pub(crate) appended: Notify,
}

struct Segments {
    /// Never empty; each is linked to the next. The last has room.
    list: VecDeque<Sealed>,
    /// Events in the last segment.
    filled: usize,
    /// Estimated size of all but the last segment.
    bytes: usize,
    /// Every event after this revision is there.
    floor: u64,
    limits: Limits,
}

struct Sealed {
    segment: Arc<Segment>,
    /// 0 for the last segment, which is still being filled.
    bytes: usize,
}

/// A piece of the log. Readers follow it without a lock: a slot is filled once, and so is the
/// link. Cursors refer to it weakly, so that one that nobody reads keeps nothing in memory.
struct Segment {
    slots: Box<[OnceLock<Arc<Event>>]>,
    next: OnceLock<Arc<Segment>>,
}

impl Segment {
    fn new() -> Arc<Self> {
        let slots = (0..SEGMENT_EVENTS).map(|_| OnceLock::new()).collect();
        Arc::new(Self { slots, next: OnceLock::new() })
    }

    fn events(&self) -> impl DoubleEndedIterator<Item = &Arc<Event>> {
        self.slots.iter().filter_map(OnceLock::get)
    }

    fn last_revision(&self) -> Option<u64> {
        self.events().next_back().map(|event| event.revision)
    }

    /// The previous version of each object is the version of an earlier event, so only one version
    /// per event is counted.
    fn estimate_bytes(&self) -> usize {
        let sampled: usize = self
            .events()
            .step_by(SAMPLED_EVENTS)
            .map(|event| OBJECT_OVERHEAD_BYTES + 2 * event.object.json_size())
            .sum();
        sampled * SAMPLED_EVENTS
    }
}

impl TableLog {
    /// A log that knows of everything after `floor`.
    pub(crate) fn new(floor: u64, limits: Limits) -> Self {
        let list = VecDeque::from([Sealed { segment: Segment::new(), bytes: 0 }]);
        let segments = Segments { list, filled: 0, bytes: 0, floor, limits };
        Self { segments: Mutex::new(segments), appended: Notify::new() }
    }

    /// Appends an event; waking who waits is the caller's, after all events are in their logs.
    pub(crate) fn append(&self, event: Arc<Event>) {
        let evicted = self.segments.lock().append(event);
        drop(evicted);
    }

    /// Lets go of events up to a revision, as far as they fill segments.
    pub(crate) fn forget(&self, until: u64) {
        let past =
            |sealed: &Sealed| sealed.segment.last_revision().is_some_and(|last| last <= until);
        let evicted =
            self.segments.lock().cut_off(|segments| segments.list.front().is_some_and(past));
        drop(evicted);
    }

    /// The place after the last event up to `after`.
    pub(crate) fn seek(&self, after: u64) -> Result<Place, StoreError> {
        let segments = self.segments.lock();
        segments.check_floor(after)?;
        let index = segments
            .list
            .partition_point(|sealed| {
                sealed.segment.last_revision().is_some_and(|last| last <= after)
            })
            .min(segments.list.len() - 1);
        let segment = Arc::downgrade(&segments.list[index].segment);
        Ok(Place { segment, index: 0, revision: after })
    }

    /// The events with a revision after `after` and up to `until`, latest first.
    pub(crate) fn backwards(&self, after: u64, until: u64) -> Result<Vec<Arc<Event>>, StoreError> {
        let segments = self.segments.lock();
        segments.check_floor(after)?;
        let events = segments.list.iter().rev().flat_map(|sealed| sealed.segment.events().rev());
        Ok(events
            .skip_while(|event| event.revision > until)
            .take_while(|event| event.revision > after)
            .cloned()
            .collect())
    }

    /// The oldest revision that can be asked for.
    pub(crate) fn floor(&self) -> u64 {
        self.segments.lock().floor
    }
}

impl Segments {
    /// Appends and returns what was cut off, to be dropped outside the lock.
    fn append(&mut self, event: Arc<Event>) -> Vec<Sealed> {
        let Some(last) = self.list.back_mut() else { return Vec::new() };
        // A slot past the filled ones is empty, so this never fails.
        let _ = last.segment.slots[self.filled].set(event);
        self.filled += 1;
        if self.filled < SEGMENT_EVENTS {
            return Vec::new();
        }
        last.bytes = last.segment.estimate_bytes();
        self.bytes += last.bytes;
        let segment = Segment::new();
        let _ = last.segment.next.set(segment.clone());
        self.list.push_back(Sealed { segment, bytes: 0 });
        self.filled = 0;
        self.cut_off(Self::is_beyond_limits)
    }

    /// Cuts off what comes first for as long as there is too much. The last segment stays.
    fn cut_off(&mut self, too_much: impl Fn(&Self) -> bool) -> Vec<Sealed> {
        let mut evicted = Vec::new();
        while self.list.len() > 1 && too_much(self) {
            let Some(front) = self.list.pop_front() else { break };
            self.bytes -= front.bytes;
            self.floor = front.segment.last_revision().unwrap_or(self.floor);
            evicted.push(front);
        }
        evicted
    }

    /// Whether the log without its first segment would still hold as many events as it may.
    fn is_beyond_limits(&self) -> bool {
        // The last segment is empty when this is asked.
        let others = self.list.len().saturating_sub(2);
        others * SEGMENT_EVENTS >= self.limits.log_events
            || others > 0 && self.bytes > self.limits.log_bytes
    }

    fn check_floor(&self, revision: u64) -> Result<(), StoreError> {
        if revision < self.floor {
            return Err(StoreError::Expired { requested: revision, oldest: self.floor });
        }
        Ok(())
    }
}

/// A place in a log between two events.
pub(crate) struct Place {
    segment: Weak<Segment>,
    index: usize,
    /// All events of the table up to here are behind.
    pub(crate) revision: u64,
}

impl Place {
    /// Steps over the next event. An error says that the log was cut off ahead of this place.
    pub(crate) fn step(&mut self) -> Result<Option<Arc<Event>>, Cut> {
        let mut segment = self.segment.upgrade().ok_or(Cut)?;
        loop {
            let Some(slot) = segment.slots.get(self.index) else {
                let Some(next) = segment.next.get().cloned() else { return Ok(None) };
                self.segment = Arc::downgrade(&next);
                self.index = 0;
                segment = next;
                continue;
            };
            let Some(event) = slot.get() else { return Ok(None) };
            self.index += 1;
            if event.revision > self.revision {
                self.revision = event.revision;
                return Ok(Some(event.clone()));
            }
        }
    }

    /// The revision up to which no event is ahead, if the log is complete up to `logged`.
    pub(crate) fn reached(&self, logged: u64) -> u64 {
        let Some(mut segment) = self.segment.upgrade() else { return self.revision };
        let mut index = self.index;
        loop {
            match segment.slots.get(index).map(OnceLock::get) {
                Some(Some(event)) if event.revision > self.revision => return event.revision - 1,
                Some(Some(_)) => index += 1,
                Some(None) => return self.revision.max(logged),
                None => match segment.next.get().cloned() {
                    Some(next) => (segment, index) = (next, 0),
                    None => return self.revision.max(logged),
                },
            }
        }
    }
}

/// The log no longer has the next event.
pub(crate) struct Cut;
