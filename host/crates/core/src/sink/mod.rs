//! Room: sink. What the open epoch's bundles wrote to native sinks, until the seal takes it.
//!
//! In: batches of sink stages. Out: with the seal, the batches per sink. Nothing is formatted here: that is the epoch
//! writer's work, away from the shard.

use crate::batch::Batch;
use crate::id::SinkId;
use std::collections::BTreeMap;

/// Batches of the open epoch by sink.
#[derive(Default, Debug)]
pub struct SinkRoom {
    open: BTreeMap<SinkId, Vec<Batch>>,
    weight: usize,
    rows: u64,
}

impl SinkRoom {
    /// Takes a batch.
    pub fn write(&mut self, sink: SinkId, batch: Batch) {
        self.weight += batch.weight();
        self.rows += batch.len() as u64;
        self.open.entry(sink).or_default().push(batch);
    }

    /// Memory that waits for the seal, in bytes.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.weight
    }

    /// Rows written so far in this run.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Gives the epoch's batches away.
    pub fn seal(&mut self) -> Vec<(SinkId, Vec<Batch>)> {
        self.weight = 0;
        std::mem::take(&mut self.open).into_iter().collect()
    }
}
