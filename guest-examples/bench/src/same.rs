//! The boundary itself: an element in, the same element out.

use thalweg_udf::{Context, DoFn, Failure, Output, OutputSpec};

/// The elements.
pub const SAME: Output<String> = Output::new(0, "same");

/// Does nothing.
pub struct Same;

impl DoFn for Same {
    type In = String;
    const OUTPUTS: &'static [&'static dyn OutputSpec] = &[&SAME];

    fn open(_config: &str) -> Result<Self, Failure> {
        Ok(Self)
    }

    fn process(&mut self, element: &str, ctx: &mut Context) -> Result<(), Failure> {
        ctx.emit(&SAME, element);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use thalweg_udf::{EventTime, testing::Kit};

    #[test]
    fn nothing_changes() -> Result<(), Failure> {
        let outcome = Kit::<Same>::open("")?.run(["a", ""].map(|element| (EventTime(1), element)))?;
        assert_eq!(outcome.elements(&SAME)?, [(EventTime(1), "a"), (EventTime(1), "")]);
        Ok(())
    }
}
