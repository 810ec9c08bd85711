//! Word count: lines become pairs of a word and 1, which a CombineFn sums up.

use thalweg_udf::{CombineFn, Context, Counter, DoFn, Failure, Kv, Output, OutputSpec};

/// Each word, with 1.
pub const WORDS: Output<Kv<String, i64>> = Output::new(0, "words");
const COUNTED: Counter = Counter::new("words");

/// Splits lines into words: runs of ASCII letters, digits and apostrophes, in lower case.
pub struct Words;

impl DoFn for Words {
    type In = String;
    const OUTPUTS: &'static [&'static dyn OutputSpec] = &[&WORDS];

    fn open(_config: &str) -> Result<Self, Failure> {
        Ok(Self)
    }

    fn process(&mut self, line: &str, ctx: &mut Context) -> Result<(), Failure> {
        let other = |c: char| !c.is_ascii_alphanumeric() && c != '\'';
        for word in line.split(other).filter(|word| !word.is_empty()) {
            ctx.emit(&WORDS, (&word.to_ascii_lowercase(), 1));
            ctx.count(COUNTED, 1);
        }
        Ok(())
    }
}

/// Sums up.
pub struct Sum;

impl CombineFn for Sum {
    type In = i64;
    type Accumulator = i64;
    type Out = i64;

    fn open(_config: &str) -> Result<Self, Failure> {
        Ok(Self)
    }
    fn create(&self) -> i64 {
        0
    }
    fn add(&self, sum: &mut i64, number: i64) -> Result<(), Failure> {
        *sum = sum.wrapping_add(number);
        Ok(())
    }
    fn merge(&self, sum: &mut i64, other: i64) {
        *sum = sum.wrapping_add(other);
    }
    fn extract(&self, sum: i64) -> i64 {
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use thalweg_udf::EventTime;
    use thalweg_udf::testing::{CombineKit, Kit};

    #[test]
    fn words_are_found_and_summed_up() -> Result<(), Failure> {
        let outcome = Kit::<Words>::open("")?.run([(EventTime(0), "It's 2 Bees, \u{e9} bees.")])?;
        let words: Vec<_> = outcome.elements(&WORDS)?.into_iter().map(|(_, (word, _))| word).collect();
        assert_eq!(words, ["it's", "2", "bees", "bees"]);
        assert_eq!(outcome.metric("words"), Some([4, 0, 0, 0]));
        assert_eq!(CombineKit::<Sum>::open("")?.combine([1, 2, 3])?, 6);
        Ok(())
    }
}
