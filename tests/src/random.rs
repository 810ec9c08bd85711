//! Random numbers with a seed that is printed, so that a failure can be run again.

use anyhow::{Context as _, Result};
use std::time::{SystemTime, UNIX_EPOCH};

/// SplitMix64: small, and good enough to draw moments.
///
/// Source: Steele, Lea, Flood: Fast splittable pseudorandom number generators, OOPSLA 2014.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// Numbers from a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Numbers from the seed that a variable holds, else from the clock; the seed is printed.
    ///
    /// # Errors
    /// When the variable holds no number.
    pub fn from_variable(name: &str) -> Result<Self> {
        let seed = match std::env::var(name) {
            Ok(text) => text.trim().parse().with_context(|| format!("{name}={text} is not a number"))?,
            Err(_) => SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos() as u64 % 1_000_000_000,
        };
        println!("{name}={seed} replays this run");
        Ok(Self(seed))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from `low` to below `high`.
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        let fraction = (self.next() >> 11) as f64 / (1u64 << 53) as f64;
        low + fraction * (high - low)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_numbers_within_the_bounds() {
        let draw = || {
            let mut random = Random::new(7);
            (0..100).map(|_| random.between(2.0, 3.0)).collect::<Vec<_>>()
        };
        assert_eq!(draw(), draw());
        assert!(draw().iter().all(|x| (2.0..3.0).contains(x)));
        assert_ne!(Random::new(8).between(2.0, 3.0), Random::new(7).between(2.0, 3.0));
    }
}
