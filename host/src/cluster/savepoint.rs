//! A savepoint of a job in the cluster, made by the one process that is asked.
//!
//! In: the changelogs of all partitions and what stands in exchanges, whoever owns what. Out: one state directory, as a job of one process would have it.
//! Most of it is copied while the job goes on. Then its sources are held, what comes after is copied, and the topics are looked at: a savepoint is what was
//! read between two looks that saw no transaction open and the same ends, so it is all of one moment. What was on its way between partitions at that moment is
//! part of it.

use super::Inner;
use super::held::Held;
use super::known::prepared;
use super::order::{Nothing, Run, What};
use super::update::partitions;
use crate::runtime::fault;
use crate::savepoint::{Saving, Subject};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use thalweg_core::engine::{Gather, Gathered, identity};
use thalweg_core::error::{Error, Result};
use thalweg_core::graph::{Plan, distribute};
use thalweg_core::id::{Epoch, StateId};
use thalweg_core::port::store::{CellWrite, StateStore as _};
use thalweg_io::kafka::cluster::{Changelog, JobTopics, LogReader, Restored, Standstill, on_its_way};
use thalweg_state::{Options, RocksStateStore};

/// How long a job may take to come to a standstill once its sources are held.
const STILL_WITHIN: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(100);
/// Bytes of what is on its way that are written together.
const CHUNK_BYTES: usize = 4 << 20;

impl Inner {
    /// Makes a savepoint, and cancels the job then if `stop` says so. Blocks until it is whole.
    ///
    /// # Errors
    /// `SAVEPOINT_SLOW` when the job does not come to a standstill, `JOB_NOT_RUNNING` when it ends meanwhile, and what place, brokers and disk say. The job goes on.
    pub(super) fn savepoint(self: &Arc<Self>, id: &str, to: &str, stop: bool) -> Result<()> {
        let run = self.going(id)?;
        let saving = Saving::begin(to)?;
        let mut translation = self.jobs.translate(&prepared(id, &run))?;
        let whole = self.composer.plan(&mut translation)?;
        let mut copy = Copying::begin(self, &run, &distribute(&whole)?, saving.dir())?;
        let begun = Instant::now();
        copy.follow()?;
        let held = Held::begin(self, id)?;
        let holding = Instant::now();
        fault("savepoint_held");
        while !copy.is_of_one_moment()? {
            self.going(id)?;
            if holding.elapsed() > STILL_WITHIN {
                let what = format!("the job {id} did not come to a standstill within {STILL_WITHIN:?}");
                return Err(Error::external("SAVEPOINT_SLOW", what).help(
                    "see what its processes and workers do, and whether all of them run this version; the job goes on",
                ));
            }
            std::thread::sleep(LOOK);
        }
        let (still, copied) = (holding.elapsed(), copy.bytes());
        if !stop {
            drop(held);
            return self.whole(copy, saving, &whole, &run, (begun, still, copied));
        }
        // held until it is cancelled: what it did from here on would be done again
        self.whole(copy, saving, &whole, &run, (begun, still, copied))?;
        let cancelled = self.order(id, What::Cancel(Nothing {}));
        drop(held);
        cancelled
    }

    fn whole(
        &self,
        copy: Copying,
        saving: Saving,
        plan: &Plan,
        run: &Run,
        (begun, still, bytes): (Instant, Duration, u64),
    ) -> Result<()> {
        let epochs = copy.finish(plan)?;
        saving.finish(&Subject { job: &run.name, epochs })?;
        let (took, held) = (begun.elapsed().as_millis() as u64, still.as_millis() as u64);
        tracing::info!(job = run.name, bytes, ms = took, held_ms = held, "a savepoint is made");
        Ok(())
    }

    fn going(&self, id: &str) -> Result<Arc<Run>> {
        let state = self.state();
        let known = state.jobs.get(id).filter(|known| !known.over && !known.cancelled && !known.draining);
        known.map(|known| Arc::clone(&known.run)).ok_or_else(|| {
            Error::user("JOB_NOT_RUNNING", format!("the job {id} does not run, or is about to end"))
                .help("only of a job that runs or is paused a savepoint can be made")
        })
    }
}

/// A copy that follows the job.
struct Copying {
    gather: Gather,
    topics: JobTopics,
    reader: Arc<LogReader>,
    still: Standstill,
    store: RocksStateStore,
    /// How far each partition's changelog was read.
    read: Vec<Restored>,
    bytes: u64,
    /// How far each partition has read each exchange, as it is stored.
    places: BTreeMap<(StateId, u16), bytes::Bytes>,
}

