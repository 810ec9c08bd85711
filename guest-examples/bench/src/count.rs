//! W4: counts the elements of each key; every element gives its key with the count so far.

use thalweg_udf::{Context, DoFn, Failure, Kv, Output, OutputSpec, SlotSpec, ValueSlot};

/// The counts.
pub const COUNTS: Output<Kv<String, i64>> = Output::new(0, "counts");
const SEEN: ValueSlot<i64> = ValueSlot::eager(0, "n");

/// Counts per key.
pub struct Count;

impl DoFn for Count {
    type In = Kv<String, i64>;
    const OUTPUTS: &'static [&'static dyn OutputSpec] = &[&COUNTS];
    const SLOTS: &'static [&'static dyn SlotSpec] = &[&SEEN];

    fn open(_config: &str) -> Result<Self, Failure> {
        Ok(Self)
    }

    fn process(&mut self, (key, _): (&str, i64), ctx: &mut Context) -> Result<(), Failure> {
        let seen = ctx.get(&SEEN)?.unwrap_or(0) + 1;
        ctx.set(&SEEN, seen);
        ctx.emit(&COUNTS, (key, seen));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use thalweg_udf::{EventTime, testing::Kit};

    #[test]
    fn counts_go_on_in_the_next_batch_without_a_state_call() -> Result<(), Failure> {
        let mut kit = Kit::<Count>::open("")?;
        let batch = |keys: &[&'static str]| -> Vec<_> { keys.iter().map(|key| (EventTime(0), (*key, 0))).collect() };
        let outcome = kit.run(batch(&["a", "b", "a"]))?;
        let counts: Vec<_> = outcome.elements(&COUNTS)?.into_iter().map(|(_, kv)| kv).collect();
        assert_eq!(counts, [("a", 1), ("a", 2), ("b", 1)]);
        let outcome = kit.run(batch(&["b", "a", "c"]))?;
        let counts: Vec<_> = outcome.elements(&COUNTS)?.into_iter().map(|(_, kv)| kv).collect();
        assert_eq!(counts, [("a", 3), ("b", 2), ("c", 1)]);
        assert_eq!(kit.state_calls(), 0);
        Ok(())
    }
}
