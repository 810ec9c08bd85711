//! Assigns windows: the batch keeps its bytes and gets other windows.

use crate::native::{NativeFn, Outputs, Setup};
use hashbrown::HashMap;
use std::sync::Arc;
use thalweg_core::batch::Batch;
use thalweg_core::error::{Error, Result};
use thalweg_core::time::EventTime;
use thalweg_core::window::{WindowFn, WindowSet, Windowing};

/// Puts elements into the windows of the output's windowing strategy.
#[derive(Debug)]
pub struct WindowInto {
    windowing: Arc<Windowing>,
    /// Sets of the batch at hand by what decides them, see [`WindowInto::class`]. Kept for its memory only.
    known: HashMap<(i64, i64), u32, foldhash::fast::FixedState>,
}

impl WindowInto {
    pub fn new(setup: &Setup<'_>) -> Result<Self> {
        let [output] = setup.outputs else {
            return Err(Error::user(
                "NATIVE_PAYLOAD",
                format!("{} assigns windows and has not one output", setup.name),
            ));
        };
        if matches!(output.windowing.window_fn, WindowFn::Custom { .. }) {
            let error = Error::user(
                "NATIVE_WINDOW_FN",
                format!("{} assigns windows of an SDK without naming its environment", setup.name),
            );
            return Err(error.help("use one of the standard window functions: global, fixed, sliding, sessions"));
        }
        Ok(Self { windowing: Arc::clone(&output.windowing), known: HashMap::default() })
    }

    /// Times of one class have the same windows.
    fn class(&self, time: EventTime) -> (i64, i64) {
        match self.windowing.window_fn {
            WindowFn::Fixed { size, offset } => ((time.0 - offset).div_euclid(size), 0),
            // the newest window that holds the time, and how many of the older ones do
            WindowFn::Sliding { size, period, offset } => {
                let since = (time.0 - offset).rem_euclid(period);
                ((time.0 - offset).div_euclid(period), (size - since + period - 1).div_euclid(period))
            }
            WindowFn::Sessions { .. } => (time.0, 0),
            WindowFn::Global | WindowFn::Custom { .. } => (0, 0),
        }
    }
}

impl NativeFn for WindowInto {
    fn process(&mut self, batch: &Batch, out: &mut Outputs) -> Result<()> {
        self.known.clear();
        let mut rows = batch.rows().to_vec();
        let mut sets: Vec<WindowSet> = Vec::new();
        let mut last = None; // neighbours are mostly in the same windows
        for row in &mut rows {
            let class = self.class(row.time);
            row.windows = match last {
                Some((same, index)) if same == class => index,
                _ => *self.known.entry(class).or_insert_with(|| {
                    sets.push(self.windowing.window_fn.assign(row.time));
                    (sets.len() - 1) as u32
                }),
            };
            last = Some((class, row.windows));
        }
        // a period longer than the size leaves gaps: an element there is in no window and goes nowhere
        if sets.iter().any(WindowSet::is_empty) {
            rows.retain(|row| sets.get(row.windows as usize).is_some_and(|set| !set.is_empty()));
        }
        out.forward(0, batch.with_windows(rows, sets));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::native::Port;
    use thalweg_core::batch::BatchBuilder;
    use thalweg_core::window::Window;

    #[test]
    fn every_time_gets_the_windows_its_function_gives_it() -> Result<()> {
        let functions = [
            WindowFn::Global,
            WindowFn::Fixed { size: 10, offset: 3 },
            WindowFn::Sliding { size: 10, period: 5, offset: 0 },
            WindowFn::Sliding { size: 7, period: 5, offset: 1 },
            WindowFn::Sliding { size: 2, period: 5, offset: 0 },
            WindowFn::Sessions { gap: 4 },
        ];
        for function in functions {
            let mut batch = BatchBuilder::new();
            for time in -20..20 {
                batch.push(&[], &[time as u8], EventTime(time), &[Window::Global]);
            }
            let ports = [Port { tag: "output".to_owned(), windowing: Arc::new(Windowing::of(function.clone())) }];
            let mut assign = WindowInto::new(&Setup { name: "W", payload: &[], outputs: &ports })?;
            let mut out = Outputs::new(&[true]);
            assign.process(&batch.finish(), &mut out)?;
            let mut seen = 0;
            out.drain(|_, batch| {
                for row in batch.rows() {
                    assert_eq!(
                        batch.windows(row),
                        function.assign(row.time).as_slice(),
                        "{function:?} at {:?}",
                        row.time
                    );
                    seen += 1;
                }
            });
            let expected = (-20..20).filter(|t| !function.assign(EventTime(*t)).is_empty()).count();
            assert_eq!(seen, expected);
        }
        Ok(())
    }
}
