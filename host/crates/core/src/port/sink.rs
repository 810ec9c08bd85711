//! The port of native sinks. A sink becomes lasting with the epoch and in no other way.
//!
//! Three kinds, after where the sink can keep a mark of its own:
//! - *Length in the epoch* (files): [`Sink::prepare`] writes and syncs, the returned mark is committed with the epoch, and
//!   [`Sink::recover`] cuts away what no committed mark covers.
//! - *Outbox* (another Kafka cluster, a database): `prepare` returns bytes that are committed with the epoch;
//!   [`Sink::deliver`] brings them out afterwards together with the epoch's number, in one transaction of the sink. After a
//!   crash the sink says which epoch it holds, and later ones are delivered again.
//! - *With the commit* (a topic of the commit authority's own log): `prepare` returns records, which are part of the commit.

use crate::batch::Batch;
use crate::error::{Error, Result};
use crate::id::Epoch;
use crate::port::log::LogRecord;
use crate::time::EventTime;
use bytes::Bytes;

/// What preparing an epoch gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prepared {
    /// Stored with the epoch and handed to [`Sink::recover`].
    pub mark: Option<Bytes>,
    /// Stored with the epoch until [`Sink::deliver`] has brought it out.
    pub outbox: Option<Bytes>,
    /// Part of the commit itself.
    pub records: Vec<LogRecord>,
}

/// What stands before a mark in a copy of the state it was committed with. No sink's own marks begin so.
const COPIED: u8 = 0xff;

/// A stored mark as it stands in a copy of the state.
#[must_use]
pub fn copied_mark(mark: &[u8]) -> Bytes {
    match read_mark(mark) {
        (_, true) => Bytes::copy_from_slice(mark),
        (mark, false) => Bytes::from([&[COPIED], mark].concat()),
    }
}

/// A sink's own mark, and whether it was copied since.
#[must_use]
pub fn read_mark(stored: &[u8]) -> (&[u8], bool) {
    stored.strip_prefix(&[COPIED]).map_or((stored, false), |mark| (mark, true))
}

/// A native sink. One instance per job, driven by the epoch writer, never by a shard.
pub trait Sink: Send {
    /// Hears, before [`Sink::prepare`], how far time is: nothing that later epochs write is earlier, late elements aside. Returns
    /// whether the epoch is to be prepared on that account, even if nothing was written.
    fn reach(&mut self, _to: EventTime) -> bool {
        false
    }

    /// Takes what the epoch's bundles wrote, in shard order and within a shard in order.
    ///
    /// # Errors
    /// When the sink is full or gone: the epoch is not committed and the job stops; nothing committed is lost.
    fn prepare(&mut self, epoch: Epoch, batches: &[Batch]) -> Result<Prepared>;

    /// Brings out a committed outbox. Called in epoch order, again after a crash if [`Sink::recover`] asked for it; never for a sink
    /// that prepares none, which leaves it as it is.
    ///
    /// # Errors
    /// As for [`Sink::prepare`]; the outbox stays stored. `SINK_OUTBOX` where a sink prepares one and cannot bring it out.
    fn deliver(&mut self, _epoch: Epoch, _outbox: &[u8]) -> Result<()> {
        Err(Error::internal("SINK_OUTBOX", "a sink has prepared an outbox that it does not bring out"))
    }

    /// Called once before the first epoch of a run with the last committed mark. Returns the epoch up to which the
    /// sink already holds outboxes. A sink without marks and outboxes leaves it as it is.
    ///
    /// # Errors
    /// When the sink holds less than the mark says: something else changed it.
    fn recover(&mut self, _mark: Option<&[u8]>) -> Result<Option<Epoch>> {
        Ok(None)
    }

    /// Instead of [`Sink::recover`], with the last mark of another job whose state was copied for this one. That job may have gone on since, or go on
    /// still: what it brought out behind the copy is not this one's, though the epochs have the same numbers.
    ///
    /// # Errors
    /// As for [`Sink::recover`].
    fn take_over(&mut self, mark: &[u8]) -> Result<Option<Epoch>> {
        self.recover(Some(mark))
    }

    /// Called once when a run ends in order, after its last commit and delivery; also after a cancel.
    ///
    /// # Errors
    /// When the last step (a rename, a close) fails.
    fn finish(&mut self) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copied_mark_is_told_from_ones_own() {
        let copied = copied_mark(b"\x01x");
        assert_eq!(read_mark(b"\x01x"), (&b"\x01x"[..], false));
        assert_eq!(read_mark(&copied), (&b"\x01x"[..], true));
        assert_eq!(copied_mark(&copied), copied, "a copy of a copy");
    }
}
