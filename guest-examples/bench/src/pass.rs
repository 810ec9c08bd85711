//! A pair in, the same pair out if its value is not negative: what stands before a grouping.

use thalweg_udf::{Context, DoFn, Failure, Kv, Output, OutputSpec};

/// The pairs that go on.
pub const PASSED: Output<Kv<String, i64>> = Output::new(0, "passed");

/// Lets pairs pass.
pub struct Pass;

impl DoFn for Pass {
    type In = Kv<String, i64>;
    const OUTPUTS: &'static [&'static dyn OutputSpec] = &[&PASSED];

    fn open(_config: &str) -> Result<Self, Failure> {
        Ok(Self)
    }

    fn process(&mut self, (key, value): (&str, i64), ctx: &mut Context) -> Result<(), Failure> {
        if value >= 0 {
            ctx.emit(&PASSED, (key, value));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use thalweg_udf::{EventTime, testing::Kit};

    #[test]
    fn negative_values_stay_behind() -> Result<(), Failure> {
        let pairs = [("a", 1), ("b", -1), ("c", 0)];
        let outcome = Kit::<Pass>::open("")?.run(pairs.map(|pair| (EventTime(1), pair)))?;
        assert_eq!(outcome.elements(&PASSED)?, [(EventTime(1), ("a", 1)), (EventTime(1), ("c", 0))]);
        Ok(())
    }
}
