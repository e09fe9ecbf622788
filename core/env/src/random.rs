use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{Rng, RngCore, SeedableRng};

/// The characters of generated names: no vowels, so that no words appear, and no look-alikes.
const NAME_ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// A seeded random source, shared by all clones.
///
/// Not for secrets: keys and tokens come from the operating system.
#[derive(Clone, Debug)]
pub struct Random {
    seed: u64,
    generator: Arc<Mutex<SmallRng>>,
}

impl Random {
    /// A source that gives the same numbers for the same seed.
    pub fn seeded(seed: u64) -> Self {
        Self { seed, generator: Arc::new(Mutex::new(SmallRng::seed_from_u64(seed))) }
    }

    /// A source with a seed from the operating system.
    pub fn from_os() -> Self {
        Self::seeded(SmallRng::from_os_rng().next_u64())
    }

    /// The seed, for a failing test to print.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// A source of its own, seeded from this one: for a task whose draws must not depend on how
    /// other tasks are scheduled.
    pub fn fork(&self) -> Self {
        Self::seeded(self.next_u64())
    }

    /// 64 random bits.
    pub fn next_u64(&self) -> u64 {
        self.generator.lock().next_u64()
    }

    /// A number below `bound`; 0 for a bound of 0.
    pub fn below(&self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.generator.lock().random_range(0..bound) }
    }

    /// True with the given probability, from 0.0 to 1.0.
    pub fn chance(&self, probability: f64) -> bool {
        self.generator.lock().random_bool(probability.clamp(0.0, 1.0))
    }

    /// `base` stretched by up to `factor` of itself: 10 s and 0.1 give 10 to 11 s.
    pub fn jitter(&self, base: Duration, factor: f64) -> Duration {
        base.mul_f64(1.0 + factor.max(0.0) * self.generator.lock().random::<f64>())
    }

    /// A version 4 UUID in its text form, for `metadata.uid`.
    pub fn uid(&self) -> String {
        let (high, low) = {
            let mut generator = self.generator.lock();
            (generator.next_u64(), generator.next_u64())
        };
        let high = (high & !0xf000) | 0x4000;
        let low = (low & !(0b11 << 62)) | (0b10 << 62);
        format!(
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            high >> 32,
            (high >> 16) & 0xffff,
            high & 0xffff,
            low >> 48,
            low & 0xffff_ffff_ffff
        )
    }

    /// A name suffix of `length` characters, as `metadata.generateName` appends.
    pub fn suffix(&self, length: usize) -> String {
        let mut generator = self.generator.lock();
        (0..length)
            .map(|_| char::from(NAME_ALPHABET[generator.random_range(0..NAME_ALPHABET.len())]))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uids_are_version_4() {
        let uid = Random::seeded(1).uid();
        assert_eq!(uid.len(), 36);
        assert_eq!(&uid[14..15], "4");
        assert!("89ab".contains(&uid[19..20]));
    }

    #[test]
    fn the_same_seed_gives_the_same_names() {
        assert_eq!(Random::seeded(3).suffix(5), Random::seeded(3).suffix(5));
        assert_ne!(Random::seeded(3).suffix(8), Random::seeded(4).suffix(8));
    }
}
