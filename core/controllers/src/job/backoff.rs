//! How long a Job waits before it makes pods anew after failures.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::JobSpec;
use parking_lot::Mutex;
use pinnace_api::Key;

use super::counting::Count;
use super::policies::finished_at;

/// The wait after a first failure; it doubles with each, up to the most.
const FIRST: Duration = Duration::from_secs(10);
const MOST: Duration = Duration::from_secs(600);

/// The failures in a row of every Job. Forgetting them, as a restart does, only shortens a wait.
#[derive(Default)]
pub(super) struct Backoffs(Mutex<HashMap<Key, Failures, ahash::RandomState>>);

#[derive(Clone, Copy, Default)]
struct Failures {
    in_a_row: u32,
    last: Timestamp,
}

/// How long to wait: for all pods, and for those of an index.
pub(super) struct Delay {
    /// For pods without an index of their own delay.
    pub(super) all: Duration,
    /// By index.
    pub(super) indexes: HashMap<u32, Duration>,
}

impl Backoffs {
    /// Notes the pods that were counted.
    pub(super) fn note(&self, key: &Key, count: &Count) {
        let mut all = self.0.lock();
        let failures = all.entry(key.clone()).or_default();
        *failures = after(*failures, count);
    }

    /// Forgets a Job.
    pub(super) fn forget(&self, key: &Key) {
        self.0.lock().remove(key);
    }

    /// How long a Job has to wait, with what has ended and was not counted yet.
    pub(super) fn delay(&self, key: &Key, count: &Count, spec: &JobSpec, now: Timestamp) -> Delay {
        let known = self.0.lock().get(key).copied().unwrap_or_default();
        let failures = after(known, count);
        let mut indexes = HashMap::new();
        if spec.backoff_limit_per_index.is_some() {
            for (index, failures) in &count.failures_of_index {
                let failures = Failures { in_a_row: failures.all(), last: failures.last };
                let left = left(failures, now);
                indexes.insert(*index, left);
            }
            return Delay { all: Duration::ZERO, indexes };
        }
        Delay { all: left(failures, now), indexes }
    }
}

/// The failures in a row after more pods have ended: a success begins anew.
fn after(mut failures: Failures, count: &Count) -> Failures {
    let success = count.new_succeeded.iter().map(|pod| finished_at(pod)).max();
    if success.is_some() {
        failures = Failures::default();
    }
    for pod in &count.new_failed {
        if count.ignored.contains(pod.object().uid()) {
            continue;
        }
        let at = finished_at(pod);
        if success.is_none_or(|success| at > success) {
            failures.in_a_row += 1;
            failures.last = failures.last.max(at);
        }
    }
    failures
}

fn left(failures: Failures, now: Timestamp) -> Duration {
    if failures.in_a_row == 0 {
        return Duration::ZERO;
    }
    let doubled = FIRST.saturating_mul(1 << (failures.in_a_row - 1).min(16)).min(MOST);
    let since = Duration::try_from(now.duration_since(failures.last)).unwrap_or(Duration::ZERO);
    doubled.saturating_sub(since)
}
