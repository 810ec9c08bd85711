//! The epoch writer of the driver: sinks prepare, the store commits, the job is told, outboxes are brought out. One step at a time,
//! so that a crash can come between any two.

use super::super::sink::{CollectingSink, OutboxSink, SinkDisk};
use super::super::store::FakeStore;
use super::super::topology::SinkKind;
use super::Driver;
use crate::engine::{JobEvent, Outcome, SealedPart};
use crate::error::Result;
use crate::graph::Plan;
use crate::id::{Epoch, StateId};
use crate::port::sink::Sink;
use crate::port::store::{CellWrite, StateRead, StateStore};
use crate::state::layout::{CellKey, JOB_GROUP, Kind};
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};

/// One step.
enum Step {
    Prepare(Epoch, usize),
    Commit(Epoch),
    Tell(Epoch),
    Deliver(Epoch, usize, Bytes),
}

/// Parts of epochs, sinks, and what is to be done.
pub(super) struct Writer {
    sinks: Vec<(StateId, Box<dyn Sink>)>,
    parts: BTreeMap<Epoch, Vec<SealedPart>>,
    steps: VecDeque<Step>,
    /// Marks and outboxes of the epoch under way.
    extra: Vec<CellWrite>,
    /// Outboxes of the epoch under way, to be delivered after the commit.
    boxes: Vec<(usize, Bytes)>,
    /// Keys of outboxes that were delivered: deleted with the next commit.
    delivered: Vec<Bytes>,
}

fn mark_key(sink: StateId) -> Bytes {
    CellKey::new(JOB_GROUP, Kind::SinkMark, sink).finish()
}

fn outbox(sink: StateId) -> CellKey {
    CellKey::new(JOB_GROUP, Kind::Outbox, sink)
}

impl Writer {
    /// The writer of a new run: sinks go back to the last committed epoch, and outboxes they lack are delivered.
    pub fn new(specs: &[(String, SinkKind, SinkDisk)], plan: &Plan, store: &FakeStore) -> Result<Self> {
        let mut writer = Self {
            sinks: Vec::new(),
            parts: BTreeMap::new(),
            steps: VecDeque::new(),
            extra: Vec::new(),
            boxes: Vec::new(),
            delivered: Vec::new(),
        };
        for ((_, kind, disk), id) in specs.iter().zip(&plan.sinks) {
            let mut sink: Box<dyn Sink> = match kind {
                SinkKind::Length => Box::new(CollectingSink::new(disk.clone())),
                SinkKind::Outbox => Box::new(OutboxSink::new(disk.clone())),
            };
            let held = sink.recover(store.get(&mark_key(*id))?.as_deref())?;
            let mut waiting: Vec<(Bytes, Bytes)> = Vec::new();
            store.scan(outbox(*id).as_slice(), &outbox(*id).successor(), &mut |key, value| {
                waiting.push((Bytes::copy_from_slice(key), Bytes::copy_from_slice(value)));
                true
            })?;
            for (key, value) in waiting {
                let (_, _, _, mut rest) = crate::state::layout::KeyReader::open(&key).unwrap_or_else(|| unreachable!());
                let epoch = Epoch(rest.number().unwrap_or_default());
                if held < Some(epoch) {
                    sink.deliver(epoch, &value)?;
                }
                writer.delivered.push(key);
            }
            writer.sinks.push((*id, sink));
        }
        Ok(writer)
    }

    pub fn is_idle(&self) -> bool {
        self.steps.is_empty()
    }

    /// A shard's part of an epoch.
    pub fn part(&mut self, part: SealedPart) {
        self.parts.entry(part.epoch).or_default().push(part);
    }

    /// The job asks for the commit.
    pub fn begin(&mut self, epoch: Epoch) {
        for sink in 0..self.sinks.len() {
            self.steps.push_back(Step::Prepare(epoch, sink));
        }
        self.steps.push_back(Step::Commit(epoch));
        self.steps.push_back(Step::Tell(epoch));
    }

