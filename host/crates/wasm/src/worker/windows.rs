//! Calls of a WindowFn: windows for elements, and the merging and mapping of windows.

use super::collect::Outcome;
use super::drive::frames;
use super::{ASSIGN, Callee, MERGE_WINDOWS, ROW_BYTES, Scratch, Step};
use crate::error::{Error, Result};
use crate::frame::{self, FrameError, Keyed, Moment, OutputFrame, Shape};
use crate::store::Loan;
use thalweg_core::batch::{Batch, BatchBuilder, Pane, Row, Span};
use thalweg_core::port::worker::Group;
use thalweg_core::short::ShortBytes;
use thalweg_core::time::EventTime;
use thalweg_core::window::{Merges, Window, WindowSet};

/// Gives the elements of a batch their windows.
pub fn assign(step: &mut Step, batch: &Batch, moment: Moment, scratch: &mut Scratch, out: &mut Outcome) -> Result<()> {
    let sizes = batch.rows().iter().map(|row| row.key.len() + row.value.len() + ROW_BYTES);
    for range in frames(step.frame, sizes) {
        let rows = batch.rows().get(range.clone()).unwrap_or_default();
        let shown = if step.sees_elements { batch.clone() } else { batch.with_rows(without_values(batch.rows())) };
        let keyed = step.sees_elements && step.keyed;
        let frame = scratch.encoder.elements(&shown, range, keyed, &[], moment);
        let returned = called(step, ASSIGN, frame)?;
        whole(step, &returned, rows, |i| rows.get(i).map_or(&[][..], |row| batch.value(row)))?;
        let (sets, of) = windows_of(step, &returned, rows.len())?;
        let assigned = rows.iter().zip(of).map(|(row, windows)| Row { windows, ..*row });
        out.push(0, batch.with_windows(assigned.collect(), sets));
    }
    Ok(())
}

/// The windows of instants: those that the function gives to an element of that time.
pub fn map(step: &mut Step, windows: &[Window], moment: Moment, scratch: &mut Scratch) -> Result<Vec<WindowSet>> {
    let mut builder = BatchBuilder::new();
    windows.iter().for_each(|w| builder.push(&[], &[], w.max_timestamp(), std::slice::from_ref(w)));
    let batch = builder.finish();
    let frame = scratch.encoder.elements(&batch, 0..batch.len(), false, &[], moment);
    let returned = called(step, ASSIGN, frame)?;
    whole(step, &returned, batch.rows(), |_| &[])?;
    let (sets, of) = windows_of(step, &returned, windows.len())?;
    Ok(of.into_iter().filter_map(|set| sets.get(set as usize).cloned()).collect())
}

/// Merges the windows of each list.
pub fn merge(step: &mut Step, keys: &[Vec<Window>], moment: Moment, scratch: &mut Scratch) -> Result<Vec<Merges>> {
    let all: Vec<(u32, &Window)> =
        keys.iter().enumerate().flat_map(|(i, list)| list.iter().map(move |w| (i as u32, w))).collect();
    let coded: Vec<Vec<u8>> = all.iter().map(|(_, window)| frame::window(window)).collect();
    let values: Vec<&[u8]> = coded.iter().map(Vec::as_slice).collect();
    let group_of: Vec<u32> = all.iter().map(|(list, _)| *list).collect();
    let source = Row { key: Span::default(), value: Span::default(), time: EventTime(0), hash: 0, windows: 0, pane: 0 };
    let nobody = Group { key: ShortBytes::default(), hash: 0, window: Window::Global };
    let input = Keyed {
        values: &values,
        sources: &vec![source; values.len()],
        kinds: &[],
        fires: &[],
        group_of: &group_of,
        groups: &vec![&nobody; keys.len()],
        window_sets: &[WindowSet::from_elem(Window::Global, 1)],
        window_of: &vec![0; keys.len()],
        panes: &[Pane::NO_FIRING],
        sections: &[],
    };
    let returned = called(step, MERGE_WINDOWS, scratch.encoder.keyed(&input, moment))?;
    let named = |e: FrameError| broken(step, (e.section, e.what));
    let parsed = OutputFrame::parse(&returned).map_err(named)?;
    let targets = parsed.targets(all.len()).map_err(named)?;
    let mut merges: Vec<Merges> = vec![Merges::new(); keys.len()];
    let mut places: Vec<Option<(u32, usize)>> = vec![None; parsed.len()];
    for ((list, window), target) in all.iter().zip(targets) {
        let Some((merges, place)) = merges.get_mut(*list as usize).zip(places.get_mut(target as usize)) else {
            continue; // both were checked
        };
        let at = match *place {
            Some((of, at)) if of == *list => at,
            Some(_) => return Err(broken(step, ("TARGET", "merges windows of different keys"))),
            None => {
                let into = frame::interval(parsed.value(target as usize).map_err(named)?);
                let into = into.ok_or_else(|| broken(step, ("VALUE", "a merged window is no interval window")))?;
                merges.push((into, Vec::new()));
                *place = Some((*list, merges.len() - 1));
                merges.len() - 1
            }
        };
        merges.get_mut(at).into_iter().for_each(|(_, members)| members.push((*window).clone()));
    }
    for merges in &mut merges {
        merges.retain(|(into, members)| members.as_slice() != std::slice::from_ref(into));
    }
    Ok(merges)
}

fn without_values(rows: &[Row]) -> Vec<Row> {
    rows.iter().map(|row| Row { key: Span::default(), value: Span::default(), hash: 0, ..*row }).collect()
}

fn called(step: &mut Step, op: u32, frame: &frame::Frame) -> Result<Vec<u8>> {
    let mut returned = Callee::call(&mut step.callee, op, frame, Loan::default()).0?;
    match (returned.frames.pop(), returned.frames.is_empty() && !returned.last_changes) {
        (Some(frame), true) => Ok(frame),
        _ => Err(broken(step, ("HEADER", "of a WindowFn comes with early outputs or changes of state"))),
    }
}

/// Refuses what a call returned if one of its rows failed.
fn whole<'a>(step: &Step, returned: &[u8], rows: &[Row], element: impl Fn(usize) -> &'a [u8]) -> Result<()> {
    let named = |e: FrameError| broken(step, (e.section, e.what));
    let shape = Shape { sources: rows, outputs: &[], window_sets: 0, pane: 0 };
    let failed = OutputFrame::parse(returned).and_then(|parsed| parsed.failed(&shape)).map_err(named)?;
    failed.first().map_or(Ok(()), |row| Err(super::collect::row_failed(step, row, element(row.row as usize))))
}

/// The window sets that were given, and that of each of `count` rows among them.
fn windows_of(step: &Step, returned: &[u8], count: usize) -> Result<(Vec<WindowSet>, Vec<u32>)> {
    let named = |e: FrameError| broken(step, (e.section, e.what));
    let parsed = OutputFrame::parse(returned).map_err(named)?;
    if parsed.len() != count || (0..count).any(|i| parsed.source(i) as usize != i) {
        return Err(broken(step, ("SOURCE", "is not the rows of the input in their order")));
    }
    let own = parsed.own_windows().map_err(named)?;
    if own.iter().flatten().any(|window| *window == Window::Global) {
        return Err(broken(step, ("WINDOW_SETS", "a WindowFn gives the global window")));
    }
    let of = (0..count).map(|i| parsed.windows(own.len(), i).map_err(named)).collect::<Result<_>>()?;
    Ok((own, of))
}

fn broken(step: &Step, (section, what): (&'static str, &'static str)) -> Error {
    Error::Frame { function: step.transform.clone(), section, what }
}
