//! Takes memory until there is none.

use std::hint::black_box;
use thalweg_udf::{Context, DoFn, Failure, Output, OutputSpec};

const MAIN: Output<String> = Output::new(0, "main");
const STEP: usize = 1 << 20;

/// The attack.
pub struct MemoryGrowth(Vec<Vec<u8>>);

impl DoFn for MemoryGrowth {
    type In = String;
    const OUTPUTS: &'static [&'static dyn OutputSpec] = &[&MAIN];

    fn open(_config: &str) -> Result<Self, Failure> {
        Ok(Self(Vec::new()))
    }

    fn process(&mut self, _element: &str, _ctx: &mut Context) -> Result<(), Failure> {
        while black_box(true) {
            self.0.push(black_box(vec![1; STEP]));
        }
        Ok(())
    }
}