    fn prepare(&mut self, epoch: Epoch, sink: usize) -> Result<()> {
        let parts = self.parts.entry(epoch).or_default();
        parts.sort_by_key(|p| p.shard);
        let mine = |p: &SealedPart| {
            let found = p.sinks.iter().filter(|(id, _)| id.0 as usize == sink);
            found.flat_map(|(_, batches)| batches.clone()).collect::<Vec<_>>()
        };
        let batches: Vec<_> = parts.iter().flat_map(mine).collect();
        let Some((id, sink_port)) = self.sinks.get_mut(sink) else { return Ok(()) };
        let prepared = sink_port.prepare(epoch, &batches)?;
        if let Some(mark) = prepared.mark {
            self.extra.push((mark_key(*id), Some(mark)));
        }
        if let Some(bytes) = prepared.outbox {
            self.extra.push((outbox(*id).number(epoch.0).finish(), Some(bytes.clone())));
            self.boxes.push((sink, bytes));
        }
        Ok(())
    }

    fn commit(&mut self, epoch: Epoch, shards: u16, store: &mut FakeStore) -> Result<()> {
        let mut writes: Vec<CellWrite> = self.delivered.drain(..).map(|key| (key, None)).collect();
        let parts = self.parts.remove(&epoch).unwrap_or_default();
        assert!(parts.len() == usize::from(shards), "{epoch:?} is committed with {} parts", parts.len());
        let mut owner = BTreeMap::new();
        for part in parts {
            for (key, _) in &part.writes {
                let other = owner.insert(key.clone(), part.shard).filter(|s| *s != part.shard);
                assert!(other.is_none(), "{other:?} and {:?} write the same cell {key:?}", part.shard);
            }
            writes.extend(part.writes);
        }
        writes.append(&mut self.extra);
        store.commit(epoch, &writes, &[])
    }

    /// Delivers what is committed; its stored copy goes with the next commit.
    fn deliver(&mut self, epoch: Epoch, sink: usize, bytes: &Bytes) -> Result<()> {
        let Some((id, port)) = self.sinks.get_mut(sink) else { return Ok(()) };
        self.delivered.push(outbox(*id).number(epoch.0).finish());
        port.deliver(epoch, bytes)
    }

    fn step(&mut self, shards: u16, store: &mut FakeStore) -> Result<Option<JobEvent>> {
        match self.steps.pop_front() {
            Some(Step::Prepare(epoch, sink)) => self.prepare(epoch, sink)?,
            Some(Step::Commit(epoch)) => {
                self.commit(epoch, shards, store)?;
                let boxes = std::mem::take(&mut self.boxes).into_iter();
                self.steps.extend(boxes.map(|(sink, bytes)| Step::Deliver(epoch, sink, bytes)));
            }
            Some(Step::Tell(epoch)) => return Ok(Some(JobEvent::Committed(epoch))),
            Some(Step::Deliver(epoch, sink, bytes)) => self.deliver(epoch, sink, &bytes)?,
            None => {}
        }
        Ok(None)
    }
}

impl Driver {
    pub(super) fn write(&mut self) {
        let (shards, mut store) = (self.config.shards, self.store.clone());
        match self.running().writer.step(shards, &mut store) {
            Ok(event) => self.running().to_job.extend(event),
            Err(error) => {
                self.running().writer.steps.clear();
                self.fail(error);
            }
        }
    }

    /// Whether the job has ended and all that follows from it is done.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.run.as_ref().is_some_and(|run| run.closed)
    }

    /// After the end: when all shards have heard of the last commit, sinks finish.
    pub(super) fn close(&mut self) {
        let run = self.running();
        let heard = run.orders.iter().all(std::collections::VecDeque::is_empty) && run.writer.is_idle();
        let Some(outcome) = run.outcome.clone().filter(|_| heard && !run.closed) else { return };
        run.closed = true;
        if matches!(outcome, Outcome::Done | Outcome::Drained) {
            for (_, sink) in &mut run.writer.sinks {
                assert!(sink.finish().is_ok(), "sinks finish when a job is done");
            }
        }
    }
}
