//! Sinks that collect what they are given, on a "disk" that outlives a crash of the run. Two, after the two protocols of the port:
//! [`CollectingSink`] has its length in the epoch, [`OutboxSink`] is fed from the outbox.

use crate::batch::Batch;
use crate::error::{Error, Result};
use crate::id::Epoch;
use crate::port::sink::{Prepared, Sink};
use crate::stored;
use crate::time::EventTime;
use crate::window::Window;
use bytes::Bytes;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// One element as a sink has it: an element in several windows makes several lines.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Line {
    /// Key, outer encoding.
    pub key: Vec<u8>,
    /// Value, outer encoding.
    pub value: Vec<u8>,
    /// Event time.
    pub time: EventTime,
    /// Window.
    pub window: Window,
    /// Number of its pane.
    pub pane: u64,
}

impl Line {
    /// The value as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.value).into_owned()
    }
}

#[derive(Default)]
struct Disk {
    lines: Vec<Line>,
    /// Outbox protocol: the last epoch delivered.
    delivered: Option<Epoch>,
    finished: bool,
    truncated: usize,
}

/// What a sink has brought out. Clones share it.
#[derive(Clone, Default)]
pub struct SinkDisk(Arc<Mutex<Disk>>);

impl SinkDisk {
    fn lock(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lines, in the order in which they were written.
    #[must_use]
    pub fn lines(&self) -> Vec<Line> {
        self.lock().lines.clone()
    }

    /// The values as text, sorted.
    #[must_use]
    pub fn texts(&self) -> Vec<String> {
        let mut texts: Vec<String> = self.lock().lines.iter().map(Line::text).collect();
        texts.sort();
        texts
    }

    /// Whether the sink was told that the job is done.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.lock().finished
    }

    /// How many lines recoveries have cut away.
    #[must_use]
    pub fn truncated(&self) -> usize {
        self.lock().truncated
    }
}

fn append(lines: &mut Vec<Line>, batch: &Batch) {
    for row in batch.rows() {
        for window in batch.windows(row) {
            lines.push(Line {
                key: batch.key(row).to_vec(),
                value: batch.value(row).to_vec(),
                time: row.time,
                window: window.clone(),
                pane: batch.pane(row).index,
            });
        }
    }
}

/// A "file": written in `prepare`, its length committed with the epoch, cut back in `recover`.
pub struct CollectingSink(SinkDisk);

impl CollectingSink {
    /// A sink on this disk.
    #[must_use]
    pub fn new(disk: SinkDisk) -> Self {
        Self(disk)
    }
}

impl Sink for CollectingSink {
    fn prepare(&mut self, _epoch: Epoch, batches: &[Batch]) -> Result<Prepared> {
        let mut disk = self.0.lock();
        batches.iter().for_each(|batch| append(&mut disk.lines, batch));
        let length = (disk.lines.len() as u64).to_be_bytes();
        Ok(Prepared { mark: Some(Bytes::copy_from_slice(&length)), ..Prepared::default() })
    }

    fn deliver(&mut self, _epoch: Epoch, _outbox: &[u8]) -> Result<()> {
        Err(Error::internal("SINK_PROTOCOL", "this sink has no outbox"))
    }

    fn recover(&mut self, mark: Option<&[u8]>) -> Result<Option<Epoch>> {
        let length = match mark.map(<[u8; 8]>::try_from) {
            None => 0,
            Some(Ok(bytes)) => u64::from_be_bytes(bytes) as usize,
            Some(Err(_)) => return Err(Error::internal("SINK_MARK", "the mark is not of this sink")),
        };
        let mut disk = self.0.lock();
        assert!(length <= disk.lines.len(), "{length} lines are committed, {} are there", disk.lines.len());
        disk.truncated += disk.lines.len() - length;
        disk.lines.truncate(length);
        Ok(None)
    }

    fn finish(&mut self) -> Result<()> {
        self.0.lock().finished = true;
        Ok(())
    }
}

/// A "database": gets each epoch's outbox with the epoch's number in one transaction.
pub struct OutboxSink(SinkDisk);

impl OutboxSink {
    /// A sink on this disk.
    #[must_use]
    pub fn new(disk: SinkDisk) -> Self {
        Self(disk)
    }
}

impl Sink for OutboxSink {
    fn prepare(&mut self, _epoch: Epoch, batches: &[Batch]) -> Result<Prepared> {
        let mut outbox = Vec::new();
        for batch in batches {
            crate::coder::Coder::Bytes.write_nested(&mut outbox, &stored::encode(batch));
        }
        Ok(Prepared { outbox: (!outbox.is_empty()).then(|| Bytes::from(outbox)), ..Prepared::default() })
    }

    fn deliver(&mut self, epoch: Epoch, outbox: &[u8]) -> Result<()> {
        let mut disk = self.0.lock();
        assert!(disk.delivered < Some(epoch), "epoch {epoch:?} delivered after {:?}", disk.delivered);
        let mut rest = outbox;
        while !rest.is_empty() {
            let (batch, after) = crate::coder::take_prefixed(rest)?;
            append(&mut disk.lines, &stored::decode(batch)?);
            rest = after;
        }
        disk.delivered = Some(epoch);
        Ok(())
    }

    fn recover(&mut self, _mark: Option<&[u8]>) -> Result<Option<Epoch>> {
        Ok(self.0.lock().delivered)
    }

    fn finish(&mut self) -> Result<()> {
        self.0.lock().finished = true;
        Ok(())
    }
}
