//! Room: source. The splits of one native source on one shard: what has been read, and up to where it is consumed.
//!
//! In: reads. Out: polls, positions for the seal, the source's watermark. A position is always a prefix: it stands
//! behind the last read any part of which has been consumed; parts of reads before it that are still waiting are stored as pending
//! input by the same cut, so nothing is read twice and nothing is lost.

use crate::id::{SourceId, SplitId};
use crate::time::EventTime;
use bytes::Bytes;
use std::collections::VecDeque;

/// One read that is not wholly consumed.
#[derive(Debug)]
struct Outstanding {
    number: u64,
    /// Parts that wait in inboxes or bundles.
    waiting: usize,
    /// Some part has been consumed (or was never going to wait).
    touched: bool,
    position: Bytes,
    finished: bool,
}

/// One split.
#[derive(Debug)]
pub struct Split {
    /// Which.
    pub id: SplitId,
    reads: VecDeque<Outstanding>,
    next: u64,
    watermark: EventTime,
    /// The source says there is no more.
    finished: bool,
    /// A poll is under way.
    pub polling: bool,
    committed: Option<(Bytes, bool)>,
    dirty: bool,
}

impl Split {
    fn new(id: SplitId) -> Self {
        Self {
            id,
            reads: VecDeque::new(),
            next: 0,
            watermark: EventTime::MIN,
            finished: false,
            polling: false,
            committed: None,
            dirty: false,
        }
    }
}

/// The splits of a source on this shard.
#[derive(Debug)]
pub struct SourceRoom {
    /// Which source.
    pub source: SourceId,
    splits: Vec<Split>,
    rows: u64,
}

impl SourceRoom {
    /// The room for some splits.
    #[must_use]
    pub fn new(source: SourceId, splits: impl IntoIterator<Item = SplitId>) -> Self {
        Self { source, splits: splits.into_iter().map(Split::new).collect(), rows: 0 }
    }

    /// Takes in a split that came into being while the job runs; `false` if it is here already, or reading has ended. Until
    /// its first read it holds the source's watermark where that is.
    pub fn add(&mut self, id: SplitId) -> bool {
        let ended = !self.splits.is_empty() && self.splits.iter().all(|s| s.finished);
        let new = !ended && self.split(id).is_none();
        if new {
            self.splits.push(Split::new(id));
        }
        new
    }

    fn split(&mut self, id: SplitId) -> Option<&mut Split> {
        self.splits.iter_mut().find(|s| s.id == id)
    }

    /// Goes on from a stored position.
    pub fn restore(&mut self, split: SplitId, position: Bytes, finished: bool) {
        if let Some(split) = self.split(split) {
            split.finished = finished;
            if finished {
                split.watermark = EventTime::MAX;
            }
            split.committed = Some((position, finished));
        }
    }

    /// The stored position of a split, where a run begins.
    #[must_use]
    pub fn position(&self, split: SplitId) -> Option<Bytes> {
        self.splits.iter().find(|s| s.id == split)?.committed.as_ref().map(|(p, _)| p.clone())
    }

    /// Whether a split has ended: there is nothing to open.
    #[must_use]
    pub fn is_finished(&self, split: SplitId) -> bool {
        self.splits.iter().any(|s| s.id == split && s.finished)
    }

    /// Splits that may be polled now; they are noted as being polled.
    pub fn to_poll(&mut self) -> Vec<SplitId> {
        let idle = self.splits.iter_mut().filter(|s| !s.finished && !s.polling);
        idle.map(|s| {
            s.polling = true;
            s.id
        })
        .collect()
    }

    /// Takes note of a read whose rows go to `parts` places. Returns its number.
    pub fn read(
        &mut self,
        id: SplitId,
        rows: usize,
        position: Bytes,
        watermark: EventTime,
        finished: bool,
    ) -> Option<u64> {
        let split = self.split(id)?;
        split.polling = false;
        if split.finished {
            return None; // closed by a drain while it was being read: the position stays before it
        }
        split.watermark = split.watermark.max(if finished { EventTime::MAX } else { watermark });
        split.finished |= finished;
        let number = split.next;
        split.next += 1;
        split.reads.push_back(Outstanding { number, waiting: 0, touched: false, position, finished });
        self.rows += rows as u64;
        Some(number)
    }

