//! Cells in frames: what a guest reads of state and tables.

use super::{Encoder, Frame, pack, section};

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

/// The answer to a lookup, as the section `id` with the first number `head`: SUBCELLS or TABLE_CELLS. `cell` appends the bytes
/// of the i-th entry, and says whether there is one.
///
/// # Errors
/// What `cell` says.
pub fn sub_cells<E>(
    id: u32,
    head: Option<u32>,
    count: usize,
    frame: &mut Vec<u8>,
    mut cell: impl FnMut(usize, &mut Vec<u8>) -> Result<bool, E>,
) -> Result<(), E> {
    frame.extend(pack(id, 0));
    let start = frame.len();
    frame.extend(head.map_or(pack(count as u32, 0), |head| pack(head, count as u32)));
    let entries = frame.len();
    let bytes = entries + count * 16;
    frame.resize(bytes, 0);
    for i in 0..count {
        let begin = frame.len() - bytes;
        let present = cell(i, frame)?;
        let range = pack(begin as u32, (frame.len() - bytes) as u32);
        if let Some(place) = frame.get_mut(entries + i * 16..entries + i * 16 + 16) {
            let (head, tail) = place.split_at_mut(8);
            head.copy_from_slice(&pack(u32::from(present), 0));
            tail.copy_from_slice(&range);
        }
    }
    let length = (frame.len() - start) as u32;
    if let Some(place) = frame.get_mut(start - 4..start) {
        place.copy_from_slice(&length.to_le_bytes());
    }
    frame.resize(frame.len().next_multiple_of(8), 0);
    Ok(())
}

/// Rows of a page: a key and a value each.
#[must_use]
pub fn page<'a>(rows: &[(&'a [u8], &'a [u8])]) -> Frame {
    let mut encoder = Encoder::default();
    encoder.page(rows);
    encoder.into_frame()
}

/// A LARGE section: rows whose value goes on elsewhere, each with the token of the rest. No rows, no section.
pub fn large<const N: usize>(rows: &[(u32, [u8; N])], frame: &mut Vec<u8>) {
    if rows.is_empty() {
        return;
    }
    frame.extend(pack(section::LARGE, (8 + rows.len() * (16 + N)) as u32));
    frame.extend(pack(rows.len() as u32, 0));
    for (i, (row, _)) in rows.iter().enumerate() {
        frame.extend(pack(*row, 0));
        frame.extend(pack((i * N) as u32, ((i + 1) * N) as u32));
    }
    rows.iter().for_each(|(_, token)| frame.extend_from_slice(token));
    frame.resize(frame.len().next_multiple_of(8), 0);
}

/// Elements of an iterable, nested, one after the other: a frame of one row with that value.
#[must_use]
pub fn elements(bytes: &[u8]) -> Frame {
    page(&[(&[], bytes)])
}
