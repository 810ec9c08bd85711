//! The epoch writer: the one thread that makes anything lasting.
//!
//! Per epoch: sinks prepare, then one atomic commit of all cells and sink marks, then outboxes are delivered. A sink's outbox
//! stays stored until an epoch after its delivery is committed, or the run ends in order.

use super::ToJob;
use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender};
use std::sync::Arc;
use thalweg_core::batch::Batch;
use thalweg_core::engine::SealedPart;
use thalweg_core::error::{Error, Result};
use thalweg_core::graph::Plan;
use thalweg_core::id::{Epoch, StateId};
use thalweg_core::port::sink::{Sink, read_mark};
use thalweg_core::port::store::{CellWrite, StateRead, StateStore};
use thalweg_core::state::layout::{CellKey, JOB_GROUP, KeyReader, Kind};
use thalweg_core::time::EventTime;

/// The parts of all shards, in shard order.
pub(super) struct EpochParts {
    pub epoch: Epoch,
    pub parts: Vec<SealedPart>,
    /// What changes of the job keep.
    pub writes: Vec<CellWrite>,
}

/// Owner of the store and the sinks.
pub(super) struct Writer {
    store: Box<dyn StateStore>,
    sinks: Vec<(StateId, Box<dyn Sink>)>,
    /// Keys of outboxes that are delivered: deleted with the next commit.
    delivered: Vec<Bytes>,
}

impl Writer {
    /// Brings every sink to the last committed epoch: cuts what is beyond it, delivers what is missing.
    pub(super) fn recover(plan: &Arc<Plan>, store: Box<dyn StateStore>, sinks: Vec<Box<dyn Sink>>) -> Result<Self> {
        let reader = store.reader();
        let mut named = Vec::new();
        let mut delivered = Vec::new();
        for (sink, id) in sinks.into_iter().zip(&plan.sinks) {
            let mut sink = sink;
            let mark = reader.get(&mark_key(*id))?;
            let held = match mark.as_deref().map(read_mark) {
                Some((mark, true)) => sink.take_over(mark)?,
                mark => sink.recover(mark.map(|(mark, _)| mark))?,
            };
            let held = held.unwrap_or_default();
            for (key, epoch, outbox) in outboxes(reader.as_ref(), *id)? {
                if epoch > held {
                    sink.deliver(epoch, &outbox)?;
                }
                delivered.push(key);
            }
            named.push((*id, sink));
        }
        Ok(Self { store, sinks: named, delivered })
    }

    /// Commits epochs until the job is over, then finishes the sinks; not after an error of its own.
    pub(super) fn run(mut self, parts: &Receiver<EpochParts>, job: &Sender<ToJob>) -> Result<()> {
        for epoch in parts {
            if let Err(error) = self.commit(epoch, job) {
                job.send(ToJob::Failed(error.clone())).unwrap_or_default();
                return Err(error);
            }
        }
        self.forget_delivered();
        self.sinks.iter_mut().try_for_each(|(_, sink)| sink.finish())
    }

    /// Deletes what the last epoch has delivered. Kafka forgets after a week that it holds that epoch: a job that is started again later would
    /// deliver it twice.
    fn forget_delivered(&mut self) {
        let writes: Vec<CellWrite> = self.delivered.drain(..).map(|key| (key, None)).collect();
        if writes.is_empty() {
            return;
        }
        let last = self.store.last_epoch().map(Epoch::next);
        if let Err(error) = last.and_then(|epoch| self.store.commit(epoch, &writes, &[])) {
            // the job has ended well without it
            tracing::warn!(%error, "what the last epoch delivered is still stored");
        }
    }

