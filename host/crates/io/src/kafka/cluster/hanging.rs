//! What hangs of the transactions of a process ([`super::super::hanging`]): records of the job's topics, and commit records.
//!
//! In: the producer that has just taken the process's transactional id. Out: nothing of its earlier transactions is open any more.

use super::super::client::Reports;
use super::super::error::{self, passes};
use super::super::hanging::{self, SETTLES_WITHIN};
use super::commits::{CommitRecord, CommitRecords};
use super::epochs::EpochsConfig;
use rdkafka::producer::{BaseProducer, Producer};
use std::collections::{BTreeMap, BTreeSet};
use thalweg_core::error::Result;
use thalweg_core::id::Epoch;

/// What is left of the transactions that a process has begun earlier.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    Nothing,
    /// Perhaps something in partitions without a leader.
    Leaderless,
    /// One that is known to be committed hangs: the next one writes the markers that are missing.
    Committed,
}

pub(super) struct Hanging {
    config: EpochsConfig,
    settled: CommitRecords,
    so_far: CommitRecords,
}

impl Hanging {
    pub fn new(config: &EpochsConfig) -> Result<Self> {
        let config = EpochsConfig { timeout: config.timeout.min(SETTLES_WITHIN), ..config.clone() };
        let (settled, so_far) = (CommitRecords::settled(&config)?, CommitRecords::so_far(&config)?);
        Ok(Self { config, settled, so_far })
    }

    /// Ends what hangs in the topics of the job and in these; unless commit records are not to be seen that brokers have `told` of, by partition: then that is
    /// what hangs, and the answer is true.
    ///
    /// # Errors
    /// `KAFKA_UNREACHABLE`, `KAFKA_AUTH`. The producer is then of no more use.
    pub fn end<'a>(
        &'a self,
        producer: &BaseProducer<Reports>,
        more: impl Iterator<Item = &'a str>,
        told: &BTreeMap<u16, Epoch>,
    ) -> Result<Left> {
        let config = &self.config;
        let seen = self.pending()?;
        let is_seen = |seen: &BTreeMap<u16, CommitRecord>, (partition, told): (&u16, &Epoch)| {
            seen.get(partition).is_some_and(|record| record.epoch >= *told)
        };
        if seen.as_ref().is_some_and(|seen| !told.iter().all(|told| is_seen(seen, told))) {
            return Ok(Left::Committed);
        }
        let own = std::iter::once(&config.changelog).chain(&config.exchanges).map(String::as_str);
        let (places, whole) = hanging::open(&config.client, &own.chain(more).collect::<BTreeSet<_>>())?;
        let pending = seen.map(|_| self.so_far.place()).transpose();
        let ended = pending
            .and_then(|pending| hanging::end(producer, &places, pending.as_ref(), config.timeout))
            .map_err(|e| {
                let reason = producer.context().reason();
                error::talking(&e, "end transactions that hang", &config.client.bootstrap, &reason)
            });
        ended.map(|()| if whole { Left::Nothing } else { Left::Leaderless })
    }

    /// The commit records as they are seen, if some are pending for longer than those of a transaction that ends. Those of other processes may be: to them it is no harm.
    fn pending(&self) -> Result<Option<BTreeMap<u16, CommitRecord>>> {
        let all = || 0..self.config.partitions;
        match self.settled.read(all()) {
            Err(e) if passes(&e) => {}
            read => return read.map(|_| None),
        }
        let seen = self.so_far.read(all())?;
        match self.settled.read(all()) {
            Err(e) if passes(&e) => Ok(Some(seen)),
            read => read.map(|_| None),
        }
    }
}
