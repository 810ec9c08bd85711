//! How many elements a key has: a CombineFn, so that most of it is done before the grouping.

use thalweg_udf::{CombineFn, Failure};

/// Counts.
pub struct Number;

impl CombineFn for Number {
    type In = i64;
    type Accumulator = i64;
    type Out = i64;

    fn open(_config: &str) -> Result<Self, Failure> {
        Ok(Self)
    }

    fn create(&self) -> i64 {
        0
    }

    fn add(&self, seen: &mut i64, _: i64) -> Result<(), Failure> {
        *seen += 1;
        Ok(())
    }

    fn merge(&self, seen: &mut i64, other: i64) {
        *seen += other;
    }

    fn extract(&self, seen: i64) -> i64 {
        seen
    }
}
