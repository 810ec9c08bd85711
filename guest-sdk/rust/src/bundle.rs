//! What a function sees where a bundle begins and ends: no element, so no windows or time to inherit, and no state.

use crate::context::Context;
use crate::dofn::{EventTime, Output};
use crate::element::{Element, View};
use crate::host::Level;
use crate::metric::{Counter, Distribution};
use crate::window::Window;

/// What `start_bundle` and `finish_bundle` get.
pub struct BundleContext<'a>(pub(crate) &'a mut Context);

impl BundleContext<'_> {
    /// Puts an element out at a time and in a window.
    pub fn emit<T: Element>(&mut self, output: &Output<T>, time: EventTime, window: &Window, element: View<'_, T>) {
        self.0.emit_free(output, time, window, &element);
    }

    /// The processing time of the call, as [`Context::now_ms`].
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        self.0.now_ms()
    }

    /// A pseudo-random number, as [`Context::random`].
    pub fn random(&mut self) -> u64 {
        self.0.random()
    }

    /// Adds to a counter.
    pub fn count(&mut self, counter: Counter, n: i64) {
        self.0.count(counter, n);
    }

    /// Reports a value to a distribution.
    pub fn report(&mut self, distribution: Distribution, value: i64) {
        self.0.report(distribution, value);
    }

    /// Writes a line to the job's log.
    pub fn log(&mut self, level: Level, message: &str) {
        self.0.log_bundle(level, message);
    }
}
