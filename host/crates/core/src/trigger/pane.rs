//! What a grouping with a trigger tree knows of one key and window beside its values.
//!
//! Stored as one cell: `format (1) | flags (1) | panes (8) | panes on time or late (8) | unseen (4) | time (8) | nodes`, a node being
//! `flags (1) | value (8)`. Format 1 is frozen; a reader of a later version keeps reading it.

use super::tree::{Memory, NodeMemory};
use crate::batch::{Pane, Timing};
use crate::id::{KeyGroup, StateId};
use crate::state::layout::{CellKey, Kind};
use crate::time::{EventTime, ProcessingTime};
use crate::window::Window;
use bytes::Bytes;

const FORMAT: u8 = 1;
const PENDING: u8 = 1;
const LATE: u8 = 2;
const TIMED: u8 = 4;

/// Panes of one key and window.
#[derive(Clone, Debug, Default)]
pub struct Panes {
    /// What the trigger tree remembers.
    pub memory: Memory,
    /// Panes emitted.
    pub emitted: u64,
    /// Those of them that were not early.
    pub timely: u64,
    /// Its first element came behind the end of the window, or one has come since the output watermark passed that.
    pub late: bool,
    /// Elements that the trigger has not been told of: they wait for a merge.
    pub unseen: u32,
    /// The output time of what is new, as far as it was still to be held.
    pub time: Option<EventTime>,
    /// The hold that is put for it; not stored.
    pub held: Option<EventTime>,
    /// The alarm that is set for it; not stored.
    pub alarm: Option<ProcessingTime>,
    /// Its cell is in the store, or was in the open epoch.
    pub stored: bool,
}

impl Panes {
    /// The pane that is emitted next. `ended` says whether the watermark has passed the end of the window.
    #[must_use]
    pub fn next(&self, ended: bool, last: bool) -> Pane {
        let timing = match (ended, self.timely > 0 || self.late) {
            (false, _) => Timing::Early,
            (true, false) => Timing::OnTime,
            (true, true) => Timing::Late,
        };
        let non_speculative = if ended { self.timely as i64 } else { -1 };
        Pane { timing, first: self.emitted == 0, last, index: self.emitted, non_speculative }
    }

    /// Notes that a pane was emitted.
    pub fn emitted(&mut self, pane: Pane) {
        self.emitted += 1;
        self.timely += u64::from(pane.timing != Timing::Early);
    }

    /// The stored form.
    #[must_use]
    pub fn encode(&self, pending: bool) -> Bytes {
        let mut out = Vec::with_capacity(30 + 9 * self.memory.len());
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        out.push(FORMAT);
        out.push(flag(pending, PENDING) | flag(self.late, LATE) | flag(self.time.is_some(), TIMED));
        out.extend_from_slice(&self.emitted.to_be_bytes());
        out.extend_from_slice(&self.timely.to_be_bytes());
        out.extend_from_slice(&self.unseen.to_be_bytes());
        out.extend_from_slice(&self.time.unwrap_or_default().0.to_be_bytes());
        for node in &self.memory {
            out.push(flag(node.finished, 1) | flag(node.late, 2) | flag(node.value.is_some(), 4));
            out.extend_from_slice(&node.value.unwrap_or_default().to_be_bytes());
        }
        Bytes::from(out)
    }

    /// Reads what [`Panes::encode`] wrote, with whether there is something new. A memory of another tree than one of so many
    /// `nodes` is begun anew.
    #[must_use]
    pub fn decode(bytes: &[u8], nodes: usize) -> Option<(Self, bool)> {
        let ([FORMAT, flags], rest) = bytes.split_first_chunk::<2>()? else { return None };
        let (emitted, rest) = rest.split_first_chunk::<8>()?;
        let (timely, rest) = rest.split_first_chunk::<8>()?;
        let (unseen, rest) = rest.split_first_chunk::<4>()?;
        let (time, mut rest) = rest.split_first_chunk::<8>()?;
        let mut memory = Memory::new();
        while let Some((flags, after)) = rest.split_first() {
            let (value, after) = after.split_first_chunk::<8>()?;
            let value = (flags & 4 != 0).then(|| i64::from_be_bytes(*value));
            memory.push(NodeMemory { finished: flags & 1 != 0, late: flags & 2 != 0, value });
            rest = after;
        }
        if memory.len() != nodes {
            memory = Memory::from_elem(NodeMemory::default(), nodes);
        }
        let panes = Self {
            memory,
            emitted: u64::from_be_bytes(*emitted),
            timely: u64::from_be_bytes(*timely),
            late: flags & LATE != 0,
            unseen: u32::from_be_bytes(*unseen),
            time: (flags & TIMED != 0).then(|| EventTime(i64::from_be_bytes(*time))),
            stored: true,
            ..Self::default()
        };
        Some((panes, flags & PENDING != 0))
    }
}

/// Where the panes of a key and window are stored.
pub(super) fn pane_key(id: StateId, window: &Window, key: &[u8], hash: u64) -> Bytes {
    CellKey::new(KeyGroup::of_hash(hash), Kind::Pane, id).window(window).last(key).finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn panes() -> Panes {
        let node = NodeMemory { finished: true, late: true, value: Some(-3) };
        let memory = Memory::from_slice(&[node, NodeMemory::default()]);
        let time = Some(EventTime(-7));
        Panes { memory, emitted: 4, timely: 2, late: true, unseen: 3, time, ..Panes::default() }
    }

    #[test]
    fn stored_panes_read_back() {
        let (back, pending) = Panes::decode(&panes().encode(true), 2).expect("whole");
        assert!(pending && back.stored && back.late);
        assert_eq!((back.memory, back.emitted, back.timely), (panes().memory, 4, 2));
        assert_eq!((back.unseen, back.time), (3, Some(EventTime(-7))));
    }

    #[test]
    fn panes_of_another_tree_begin_anew_and_damage_is_noticed() {
        let bytes = panes().encode(false);
        let (back, pending) = Panes::decode(&bytes, 5).expect("whole");
        assert!(!pending && back.memory.iter().all(|node| *node == NodeMemory::default()) && back.memory.len() == 5);
        assert!(Panes::decode(&bytes[..bytes.len() - 1], 2).is_none());
        assert!(Panes::decode(&bytes[..20], 2).is_none());
        assert!(Panes::decode(&[&[9], &bytes[1..]].concat(), 2).is_none());
    }

    #[test]
    fn panes_are_early_then_once_on_time_then_late() {
        let mut panes = Panes::default();
        let mut told = Vec::new();
        for ended in [false, false, true, true] {
            let pane = panes.next(ended, false);
            told.push((pane.timing, pane.first, pane.index, pane.non_speculative));
            panes.emitted(pane);
        }
        assert_eq!(
            told,
            [
                (Timing::Early, true, 0, -1),
                (Timing::Early, false, 1, -1),
                (Timing::OnTime, false, 2, 0),
                (Timing::Late, false, 3, 1)
            ]
        );
    }
}
