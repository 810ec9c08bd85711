//! The thread of the job machine: carries reports to it, seals to shards, parts to the writer, and collects metrics.

use super::writer::EpochParts;
use super::{Finished, ToJob, ToShard, now};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use std::collections::BTreeMap;
use std::thread::JoinHandle;
use std::time::Duration;
use thalweg_core::engine::{Event, Job, JobEffect, JobEvent, Outcome, SealedPart};
use thalweg_core::error::{Error, Result};
use thalweg_core::id::{Epoch, ShardId};
use thalweg_core::metric::Metrics;

/// How often the machine looks at the clock.
const TICK: Duration = Duration::from_millis(10);
/// How often it looks whether the threads of a job that is over have ended.
const LAST_WORDS: Duration = Duration::from_millis(1);

/// What the job's thread is started with.
pub(super) struct Seed {
    pub job: Job,
    pub shards: Vec<Sender<ToShard>>,
    pub inbox: Receiver<ToJob>,
    pub to_writer: Sender<EpochParts>,
    pub threads: Vec<JoinHandle<()>>,
    pub writer: JoinHandle<Result<()>>,
}

struct Loop {
    job: Job,
    shards: Vec<Sender<ToShard>>,
    to_writer: Option<Sender<EpochParts>>,
    parts: BTreeMap<Epoch, Vec<SealedPart>>,
    attempted: Metrics,
    committed: Metrics,
    outcome: Option<Outcome>,
}

/// Runs a job to its end and takes its threads down.
pub(super) fn run(seed: Seed) -> Finished {
    let Seed { job, shards, inbox, to_writer, threads, writer } = seed;
    let mut this = Loop {
        job,
        shards,
        to_writer: Some(to_writer),
        parts: BTreeMap::new(),
        attempted: Metrics::default(),
        committed: Metrics::default(),
        outcome: None,
    };
    for effect in this.job.start() {
        this.effect(effect);
    }
    while this.outcome.is_none() {
        match inbox.recv_timeout(TICK) {
            Ok(message) => this.take(message),
            // its thread gives the error back, or the news that it panicked
            Err(RecvTimeoutError::Timeout) if writer.is_finished() => break,
            Err(RecvTimeoutError::Timeout) => this.step(JobEvent::Tick),
            Err(RecvTimeoutError::Disconnected) => {
                this.outcome = Some(Outcome::Failed(Error::internal("INTERNAL_PANIC", "all shards are gone")));
            }
        }
    }
    this.end(&inbox, threads, writer)
}

impl Loop {
    fn take(&mut self, message: ToJob) {
        match message {
            ToJob::Report(shard, report) => self.step(JobEvent::Report(shard, report)),
            ToJob::Sealed(part) => {
                let (shard, epoch) = (part.shard, part.epoch);
                self.parts.entry(epoch).or_default().push(*part);
                self.step(JobEvent::Sealed(shard, epoch));
            }
            ToJob::Committed(epoch) => self.step(JobEvent::Committed(epoch)),
            ToJob::Metrics { committed, metrics } => {
                let to = if committed { &mut self.committed } else { &mut self.attempted };
                to.merge(&metrics);
            }
            ToJob::Failed(error) => self.step(JobEvent::Failed(error)),
            ToJob::Drain => self.step(JobEvent::Drain),
            ToJob::Cancel => self.step(JobEvent::Cancel),
        }
    }

    fn step(&mut self, event: JobEvent) {
        for effect in self.job.step(event, now()) {
            self.effect(effect);
        }
    }

    fn effect(&mut self, effect: JobEffect) {
        match effect {
            JobEffect::Seal(epoch) => self.tell_all(|| Event::Seal(epoch)),
            JobEffect::Committed(epoch) => self.tell_all(|| Event::Committed(epoch)),
            JobEffect::Clock(time) => self.tell_all(|| Event::Clock(time)),
            JobEffect::Drain => self.tell_all(|| Event::Drain),
            JobEffect::Script(shard, stage, step) => self.tell(shard, Event::Script { stage, step }),
            JobEffect::Commit(epoch) => {
                let mut parts = self.parts.remove(&epoch).unwrap_or_default();
                parts.sort_by_key(|p| p.shard);
                if let Some(writer) = &self.to_writer {
                    // one epoch is under way at a time, so there is room
                    writer.send(EpochParts { epoch, parts }).unwrap_or_default();
                }
            }
            JobEffect::Finish(outcome) => self.outcome = Some(outcome),
        }
    }

    fn tell(&self, shard: ShardId, event: Event) {
        if let Some(sender) = self.shards.get(usize::from(shard.0)) {
            // shards always receive, so this waits only for their current step
            sender.send(ToShard::Event(event)).unwrap_or_default();
        }
    }

    fn tell_all(&self, event: impl Fn() -> Event) {
        (0..self.shards.len()).for_each(|i| self.tell(ShardId(i as u16), event()));
    }

    fn end(
        mut self,
        inbox: &Receiver<ToJob>,
        threads: Vec<JoinHandle<()>>,
        writer: JoinHandle<Result<()>>,
    ) -> Finished {
        for shard in &self.shards {
            shard.send(ToShard::Stop).unwrap_or_default();
        }
        self.to_writer = None;
        // who still has something to say would wait for ever for a reader that waits for its end
        while !writer.is_finished() || !threads.iter().all(JoinHandle::is_finished) {
            if let Ok(message @ ToJob::Metrics { .. }) = inbox.recv_timeout(LAST_WORDS) {
                self.take(message);
            }
        }
        for thread in threads {
            thread.join().unwrap_or_default();
        }
        let written = writer.join().unwrap_or_else(|_| Err(Error::internal("INTERNAL_PANIC", "the writer panicked")));
        while let Ok(message) = inbox.try_recv() {
            if let ToJob::Metrics { .. } = message {
                self.take(message);
            }
        }
        let outcome = match (self.outcome.take(), written) {
            (Some(Outcome::Done | Outcome::Drained) | None, Err(error)) => Outcome::Failed(error),
            (Some(outcome), _) => outcome,
            (None, _) => Outcome::Cancelled,
        };
        Finished { outcome, attempted: self.attempted, committed: self.committed }
    }
}
