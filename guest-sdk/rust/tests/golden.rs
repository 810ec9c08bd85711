//! The golden frames of the contract, `wit/golden/`: this SDK reads the input frame that the host writes, and gives for it the
//! output frame, byte for byte, that the host reads. Damaged frames are refused and never end the process.

use std::path::PathBuf;
use thalweg_udf::instance::{Function, Instance};
use thalweg_udf::{
    Context, Counter, Distribution, DoFn, EventTime, Expired, Failure, Fired, Host, Imports, Interval, Kv, Level,
    MapSlot, Output, OutputSpec, Page, SlotSpec, Table, TableSpec, Timer, ValueSlot, Window,
};

const MAIN: Output<Kv<String, i64>> = Output::new(0, "main");
const NOTES: Output<String> = Output::new(1, "notes");
const TOTAL: ValueSlot<i64> = ValueSlot::eager(0, "total");
const LAST: MapSlot<String, i64> = MapSlot::new(1, "last");
const GAP: Timer = Timer::event(0, "gap");
const NAMES: Table<String, String> = Table::by_key(0, "names");
const SEEN: Counter = Counter::new("seen");
const SIZES: Distribution = Distribution::new("sizes");

/// Uses every section of the layout that a DoFn has.
struct Golden;

impl DoFn for Golden {
    type In = Kv<String, i64>;
    const OUTPUTS: &'static [&'static dyn OutputSpec] = &[&MAIN, &NOTES];
    const SLOTS: &'static [&'static dyn SlotSpec] = &[&TOTAL, &LAST];
    const TIMERS: &'static [Timer] = &[GAP];
    const TABLES: &'static [&'static dyn TableSpec] = &[&NAMES];
    const EXPIRES: bool = true;

    fn open(config: &str) -> Result<Self, Failure> {
        if config == r#"{"a":1}"# { Ok(Self) } else { Err(Failure::new("CONFIG", config.to_owned())) }
    }

    fn process(&mut self, (key, n): (&str, i64), ctx: &mut Context) -> Result<(), Failure> {
        let total = ctx.get(&TOTAL)?.unwrap_or(0).wrapping_add(n);
        ctx.set(&TOTAL, total);
        ctx.map(&LAST).put("n", n);
        let at = ctx.time().0.wrapping_add(8);
        ctx.timer(&GAP).tag("t").output_at(EventTime(3)).set(at);
        ctx.count(SEEN, 1);
        if n < 0 {
            return Err(Failure::new("NEGATIVE", "below nothing"));
        }
        ctx.report(SIZES, n);
        ctx.emit(&MAIN, (key, total));
        let random = ctx.random();
        let name = ctx.joined(&NAMES)?.unwrap_or("-");
        let note = format!("{name} {:?} {:?} {random}", ctx.window(), ctx.pane());
        ctx.emit_at(&NOTES, EventTime(ctx.now_ms()), &note);
        Ok(())
    }

    fn on_timer(&mut self, timer: Fired<'_>, ctx: &mut Context) -> Result<(), Failure> {
        ctx.emit(&NOTES, &format!("{} {}", timer.tag(), timer.fire_ms()));
        ctx.timer(&GAP).tag("t").clear();
        Ok(())
    }

    fn on_window_expiration(&mut self, expired: Expired<'_>, ctx: &mut Context) -> Result<(), Failure> {
        let windows = [Window::Interval(Interval::new(20, 30)), Window::Global];
        ctx.emit_in(&MAIN, EventTime(19), &windows, (expired.key::<String>()?, -1));
        ctx.clear(&TOTAL);
        ctx.clear(&LAST);
        Ok(())
    }
}

/// A host that nobody asks.
struct Nobody;

impl Imports for Nobody {
    fn log(&mut self, _: Level, _: Option<u32>, _: &str) {}
    fn emit(&mut self, _: Vec<u8>) {}
    fn read(&mut self, _: u32, _: &[u32]) -> Vec<u8> {
        Vec::new()
    }
    fn lookup(&mut self, _: u32, _: &[u8]) -> Vec<u8> {
        Vec::new()
    }
    fn scan(&mut self, _: u32, _: u32, _: &[u8], _: Option<&[u8]>, _: u32) -> Page {
        (Vec::new(), None)
    }
    fn iterable(&mut self, _: &[u8], _: u32) -> Page {
        (Vec::new(), None)
    }
    fn side(&mut self, _: u32, _: u32, _: Option<&[u8]>, _: Option<&[u8]>, _: u32) -> Page {
        (Vec::new(), None)
    }
    fn side_keys(&mut self, _: u32, _: u32, _: Option<&[u8]>, _: u32) -> Page {
        (Vec::new(), None)
    }
    fn table(&mut self, _: u32, _: &[u8]) -> Vec<u8> {
        Vec::new()
    }
}

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../wit/golden").join(name)
}

fn golden(name: &str) -> Vec<u8> {
    std::fs::read(path(name)).expect("a golden frame")
}

fn opened() -> Result<Box<dyn Instance>, Failure> {
    Function::open(&[Function::of::<Golden>("golden")], "golden", &golden("plan.frame"), Host::new(Nobody))
}

#[test]
fn the_golden_input_gives_the_golden_output() -> Result<(), Failure> {
    let output = opened()?.call(0, &golden("input.frame"))?;
    if std::env::var_os("THALWEG_GOLDEN").is_some() {
        std::fs::write(path("output.frame"), &output).expect("a written frame");
    }
    assert_eq!(output, golden("output.frame"));
    Ok(())
}

#[test]
fn the_description_of_the_golden_function_is_the_golden_one() {
    let json = Function::describe(&[Function::of::<Golden>("golden")]) + "\n";
    if std::env::var_os("THALWEG_GOLDEN").is_some() {
        std::fs::write(path("description.json"), &json).expect("a written description");
    }
    assert_eq!(json.as_bytes(), golden("description.json"));
}

#[test]
fn damaged_input_frames_end_the_call_and_nothing_else() -> Result<(), Failure> {
    let (whole, mut instance) = (golden("input.frame"), opened()?);
    let mut refused = 0;
    for end in 0..whole.len() {
        refused += usize::from(instance.call(0, &whole[..end]).is_err());
    }
    let mut random = 1u64;
    for _ in 0..20_000 {
        let mut frame = whole.clone();
        for _ in 0..3 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let at = (random >> 33) as usize % frame.len();
            frame[at] = (random >> 20) as u8;
        }
        // a count of rows may only be as large as a test can bear
        if frame[12..16] == whole[12..16] {
            refused += usize::from(instance.call(0, &frame).is_err());
        }
    }
    assert!(refused > 1000, "{refused}");
    assert_eq!(instance.call(0, &whole)?, golden("output.frame"), "the instance is none the worse for it");
    Ok(())
}
