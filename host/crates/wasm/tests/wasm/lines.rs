//! Keeps what the host logs while a test runs.

use std::cell::RefCell;
use std::fmt::Debug;
use std::sync::Once;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

thread_local! {
    // a bundle runs in the thread of its test
    static LINES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// What is logged in this thread while `f` runs, and what it gives.
pub fn logged<T>(f: impl FnOnce() -> T) -> (T, String) {
    static SET: Once = Once::new();
    // for all tests of the program: a subscriber that comes and goes may miss events
    SET.call_once(|| tracing::subscriber::set_global_default(Lines).expect("the only one"));
    LINES.take();
    (f(), LINES.take().join("\n"))
}

/// Keeps the texts of what is logged.
struct Lines;

struct Text<'a>(&'a mut String);

impl Visit for Text<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.push_str(&format!("{}={value:?} ", field.name()));
    }
}

impl Subscriber for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut text = format!("{} ", event.metadata().level());
        event.record(&mut Text(&mut text));
        LINES.with_borrow_mut(|lines| lines.push(text));
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}
