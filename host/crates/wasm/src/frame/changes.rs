//! What a guest changes: cells, entries and timers, from the op sections of a frame. Whether slots, groups and families exist
//! is for the caller to say.

use super::{FrameError, INHERIT, Sections, bad, cut, section, u32_at};
use thalweg_core::time::EventTime;

/// A change of one cell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Op<'a> {
    /// The bytes become the cell.
    Set(&'a [u8]),
    /// The bytes are further elements of a bag.
    Append(&'a [u8]),
    /// The cell becomes empty.
    Clear,
}

/// A change of the entries of one group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SubOp<'a> {
    /// The second bytes become the entry of the first.
    Put(&'a [u8], &'a [u8]),
    /// The second bytes are further values of the entry of the first.
    Append(&'a [u8], &'a [u8]),
    /// The entry goes.
    Remove(&'a [u8]),
    /// All entries go.
    Clear,
    /// The entries from the first to before the second go.
    RemoveRange(&'a [u8], &'a [u8]),
}

/// A timer set or cleared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimerOp<'a> {
    /// Index of the group in the frame.
    pub group: u32,
    /// Index of the family in the description.
    pub family: u32,
    /// The input row that does it.
    pub row: u32,
    /// The dynamic tag; empty without one.
    pub tag: &'a [u8],
    /// Milliseconds in the family's domain, and the timestamp of the output if it is not the usual one; none clears.
    pub set: Option<(i64, Option<EventTime>)>,
}

/// One change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change<'a> {
    /// Of a cell: slot, group, change.
    Cell(u32, u32, Op<'a>),
    /// Of entries: slot, group, change.
    Entry(u32, u32, SubOp<'a>),
    /// Of a timer.
    Timer(TimerOp<'a>),
}

impl Change<'_> {
    /// What it stores or names, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Cell(_, _, Op::Set(bytes) | Op::Append(bytes)) => bytes.len(),
            Self::Cell(_, _, Op::Clear) | Self::Entry(_, _, SubOp::Clear) => 0,
            Self::Entry(_, _, SubOp::Put(key, value) | SubOp::Append(key, value) | SubOp::RemoveRange(key, value)) => {
                key.len().saturating_add(value.len())
            }
            Self::Entry(_, _, SubOp::Remove(key)) => key.len(),
            Self::Timer(op) => op.tag.len(),
        }
    }
}

