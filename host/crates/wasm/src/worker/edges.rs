//! Where a bundle begins and ends for a function that hears of it. In: the rows of a bundle for one step. Out: what the step made of them, from START
//! to FINISH in one instance.
//!
//! What such a function gathers between the two lives in its memory alone. So a call that fails in between ends the attempt: rows that make their calls
//! fail are looked for and put aside, and nothing else counts; then the bundle is begun again in a fresh instance without them.

use super::collect::{Outcome, Sources};
use super::drive::RETRIES;
use super::large::Cut;
use super::{Callee, START_BUNDLE, Scratch, Step, Task};
use crate::error::{Error, Result};
use crate::frame::Moment;
use crate::store::Loan;
use std::collections::BTreeSet;
use std::sync::Arc;
use thalweg_core::batch::{Batch, Row};
use thalweg_core::port::worker::{Group, Item};
use thalweg_core::state::{GroupDelta, StateView};
use thalweg_core::window::WindowSet;

/// What a step has to run in a bundle.
#[derive(Debug)]
pub enum Work {
    /// Rows and timers by key.
    Keyed {
        /// Keys and windows.
        groups: Arc<[Group]>,
        /// What the items point into.
        batches: Vec<Cut>,
        /// The rows in the order to run.
        items: Vec<Item>,
    },
    /// Rows without keys.
    Batches(Vec<Batch>),
}

impl Work {
    /// Batches as the step gets them.
    pub fn of(step: &Step, batches: impl IntoIterator<Item = Batch>) -> Self {
        let by_window =
            |batch: Batch| if step.task == Task::Process && !step.sides.is_empty() { by_window(&batch) } else { batch };
        Self::Batches(batches.into_iter().map(by_window).collect())
    }

    /// The same without some rows, by their batch and place.
    fn without(self, rows: &[(usize, usize)]) -> Self {
        let rows: BTreeSet<_> = rows.iter().copied().collect();
        match self {
            Self::Keyed { groups, batches, items } => {
                let items = items.into_iter().enumerate().filter(|(at, _)| !rows.contains(&(0, *at)));
                Self::Keyed { groups, batches, items: items.map(|(_, item)| item).collect() }
            }
            Self::Batches(batches) => {
                let rest = |(at, batch): (usize, Batch)| {
                    if rows.range((at, 0)..(at + 1, 0)).next().is_none() {
                        return batch;
                    }
                    let kept = batch.rows().iter().enumerate().filter(|(row, _)| !rows.contains(&(at, *row)));
                    batch.with_rows(kept.map(|(_, row)| *row).collect())
                };
                Self::Batches(batches.into_iter().enumerate().map(rest).collect())
            }
        }
    }

    /// The state of its keys, to go back to.
    fn marks(&self, view: Option<&mut StateView>) -> Vec<GroupDelta> {
        match (self, view) {
            (Self::Keyed { groups, .. }, Some(view)) => (0..groups.len()).map(|g| view.checkpoint(g as u32)).collect(),
            _ => Vec::new(),
        }
    }
}

/// Runs the bundle until all calls of an attempt were made by one instance and none of them failed. `attempt` makes the calls from START to FINISH.
///
/// # Errors
/// Those of an attempt; and why it failed, if that can be put down to no row.
pub fn gather(
    step: &mut Step,
    mut work: Work,
    view: &mut Option<StateView>,
    out: &mut Outcome,
    mut attempt: impl FnMut(&mut Step, &Work, &mut Option<StateView>, &mut Outcome) -> Result<()>,
) -> Result<()> {
    let marks = if step.isolates() { work.marks(view.as_mut()) } else { Vec::new() };
    let mut made = Outcome::new(step.output_keyed.len());
    let mut fruitless = 0;
    loop {
        let ran = attempt(step, &work, view, &mut made);
        if ran.is_err() {
            step.callee.forget(); // what it has gathered is of no bundle
            return ran;
        }
        let Some((why, rows)) = made.begin_again() else {
            out.absorb(made);
            return Ok(());
        };
        step.callee.forget();
        fruitless = if rows.is_empty() { fruitless + 1 } else { 0 };
        if fruitless > RETRIES {
            return Err(why);
        }
        if let Some(view) = view {
            marks.iter().enumerate().for_each(|(group, mark)| view.rollback(group as u32, mark.clone()));
        }
        work = work.without(&rows);
    }
}

/// After a failed call: what the function has gathered is not to be trusted, so a fresh instance takes part in the search for the rows at fault.
///
/// # Errors
/// Those of its START.
pub fn recover(step: &mut Step, why: &Error, moment: Moment, scratch: &mut Scratch, out: &mut Outcome) -> Result<()> {
    if !step.bundles {
        return Ok(());
    }
    out.tear(why);
    step.callee.forget();
    edge(step, START_BUNDLE, moment, scratch, out)
}

/// A call without rows, at the beginning or the end of a bundle.
///
/// # Errors
/// Those of the call.
pub fn edge(step: &mut Step, op: u32, moment: Moment, scratch: &mut Scratch, out: &mut Outcome) -> Result<()> {
    let frame = scratch.encoder.bare(moment);
    let loan = Loan { tables: Arc::clone(&step.tables), ..Loan::default() };
    let returned = Callee::call(&mut step.callee, op, frame, loan).0?;
    let nothing = Sources {
        rows: &[],
        windows: &[],
        panes: &[],
        kinds: &[],
        element: |_| (&[][..], &[][..]),
        whole: &|_| Ok(None),
    };
    out.take(step, returned, &nothing).map(drop)
}

/// The elements of a batch once for each of their windows: a side input is that of one window.
fn by_window(batch: &Batch) -> Batch {
    if batch.window_sets().iter().all(|set| set.len() == 1) {
        return batch.clone();
    }
    let (mut sets, mut starts) = (Vec::new(), Vec::new());
    for set in batch.window_sets() {
        starts.push(sets.len() as u32..(sets.len() + set.len()) as u32);
        sets.extend(set.iter().map(|window| WindowSet::from_iter([window.clone()])));
    }
    let row = |row: &Row| {
        let windows = starts.get(row.windows as usize).cloned().unwrap_or_default();
        let row = *row;
        windows.map(move |windows| Row { windows, ..row })
    };
    let rows = batch.rows().iter().flat_map(row).collect();
    batch.with_windows(rows, sets)
}
