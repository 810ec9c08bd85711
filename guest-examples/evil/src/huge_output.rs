//! Puts out far more than it was given: the element is the number of outputs, each of 1 KiB.

use thalweg_udf::{Context, DoFn, Failure, Output, OutputSpec};

const MAIN: Output<Vec<u8>> = Output::new(0, "main");

/// The attack.
pub struct HugeOutput;

impl DoFn for HugeOutput {
    type In = i64;
    const OUTPUTS: &'static [&'static dyn OutputSpec] = &[&MAIN];

    fn open(_config: &str) -> Result<Self, Failure> {
        Ok(Self)
    }

    fn process(&mut self, outputs: i64, ctx: &mut Context) -> Result<(), Failure> {
        for _ in 0..outputs {
            ctx.emit(&MAIN, &[7; 1024]);
        }
        Ok(())
    }
}
