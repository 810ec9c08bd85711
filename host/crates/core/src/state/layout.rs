//! The bytes of stored keys. Every kind of cell stands in one enum; a kind's number is never used again.
//!
//! `group (2, big end) | kind (1) | state id (8) | ...`, so a partition is one range, and within it a state is one range.
//! Parts of varying length carry their length in front (4 bytes, big end) unless they stand last. Group
//! [`JOB_GROUP`] lies behind all real groups and holds what belongs to the job as a whole.

use crate::id::{KeyGroup, StateId};
use crate::time::EventTime;
use crate::window::Window;
use bytes::Bytes;

/// Version of this layout, kept in the store's version file.
pub const LAYOUT_VERSION: u32 = 1;

/// The group of cells that belong to the whole job.
pub const JOB_GROUP: KeyGroup = KeyGroup(0xffff);

/// First key that no cell has: behind the job's group, kinds never reach 0xff.
pub const RESERVED: &[u8] = &[0xff, 0xff, 0xff];
/// Where a store keeps the number of its last epoch: eight bytes, big end.
pub const EPOCH: &[u8] = b"\xff\xff\xffepoch";

/// Kinds of cells.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Kind {
    /// User state: key, window, sub-key (last).
    User = 1,
    /// A timer: key, window, family (4), tag (last). Value: fire (8), hold (8), pane.
    Timer = 2,
    /// A chunk of a grouping's buffer: window, key, chunk number (8).
    Buffer = 3,
    /// Input that survived a cut unconsumed: sequence (8). Value: a stored batch.
    Pending = 4,
    /// Position of a source split: split (4). Value: the source's own bytes.
    Position = 5,
    /// Watermark of a stage on a shard: shard (8). Value: milliseconds (8).
    Progress = 6,
    /// What a grouping knows of a window of a key (fired, panes): window, key.
    Pane = 7,
    /// Mark of a sink. Value: the sink's own bytes.
    SinkMark = 8,
    /// Outbox of a sink: epoch (8). Value: the sink's own bytes.
    Outbox = 9,
    /// A fact of the job: name.
    Job = 10,
    /// A chunk of a side input: epoch (8), chunk number (8). Value: a stored batch.
    View = 11,
    /// An element that waits for its turn in event time: key, window, time (8, ordered), sequence (8). Value: pane, element.
    Sorted = 12,
    /// A component that runs instead of the one in the pipeline: part (8). The id is the transform's. Value: the host's own bytes.
    Deployed = 13,
    /// How far a copy reaches whose truth is elsewhere; never leaves the machine. Value: the copy's own bytes.
    Copy = 14,
    /// Until when state of a key and window was written at the latest: key, window. Value: milliseconds of the clock (8). The id is the stage's.
    Written = 15,
    /// The same in the order of that time: time (8), key, window. No value.
    Expires = 16,
}

impl Kind {
    /// Whether cells of this kind are copied with the others: to a changelog, and from it.
    #[must_use]
    pub fn is_copied(kind: u8) -> bool {
        (Self::User as u8..=Self::Expires as u8).contains(&kind) && kind != Self::Copy as u8
    }
}

/// Builds stored keys.
#[derive(Clone, Debug)]
pub struct CellKey(Vec<u8>);

impl CellKey {
    /// Starts a key.
    #[must_use]
    pub fn new(group: KeyGroup, kind: Kind, id: StateId) -> Self {
        let mut bytes = Vec::with_capacity(64);
        bytes.extend_from_slice(&group.0.to_be_bytes());
        bytes.push(kind as u8);
        bytes.extend_from_slice(&id.0.to_be_bytes());
        Self(bytes)
    }

    /// Appends bytes of varying length.
    #[must_use]
    pub fn part(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
        self.0.extend_from_slice(bytes);
        self
    }