impl Copying {
    fn begin(inner: &Inner, run: &Run, apart: &Plan, dir: &Path) -> Result<Self> {
        let (count, client) = (partitions(run), &inner.config.client);
        let topics = JobTopics::new(&inner.config.name, &run.state);
        let gather = Gather::of(apart, count);
        let reader = LogReader::new(client)?;
        let edges: Vec<StateId> = gather.exchanges().collect();
        let still = Standstill::new(client, Arc::clone(&reader), &topics, &edges, count)?;
        let store = RocksStateStore::open(dir, &Options::default())?;
        let read = vec![Restored::default(); usize::from(count)];
        Ok(Self { gather, topics, reader, still, store, read, bytes: 0, places: BTreeMap::new() })
    }

    /// Copies what was committed since the last call.
    fn follow(&mut self) -> Result<()> {
        let Self { gather, topics, reader, store, read, bytes, places, .. } = self;
        for (partition, have) in read.iter_mut().enumerate() {
            let partition = partition as u16;
            let changelog = Changelog::new(Arc::clone(reader), topics.changelog(), partition);
            let mut take = |writes: Vec<CellWrite>| {
                let mut stay = Vec::with_capacity(writes.len());
                for write in writes {
                    match gather.cell(partition, write)? {
                        Gathered::Stays(write) => stay.push(write),
                        Gathered::Read(edge, Some(place)) => drop(places.insert((edge, partition), place)),
                        Gathered::Read(edge, None) => drop(places.remove(&(edge, partition))),
                        Gathered::Goes => {}
                    }
                }
                store.load(&stay)
            };
            let restored = changelog.read(*have, Epoch(0), &|| true, &mut take)?.ok_or_else(|| {
                Error::external("CLUSTER_TOPIC", format!("{:?} has lost records while it was read", topics.changelog()))
                    .help("somebody has deleted records or the topic; see who writes the topics of the job")
            })?;
            *bytes += restored.bytes;
            *have = restored;
        }
        Ok(())
    }

    /// Copies what is new, and tells whether the copy is of one moment.
    fn is_of_one_moment(&mut self) -> Result<bool> {
        let Some(ends) = self.still.ends()? else {
            self.follow()?; // so that less is left when it stands still
            return Ok(false);
        };
        self.follow()?;
        let written = self.on_its_way()?;
        if self.still.ends()? == Some(ends) {
            return Ok(true);
        }
        for keys in written.chunks(4096) {
            let gone: Vec<CellWrite> = keys.iter().map(|key| (key.clone(), None)).collect();
            self.store.load(&gone)?;
        }
        Ok(false)
    }

    /// Copies what partitions have been sent and not read, as input that waits; gives the keys.
    fn on_its_way(&mut self) -> Result<Vec<bytes::Bytes>> {
        let epoch = self.epoch();
        let Self { gather, topics, reader, store, read, places, bytes, .. } = self;
        let (mut keys, mut chunk, mut waiting, mut number) = (Vec::new(), Vec::new(), 0, 0);
        for edge in gather.exchanges() {
            let topic = topics.exchange(edge);
            for partition in 0..read.len() as u16 {
                // behind a byte that says whether it ended
                let place = places.get(&(edge, partition)).and_then(|place| place.get(1..));
                on_its_way(reader, &topic, partition, place, &mut |batch| {
                    number += 1;
                    let Some(write) = gather.on_its_way(partition, edge, epoch, number, batch) else { return Ok(()) };
                    keys.push(write.0.clone());
                    waiting += batch.len();
                    chunk.push(write);
                    if waiting > CHUNK_BYTES {
                        *bytes += std::mem::take(&mut waiting) as u64;
                        return store.load(&std::mem::take(&mut chunk));
                    }
                    Ok(())
                })?;
            }
        }
        store.load(&chunk)?;
        Ok(keys)
    }

    /// The last epoch of the whole: any of a partition's own is no later.
    fn epoch(&self) -> Epoch {
        self.read.iter().map(|read| read.epoch).max().unwrap_or_default().max(Epoch(1))
    }

    fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Says in the store whose it is, and closes it. Gives the last epochs of all partitions.
    fn finish(mut self, plan: &Plan) -> Result<Vec<Epoch>> {
        let epoch = self.epoch();
        self.store.commit(epoch, &identity(plan), &[])?;
        Ok(self.read.iter().map(|read| read.epoch).collect())
    }
}
