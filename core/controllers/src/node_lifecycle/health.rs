use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// When nodes were heard of last, by our own clock: theirs may be wrong.
#[derive(Debug, Default)]
pub(super) struct Health(Mutex<HashMap<String, Instant, ahash::RandomState>>);

impl Health {
    /// Takes a node in that is new, as if it had been heard of now. Says whether it is new.
    pub(super) fn meet(&self, node: &str) -> bool {
        let mut nodes = self.0.lock();
        let new = !nodes.contains_key(node);
        if new {
            nodes.insert(node.to_owned(), Instant::now());
        }
        new
    }

    /// Notes that a node gave a sign of life.
    pub(super) fn heard(&self, node: &str) {
        if let Some(last) = self.0.lock().get_mut(node) {
            *last = Instant::now();
        }
    }

    /// Gives every node its time anew.
    pub(super) fn heard_all(&self) {
        let now = Instant::now();
        self.0.lock().values_mut().for_each(|last| *last = now);
    }

    /// How long nothing was heard of a node.
    pub(super) fn silence(&self, node: &str) -> Duration {
        self.0.lock().get(node).map_or(Duration::ZERO, Instant::elapsed)
    }

    /// Forgets a node that is gone.
    pub(super) fn forget(&self, node: &str) {
        self.0.lock().remove(node);
    }
}
