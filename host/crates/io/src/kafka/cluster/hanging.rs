//! What hangs of the transactions of a process ([`super::super::hanging`]): records of the job's topics, and commit records.
//!
//! In: the producer that has just taken the process's transactional id. Out: nothing of its earlier transactions is open any more.

use super::super::client::Reports;
use super::super::error::{self, passes};
use super::super::hanging::{self, SETTLES_WITHIN};
use super::commits::CommitRecords;
use super::epochs::EpochsConfig;
use rdkafka::producer::{BaseProducer, Producer};
use std::collections::BTreeSet;
use thalweg_core::error::Result;

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

    /// Ends what hangs in the topics of the job and in these. Costs two requests a partition.
    ///
    /// # Errors
    /// `KAFKA_UNREACHABLE`, `KAFKA_AUTH`. The producer is then of no more use.
    pub fn end<'a>(&'a self, producer: &BaseProducer<Reports>, more: impl Iterator<Item = &'a str>) -> Result<()> {
        let config = &self.config;
        let own = std::iter::once(&config.changelog).chain(&config.exchanges).map(String::as_str);
        let (places, _) = hanging::open(&config.client, &own.chain(more).collect::<BTreeSet<_>>())?;
        let pending = self.pending()?.then(|| self.so_far.place()).transpose();
        pending.and_then(|pending| hanging::end(producer, &places, pending.as_ref(), config.timeout)).map_err(|e| {
            let reason = producer.context().reason();
            error::talking(&e, "end transactions that hang", &config.client.bootstrap, &reason)
        })
    }

    /// Whether commit records are pending for longer than those of a transaction that ends. Those of other processes may be: it is no harm to them.
    fn pending(&self) -> Result<bool> {
        let all = || 0..self.config.partitions;
        match self.settled.read(all()) {
            Err(e) if passes(&e) => {}
            read => return read.map(|_| false),
        }
        self.so_far.read(all())?;
        Ok(self.settled.read(all()).is_err())
    }
}
