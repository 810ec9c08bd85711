//! What a call has written so far, laid over what it reads: its changes count only when it has returned, but it sees them at once.

use crate::frame::{self, Change, FrameError, Op, SubOp};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::ops::Bound;

/// Makes the call's own changes on the bytes of a cell, which begin at `start`.
pub fn replay_cell(changes: &[Vec<u8>], slot: u32, group: u32, start: usize, out: &mut Vec<u8>) {
    replay(changes, |change| {
        if let Change::Cell(s, g, op) = change
            && (s, g) == (slot, group)
        {
            match op {
                Op::Append(bytes) => out.extend_from_slice(bytes),
                Op::Set(bytes) => {
                    out.truncate(start);
                    out.extend_from_slice(bytes);
                }
                Op::Clear => out.truncate(start),
            }
        }
    });
}

/// Makes them on one entry.
pub fn replay_entry(changes: &[Vec<u8>], slot: u32, group: u32, subkey: &[u8], entry: &mut Option<Vec<u8>>) {
    replay(changes, |change| {
        if let Change::Entry(s, g, op) = change
            && (s, g) == (slot, group)
        {
            match op {
                SubOp::Put(key, value) if key == subkey => *entry = Some(value.to_vec()),
                SubOp::Append(key, values) if key == subkey => {
                    entry.get_or_insert_default().extend_from_slice(values);
                }
                SubOp::Remove(key) if key == subkey => *entry = None,
                SubOp::RemoveRange(from, to) if (from..to).contains(&subkey) => *entry = None,
                SubOp::Clear => *entry = None,
                _ => {}
            }
        }
    });
}

/// Makes them on all entries of a group.
pub fn replay_entries(changes: &[Vec<u8>], slot: u32, group: u32, entries: &mut BTreeMap<Bytes, Vec<u8>>) {
    replay(changes, |change| {
        if let Change::Entry(s, g, op) = change
            && (s, g) == (slot, group)
        {
            match op {
                SubOp::Put(key, value) => drop(entries.insert(Bytes::copy_from_slice(key), value.to_vec())),
                SubOp::Append(key, values) => {
                    entries.entry(Bytes::copy_from_slice(key)).or_default().extend_from_slice(values);
                }
                SubOp::Remove(key) => drop(entries.remove(key)),
                SubOp::RemoveRange(from, to) if from < to => {
                    // each entry goes once, however many ranges it is in
                    let range = (Bound::Included(from), Bound::Excluded(to));
                    let gone: Vec<Bytes> = entries.range::<[u8], _>(range).map(|(key, _)| key.clone()).collect();
                    gone.iter().for_each(|key| drop(entries.remove(key)));
                }
                SubOp::RemoveRange(..) => {}
                SubOp::Clear => entries.clear(),
            }
        }
    });
}

/// Goes over changes that were found sound.
pub fn replay(changes: &[Vec<u8>], mut each: impl FnMut(Change<'_>)) {
    for ops in changes {
        let done = frame::changes(ops, |change| {
            each(change);
            Ok::<_, FrameError>(())
        });
        debug_assert!(done.is_ok(), "checked when it was written");
    }
}
