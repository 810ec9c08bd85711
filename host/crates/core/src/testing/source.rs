//! A source whose splits are written down beforehand. A position is a row number, so a split can be read again in other
//! portions than the first time.

use crate::batch::BatchBuilder;
use crate::error::{Error, Result};
use crate::id::SplitId;
use crate::port::source::{Read, Source};
use crate::time::EventTime;
use crate::window::Window;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One element of a split.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct SourceRow {
    /// Key; empty where the collection has none.
    pub key: Vec<u8>,
    /// Value.
    pub value: Vec<u8>,
    /// Event time.
    pub time: EventTime,
}

/// One split: its rows, and what it promises after each.
#[derive(Clone, Debug)]
pub struct ScriptedSplit {
    rows: Arc<Vec<SourceRow>>,
    bounded: bool,
    ends: bool,
    /// It comes into being while the job first runs.
    later: bool,
}

impl ScriptedSplit {
    /// A split that promises after each row the earliest time of those that follow, and ends after the last.
    #[must_use]
    pub fn new(rows: Vec<SourceRow>) -> Self {
        Self { rows: Arc::new(rows), bounded: false, ends: true, later: false }
    }

    /// A split of elements without key at the given times.
    #[must_use]
    pub fn of(rows: &[(&str, i64)]) -> Self {
        let row = |(value, time): &(&str, i64)| SourceRow {
            key: Vec::new(),
            value: value.as_bytes().to_vec(),
            time: EventTime(*time),
        };
        Self::new(rows.iter().map(row).collect())
    }

    /// Promises nothing before its end, as files do.
    #[must_use]
    pub fn bounded(self) -> Self {
        Self { bounded: true, ..self }
    }

    /// Never ends: after its last row it has nothing, for now.
    #[must_use]
    pub fn endless(self) -> Self {
        Self { ends: false, ..self }
    }

    /// Is not there when a job starts on an empty store.
    #[must_use]
    pub fn later(self) -> Self {
        Self { later: true, ..self }
    }

    /// Whether it is there when a job starts on an empty store.
    #[must_use]
    pub fn is_later(&self) -> bool {
        self.later
    }

    /// Its rows.
    #[must_use]
    pub fn rows(&self) -> &[SourceRow] {
        &self.rows
    }

    fn promise(&self, at: usize) -> EventTime {
        let rest = self.rows.get(at..).unwrap_or_default();
        match rest.iter().map(|r| r.time).min() {
            Some(_) if self.bounded => EventTime::MIN,
            Some(time) => time,
            None if self.ends => EventTime::MAX,
            None => self.rows.last().map_or(EventTime::MIN, |r| r.time),
        }
    }
}

/// A [`Source`] over such splits.
pub struct ScriptedSource {
    splits: Vec<ScriptedSplit>,
    at: BTreeMap<SplitId, usize>,
}

impl ScriptedSource {
    /// A source of these splits, numbered from 0.
    #[must_use]
    pub fn new(splits: Vec<ScriptedSplit>) -> Self {
        Self { splits, at: BTreeMap::new() }
    }

    fn split(&self, split: SplitId) -> Result<&ScriptedSplit> {
        self.splits.get(split.0 as usize).ok_or_else(|| Error::internal("SOURCE_SPLIT", "there is no such split"))
    }
}

impl Source for ScriptedSource {
    fn open(&mut self, split: SplitId, position: Option<&[u8]>) -> Result<()> {
        let rows = self.split(split)?.rows.len();
        let at = match position.map(<[u8; 8]>::try_from) {
            None => 0,
            Some(Ok(bytes)) => u64::from_be_bytes(bytes) as usize,
            Some(Err(_)) => return Err(Error::internal("SOURCE_POSITION", "the position is not of this source")),
        };
        assert!(at <= rows, "position {at} of a split of {rows} rows");
        self.at.insert(split, at);
        Ok(())
    }

    fn poll(&mut self, id: SplitId, rows: usize) -> Result<Option<Read>> {
        let split = self.split(id)?.clone();
        let at = *self.at.get(&id).ok_or_else(|| Error::internal("SOURCE_SPLIT", "polled before it was opened"))?;
        let end = split.rows.len().min(at + rows.max(1));
        if at == end && !split.ends {
            return Ok(None);
        }
        let mut batch = BatchBuilder::new();
        for row in split.rows.get(at..end).unwrap_or_default() {
            batch.push(&row.key, &row.value, row.time, &[Window::Global]);
        }
        self.at.insert(id, end);
        Ok(Some(Read {
            batch: batch.finish(),
            position: Bytes::copy_from_slice(&(end as u64).to_be_bytes()),
            watermark: split.promise(end),
            finished: split.ends && end == split.rows.len(),
        }))
    }
}
