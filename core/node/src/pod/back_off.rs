use std::time::Duration;

use tokio::time::Instant;

/// The first delay, and the longest.
const FIRST: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(300);
/// What went well for so long starts anew.
const FORGIVEN_AFTER: Duration = Duration::from_secs(600);

/// How long to wait between attempts at something that keeps failing: a container that exits, an
/// image that cannot be pulled. The first failure costs nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct BackOff {
    last: Option<(Instant, Duration)>,
}

impl BackOff {
    /// When the next attempt may be made after a failure at `failed`; `None` for at once.
    pub(crate) fn until(&self, failed: Instant) -> Option<Instant> {
        let (attempt, delay) = self.last?;
        (failed.saturating_duration_since(attempt) <= FORGIVEN_AFTER).then(|| failed + delay)
    }

    /// How long the wait is that [`BackOff::until`] speaks of.
    pub(crate) fn delay(&self) -> Duration {
        self.last.map_or(FIRST, |(_, delay)| delay)
    }

    /// Notes an attempt made now, after a failure at `failed`.
    pub(crate) fn attempt(&mut self, failed: Instant, now: Instant) {
        let delay = match self.until(failed) {
            None => FIRST,
            Some(_) => (self.delay() * 2).min(LONGEST),
        };
        self.last = Some((now, delay));
    }

    /// Forgets all failures.
    pub(crate) fn reset(&mut self) {
        self.last = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[tokio::test(start_paused = true)]
    async fn a_crashing_container_waits_from_ten_seconds_to_five_minutes() {
        let mut now = Instant::now();
        let mut back_off = BackOff::default();
        let mut waits = Vec::new();
        for _ in 0..8 {
            let until = back_off.until(now).unwrap_or(now);
            waits.push((until - now).as_secs());
            back_off.attempt(now, until);
            now = until + seconds(1);
        }
        assert_eq!(waits, [0, 10, 20, 40, 80, 160, 300, 300]);
    }

    #[tokio::test(start_paused = true)]
    async fn ten_good_minutes_are_a_new_start() {
        let start = Instant::now();
        let mut back_off = BackOff::default();
        back_off.attempt(start, start);
        back_off.attempt(start, start + seconds(10));
        assert_eq!(back_off.until(start + seconds(20)), Some(start + seconds(40)));
        let later = start + seconds(611);
        assert_eq!(back_off.until(later), None);
        back_off.attempt(later, later);
        assert_eq!(back_off.until(later + seconds(1)), Some(later + seconds(11)));
    }
}
