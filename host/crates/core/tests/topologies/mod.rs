//! What the tests of the engine share: small pipelines and ways to look at them.

#![allow(dead_code, reason = "every test file uses its own part")]

use thalweg_core::batch::{Batch, BatchBuilder};
use thalweg_core::engine::Config;
use thalweg_core::graph::CollectionId;
use thalweg_core::testing::{Choice, Driver, ScriptedSplit, SinkKind, SplitMix64, Topology, User, Work};
use thalweg_core::time::EventTime;
use thalweg_core::window::{Window, WindowFn, Windowing};

/// Windows of ten milliseconds.
pub fn tens() -> Windowing {
    Windowing::of(WindowFn::Fixed { size: 10, offset: 0 })
}

/// `[start, end)`.
pub fn span(start: i64, end: i64) -> Window {
    Window::Interval { start: EventTime(start), end: EventTime(end) }
}

/// Elements without key in the global window.
pub fn batch(rows: &[(&str, i64)]) -> Batch {
    let mut builder = BatchBuilder::new();
    for (value, time) in rows {
        builder.push(b"", value.as_bytes(), EventTime(*time), &[Window::Global]);
    }
    builder.finish()
}

/// Passes elements on under their first letter as key, in the windows of `windowing`.
pub fn by_letter(name: &str, windowing: &Windowing) -> User {
    let window_fn = windowing.window_fn.clone();
    User::new(name, move |work: &mut Work| {
        for e in work.elements() {
            work.emit(0, &e.value[..1], &e.value, e.time, &window_fn.assign(e.time));
        }
        Ok(())
    })
}

/// A source of lines and a collection of them by their first letter.
pub fn keyed_lines(t: &mut Topology, splits: Vec<ScriptedSplit>, windowing: &Windowing) -> CollectionId {
    let lines = t.source("lines", splits);
    let keyed = t.keyed("keyed", windowing);
    t.user(by_letter("by letter", windowing), &[lines], &[keyed]);
    keyed
}

/// Adds the one sink `out`, which keeps a length in the epoch.
pub fn out(t: &mut Topology, input: CollectionId) {
    t.sink("out", SinkKind::Length, input);
}

/// Any choice, time seldom.
pub fn choose(rng: &mut SplitMix64, driver: &Driver) -> Choice {
    let mut choices = driver.choices();
    if choices.len() > 1 && !rng.permille(20) {
        choices.retain(|c| *c != Choice::Time);
    }
    choices[rng.below(choices.len())]
}

/// Takes the first `n` choices of the fixed order, or until the job is over.
pub fn take(driver: &mut Driver, n: usize) {
    for _ in 0..n {
        if let (Some(choice), false) = (driver.choices().first(), driver.is_over()) {
            driver.take(*choice);
        }
    }
}

/// A job of so many shards that retries without a pause.
pub fn config(shards: u16) -> Config {
    Config { shards, retry_ms: 0, ..Config::default() }
}

/// Values of the sink `out`, sorted.
pub fn texts(driver: &Driver) -> Vec<String> {
    driver.disk("out").texts()
}

/// Values of the sink `out`, in the order of writing.
pub fn written(driver: &Driver) -> Vec<String> {
    driver.disk("out").lines().iter().map(|l| l.text()).collect()
}

/// Bytes as text.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
