use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use pinnace_api::Key;

/// The wait after a first failure on a node; it doubles with each, up to the most.
const FIRST: Duration = Duration::from_secs(1);
const MOST: Duration = Duration::from_secs(15 * 60);

/// How long failed pods of a set are left on each node, so that a pod which its node refuses is
/// not made anew without pause.
#[derive(Default)]
pub(super) struct Backoffs(Mutex<HashMap<Key, Nodes, ahash::RandomState>>);

type Nodes = HashMap<String, Backoff, ahash::RandomState>;

#[derive(Clone, Copy)]
struct Backoff {
    delay: Duration,
    since: Timestamp,
}

impl Backoff {
    fn age(self, now: Timestamp) -> Duration {
        Duration::try_from(now.duration_since(self.since)).unwrap_or(Duration::ZERO)
    }
}

impl Backoffs {
    /// Asks to delete a failed pod of a set on a node: how long that has to wait still, or
    /// `None`, and then the next one waits longer.
    pub(super) fn next(&self, set: &Key, node: &str, now: Timestamp) -> Option<Duration> {
        let mut all = self.0.lock();
        let nodes = all.entry(set.clone()).or_default();
        if let Some(backoff) = nodes.get(node) {
            let left = backoff.delay.saturating_sub(backoff.age(now));
            if !left.is_zero() {
                return Some(left);
            }
        }
        // Long without a failure is as never failed.
        nodes.retain(|_, backoff| backoff.age(now) <= MOST * 2);
        let delay = nodes.get(node).map_or(FIRST, |backoff| (backoff.delay * 2).min(MOST));
        nodes.insert(node.to_owned(), Backoff { delay, since: now });
        None
    }

    /// Forgets a set.
    pub(super) fn forget(&self, set: &Key) {
        self.0.lock().remove(set);
    }
}
