//! The port of native sources: splits that are polled, with positions that can be stored and sought.

use crate::batch::Batch;
use crate::error::Result;
use crate::id::SplitId;
use crate::time::EventTime;
use bytes::Bytes;
use std::sync::Arc;

/// What one poll of a split gave.
#[derive(Clone, Debug)]
pub struct Read {
    /// Elements; may be empty.
    pub batch: Batch,
    /// Where to go on after these elements, in the source's own encoding. Stored as it is.
    pub position: Bytes,
    /// No later element of this split will be earlier than this, as far as the source knows.
    pub watermark: EventTime,
    /// The split has ended; it is not polled again.
    pub finished: bool,
}

/// A native source: files, Kafka partitions, a scripted test source.
///
/// One instance serves the splits of one shard and runs on that shard's thread, so a poll must return at once: `Ok(None)`
/// means there is nothing yet and the shell polls again later. Back-pressure is not polling.
pub trait Source: Send {
    /// Goes to the stored position of a split, or to its beginning for `None`. Called once per split before it is polled.
    ///
    /// # Errors
    /// When the split cannot be opened or the position is not of this source; the job fails.
    fn open(&mut self, split: SplitId, position: Option<&[u8]>) -> Result<()>;

    /// Reads up to about `rows` elements. Must not block longer than a file read.
    ///
    /// # Errors
    /// When the split cannot be read; the job fails with this error, nothing committed is lost.
    fn poll(&mut self, split: SplitId, rows: usize) -> Result<Option<Read>>;

    /// Splits that came into being since it was asked last, whoever owns them: each shard takes its own of them and opens
    /// them at their beginning. Asked often, so it must return at once. A source whose splits are given for good has none.
    ///
    /// # Errors
    /// As for [`Source::poll`].
    fn found(&mut self) -> Result<Vec<SplitId>> {
        Ok(Vec::new())
    }

    /// Hears, before the first split is opened, which splits the job began with: one of the same origin that is not among them came into being
    /// later, and begins at its beginning if nothing is stored of it. Of `found`, which earlier lives came upon and nobody has listed, it
    /// gives those that are still there to be read.
    fn recall(&mut self, _first: &[SplitId], _found: &[SplitId]) -> Vec<SplitId> {
        Vec::new()
    }

    /// Hears of a split that an earlier run has read to its end, and where that is. It is not opened.
    ///
    /// # Errors
    /// When what stands in its place now is something else: it would never be read.
    fn ended(&self, _split: SplitId, _position: &[u8]) -> Result<()> {
        Ok(())
    }

    /// Hears, once after it was made, how the shard's thread is woken. A source that knows when there is something new need
    /// not wait to be asked; others pass over it.
    fn woken_by(&mut self, _waker: &Arc<dyn Fn() + Send + Sync>) {}
}
