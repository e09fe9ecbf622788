use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Weak;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::slot::Slot;

/// When which pods are to be looked at again: one timer for all of them.
#[derive(Default)]
pub(crate) struct Alarms {
    heap: Mutex<BinaryHeap<Reverse<Alarm>>>,
    sooner: Notify,
}

struct Alarm {
    at: Instant,
    slot: Weak<Slot>,
}

impl PartialEq for Alarm {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for Alarm {}

impl PartialOrd for Alarm {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Alarm {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.at.cmp(&other.at)
    }
}

impl Alarms {
    /// Adds an alarm. It cannot be taken back: who no longer needs it is woken for nothing. A slot
    /// adds one only if it has none that comes sooner, which bounds how many there are.
    pub(crate) fn add(&self, at: Instant, slot: Weak<Slot>) {
        let mut heap = self.heap.lock();
        let first = heap.peek().is_none_or(|Reverse(first)| at < first.at);
        heap.push(Reverse(Alarm { at, slot }));
        drop(heap);
        if first {
            self.sooner.notify_one();
        }
    }

    /// Calls `ring` for every alarm when its time has come; never ends.
    pub(crate) async fn run(&self, ring: impl Fn(&std::sync::Arc<Slot>)) {
        loop {
            let next = self.heap.lock().peek().map(|Reverse(first)| first.at);
            match next {
                None => self.sooner.notified().await,
                Some(at) => {
                    tokio::select! {
                        () = tokio::time::sleep_until(at) => {}
                        () = self.sooner.notified() => {}
                    }
                }
            }
            let now = Instant::now();
            while let Some(slot) = self.take_due(now) {
                if let Some(slot) = slot.upgrade() {
                    ring(&slot);
                }
            }
        }
    }

    fn take_due(&self, now: Instant) -> Option<Weak<Slot>> {
        let mut heap = self.heap.lock();
        if heap.peek().is_some_and(|Reverse(first)| first.at <= now) {
            heap.pop().map(|Reverse(alarm)| alarm.slot)
        } else {
            None
        }
    }
}
