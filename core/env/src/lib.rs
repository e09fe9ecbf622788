//! Time and chance, from one room.
//!
//! Every other crate of the engine asks an [`Env`] what time it is and for random numbers, so that
//! a test can pause the first and seed the second:
//!
//! - Waiting goes through `tokio::time`, which a test may pause and advance.
//! - Wall time comes from [`Clock`]: the machine's clock, or one that follows Tokio's.
//! - Randomness comes from [`Random`]: seeded once per engine.
//!
//! ```
//! use pinnace_env::Env;
//! let env = Env::simulated(7);
//! assert_eq!(env.random().uid(), Env::simulated(7).random().uid());
//! ```

mod clock;
mod random;

pub use clock::{Clock, Stopwatch};
pub use random::Random;

/// Where an engine takes time and randomness from. Cloning is cheap and shares both.
#[derive(Clone, Debug)]
pub struct Env {
    clock: Clock,
    random: Random,
}

impl Env {
    /// The machine's clock and a seed from the operating system.
    pub fn system() -> Self {
        Self { clock: Clock::system(), random: Random::from_os() }
    }

    /// A wall clock that starts at a fixed moment and follows Tokio's clock, and a fixed seed:
    /// with Tokio's time paused, two runs of the same program see the same world.
    pub fn simulated(seed: u64) -> Self {
        Self { clock: Clock::simulated(), random: Random::seeded(seed) }
    }

    /// Puts a clock and a random source together.
    pub fn new(clock: Clock, random: Random) -> Self {
        Self { clock, random }
    }

    /// The wall clock.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The random source.
    pub fn random(&self) -> &Random {
        &self.random
    }

    /// The present moment, as [`Clock::now`].
    pub fn now(&self) -> jiff::Timestamp {
        self.clock.now()
    }
}
