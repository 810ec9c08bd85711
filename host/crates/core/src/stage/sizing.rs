//! How large the bundles of a stage are made: as many elements as the worker manages in the time a bundle may take.
//!
//! In: how many elements a bundle had and how long it took. Out: how many the next one may have. A bundle costs a worker
//! in another process 1 to 3 ms whatever is in it, so small ones waste it; one that takes long delays what waits behind it and
//! is run again whole when it fails. It starts small because nothing is known yet, and is at its size after three bundles.

/// Elements of the first bundle of a stage.
const FIRST: usize = 64;
/// A bundle that was quick is followed by one at most so many times as large.
const GROWTH: usize = 16;
/// One that was slow by one at least so large, as a share of the size before: a single pause of the machine says little.
const SHRINK: usize = 2;
/// A bundle with few elements counts as slow only when it took so many times what one may take.
const SLOW: usize = 4;

/// Size of the next bundle of a stage on a shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sizer {
    rows: usize,
    /// What the size of the outputs allows.
    most: usize,
}

impl Default for Sizer {
    fn default() -> Self {
        Self { rows: FIRST, most: usize::MAX }
    }
}

impl Sizer {
    /// How many elements the next bundle may have, at most `most`.
    #[must_use]
    pub fn rows(&self, most: usize) -> usize {
        self.rows.min(self.most).min(most).max(1)
    }

    /// A bundle of `rows` elements put out `bytes`, of which one should put out no more than `most`: outputs are in memory until the
    /// bundle is done.
    ///
    /// ```
    /// use thalweg_core::stage::Sizer;
    /// let mut size = Sizer::default();
    /// size.put_out(64, 64 << 20, 16 << 20);
    /// assert_eq!(size.rows(100_000), 16);
    /// size.done(16, 1, 500);
    /// assert_eq!(size.rows(100_000), 16); // quick, but with large outputs
    /// ```
    pub fn put_out(&mut self, rows: usize, bytes: usize, most: usize) {
        self.most = match bytes.div_ceil(rows.max(1)) {
            0 => usize::MAX,
            each => (most / each).max(1),
        };
    }

    /// A bundle of `rows` elements took `took_ms` of the `target_ms` that one may take.
    ///
    /// ```
    /// use thalweg_core::stage::Sizer;
    /// let mut size = Sizer::default();
    /// size.done(64, 10, 500);
    /// assert_eq!(size.rows(100_000), 1024); // quick: sixteen times as many
    /// size.done(1024, 100, 500);
    /// assert_eq!(size.rows(100_000), 5120); // the speed is known: as many as fill the time
    /// size.done(5120, 5000, 500);
    /// assert_eq!(size.rows(100_000), 2560); // slow: half
    /// ```
    pub fn done(&mut self, rows: usize, took_ms: i64, target_ms: i64) {
        let took = usize::try_from(took_ms).unwrap_or(0);
        let target = usize::try_from(target_ms).unwrap_or(0).max(1);
        let wanted = rows.saturating_mul(target).checked_div(took).unwrap_or(usize::MAX);
        let full = rows >= self.rows / 2;
        if took > target {
            // a small one may have been slow for what ran beside it; that long, its own elements are
            if full || took > target.saturating_mul(SLOW) {
                self.rows = self.rows.min(wanted.max(self.rows / SHRINK)).max(1);
            }
        } else if full && wanted > self.rows {
            // only a full bundle shows that a larger one would have been quick
            self.rows = wanted.min(self.rows.saturating_mul(GROWTH));
        }
    }
}

/// Which keys a keyed bundle takes: all waiting elements of some keys rather than some elements of all keys, because a worker
/// pays for the state of a key once per bundle.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Share {
    salt: u64,
    of: u64,
}

impl Default for Share {
    fn default() -> Self {
        Self::ALL
    }
}

impl Share {
    /// Every key.
    pub const ALL: Self = Self { salt: 0, of: 1 };

    /// One of `of` about equal shares of the keys; another `salt` gives another one.
    #[must_use]
    pub fn one(of: usize, salt: u64) -> Self {
        Self { salt, of: of.max(1) as u64 }
    }

    /// Whether it is all of them.
    #[must_use]
    pub fn is_all(self) -> bool {
        self.of == 1
    }

    /// Whether a key is in it.
    #[must_use]
    pub fn has(self, hash: u64) -> bool {
        // the partition took the low bits of the hash, so the high ones of a product decide here
        let mixed = (hash ^ self.salt.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.of == 1 || u64::try_from((u128::from(mixed) * u128::from(self.of)) >> 64).is_ok_and(|n| n == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_quick_bundle_says_nothing_about_large_ones() {
        let mut size = Sizer::default();
        size.done(3, 1, 500);
        assert_eq!(size, Sizer::default());
    }

    #[test]
    fn a_small_bundle_that_waited_for_large_ones_does_not_shrink_them() {
        let mut size = Sizer { rows: 10_000, ..Sizer::default() };
        size.done(5, 900, 500);
        assert_eq!(size.rows(50_000), 10_000);
        size.done(5, 10_000, 500);
        assert_eq!(size.rows(50_000), 5_000);
    }

    #[test]
    fn bundles_never_shrink_to_nothing() {
        let mut size = Sizer::default();
        (0..20).for_each(|_| size.done(1, 60_000, 500));
        assert_eq!(size.rows(1000), 1);
        size.done(1, 10, 500);
        assert_eq!(size.rows(1000), 16);
    }

    #[test]
    fn shares_are_about_equal_and_differ_by_salt() {
        let hashes = (0..10_000u64).map(|i| i.wrapping_mul(0xd6e8_feb8_6659_fd93));
        let count = |share: Share| hashes.clone().filter(|h| share.has(*h)).count();
        assert_eq!(count(Share::ALL), 10_000);
        assert!((1000..1500).contains(&count(Share::one(8, 1))));
        let (a, b) = (Share::one(2, 1), Share::one(2, 2));
        assert!(hashes.clone().any(|h| a.has(h) != b.has(h)));
    }
}