/// Hands out the changes in a frame in the order in which they stand.
///
/// # Errors
/// If the frame breaks the layout, or what `each` says.
pub fn changes<E: From<FrameError>>(frame: &[u8], mut each: impl FnMut(Change<'_>) -> Result<(), E>) -> Result<(), E> {
    for taken in (Sections { rest: frame }) {
        let (id, payload) = taken?;
        match id {
            section::CELL_OPS => cell_ops(payload, &mut each)?,
            section::SUBCELL_OPS => entry_ops(payload, &mut each)?,
            section::TIMER_OPS => timer_ops(payload, &mut each)?,
            _ => {}
        }
    }
    Ok(())
}

fn cell_ops<E: From<FrameError>>(payload: &[u8], each: &mut impl FnMut(Change<'_>) -> Result<(), E>) -> Result<(), E> {
    const NAME: &str = "CELL_OPS";
    let table = Entries::<16>::of(payload, 4, NAME)?;
    for entry in table.entries {
        let value = table.bytes(entry, 8)?;
        let op = match number(entry, 4) {
            0 => Op::Set(value),
            1 => Op::Append(value),
            2 => Op::Clear,
            _ => return Err(bad(NAME, "an operation is unknown").into()),
        };
        each(Change::Cell(table.head, number(entry, 0), op))?;
    }
    Ok(())
}

fn entry_ops<E: From<FrameError>>(payload: &[u8], each: &mut impl FnMut(Change<'_>) -> Result<(), E>) -> Result<(), E> {
    const NAME: &str = "SUBCELL_OPS";
    let table = Entries::<24>::of(payload, 4, NAME)?;
    for entry in table.entries {
        let (subkey, value) = (table.bytes(entry, 8)?, table.bytes(entry, 16)?);
        let op = match number(entry, 4) {
            0 => SubOp::Put(subkey, value),
            1 => SubOp::Append(subkey, value),
            2 => SubOp::Remove(subkey),
            3 => SubOp::Clear,
            4 => SubOp::RemoveRange(subkey, value),
            _ => return Err(bad(NAME, "an operation is unknown").into()),
        };
        each(Change::Entry(table.head, number(entry, 0), op))?;
    }
    Ok(())
}

fn timer_ops<E: From<FrameError>>(payload: &[u8], each: &mut impl FnMut(Change<'_>) -> Result<(), E>) -> Result<(), E> {
    const NAME: &str = "TIMER_OPS";
    let table = Entries::<40>::of(payload, 0, NAME)?;
    for entry in table.entries {
        let (fire, hold) = (long(entry, 16), long(entry, 24));
        let hold = (hold != INHERIT).then_some(EventTime(hold));
        if hold.is_some_and(|h| h < EventTime::MIN || h > EventTime::MAX) {
            return Err(bad(NAME, "a hold lies outside of Beam's range").into());
        }
        let set = match number(entry, 8) {
            0 => Some((fire.clamp(EventTime::MIN.0, EventTime::MAX.0), hold)),
            1 => None,
            _ => return Err(bad(NAME, "an operation is unknown").into()),
        };
        let (group, family, row) = (number(entry, 0), number(entry, 4), number(entry, 12));
        each(Change::Timer(TimerOp { group, family, row, tag: table.bytes(entry, 32)?, set }))?;
    }
    Ok(())
}

/// The questions of a lookup: group and subkey of each.
///
/// # Errors
/// If the frame breaks the layout or has no section SUBKEYS.
pub fn subkeys(frame: &[u8]) -> Result<Vec<(u32, &[u8])>, FrameError> {
    const NAME: &str = "SUBKEYS";
    for taken in (Sections { rest: frame }) {
        let (id, payload) = taken?;
        if id == section::SUBKEYS {
            let table = Entries::<16>::of(payload, 0, NAME)?;
            return table.entries.iter().map(|entry| Ok((number(entry, 0), table.bytes(entry, 8)?))).collect();
        }
    }
    Err(bad(NAME, "is missing"))
}

/// Entries of `N` bytes that point into the bytes behind them.
struct Entries<'a, const N: usize> {
    name: &'static str,
    /// The first number of the section.
    head: u32,
    entries: &'a [[u8; N]],
    bytes: &'a [u8],
}

impl<'a, const N: usize> Entries<'a, N> {
    /// `count_at`: where the number of entries stands.
    fn of(payload: &'a [u8], count_at: usize, name: &'static str) -> Result<Self, FrameError> {
        let taken = (|| {
            let (head, count) = (u32_at(payload, 0)?, u32_at(payload, count_at)? as usize);
            let (entries, bytes) = payload.get(8..)?.split_at_checked(count.checked_mul(N)?)?;
            Some(Self { name, head, entries: entries.as_chunks().0, bytes })
        })();
        taken.ok_or(bad(name, "is too short for its entries"))
    }

    fn bytes(&self, entry: &[u8; N], at: usize) -> Result<&'a [u8], FrameError> {
        let pair = entry.get(at..).and_then(|rest| rest.first_chunk());
        pair.and_then(|pair| cut(self.bytes, *pair)).ok_or(bad(self.name, "a range lies outside of its bytes"))
    }
}

fn number(entry: &[u8], at: usize) -> u32 {
    u32_at(entry, at).unwrap_or_default()
}

fn long(entry: &[u8], at: usize) -> i64 {
    entry.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |bytes| i64::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::super::pack;
    use super::*;

    fn read(id: u32, payload: &[u8]) -> Result<Vec<String>, FrameError> {
        let mut frame = pack(id, payload.len() as u32).to_vec();
        frame.extend(payload);
        frame.resize(frame.len().next_multiple_of(8), 0);
        let mut seen = Vec::new();
        changes(&frame, |change| {
            seen.push(format!("{change:?}"));
            Ok::<_, FrameError>(())
        })?;
        Ok(seen)
    }

    #[test]
    fn changes_of_cells_come_in_order() -> Result<(), FrameError> {
        let mut payload = [pack(1, 2), pack(7, 0), pack(0, 2), pack(8, 2), pack(0, 0)].concat();
        payload.extend(b"xy");
        assert_eq!(read(section::CELL_OPS, &payload)?, ["Cell(1, 7, Set([120, 121]))", "Cell(1, 8, Clear)"]);
        Ok(())
    }

    #[test]
    fn changes_of_entries_and_timers_are_read() -> Result<(), FrameError> {
        let mut payload = [pack(1, 1), pack(7, 0), pack(0, 1), pack(1, 3)].concat();
        payload.extend(b"kvv");
        assert_eq!(read(section::SUBCELL_OPS, &payload)?, ["Entry(1, 7, Put([107], [118, 118]))"]);
        let inherit = INHERIT.to_le_bytes();
        let mut payload = [pack(1, 0), pack(2, 0), pack(0, 5), 99i64.to_le_bytes(), inherit, pack(0, 1)].concat();
        payload.extend(b"t");
        let expected = "Timer(TimerOp { group: 2, family: 0, row: 5, tag: [116], set: Some((99, None)) })";
        assert_eq!(read(section::TIMER_OPS, &payload)?, [expected]);
        Ok(())
    }

    #[test]
    fn broken_changes_are_named() {
        for id in [section::CELL_OPS, section::SUBCELL_OPS, section::TIMER_OPS] {
            assert!(read(id, &pack(0, 1)).is_err() || id == section::TIMER_OPS);
            assert!(read(id, &pack(9, 9)).is_err_and(|e| e.what.contains("too short")));
        }
        let payload = [pack(0, 1), pack(0, 9), pack(0, 0)].concat();
        assert!(read(section::CELL_OPS, &payload).is_err_and(|e| e.what.contains("unknown")));
        let payload = [pack(0, 1), pack(0, 0), pack(0, 9)].concat();
        assert!(read(section::CELL_OPS, &payload).is_err_and(|e| e.what.contains("range")));
    }
}
