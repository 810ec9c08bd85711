//! Counts the elements of each key, sets a timer, counts a metric and puts the count out; on some elements it fails behind all that:
//! `trap` aborts, `error` returns an error. So a test sees whether anything of a poison row is left.

use thalweg_udf::{
    Context, Counter, DoFn, Failure, Fired, Kv, MapSlot, Output, OutputSpec, SlotSpec, Timer, ValueSlot,
};

const MAIN: Output<Kv<String, i64>> = Output::new(0, "main");
const N: ValueSlot<i64> = ValueSlot::eager(0, "n");
const SEEN: MapSlot<String, i64> = MapSlot::new(1, "seen");
const GAP: Timer = Timer::event(0, "gap");
const COUNTED: Counter = Counter::new("counted");

/// The attack.
pub struct Poison;

impl DoFn for Poison {
    type In = Kv<String, String>;
    const OUTPUTS: &'static [&'static dyn OutputSpec] = &[&MAIN];
    const SLOTS: &'static [&'static dyn SlotSpec] = &[&N, &SEEN];
    const TIMERS: &'static [Timer] = &[GAP];

    fn open(_config: &str) -> Result<Self, Failure> {
        Ok(Self)
    }

    fn process(&mut self, (key, value): (&str, &str), ctx: &mut Context) -> Result<(), Failure> {
        let n = ctx.get(&N)?.unwrap_or(0) + 1;
        ctx.set(&N, n);
        ctx.map(&SEEN).put(value, n);
        ctx.timer(&GAP).tag(value).set(n);
        ctx.count(COUNTED, 1);
        ctx.emit(&MAIN, (key, n));
        match value {
            "trap" => fall(),
            "error" => Err(Failure::new("POISON", "this element is poison")),
            _ => Ok(()),
        }
    }

    fn on_timer(&mut self, _timer: Fired<'_>, _ctx: &mut Context) -> Result<(), Failure> {
        Ok(())
    }
}

#[inline(never)]
fn fall() -> Result<(), Failure> {
    std::process::abort();
}
