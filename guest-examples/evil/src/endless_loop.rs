//! Never comes back.

use std::hint::black_box;
use thalweg_udf::{Context, DoFn, Failure, Output, OutputSpec};

const MAIN: Output<String> = Output::new(0, "main");

/// The attack.
pub struct EndlessLoop;

impl DoFn for EndlessLoop {
    type In = String;
    const OUTPUTS: &'static [&'static dyn OutputSpec] = &[&MAIN];

    fn open(_config: &str) -> Result<Self, Failure> {
        Ok(Self)
    }

    fn process(&mut self, _element: &str, _ctx: &mut Context) -> Result<(), Failure> {
        let mut turns = 0u64;
        while black_box(true) {
            turns = black_box(turns.wrapping_add(1));
        }
        Ok(())
    }
}
