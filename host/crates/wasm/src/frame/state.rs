//! State cells in frames: the cells a guest reads, and the changes it asks for.

use super::{FrameError, Sections, bad, cut, pack, section, u32_at};

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

/// A CELLS section: the cells of one slot. `frame` may hold other sections already.
///
/// # Errors
/// What `cell` says, which appends the bytes of the i-th cell.
pub fn cells<E>(
    slot: u32,
    count: usize,
    frame: &mut Vec<u8>,
    mut cell: impl FnMut(usize, &mut Vec<u8>) -> Result<(), E>,
) -> Result<(), E> {
    frame.extend(pack(section::CELLS, 0));
    let start = frame.len();
    frame.extend(pack(slot, count as u32));
    let ranges = frame.len();
    let bytes = ranges + count * 8;
    frame.resize(bytes, 0);
    for i in 0..count {
        let begin = frame.len() - bytes;
        cell(i, frame)?;
        let range = pack(begin as u32, (frame.len() - bytes) as u32);
        if let Some(place) = frame.get_mut(ranges + i * 8..ranges + i * 8 + 8) {
            place.copy_from_slice(&range);
        }
    }
    let length = (frame.len() - start) as u32;
    if let Some(place) = frame.get_mut(start - 4..start) {
        place.copy_from_slice(&length.to_le_bytes());
    }
    frame.resize(frame.len().next_multiple_of(8), 0);
    Ok(())
}

/// Hands out the changes in a frame of `state.write`: slot, group, change. Whether slot and group exist is for `each`
/// to say.
///
/// # Errors
/// If the frame breaks the layout, or what `each` says.
pub fn cell_ops<E: From<FrameError>>(
    frame: &[u8],
    mut each: impl FnMut(u32, u32, Op<'_>) -> Result<(), E>,
) -> Result<(), E> {
    const NAME: &str = "CELL_OPS";
    let short = || bad(NAME, "is too short for its entries");
    for taken in (Sections { rest: frame }) {
        let (id, payload) = taken?;
        if id != section::CELL_OPS {
            continue;
        }
        let (slot, count) = (u32_at(payload, 0).ok_or_else(short)?, u32_at(payload, 4).ok_or_else(short)? as usize);
        let rest = payload.get(8..).ok_or_else(short)?;
        let (entries, bytes) = count.checked_mul(16).and_then(|n| rest.split_at_checked(n)).ok_or_else(short)?;
        for entry in entries.as_chunks::<16>().0 {
            let (head, value) = entry.split_at(8);
            let (group, op) = (u32_at(head, 0).unwrap_or_default(), u32_at(head, 4).unwrap_or_default());
            let value = value.first_chunk().and_then(|pair| cut(bytes, *pair));
            let value = value.ok_or(bad(NAME, "a range lies outside of its bytes"))?;
            let op = match op {
                0 => Op::Set(value),
                1 => Op::Append(value),
                2 => Op::Clear,
                _ => return Err(bad(NAME, "an operation is unknown").into()),
            };
            each(slot, group, op)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ops(payload: &[u8]) -> Result<Vec<(u32, u32, String)>, FrameError> {
        let mut frame = pack(section::CELL_OPS, payload.len() as u32).to_vec();
        frame.extend(payload);
        frame.resize(frame.len().next_multiple_of(8), 0);
        let mut seen = Vec::new();
        cell_ops(&frame, |slot, group, op| {
            seen.push((slot, group, format!("{op:?}")));
            Ok::<_, FrameError>(())
        })?;
        Ok(seen)
    }

    #[test]
    fn changes_are_handed_out_in_order() {
        let payload = [pack(3, 2), pack(7, 0), pack(0, 1), pack(7, 2), pack(0, 0)].concat();
        let seen = ops(&[payload.as_slice(), b"x"].concat());
        assert_eq!(seen, Ok(vec![(3, 7, "Set([120])".to_owned()), (3, 7, "Clear".to_owned())]));
    }

    #[test]
    fn broken_changes_are_refused() {
        for payload in [
            Vec::new(),
            pack(0, 1).to_vec(),                           // an entry that is not there
            pack(0, u32::MAX).to_vec(),                    // a count beyond all memory
            [pack(0, 1), pack(0, 3), pack(0, 0)].concat(), // an unknown operation
            [pack(0, 1), pack(0, 0), pack(0, 1)].concat(), // a value beyond the bytes
            [pack(0, 1), pack(0, 0), pack(1, 0)].concat(), // a falling range
        ] {
            assert!(ops(&payload).is_err(), "{payload:?}");
        }
    }
}