    /// Appends bytes without their length: only as the last part.
    #[must_use]
    pub fn last(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// Appends a number so that bytes order as numbers do.
    #[must_use]
    pub fn number(mut self, n: u64) -> Self {
        self.0.extend_from_slice(&n.to_be_bytes());
        self
    }

    /// Appends a time so that bytes order as times do.
    #[must_use]
    pub fn time(mut self, time: EventTime) -> Self {
        self.0.extend_from_slice(&ordered(time));
        self
    }

    /// Appends a window; intervals order by their end.
    #[must_use]
    pub fn window(mut self, window: &Window) -> Self {
        match window {
            Window::Global => self.0.push(0),
            Window::Interval { start, end } => {
                self.0.push(1);
                self.0.extend_from_slice(&ordered(*end));
                self.0.extend_from_slice(&ordered(*start));
            }
            Window::Custom { max, encoded } => {
                self.0.push(2);
                self.0.extend_from_slice(&ordered(*max));
                return self.part(encoded);
            }
        }
        self
    }

    /// The key.
    #[must_use]
    pub fn finish(self) -> Bytes {
        Bytes::from(self.0)
    }

    /// The first key behind all keys that begin with this one; empty if there is none.
    #[must_use]
    pub fn successor(&self) -> Vec<u8> {
        behind(&self.0).unwrap_or_default()
    }

    /// The bytes so far, as the beginning of a range.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }
}

/// The first bytes behind all that begin with `prefix`; `None` if there are none.
#[must_use]
pub fn behind(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < 0xff {
            end.push(last + 1);
            return Some(end);
        }
    }
    None
}

/// Big end first with the sign flipped: bytes order as times do.
fn ordered(time: EventTime) -> [u8; 8] {
    ((time.0 as u64) ^ (1 << 63)).to_be_bytes()
}

/// Takes a stored key apart from the front.
#[derive(Clone, Copy, Debug)]
pub struct KeyReader<'a>(&'a [u8]);

impl<'a> KeyReader<'a> {
    /// Reads the front that all keys share.
    #[must_use]
    pub fn open(key: &'a [u8]) -> Option<(KeyGroup, u8, StateId, Self)> {
        let (group, rest) = key.split_first_chunk::<2>()?;
        let (kind, rest) = rest.split_first()?;
        let (id, rest) = rest.split_first_chunk::<8>()?;
        Some((KeyGroup(u16::from_be_bytes(*group)), *kind, StateId(u64::from_be_bytes(*id)), Self(rest)))
    }

    /// Reads a part of varying length.
    pub fn part(&mut self) -> Option<&'a [u8]> {
        let (n, rest) = self.0.split_first_chunk::<4>()?;
        let (part, rest) = rest.split_at_checked(u32::from_be_bytes(*n) as usize)?;
        self.0 = rest;
        Some(part)
    }

    /// Reads a number.
    pub fn number(&mut self) -> Option<u64> {
        let (n, rest) = self.0.split_first_chunk::<8>()?;
        self.0 = rest;
        Some(u64::from_be_bytes(*n))
    }

    /// Reads a window.
    pub fn window(&mut self) -> Option<Window> {
        let (tag, rest) = self.0.split_first()?;
        self.0 = rest;
        match tag {
            0 => Some(Window::Global),
            1 => {
                let (end, start) = (self.time()?, self.time()?);
                Some(Window::Interval { start, end })
            }
            2 => {
                let max = self.time()?;
                Some(Window::Custom { max, encoded: Bytes::copy_from_slice(self.part()?) })
            }
            _ => None,
        }
    }

    /// Reads a time.
    pub fn time(&mut self) -> Option<EventTime> {
        self.number().map(|n| EventTime((n ^ (1 << 63)) as i64))
    }

    /// What is left: the last part.
    #[must_use]
    pub fn rest(self) -> &'a [u8] {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_read_back_and_order_by_their_end() {
        let key = |start: i64, end: i64| {
            CellKey::new(KeyGroup(7), Kind::Buffer, StateId(9))
                .window(&Window::Interval { start: EventTime(start), end: EventTime(end) })
                .part(b"k")
                .number(3)
                .finish()
        };
        assert!(key(-20, -10) < key(-15, 0));
        assert!(key(0, 1) > key(-15, 0));
        let key = key(-20, -10);
        let (group, kind, id, mut rest) = KeyReader::open(&key).expect("front");
        assert_eq!((group, kind, id), (KeyGroup(7), Kind::Buffer as u8, StateId(9)));
        assert_eq!(rest.window(), Some(Window::Interval { start: EventTime(-20), end: EventTime(-10) }));
        assert_eq!(rest.part(), Some(&b"k"[..]));
        assert_eq!(rest.number(), Some(3));
    }

    #[test]
    fn the_layout_is_frozen() {
        let key = CellKey::new(KeyGroup(0x0102), Kind::User, StateId(5)).part(b"ab").window(&Window::Global).last(b"s");
        assert_eq!(key.as_slice(), b"\x01\x02\x01\0\0\0\0\0\0\0\x05\0\0\0\x02ab\0s");
        assert_eq!(CellKey(vec![1, 0xff]).successor(), vec![2]);
    }
}
