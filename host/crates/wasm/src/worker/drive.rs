//! The order of calls: rows are cut into frames; where failures have a place to go, a call that fails as a whole is made
//! again and then halved, until the row that it fails on stands alone and only that row is lost. What becomes of a function's memory
//! when a call fails is for the caller to say.

use crate::error::{Error, Result};
use crate::limits::Limits;
use std::ops::Range;
use thalweg_core::error::Domain;

/// How often a failed call is made again before it is halved.
pub const RETRIES: u32 = 1;

/// Makes calls for a run of rows.
pub trait Calls {
    /// Calls the function with these rows, or with the first of them where they have no room in a frame. All of the call counts, or
    /// nothing. Gives how many there were.
    fn attempt(&mut self, rows: Range<usize>) -> Result<usize>;

    /// Puts a row aside that makes its call fail.
    ///
    /// # Errors
    /// The error itself, for a row that cannot be put aside.
    fn bury(&mut self, row: usize, error: &Error) -> Result<()>;

    /// Readies the function for further calls after one that failed.
    ///
    /// # Errors
    /// What ends the bundle: no row is at fault.
    fn recover(&mut self, error: &Error) -> Result<()>;
}

/// Makes the calls for some rows, in order. Without `isolate` the first failure is the end.
pub fn drive(calls: &mut impl Calls, rows: Range<usize>, isolate: bool) -> Result<()> {
    let mut parts = vec![rows]; // still to do, the next one last
    while let Some(part) = parts.pop() {
        let error = match attempts(calls, &part, isolate)? {
            Ok(taken) => {
                rest(&mut parts, part.start + taken..part.end, taken);
                continue;
            }
            Err(error) => error,
        };
        if part.is_empty() {
            return Err(error);
        }
        if part.len() == 1 {
            calls.bury(part.start, &error)?;
            continue;
        }
        let middle = part.start + part.len() / 2;
        parts.push(middle..part.end);
        parts.push(part.start..middle);
    }
    Ok(())
}

/// Puts what a call left among what is still to do. As it is likely to have no room again, it is cut into pieces; but in case it has, each of them
/// is twice as large as the one before.
fn rest(parts: &mut Vec<Range<usize>>, rows: Range<usize>, taken: usize) {
    let (first, mut start, mut size) = (parts.len(), rows.start, taken.max(1));
    while start < rows.end {
        let end = start.saturating_add(size).min(rows.end);
        parts.push(start..end);
        (start, size) = (end, size.saturating_mul(2));
    }
    parts.get_mut(first..).into_iter().for_each(<[_]>::reverse);
}

/// Makes a call and, if it fails by the guest's fault, makes it again. Gives how many rows it took, or why it failed in the end.
fn attempts(calls: &mut impl Calls, part: &Range<usize>, isolate: bool) -> Result<std::result::Result<usize, Error>> {
    let mut retries = RETRIES;
    loop {
        let error = match calls.attempt(part.clone()) {
            Ok(taken) => return Ok(Ok(taken)),
            Err(error) => error,
        };
        if !isolate || error.domain() != Domain::Guest {
            return Err(error);
        }
        calls.recover(&error)?;
        if retries == 0 || error.repeats() {
            return Ok(Err(error));
        }
        retries -= 1;
    }
}

/// What an input frame holds.
#[derive(Clone, Copy, Debug)]
pub struct FrameSize {
    /// Rows of so many bytes, columns included, or a single larger one.
    pub bytes: usize,
    /// So many rows.
    pub rows: usize,
}

impl From<&Limits> for FrameSize {
    fn from(limits: &Limits) -> Self {
        Self { bytes: limits.frame_bytes, rows: limits.frame_rows }
    }
}

/// Cuts rows of these sizes into frames.
pub fn frames(most: FrameSize, sizes: impl Iterator<Item = usize>) -> Vec<Range<usize>> {
    let (mut ranges, mut start, mut end, mut bytes) = (Vec::new(), 0, 0, 0usize);
    for size in sizes {
        if end > start && (bytes.saturating_add(size) > most.bytes || end - start >= most.rows) {
            ranges.push(start..end);
            (start, bytes) = (end, 0);
        }
        end += 1;
        bytes = bytes.saturating_add(size);
    }
    if end > start {
        ranges.push(start..end);
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails on every call that contains row 5, and on the first call of all.
    #[derive(Default)]
    struct Poisoned {
        recovered: usize,
        /// How many rows have room in a call, and then none fails but for row 5.
        room: Option<usize>,
        calls: Vec<Range<usize>>,
        done: Vec<usize>,
        buried: Vec<usize>,
    }

    fn trap() -> Error {
        Error::Trap { function: "f".into(), what: "unreachable".into(), trace: String::new() }
    }

    impl Calls for Poisoned {
        fn attempt(&mut self, mut rows: Range<usize>) -> Result<usize> {
            self.calls.push(rows.clone());
            rows.end = rows.end.min(rows.start + self.room.unwrap_or(usize::MAX - rows.start));
            if rows.contains(&5) || (self.calls.len() == 1 && self.room.is_none()) {
                return Err(trap());
            }
            self.done.extend(rows.clone());
            Ok(rows.len())
        }
        fn bury(&mut self, row: usize, _error: &Error) -> Result<()> {
            self.buried.push(row);
            Ok(())
        }
        fn recover(&mut self, _error: &Error) -> Result<()> {
            self.recovered += 1;
            Ok(())
        }
    }

    #[test]
    fn only_the_poison_row_is_lost_and_the_order_stays() -> Result<()> {
        let mut calls = Poisoned::default();
        drive(&mut calls, 0..9, true)?;
        assert_eq!((calls.done, calls.buried), (vec![0, 1, 2, 3, 4, 6, 7, 8], vec![5]));
        Ok(())
    }

    #[test]
    fn what_has_no_room_in_a_call_comes_in_the_next_ones() -> Result<()> {
        let mut calls = Poisoned { room: Some(2), ..Poisoned::default() };
        drive(&mut calls, 6..17, false)?;
        assert_eq!(calls.done, (6..17).collect::<Vec<_>>());
        assert_eq!(calls.calls.get(..5), Some(&[6..17, 8..10, 10..14, 12..14, 14..17][..]));
        let mut calls = Poisoned { room: Some(2), ..Poisoned::default() };
        drive(&mut calls, 0..9, true)?;
        assert_eq!((calls.done, calls.buried), (vec![0, 1, 2, 3, 4, 6, 7, 8], vec![5]));
        Ok(())
    }

    #[test]
    fn a_failure_that_passes_costs_a_retry_and_nothing_else() -> Result<()> {
        let mut calls = Poisoned::default();
        drive(&mut calls, 6..9, true)?;
        assert_eq!((calls.calls, calls.buried, calls.recovered), (vec![6..9, 6..9], vec![], 1));
        Ok(())
    }

    #[test]
    fn without_a_place_for_failures_the_first_one_is_the_end() {
        let mut calls = Poisoned::default();
        assert_eq!(drive(&mut calls, 0..9, false), Err(trap()));
        assert_eq!(calls.calls.len(), 1);
    }

    #[test]
    fn frames_are_full_but_never_over_unless_one_row_is() {
        let usual = FrameSize::from(&Limits::default());
        assert_eq!(frames(usual, [100_000, 100_000, 100_000, 900_000, 1].into_iter()), [0..2, 2..3, 3..4, 4..5]);
        assert_eq!(frames(FrameSize { rows: 2, ..usual }, [1; 5].into_iter()), [0..2, 2..4, 4..5]);
        assert_eq!(frames(usual, std::iter::empty()), []);
    }
}
