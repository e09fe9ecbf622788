use std::cmp::Ordering;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::framework::{Events, Plugin, PluginIndex, PluginSet};
use crate::pod::PodInfo;

/// A pod that waits to be scheduled.
#[derive(Clone, Debug)]
pub struct QueuedPod {
    pub(super) pod: Arc<PodInfo>,
    pub(super) since: Instant,
    pub(super) attempts: u32,
}

impl QueuedPod {
    /// The pod.
    pub fn pod(&self) -> &Arc<PodInfo> {
        &self.pod
    }

    /// When it was last put into the queue.
    pub fn since(&self) -> Instant {
        self.since
    }

    /// How often it was tried.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }
}

/// Where a pod of the queue is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// To be tried next.
    Active,
    /// To be tried after a while, or sooner when there is nothing else to do.
    Backoff,
    /// To be tried after a while: something was broken.
    ErrorBackoff,
    /// Waits for something to happen that may help it.
    Unschedulable,
    /// Is being scheduled or bound.
    InFlight,
}

/// All that the queue knows about a pod.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) queued: QueuedPod,
    pub(super) place: Place,
    /// Tells where it is now from where it was: entries of heaps with another number are stale.
    pub(super) turn: u64,
    pub(super) refusals: u32,
    pub(super) errors: u32,
    pub(super) rejected: PluginSet,
    pub(super) pending: PluginSet,
    pub(super) gate: Option<PluginIndex>,
    /// When it was taken out, counted in events.
    pub(super) taken: u64,
    /// What happened to itself meanwhile.
    pub(super) own: Events,
}

impl Item {
    pub(super) fn new(pod: Arc<PodInfo>, now: Instant) -> Self {
        Self {
            queued: QueuedPod { pod, since: now, attempts: 0 },
            place: Place::InFlight,
            turn: 0,
            refusals: 0,
            errors: 0,
            rejected: PluginSet::default(),
            pending: PluginSet::default(),
            gate: None,
            taken: 0,
            own: Events::NONE,
        }
    }

    /// When it may be tried again: the wait doubles with every failure of the same sort.
    pub(super) fn backoff_end(&self, first: Duration, most: Duration) -> Instant {
        let failures = if self.errors > 0 { self.errors } else { self.refusals };
        let wait = match failures {
            0 => Duration::ZERO,
            many => first.saturating_mul(1 << (many - 1).min(16)).min(most),
        };
        self.queued.since + wait
    }

    pub(super) fn group(&self) -> Group {
        Group {
            profile: self.queued.pod.profile(),
            class: self.queued.pod.class().id(),
            rejected: self.rejected,
            pending: self.pending,
            gate: self.gate,
        }
    }
}

/// What pods have in common that the same events help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Group {
    pub(super) profile: usize,
    pub(super) class: u64,
    pub(super) rejected: PluginSet,
    pub(super) pending: PluginSet,
    pub(super) gate: Option<PluginIndex>,
}

/// A pod in the order of the queue: the greatest is next.
pub(super) struct Next {
    pub(super) pod: QueuedPod,
    pub(super) turn: u64,
    pub(super) sort: Arc<dyn Plugin>,
}

impl Next {
    fn less(&self, other: &Self) -> bool {
        self.sort.as_queue_sort().is_some_and(|sort| sort.less(&self.pod, &other.pod))
    }
}

impl Ord for Next {
    fn cmp(&self, other: &Self) -> Ordering {
        if self.less(other) {
            Ordering::Greater
        } else if other.less(self) {
            Ordering::Less
        } else {
            // Whoever came first, so that equal pods keep their order.
            other.turn.cmp(&self.turn)
        }
    }
}

impl PartialOrd for Next {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Next {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Next {}