    /// A part of a read waits somewhere.
    pub fn waits(&mut self, id: SplitId, number: u64) {
        if let Some(read) = self.outstanding(id, number) {
            read.waiting += 1;
        }
    }

    /// A part of a read was consumed, or sent away.
    pub fn consumed(&mut self, id: SplitId, number: u64, waited: bool) {
        if let Some(read) = self.outstanding(id, number) {
            read.touched = true;
            read.waiting -= usize::from(waited);
        }
    }

    fn outstanding(&mut self, id: SplitId, number: u64) -> Option<&mut Outstanding> {
        self.split(id)?.reads.iter_mut().find(|r| r.number == number)
    }

    /// Up to which read (inclusive) the next position will stand: waiting parts of these must be stored. `None`: none.
    #[must_use]
    pub fn cut(&self, id: SplitId) -> Option<u64> {
        let split = self.splits.iter().find(|s| s.id == id)?;
        split.reads.iter().rev().find(|r| r.touched || r.waiting == 0).map(|r| r.number)
    }

    /// Moves positions at a seal. Calls `write` for each split whose position moved.
    pub fn seal(&mut self, mut write: impl FnMut(SplitId, &Bytes, bool)) {
        for split in &mut self.splits {
            let Some(last) = split.reads.iter().rposition(|r| r.touched || r.waiting == 0) else { continue };
            for read in split.reads.drain(..=last) {
                split.committed = Some((read.position, read.finished));
                split.dirty = true;
            }
            if let (true, Some((position, finished))) = (split.dirty, &split.committed) {
                write(split.id, position, *finished);
                split.dirty = false;
            }
        }
    }

    /// The source's watermark on this shard: the least of its splits.
    #[must_use]
    pub fn watermark(&self) -> EventTime {
        self.splits.iter().map(|s| s.watermark).min().unwrap_or(EventTime::MAX)
    }

    /// Stops reading: no later element will come.
    pub fn close(&mut self) {
        for split in &mut self.splits {
            split.finished = true;
            split.watermark = EventTime::MAX;
        }
    }

    /// Rows read in this run.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: SplitId = SplitId(0);

    fn positions(room: &mut SourceRoom) -> Vec<u8> {
        let mut seen = Vec::new();
        room.seal(|_, p, _| seen.extend_from_slice(p));
        seen
    }

    fn read(room: &mut SourceRoom, at: u8, parts: usize) -> u64 {
        let n = room.read(S, 1, Bytes::copy_from_slice(&[at]), EventTime::MIN, false).expect("split");
        (0..parts).for_each(|_| room.waits(S, n));
        n
    }

    #[test]
    fn the_position_stands_before_reads_nobody_has_touched() {
        let mut room = SourceRoom::new(SourceId(0), [S]);
        let (first, second) = (read(&mut room, 1, 1), read(&mut room, 2, 1));
        assert_eq!(positions(&mut room), b"");
        room.consumed(S, first, true);
        assert_eq!(positions(&mut room), b"\x01");
        room.consumed(S, second, true);
        assert_eq!(positions(&mut room), b"\x02");
    }

    #[test]
    fn a_half_consumed_read_moves_the_position_and_its_rest_is_in_the_cut() {
        let mut room = SourceRoom::new(SourceId(0), [S]);
        let first = read(&mut room, 1, 2);
        read(&mut room, 2, 1);
        room.consumed(S, first, true);
        assert_eq!(room.cut(S), Some(first));
        assert_eq!(positions(&mut room), b"\x01");
    }

    #[test]
    fn an_empty_read_counts_at_once() {
        let mut room = SourceRoom::new(SourceId(0), [S]);
        read(&mut room, 1, 0);
        assert_eq!(positions(&mut room), b"\x01");
    }
}
