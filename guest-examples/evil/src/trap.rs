//! Traps on an element `trap`; lets every other one pass, so that a test can tell the poison row from its neighbours.

use thalweg_udf::{Context, DoFn, Failure, Output, OutputSpec};

const MAIN: Output<String> = Output::new(0, "main");

/// The attack.
pub struct Trap;

impl DoFn for Trap {
    type In = String;
    const OUTPUTS: &'static [&'static dyn OutputSpec] = &[&MAIN];

    fn open(_config: &str) -> Result<Self, Failure> {
        Ok(Self)
    }

    fn process(&mut self, element: &str, ctx: &mut Context) -> Result<(), Failure> {
        if element == "trap" {
            fall();
        }
        ctx.emit(&MAIN, element);
        Ok(())
    }
}

#[inline(never)]
fn fall() {
    std::process::abort();
}