    fn commit(&mut self, parts: EpochParts, job: &Sender<ToJob>) -> Result<()> {
        let EpochParts { epoch, parts, writes: mut kept } = parts;
        let mut writes: Vec<CellWrite> = self.delivered.drain(..).map(|key| (key, None)).collect();
        writes.append(&mut kept);
        let mut batches: Vec<Vec<Batch>> = vec![Vec::new(); self.sinks.len()];
        let mut reached = vec![EventTime::MAX; self.sinks.len()];
        for part in parts {
            writes.extend(part.writes);
            for (sink, to) in part.reached {
                if let Some(least) = reached.get_mut(sink.0 as usize) {
                    *least = to.min(*least);
                }
            }
            for (sink, list) in part.sinks {
                if let Some(all) = batches.get_mut(sink.0 as usize) {
                    all.extend(list);
                }
            }
        }
        let (mut outboxes, mut records) = (Vec::new(), Vec::new());
        for (i, (((id, sink), list), to)) in self.sinks.iter_mut().zip(&batches).zip(reached).enumerate() {
            if !sink.reach(to) && list.is_empty() {
                continue;
            }
            fault("before_prepare");
            let mut prepared = sink.prepare(epoch, list)?;
            fault("after_prepare");
            records.append(&mut prepared.records);
            writes.extend(prepared.mark.map(|mark| (mark_key(*id), Some(mark))));
            if let Some(outbox) = prepared.outbox {
                let key = outbox_key(*id, epoch);
                writes.push((key.clone(), Some(outbox.clone())));
                outboxes.push((i, key, outbox));
            }
        }
        fault("before_commit");
        self.store.commit(epoch, &writes, &records)?;
        fault("after_commit");
        for (i, key, outbox) in outboxes {
            fault("before_deliver");
            if let Some((_, sink)) = self.sinks.get_mut(i) {
                sink.deliver(epoch, &outbox)?;
            }
            fault("after_deliver");
            self.delivered.push(key);
        }
        job.send(ToJob::Committed(epoch)).unwrap_or_default();
        Ok(())
    }
}

fn mark_key(sink: StateId) -> Bytes {
    CellKey::new(JOB_GROUP, Kind::SinkMark, sink).finish()
}

fn outbox_key(sink: StateId, epoch: Epoch) -> Bytes {
    CellKey::new(JOB_GROUP, Kind::Outbox, sink).number(epoch.0).finish()
}

/// Outboxes that a commit left behind, oldest first.
fn outboxes(reader: &dyn StateRead, sink: StateId) -> Result<Vec<(Bytes, Epoch, Bytes)>> {
    let prefix = CellKey::new(JOB_GROUP, Kind::Outbox, sink);
    let mut found = Vec::new();
    let mut whole = true;
    reader.scan(prefix.as_slice(), &prefix.successor(), &mut |key, value| {
        let epoch = KeyReader::open(key).and_then(|(_, _, _, mut rest)| rest.number());
        whole = epoch.is_some();
        if let Some(epoch) = epoch {
            found.push((Bytes::copy_from_slice(key), Epoch(epoch), Bytes::copy_from_slice(value)));
        }
        whole
    })?;
    if whole {
        return Ok(found);
    }
    Err(Error::external("STATE_CORRUPT", "a stored outbox cannot be read")
        .help("the state directory is damaged or of another version; restore a copy of it"))
}

/// A named point at which a test may kill the process: `THALWEG_FAULT=<name>:<n>` aborts at its nth passing, and `<name>:<n>:stop` lets the thread
/// never go on. They stand before and after each lasting write: that of a sink's own file, the commit with its cells, records, marks and deleted
/// outboxes, a delivery; where a job is held for a savepoint, or its state is made of one; and before a bundle is given to a worker.
pub(crate) fn fault(name: &str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};
    static PASSED: AtomicU64 = AtomicU64::new(0);
    static WANTED: OnceLock<Option<(String, u64, bool)>> = OnceLock::new();
    let read = || {
        let wanted = std::env::var("THALWEG_FAULT").ok()?;
        let (point, n) = wanted.split_once(':')?;
        let (n, stops) = n.strip_suffix(":stop").map_or((n, false), |n| (n, true));
        Some((point.to_owned(), n.parse().ok()?, stops))
    };
    let Some((point, n, stops)) = WANTED.get_or_init(read) else { return };
    if point == name && PASSED.fetch_add(1, Ordering::Relaxed) + 1 == *n {
        if *stops {
            loop {
                std::thread::park();
            }
        }
        std::process::abort();
    }
}
