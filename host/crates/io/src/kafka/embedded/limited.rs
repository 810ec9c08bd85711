//! All partitions of a source of the log as one split: for reads that end after so many records or so much time.
//!
//! In: a [`LogSource`] for the partitions. Out: their batches in turn, and a position that holds them all, in the bytes of the merged
//! Kafka source.

use super::super::merged::{Limit, State};
use super::super::position::Position;
use super::super::source::clock_ms;
use super::source::{LogSource, LogSourceConfig, LogSplits};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;
use thalweg_core::batch::BatchBuilder;
use thalweg_core::error::{Error, Result};
use thalweg_core::id::SplitId;
use thalweg_core::port::log::Log;
use thalweg_core::port::source::{Read, Source};
use thalweg_core::time::EventTime;

/// One partition's part.
#[derive(Clone, Debug)]
struct Part {
    position: Option<Position>,
    watermark: EventTime,
    finished: bool,
}

/// Reads all partitions as one split, whose number is 0. URN `thalweg:source:kafka:v1` with the servers `embedded`. A topic of the log never
/// gets more partitions, so none are looked for.
#[derive(Debug)]
pub struct LimitedLogSource {
    inner: LogSource,
    splits: LogSplits,
    limit: Limit,
    records: u64,
    started_ms: i64,
    parts: BTreeMap<SplitId, Part>,
    /// Which partition was asked last.
    turn: SplitId,
    reported: EventTime,
}

impl LimitedLogSource {
    /// A source over partitions that were discovered.
    ///
    /// # Errors
    /// As for [`LogSource::new`].
    pub fn new(log: Arc<dyn Log>, config: LogSourceConfig, splits: LogSplits, limit: Limit) -> Result<Self> {
        let inner = LogSource::new(log, config, splits.clone())?;
        let (parts, turn, reported) = (BTreeMap::new(), SplitId(0), EventTime::MIN);
        Ok(Self { inner, splits, limit, records: 0, started_ms: 0, parts, turn, reported })
    }

    fn is_over(&self) -> bool {
        let elapsed = clock_ms().saturating_sub(self.started_ms).max(0) as u64;
        self.limit.records.is_some_and(|max| self.records >= max)
            || self.limit.millis.is_some_and(|max| elapsed >= max)
            || self.parts.values().all(|part| part.finished)
    }

    fn position(&self) -> Bytes {
        let partitions = self.parts.values().filter_map(|part| part.position).collect();
        State { records: self.records, started_ms: self.started_ms, partitions }.encode().into()
    }
}

impl Source for LimitedLogSource {
    fn open(&mut self, _: SplitId, position: Option<&[u8]>) -> Result<()> {
        let state = match position {
            None => State { records: 0, started_ms: clock_ms(), partitions: Vec::new() },
            Some(bytes) => State::decode(bytes).ok_or_else(|| {
                Error::user("KAFKA_POSITION", "the stored position of a source of the log is of another kind of read")
                    .help("keep max_num_records and max_read_time as they were, or start the job anew with an empty state directory")
            })?,
        };
        (self.records, self.started_ms) = (state.records, state.started_ms);
        for split in self.splits.splits() {
            let stored = state.partitions.iter().find(|p| self.splits.of_position(p) == Some(split)).copied();
            self.inner.open(split, stored.map(Position::encode).as_deref())?;
            self.parts.insert(split, Part { position: stored, watermark: EventTime::MIN, finished: false });
        }
        Ok(())
    }

    fn poll(&mut self, _: SplitId, rows: usize) -> Result<Option<Read>> {
        if self.is_over() {
            let (position, batch) = (self.position(), BatchBuilder::new().finish());
            return Ok(Some(Read { batch, position, watermark: EventTime::MAX, finished: true }));
        }
        let left = self.limit.records.map_or(u64::MAX, |max| max.saturating_sub(self.records));
        let rows = rows.min(usize::try_from(left).unwrap_or(usize::MAX));
        let after = self.parts.range(SplitId(self.turn.0.saturating_add(1))..).map(|(id, _)| *id);
        let turns: Vec<SplitId> = after.chain(self.parts.range(..=self.turn).map(|(id, _)| *id)).collect();
        for split in turns {
            if self.parts.get(&split).is_none_or(|part| part.finished) {
                continue;
            }
            let Some(read) = self.inner.poll(split, rows)? else { continue };
            let part =
                Part { position: Position::decode(&read.position), watermark: read.watermark, finished: read.finished };
            self.parts.insert(split, part);
            self.turn = split;
            self.records += read.batch.len() as u64;
            let least = self.parts.values().map(|part| part.watermark).min().unwrap_or(EventTime::MIN);
            if read.batch.is_empty() && least <= self.reported && !read.finished {
                continue;
            }
            self.reported = least;
            let finished = self.is_over();
            let watermark = if finished { EventTime::MAX } else { least };
            return Ok(Some(Read { batch: read.batch, position: self.position(), watermark, finished }));
        }
        Ok(None)
    }

    fn woken_by(&mut self, waker: &Arc<dyn Fn() + Send + Sync>) {
        self.inner.woken_by(waker);
    }
}
