use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use pinnace_api::Key;
use pinnace_env::Random;
use tokio::sync::Notify;
use tokio::time::Instant;

/// How long a key waits after its first failure; it doubles with each further one.
pub const RETRY_FIRST: Duration = Duration::from_millis(5);
/// How long a key waits at most.
pub const RETRY_MAX: Duration = Duration::from_secs(1000);
/// By how much of itself a wait is stretched at random, so that failures don't march in step.
const JITTER: f64 = 0.1;

/// The keys that are to be reconciled, each at most once, none twice at a time.
///
/// A key that is added while it is being worked on comes again afterwards. The queue holds at most
/// as many keys as there are objects, so it needs no bound of its own. Cheap to clone.
#[derive(Debug)]
pub struct Queue<K = Key>(Arc<Inner<K>>);

#[derive(Debug)]
struct Inner<K> {
    state: Mutex<State<K>>,
    /// Wakes workers: something is ready, or becomes so earlier than thought.
    changed: Notify,
    random: Random,
}

#[derive(Debug)]
struct State<K> {
    ready: VecDeque<K>,
    /// Waiting in `ready`, or to be put there when the work on them ends.
    dirty: HashSet<K, ahash::RandomState>,
    working: HashSet<K, ahash::RandomState>,
    failures: HashMap<K, u32, ahash::RandomState>,
    later: BinaryHeap<Reverse<(Instant, K)>>,
    /// The earliest moment of each key in `later`; other entries there are out of date.
    due: HashMap<K, Instant, ahash::RandomState>,
}

impl<K> Clone for Queue<K> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K: Clone + Ord + Hash> Queue<K> {
    /// An empty queue that takes its jitter from `random`.
    pub fn new(random: Random) -> Self {
        let state = Mutex::new(State {
            ready: VecDeque::new(),
            dirty: HashSet::default(),
            working: HashSet::default(),
            failures: HashMap::default(),
            later: BinaryHeap::new(),
            due: HashMap::default(),
        });
        Self(Arc::new(Inner { state, changed: Notify::new(), random }))
    }

    /// Asks for a key to be reconciled.
    pub fn add(&self, key: K) {
        if self.0.state.lock().add(key) {
            self.0.changed.notify_one();
        }
    }

    /// Asks for a key to be reconciled after a while, or earlier if that was asked for before.
    pub fn add_after(&self, key: K, delay: Duration) {
        if delay.is_zero() {
            return self.add(key);
        }
        let mut state = self.0.state.lock();
        let at = Instant::now() + delay;
        if state.due.get(&key).is_none_or(|due| at < *due) {
            state.due.insert(key.clone(), at);
            state.later.push(Reverse((at, key)));
            drop(state);
            self.0.changed.notify_one();
        }
    }

    /// Asks for a key that has failed to be reconciled again, later with each failure.
    pub fn retry(&self, key: K) {
        let failures = {
            let mut state = self.0.state.lock();
            let failures = state.failures.entry(key.clone()).or_default();
            *failures = failures.saturating_add(1);
            *failures
        };
        let wait = RETRY_FIRST.saturating_mul(1u32.checked_shl(failures - 1).unwrap_or(u32::MAX));
        self.add_after(key, self.0.random.jitter(wait.min(RETRY_MAX), JITTER));
    }

    /// Forgets the failures of a key.
    pub fn forget(&self, key: &K) {
        self.0.state.lock().failures.remove(key);
    }

    /// Waits for a key and takes it; [`Queue::done`] gives it back. Cancel-safe.
    pub async fn next(&self) -> K {
        loop {
            let changed = self.0.changed.notified();
            let due = {
                let mut state = self.0.state.lock();
                state.promote(Instant::now());
                if let Some(key) = state.take() {
                    // Another worker may sleep while more is ready.
                    if !state.ready.is_empty() {
                        self.0.changed.notify_one();
                    }
                    return key;
                }
                state.later.peek().map(|Reverse((at, _))| *at)
            };
            match due {
                None => changed.await,
                Some(due) => {
                    let _ = tokio::time::timeout_at(due, changed).await;
                }
            }
        }
    }

