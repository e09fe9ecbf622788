use std::collections::{HashMap, HashSet};
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use pinnace_runtime::Usage;

use super::Measured;

/// How old a reading is when the next one is kept beside it: rates are over this long at least,
/// once something runs that long, as upstream's.
const KEEP_EVERY: Duration = Duration::from_secs(10);

/// CPU time as it was read before, by who has used it: rates follow from two readings. One that
/// has not been read before is counted from its start.
#[derive(Default)]
pub(crate) struct Rates(Mutex<HashMap<String, Readings, ahash::RandomState>>);

#[derive(Clone, Copy)]
struct Reading {
    at: Timestamp,
    cpu: Duration,
}

struct Readings {
    /// What is counted from.
    from: Reading,
    /// What will be counted from next.
    next: Reading,
}

/// How much CPU is in use lately.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rate {
    pub(super) nano_cores: u64,
    pub(super) window: Duration,
}

impl Rates {
    /// Takes a reading: what is in use since the one before.
    pub(super) fn read(
        &self,
        who: &str,
        usage: &Usage,
        since: Timestamp,
        now: Timestamp,
    ) -> Option<Rate> {
        if let Some(nano_cores) = usage.cpu_nano_cores {
            return Some(Rate { nano_cores, window: KEEP_EVERY });
        }
        let reading = Reading { at: now, cpu: usage.cpu };
        let start = Reading { at: since, cpu: Duration::ZERO };
        let mut all = self.0.lock();
        let kept = match all.get_mut(who) {
            Some(kept) => kept,
            None => {
                let kept = Readings { from: start, next: reading };
                all.entry(who.to_owned()).or_insert(kept)
            }
        };
        // A counter that went backwards is another one.
        if reading.cpu < kept.from.cpu || reading.at < kept.from.at {
            *kept = Readings { from: start, next: reading };
        }
        if elapsed(kept.next.at, now) >= KEEP_EVERY {
            *kept = Readings { from: kept.next, next: reading };
        }
        let window = elapsed(kept.from.at, now);
        let used = reading.cpu.saturating_sub(kept.from.cpu).as_nanos();
        let nano_cores = used.saturating_mul(1_000_000_000).checked_div(window.as_nanos())?;
        Some(Rate { nano_cores: u64::try_from(nano_cores).unwrap_or(u64::MAX), window })
    }

    /// Forgets whoever is not among these, nor the node itself.
    pub(super) fn forget_all_but(&self, measured: &[Measured]) {
        let mut all = self.0.lock();
        let known: HashSet<&str> = measured
            .iter()
            .flat_map(|one| {
                let containers = one.stats.containers.iter().map(|container| &*container.id.0);
                containers.chain([&*one.stats.pod.0])
            })
            .collect();
        all.retain(|who, _| who.is_empty() || known.contains(who.as_str()));
    }
}

fn elapsed(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_over_ten_seconds_or_since_the_start() {
        let rates = Rates::default();
        let at = |seconds: i64| Timestamp::constant(1_000_000 + seconds, 0);
        let read = |seconds, cpu| {
            let usage = Usage { cpu: Duration::from_millis(cpu), ..Usage::default() };
            let rate = rates.read("c", &usage, at(0), at(seconds)).unwrap();
            (rate.nano_cores / 1_000_000, rate.window.as_secs())
        };
        assert_eq!(read(4, 1000), (250, 4), "since the start");
        assert_eq!(read(5, 2000), (400, 5));
        assert_eq!(read(14, 11_000), (1000, 10), "since the reading that is old enough");
        assert_eq!(read(16, 12_000), (916, 12));
        assert_eq!(read(26, 12_000), (83, 12), "since the reading at 14");
        assert_eq!(read(27, 100), (3, 27), "another counter");
        let usage = Usage { cpu_nano_cores: Some(7), ..Usage::default() };
        assert_eq!(rates.read("c", &usage, at(0), at(30)).unwrap().nano_cores, 7);
        assert_eq!(rates.read("d", &Usage::default(), at(1), at(1)), None, "no time has passed");
    }
}
