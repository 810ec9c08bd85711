//! What hangs of the transactions of a process ([`super::super::hanging`]): records of the job's topics, and commit records.
//!
//! In: the producer that has this process's transactional id, and what brokers have said is committed. Out: nothing of its earlier transactions is open any more. A commit that was
//! told and hangs is completed, for the process went on from it: by a record that says nothing in each of the job's topics. What was told to a process that is gone nobody
//! knows: all that hangs of it is aborted, and computed anew.

use super::super::client::{Reports, Written};
use super::super::error::{self, passes};
use super::super::hanging::{self, Found, Pending, Place, SETTLES_WITHIN};
use super::changelog::no_cell;
use super::commits::{CommitRecord, CommitRecords};
use super::epochs::EpochsConfig;
use super::exchange::silence;
use rdkafka::error::KafkaResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use std::collections::{BTreeMap, BTreeSet};
use thalweg_core::error::Result;
use thalweg_core::id::Epoch;

/// What brokers have told a process of its transactions: that they are committed.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// The last epoch by partition of the job.
    epochs: BTreeMap<u16, Epoch>,
    /// The last offset by topic of the job's and partition.
    last: BTreeMap<String, BTreeMap<i32, i64>>,
}

impl Told {
    /// Takes in a transaction.
    pub fn take(&mut self, epochs: impl Iterator<Item = (u16, Epoch)>, written: &Written) {
        self.epochs.extend(epochs);
        for (topic, partitions) in written {
            let last = partitions.iter().map(|(partition, (_, last))| (*partition, *last));
            match self.last.get_mut(topic) {
                Some(known) => known.extend(last),
                None => drop(self.last.insert(topic.clone(), last.collect())),
            }
        }
    }

    /// Whether a record stands behind what is stable.
    fn hangs_in(&self, place: &Place) -> bool {
        let last = self.last.get(&place.topic).and_then(|partitions| partitions.get(&place.partition));
        last.is_some_and(|last| *last >= place.stable)
    }

    /// Whether a commit record is not among those that are seen.
    fn is_ahead_of(&self, seen: &BTreeMap<u16, CommitRecord>) -> bool {
        self.epochs.iter().any(|(partition, told)| seen.get(partition).is_none_or(|record| record.epoch < *told))
    }
}

pub(super) struct Hanging {
    config: EpochsConfig,
    settled: CommitRecords,
    so_far: CommitRecords,
}

/// What hangs, perhaps. What other processes have open may be among it: to them it is no harm.
pub(super) struct Hangs<'a> {
    of: &'a Hanging,
    /// Where it is committed.
    committed: Vec<Place>,
    /// Where it is not.
    aborted: Vec<Place>,
    /// Commit records, and whether they are committed.
    pending: Option<bool>,
    /// All partitions could be asked.
    pub whole: bool,
}

impl Hanging {
    pub fn new(config: &EpochsConfig) -> Result<Self> {
        let config = EpochsConfig { timeout: config.timeout.min(SETTLES_WITHIN), ..config.clone() };
        let (settled, so_far) = (CommitRecords::settled(&config)?, CommitRecords::so_far(&config)?);
        Ok(Self { config, settled, so_far })
    }

    /// Looks for what hangs in the topics of the job and in these. Costs four requests a partition.
    ///
    /// # Errors
    /// `KAFKA_UNREACHABLE`, `KAFKA_AUTH`.
    pub fn find<'a>(&'a self, more: impl Iterator<Item = &'a str>, told: &Told) -> Result<Hangs<'a>> {
        let own = || std::iter::once(&self.config.changelog).chain(&self.config.exchanges).map(String::as_str);
        let topics: BTreeSet<&str> = own().chain(more).collect();
        let Found { places, whole } = hanging::open(&self.config.client, &topics)?;
        let pending = self.pending()?.map(|seen| told.is_ahead_of(&seen));
        let (committed, mut aborted): (Vec<_>, Vec<_>) = places.into_iter().partition(|place| told.hangs_in(place));
        if !committed.is_empty() || pending == Some(true) {
            // what hangs in the topic of a sink may be of the same commit
            aborted.retain(|place| own().any(|topic| topic == place.topic));
        }
        Ok(Hangs { of: self, committed, aborted, pending, whole })
    }

    /// Finds what hangs, and ends it; false where some partitions could not be asked.
    ///
    /// # Errors
    /// As for [`Hanging::find`]. The producer is then of no more use.
    pub fn end<'a>(
        &'a self,
        producer: &BaseProducer<Reports>,
        more: impl Iterator<Item = &'a str>,
        told: &Told,
    ) -> Result<bool> {
        let hangs = self.find(more, told)?;
        hangs.end(producer).map(|()| hangs.whole)
    }

    /// The commit records as they are seen, if some are pending for longer than those of a transaction that ends.
    fn pending(&self) -> Result<Option<BTreeMap<u16, CommitRecord>>> {
        let all = || 0..self.config.partitions;
        match self.settled.read(all()) {
            Err(e) if passes(&e) => {}
            read => return read.map(|_| None),
        }
        let seen = self.so_far.read(all())?;
        Ok(self.settled.read(all()).is_err().then_some(seen))
    }
}

impl Hangs<'_> {
    /// Ends it.
    ///
    /// # Errors
    /// As for [`Hanging::find`]. The producer is then of no more use.
    pub fn end(&self, producer: &BaseProducer<Reports>) -> Result<()> {
        self.try_to_end(producer).map_err(|e| {
            let reason = producer.context().reason();
            error::talking(&e, "end transactions that hang", &self.of.config.client.bootstrap, &reason)
        })
    }

    fn try_to_end(&self, producer: &BaseProducer<Reports>) -> KafkaResult<()> {
        let config = &self.of.config;
        let (cell, silence) = (no_cell(), silence());
        let nothing = |place| {
            let record: BaseRecord<'_, [u8], [u8]> = hanging::to(place);
            if place.topic == config.changelog { record.key(&cell) } else { record.payload(&silence) }
        };
        let records = self.committed.iter().map(nothing).collect();
        hanging::commit(producer, records, self.pending(true)?.as_ref(), config.timeout)?;
        hanging::abort(producer, &self.aborted, self.pending(false)?.as_ref(), config.timeout)
    }

    fn pending(&self, committed: bool) -> KafkaResult<Option<Pending>> {
        self.pending.filter(|is| *is == committed).map(|_| self.of.so_far.place()).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_told_hangs_where_it_is_not_stable_or_not_seen() {
        let mut told = Told::default();
        let written = Written::from([("x".to_owned(), BTreeMap::from([(2, (5, 7))]))]);
        told.take([(1, Epoch(4))].into_iter(), &written);
        let hangs =
            |topic: &str, partition, stable| told.hangs_in(&Place { topic: topic.to_owned(), partition, stable });
        assert!(hangs("x", 2, 7) && hangs("x", 2, 3));
        assert!(!hangs("x", 2, 8), "what is open comes behind it");
        assert!(!hangs("x", 1, 0) && !hangs("y", 2, 0));
        let seen = |epoch| BTreeMap::from([(1, CommitRecord { epoch: Epoch(epoch), ..CommitRecord::default() })]);
        assert!(told.is_ahead_of(&seen(3)) && told.is_ahead_of(&BTreeMap::new()));
        assert!(!told.is_ahead_of(&seen(4)));
    }
}
