//! W1: a line of words in, one element per word out.

use thalweg_udf::{Context, DoFn, Failure, Output, OutputSpec, text};

/// The words.
pub const WORDS: Output<String> = Output::new(0, "words");

/// Splits at spaces.
pub struct Split;

impl DoFn for Split {
    type In = String;
    const OUTPUTS: &'static [&'static dyn OutputSpec] = &[&WORDS];

    fn open(_config: &str) -> Result<Self, Failure> {
        Ok(Self)
    }

    fn process(&mut self, line: &str, ctx: &mut Context) -> Result<(), Failure> {
        for word in text::split(line, b' ').filter(|word| !word.is_empty()) {
            ctx.emit(&WORDS, word);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use thalweg_udf::{EventTime, testing::Kit};

    #[test]
    fn a_line_becomes_its_words() -> Result<(), Failure> {
        let now = EventTime(7);
        let outcome = Kit::<Split>::open("")?.run([(now, "to be  or"), (now, ""), (now, "not")])?;
        let words: Vec<_> = outcome.elements(&WORDS)?.into_iter().map(|(_, word)| word).collect();
        assert_eq!(words, ["to", "be", "or", "not"]);
        Ok(())
    }
}
