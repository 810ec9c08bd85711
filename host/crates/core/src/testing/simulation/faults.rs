//! How often what goes wrong, drawn from the seed.

use crate::testing::SplitMix64;

/// Chances per step, in a thousand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Faults {
    /// The process dies.
    pub crash: usize,
    /// The next commit fails, before or after it has become visible.
    pub commit: usize,
    /// At most so many of both.
    pub crashes_max: u32,
    /// A worker dies.
    pub lose: usize,
    /// A bundle fails.
    pub fail: usize,
    /// A bundle is asked to split.
    pub split: usize,
    /// A crash is followed by a start with another number of shards.
    pub rescale: usize,
}

impl Faults {
    /// The faults of a seed; one in eight has none.
    #[must_use]
    pub fn new(rng: &mut SplitMix64) -> Self {
        let mut pick = |chances: [usize; 4]| chances[rng.below(4)];
        let calm = pick([0, 1, 1, 1]) == 0 && pick([0, 0, 1, 1]) == 0;
        let some = usize::from(!calm);
        Self {
            crash: some * pick([0, 1, 3, 10]),
            commit: some * pick([0, 0, 3, 10]),
            crashes_max: pick([2, 4, 8, 8]) as u32,
            lose: some * pick([0, 0, 2, 10]),
            fail: some * pick([0, 0, 20, 80]),
            split: some * pick([0, 0, 20, 80]),
            rescale: some * pick([0, 0, 300, 900]),
        }
    }
}
