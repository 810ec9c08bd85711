//! A savepoint of a job in the cluster, made by the one process that is asked.
//!
//! In: the changelogs of all partitions and what stands in exchanges, whoever owns what. Out: one state directory, as a job of one process would have it.
//! Most of it is copied while the job goes on. Then its sources are held, what comes after is copied, and the topics are looked at: a savepoint is what was
//! read between two looks that saw no transaction open and the same ends, so it is all of one moment. What was on its way between partitions at that moment is
//! part of it.

use super::Inner;
use super::held::Held;
use super::order::{Nothing, Run, What};
use super::update::partitions;
use crate::runtime::fault;
use crate::savepoint::{Saving, Subject};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use thalweg_beam::job::{SAVEPOINT_HELP, not_running};
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
    /// `SAVEPOINT_SLOW` when the job does not come to a standstill, or does not stay there until it is cancelled; `JOB_NOT_RUNNING` when it ends or is
    /// updated meanwhile; and what place, brokers and disk say. The job goes on.
    pub(super) fn savepoint(self: &Arc<Self>, id: &str, to: &str, stop: bool) -> Result<()> {
        let run = self.going(id, SAVEPOINT_HELP)?;
        let saving = Saving::begin(to, &self.config.state_dir)?;
        let (whole, versions) = (self.planned(id, &run)?, self.stored_versions(id, &run)?);
        let mut copy = Copying::begin(self, &run, &distribute(&whole)?, saving.dir())?;
        let begun = Instant::now();
        copy.follow()?;
        let held = Held::begin(self, id)?;
        let holding = Instant::now();
        fault("savepoint_held");
        while !copy.is_of_one_moment()? {
            self.going(id, SAVEPOINT_HELP)?;
            if holding.elapsed() > STILL_WITHIN {
                let what = format!("the job {id} did not come to a standstill within {STILL_WITHIN:?}");
                return Err(Error::external("SAVEPOINT_SLOW", what).help(
                    "see what its processes and workers do, and whether all of them run this version; the job goes on",
                ));
            }
            std::thread::sleep(LOOK);
        }
        // another process may have read of an update before this one did
        if !copy.is_of_update(run.revision) {
            return Err(not_running(id, SAVEPOINT_HELP));
        }
        let (still, copied) = (holding.elapsed(), copy.bytes());
        // held until it is cancelled: what it did from here on would be done again
        let held = Some(held).filter(|_| stop);
        let facts = [identity(&whole), versions].concat();
        let moment = self.whole(copy, saving, &facts, &run, (begun, still, copied))?;
        if held.is_none() {
            return Ok(());
        }
        self.going(id, SAVEPOINT_HELP)?;
        if !moment.lasts()? {
            let what =
                format!("the job {id} went on before it could be stopped, and the savepoint is older than what it did");
            return Err(Error::external("SAVEPOINT_SLOW", what)
                .help("nothing is lost, and the job was not cancelled: see whether the brokers answer, and make another savepoint"));
        }
        self.order(id, What::Cancel(Nothing {}))
    }

    fn whole(
        &self,
        copy: Copying,
        saving: Saving,
        facts: &[CellWrite],
        run: &Run,
        (begun, still, bytes): (Instant, Duration, u64),
    ) -> Result<Moment> {
        let (epochs, moment) = copy.finish(facts)?;
        saving.finish(&Subject { job: &run.name, epochs })?;
        let (took, held) = (begun.elapsed().as_millis() as u64, still.as_millis() as u64);
        tracing::info!(job = run.name, bytes, ms = took, held_ms = held, "a savepoint is made");
        Ok(moment)
    }

    /// The order of a job that runs and goes on.
    ///
    /// # Errors
    /// `JOB_NOT_RUNNING`, with this help.
    pub(super) fn going(&self, id: &str, help: &str) -> Result<Arc<Run>> {
        let state = self.state();
        let known = state.jobs.get(id).filter(|known| !known.over && !known.cancelled && !known.draining);
        known.map(|known| Arc::clone(&known.run)).ok_or_else(|| not_running(id, help))
    }
}

/// The moment that a savepoint is of.
struct Moment {
    still: Standstill,
    ends: Vec<i64>,
}

impl Moment {
    /// Whether nothing was committed since.
    fn lasts(&self) -> Result<bool> {
        Ok(self.still.ends()?.as_ref() == Some(&self.ends))
    }
}

/// A copy that follows the job.
struct Copying {
    gather: Gather,
    topics: JobTopics,
    reader: Arc<LogReader>,
    still: Standstill,
    /// Where the topics ended when they were looked at last.
    ends: Vec<i64>,
    store: RocksStateStore,
    /// How far each partition's changelog was read.
    read: Vec<Restored>,
    bytes: u64,
    /// How often the pipeline was updated whose state this is.
    revision: u64,
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
        let (ends, places) = (Vec::new(), BTreeMap::new());
        Ok(Self { gather, topics, reader, still, ends, store, read, bytes: 0, revision: 0, places })
    }

    /// Copies what was committed since the last call.
    fn follow(&mut self) -> Result<()> {
        let Self { gather, topics, reader, store, read, bytes, revision, places, .. } = self;
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
                        Gathered::Updated(count) => *revision = count.max(*revision),
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
        if self.still.ends()?.as_ref() == Some(&ends) {
            self.ends = ends;
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
                let place = places.get(&(edge, partition)).map(|place| place.get(1..).unwrap_or_default());
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

    /// Whether no partition runs a later update than this one.
    fn is_of_update(&self, revision: u64) -> bool {
        self.revision <= revision
    }

    /// Says in the store whose it is, and what of it was deployed, and closes it. Gives the last epochs of all partitions, and the moment they are of.
    fn finish(mut self, facts: &[CellWrite]) -> Result<(Vec<Epoch>, Moment)> {
        let epoch = self.epoch();
        self.store.commit(epoch, facts, &[])?;
        let epochs = self.read.iter().map(|read| read.epoch).collect();
        Ok((epochs, Moment { still: self.still, ends: self.ends }))
    }
}
