//! A changelog that is followed: what its owner commits, as it comes, for a copy that another process keeps.
//!
//! In: a partition of the changelog, and how far the copy reaches. Out: its writes, with a word at the end of each epoch. What is not committed is
//! never seen.

use super::super::client::Reports;
use super::changelog::{CHUNK_BYTES, Changelog, Reading, Restored};
use super::reader::passes;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::error::KafkaError;
use std::time::Duration;
use thalweg_core::error::Result;
use thalweg_core::port::store::CellWrite;

/// Follows one partition until it is dropped.
pub struct Follower {
    changelog: Changelog,
    queue: Option<PartitionQueue<Reports>>,
    reading: Reading,
}

/// What one step of a [`Follower`] came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Records that were taken.
    pub records: u64,
    /// Nothing more is committed.
    pub at_end: bool,
}

impl std::fmt::Debug for Follower {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Follower").field("changelog", &self.changelog).field("at", &self.reading.at).finish()
    }
}

impl Follower {
    /// Begins behind what a copy has; `None` when the topic does not hold what comes there, and the copy is of no use.
    ///
    /// # Errors
    /// `KAFKA_UNREACHABLE`, `KAFKA_UNKNOWN_TOPIC`.
    pub fn begin(changelog: Changelog, have: Restored) -> Result<Option<Self>> {
        let Some(queue) = changelog.open(have)? else { return Ok(None) };
        let reading = Reading::behind(have);
        Ok(Some(Self { changelog, queue: Some(queue), reading }))
    }

    /// How far it has come.
    #[must_use]
    pub fn at(&self) -> Restored {
        self.reading.at
    }

    /// Hands on what there is, about four megabytes at most, and waits for nothing. `apply` is given writes, and with the last ones of an epoch how far
    /// that leads; writes of an epoch that has not ended may be handed on before.
    ///
    /// # Errors
    /// As [`Changelog::read`], and what `apply` says.
    pub fn step(&mut self, apply: &mut dyn FnMut(Vec<CellWrite>, Option<Restored>) -> Result<()>) -> Result<Step> {
        let mut step = Step { records: 0, at_end: false };
        let Some(queue) = &self.queue else { return Ok(step) };
        self.changelog.serve()?;
        let before = self.reading.at;
        while self.reading.at.bytes - before.bytes < CHUNK_BYTES as u64 {
            match queue.poll(Duration::ZERO) {
                Some(Ok(record)) => {
                    let epoch = self.reading.at.epoch;
                    self.changelog.take(&mut self.reading, &record)?;
                    let ended = (self.reading.at.epoch != epoch).then_some(self.reading.at);
                    if ended.is_some() || self.reading.is_large() {
                        apply(self.reading.hand_on(), ended)?;
                    }
                }
                Some(Err(KafkaError::PartitionEOF(_))) => {
                    step.at_end = true;
                    break;
                }
                Some(Err(e)) if !passes(&e) => return Err(self.changelog.failed(&e)),
                Some(Err(_)) | None => break,
            }
        }
        step.records = self.reading.at.records - before.records;
        Ok(step)
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.queue = None;
        self.changelog.close();
    }
}
