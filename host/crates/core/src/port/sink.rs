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

    /// Called once when a run ends in order, after its last commit and delivery; also after a cancel.
    ///
    /// # Errors
    /// When the last step (a rename, a close) fails.
    fn finish(&mut self) -> Result<()> {
        Ok(())
    }
}