    /// Says that the work on a key has ended.
    pub fn done(&self, key: &K) {
        if self.0.state.lock().done(key) {
            self.0.changed.notify_one();
        }
    }

    /// How many keys wait to be worked on now.
    pub fn len(&self) -> usize {
        self.0.state.lock().ready.len()
    }

    /// Whether no key waits to be worked on now.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<K: Clone + Ord + Hash> State<K> {
    /// Whether a worker should look.
    fn add(&mut self, key: K) -> bool {
        if !self.dirty.insert(key.clone()) || self.working.contains(&key) {
            return false;
        }
        self.ready.push_back(key);
        true
    }

    fn take(&mut self) -> Option<K> {
        let key = self.ready.pop_front()?;
        self.dirty.remove(&key);
        self.working.insert(key.clone());
        Some(key)
    }

    fn done(&mut self, key: &K) -> bool {
        self.working.remove(key);
        let again = self.dirty.contains(key);
        if again {
            self.ready.push_back(key.clone());
        }
        again
    }

    fn promote(&mut self, now: Instant) {
        while let Some(Reverse((at, key))) = self.later.peek() {
            if self.due.get(key) != Some(at) {
                self.later.pop();
            } else if *at <= now {
                let Some(Reverse((_, key))) = self.later.pop() else { return };
                self.due.remove(&key);
                self.add(key);
            } else {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue() -> Queue {
        Queue::new(Random::seeded(1))
    }

    fn key(name: &str) -> Key {
        Key::new("default", name)
    }

    async fn empty(queue: &Queue) -> bool {
        tokio::time::timeout(Duration::from_millis(1), queue.next()).await.is_err()
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_added_twice_comes_once() {
        let queue = queue();
        queue.add(key("a"));
        queue.add(key("a"));
        assert_eq!(queue.next().await, key("a"));
        assert!(empty(&queue).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_added_during_work_comes_after_it() {
        let queue = queue();
        queue.add(key("a"));
        let working = queue.next().await;
        queue.add(key("a"));
        assert!(empty(&queue).await);
        queue.done(&working);
        assert_eq!(queue.next().await, key("a"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_delayed_key_comes_at_the_earliest_moment_asked_for() {
        let queue = queue();
        let start = Instant::now();
        queue.add_after(key("a"), Duration::from_secs(60));
        queue.add_after(key("a"), Duration::from_secs(5));
        queue.add_after(key("a"), Duration::from_secs(30));
        assert_eq!(queue.next().await, key("a"));
        assert_eq!(start.elapsed().as_secs(), 5);
        queue.done(&key("a"));
        assert!(empty(&queue).await);
        tokio::time::advance(Duration::from_secs(120)).await;
        assert!(empty(&queue).await);
    }

    #[tokio::test(start_paused = true)]
    async fn failures_wait_longer_each_time_until_forgotten() {
        let queue = queue();
        let mut waits = Vec::new();
        for _ in 0..3 {
            let start = Instant::now();
            queue.retry(key("a"));
            let next = queue.next().await;
            waits.push(start.elapsed());
            queue.done(&next);
        }
        assert!(
            waits[0] >= RETRY_FIRST && waits[1] >= 2 * RETRY_FIRST && waits[2] >= 4 * RETRY_FIRST
        );
        queue.forget(&key("a"));
        let start = Instant::now();
        queue.retry(key("a"));
        queue.next().await;
        assert!(start.elapsed() <= RETRY_FIRST * 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_hundred_failures_wait_the_longest_time() {
        let queue = queue();
        for _ in 0..100 {
            queue.retry(key("a"));
            queue.0.state.lock().due.clear();
        }
        let start = Instant::now();
        queue.retry(key("a"));
        queue.next().await;
        assert!(start.elapsed() >= RETRY_MAX);
    }
}
