use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use tokio::time::Instant;

/// Pods by when something is due for them. Entries are not removed when a pod moves on; whoever
/// takes one out looks whether its turn is still the pod's.
#[derive(Debug, Default)]
pub(super) struct Timers(BinaryHeap<Reverse<(Instant, u64, Arc<str>)>>);

impl Timers {
    pub(super) fn push(&mut self, at: Instant, turn: u64, uid: Arc<str>) {
        self.0.push(Reverse((at, turn, uid)));
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Drops the entries that are not current.
    pub(super) fn clean(&mut self, current: impl Fn(&str, u64) -> bool) {
        self.0.retain(|Reverse((_, turn, uid))| current(uid, *turn));
    }

    pub(super) fn pop(&mut self) -> Option<(Arc<str>, u64)> {
        let Reverse((_, turn, uid)) = self.0.pop()?;
        Some((uid, turn))
    }

    pub(super) fn pop_due(&mut self, now: Instant) -> Option<(Arc<str>, u64)> {
        let Reverse((at, _, _)) = self.0.peek()?;
        if *at <= now { self.pop() } else { None }
    }

    /// When the first entry is due that is still current; drops those before it.
    pub(super) fn next(&mut self, current: impl Fn(&str, u64) -> bool) -> Option<Instant> {
        loop {
            let Reverse((at, turn, uid)) = self.0.peek()?;
            if current(uid, *turn) {
                return Some(*at);
            }
            self.0.pop();
        }
    }
}
