use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

/// The wall clock of an engine.
///
/// Cheap to clone; all clones tell the same time.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    /// Wall time that moves with Tokio's clock from a fixed start.
    Following {
        start: Timestamp,
        since: Instant,
    },
}

/// Where a simulated clock starts: 2030-01-01T00:00:00Z, far from any real log line.
const SIMULATED_START_SECONDS: i64 = 1_893_456_000;

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that starts at 2030-01-01T00:00:00Z and follows Tokio's clock.
    pub fn simulated() -> Self {
        Self::following(Timestamp::constant(SIMULATED_START_SECONDS, 0))
    }

    /// A clock that shows `start` now and follows Tokio's clock from here on.
    pub fn following(start: Timestamp) -> Self {
        Self(Source::Following { start, since: Instant::now() })
    }

    /// The present moment, with the clock's full precision.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that reads the machine's clock"
    )]
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Source::System => Timestamp::now(),
            Source::Following { start, since } => {
                start.checked_add(since.elapsed()).unwrap_or(Timestamp::MAX)
            }
        }
    }

    /// The present moment in whole seconds, as Kubernetes writes `metav1.Time`.
    pub fn now_seconds(&self) -> Timestamp {
        Timestamp::from_second(self.now().as_second()).unwrap_or(Timestamp::MIN)
    }

    /// The present moment in whole microseconds, as Kubernetes writes `metav1.MicroTime`.
    pub fn now_micros(&self) -> Timestamp {
        Timestamp::from_microsecond(self.now().as_microsecond()).unwrap_or(Timestamp::MIN)
    }

    /// How long it is from now until `moment`; zero when it has passed.
    pub fn until(&self, moment: Timestamp) -> Duration {
        Duration::try_from(moment.duration_since(self.now())).unwrap_or(Duration::ZERO)
    }

    /// How long it is since `moment`; zero when it lies ahead.
    pub fn since(&self, moment: Timestamp) -> Duration {
        Duration::try_from(self.now().duration_since(moment)).unwrap_or(Duration::ZERO)
    }
}

/// Measures how long something took, on the monotonic clock of the machine (never virtual): for
/// figures that people read, not for decisions.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(std::time::Instant);

impl Stopwatch {
    /// Starts measuring.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the monotonic clock")]
    pub fn start() -> Self {
        Self(std::time::Instant::now())
    }

    /// The time since the start.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_simulated_clock_follows_paused_time() {
        let clock = Clock::simulated();
        let before = clock.now();
        tokio::time::advance(Duration::from_secs(90)).await;
        assert_eq!(clock.since(before), Duration::from_secs(90));
        assert_eq!(clock.until(before), Duration::ZERO);
        assert_eq!(clock.now_seconds().to_string(), "2030-01-01T00:01:30Z");
    }
}
