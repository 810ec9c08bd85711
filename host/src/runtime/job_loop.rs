//! The thread of the job machine: carries reports to it, seals to shards, parts to the writer, and collects metrics.

use super::bell::Line;
use super::writer::EpochParts;
use super::{Change, Changes, Finished, LiveMetrics, Order, ToJob, now};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use thalweg_core::engine::{Event, Job, JobEffect, JobEvent, Outcome, SealedPart};
use thalweg_core::error::{Error, Result};
use thalweg_core::id::{Epoch, ShardId};

/// How often the machine looks at the clock.
const TICK: Duration = Duration::from_millis(10);
/// How often it looks whether the threads of a job that is over have ended.
const LAST_WORDS: Duration = Duration::from_millis(1);

/// What the job's thread is started with.
pub(super) struct Seed {
    pub job: Job,
    /// The shards; the machine knows them by their place.
    pub ids: Vec<ShardId>,
    pub inbox: Receiver<ToJob>,
    pub to_writer: Sender<EpochParts>,
    pub shards: ShardThreads,
    pub writer: JoinHandle<Result<()>>,
    /// Set by a shard that could not open a source.
    pub refused: Arc<AtomicBool>,
    pub live: Arc<LiveMetrics>,
    pub changes: Changes,
}

/// The threads of a job's shards, which are told to stop and waited for when this is dropped: whatever fails between their
/// start and the job's, none of them is left behind.
pub(super) struct ShardThreads {
    pub orders: Vec<Line<Order>>,
    pub threads: Vec<JoinHandle<()>>,
}

impl ShardThreads {
    /// Tells all of them to stop; does not wait.
    fn stop(&self) {
        for shard in &self.orders {
            // one that has no room for it is about to look, one that is gone needs no word
            shard.send(Order::Stop).unwrap_or_default();
        }
    }
}

impl Drop for ShardThreads {
    fn drop(&mut self) {
        self.stop();
        for thread in self.threads.drain(..) {
            thread.join().unwrap_or_default();
        }
    }
}

struct Loop {
    job: Job,
    ids: Vec<ShardId>,
    shards: ShardThreads,
    to_writer: Option<Sender<EpochParts>>,
    parts: BTreeMap<Epoch, Vec<SealedPart>>,
    live: Arc<LiveMetrics>,
    outcome: Option<Outcome>,
    changes: Changes,
    /// Changes of the epoch that is being ended.
    changing: Vec<Change>,
}

/// Runs a job to its end and takes its threads down.
pub(super) fn run(seed: Seed) -> Finished {
    let Seed { job, ids, inbox, to_writer, shards, writer, refused, live, changes } = seed;
    let (to_writer, parts, changing) = (Some(to_writer), BTreeMap::new(), Vec::new());
    let mut this = Loop { job, ids, shards, to_writer, parts, live, outcome: None, changes, changing };
    for effect in this.job.start() {
        this.effect(effect);
    }
    let mut look = Instant::now() + TICK;
    while this.outcome.is_none() {
        match inbox.recv_deadline(look) {
            Ok(message) => this.take(message),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                this.outcome = Some(Outcome::Failed(Error::internal("INTERNAL_PANIC", "all shards are gone")));
            }
        }
        // by the clock, not by silence: a job whose shards talk without a pause ends its epochs all the same
        if Instant::now() >= look {
            look = Instant::now() + TICK;
            if writer.is_finished() {
                break; // its thread gives the error back, or the news that it panicked
            }
            this.step(JobEvent::Tick);
        }
    }
    this.end(&inbox, writer, &refused)
}

impl Loop {
    fn take(&mut self, message: ToJob) {
        match message {
            ToJob::Report(shard, report) => self.step(JobEvent::Report(self.place(shard), report)),
            ToJob::Sealed(part) => {
                let (shard, epoch) = (part.shard, part.epoch);
                self.parts.entry(epoch).or_default().push(*part);
                self.step(JobEvent::Sealed(self.place(shard), epoch));
            }
            ToJob::Committed(epoch) => {
                self.changing.drain(..).for_each(|change| change.lasts(epoch));
                self.step(JobEvent::Committed(epoch));
            }
            ToJob::Metrics { committed, metrics } => self.live.add(committed, &metrics),
            ToJob::Running(shard, metrics) => self.live.running(shard, metrics),
            ToJob::Failed(error) => self.step(JobEvent::Failed(error)),
            ToJob::Drain => self.step(JobEvent::Drain),
            ToJob::Cancel => self.step(JobEvent::Cancel),
            ToJob::Pause => self.step(JobEvent::Pause),
            ToJob::Resume => self.step(JobEvent::Resume),
            ToJob::Leave(ms) => self.step(JobEvent::Leave(ms)),
            ToJob::Settle(ms) => self.step(JobEvent::Settle(ms)),
        }
    }

    fn place(&self, shard: ShardId) -> ShardId {
        ShardId(self.ids.iter().position(|id| *id == shard).unwrap_or_default() as u16)
    }

    fn step(&mut self, event: JobEvent) {
        for effect in self.job.step(event, now()) {
            self.effect(effect);
        }
    }

    fn effect(&mut self, effect: JobEffect) {
        match effect {
            JobEffect::Seal(epoch) => {
                self.tell_all(|| Event::Seal(epoch));
                // behind the seal: bundles that start from now on are of the next epoch
                self.changing = self.changes.take();
                for change in &self.changing {
                    (0..self.shards.orders.len()).for_each(|i| self.order(ShardId(i as u16), change.order()));
                }
            }
            JobEffect::Committed(epoch) => self.tell_all(|| Event::Committed(epoch)),
            JobEffect::Clock(time) => self.tell_all(|| Event::Clock(time)),
            JobEffect::Drain => self.tell_all(|| Event::Drain),
            JobEffect::Hold(hold) => self.tell_all(|| Event::Hold(hold)),
            JobEffect::Script(shard, stage, step) => self.tell(shard, Event::Script { stage, step }),
            JobEffect::Commit(epoch) => {
                let mut parts = self.parts.remove(&epoch).unwrap_or_default();
                parts.sort_by_key(|p| p.shard);
                let writes = self.changing.iter().flat_map(|change| change.writes.iter().cloned()).collect();
                if let Some(writer) = &self.to_writer {
                    // one epoch is under way at a time, so there is room
                    writer.send(EpochParts { epoch, parts, writes }).unwrap_or_default();
                }
            }
            JobEffect::Finish(outcome) => self.outcome = Some(outcome),
        }
    }

    fn tell(&self, shard: ShardId, event: Event) {
        self.order(shard, Order::Event(event));
    }

    fn order(&self, shard: ShardId, order: Order) {
        if let Some(sender) = self.shards.orders.get(usize::from(shard.0)) {
            // shards always receive, so this waits only for their current step
            sender.send(order).unwrap_or_default();
        }
    }

    fn tell_all(&self, event: impl Fn() -> Event) {
        (0..self.shards.orders.len()).for_each(|i| self.tell(ShardId(i as u16), event()));
    }

    fn end(mut self, inbox: &Receiver<ToJob>, writer: JoinHandle<Result<()>>, refused: &AtomicBool) -> Finished {
        self.shards.stop();
        self.to_writer = None;
        self.changes.close();
        // who still has something to say would wait for ever for a reader that waits for its end
        while !writer.is_finished() || !self.shards.threads.iter().all(JoinHandle::is_finished) {
            if let Ok(message @ (ToJob::Metrics { .. } | ToJob::Running(..))) = inbox.recv_timeout(LAST_WORDS) {
                self.take(message);
            }
        }
        let written = writer.join().unwrap_or_else(|_| Err(Error::internal("INTERNAL_PANIC", "the writer panicked")));
        while let Ok(message) = inbox.try_recv() {
            if let ToJob::Metrics { .. } | ToJob::Running(..) = message {
                self.take(message);
            }
        }
        let outcome = last_word(self.outcome.take(), written);
        let refused = refused.load(Ordering::SeqCst) && matches!(outcome, Outcome::Failed(_));
        let (attempted, committed) = self.live.close();
        Finished { outcome, refused, attempted, committed }
    }
}

/// How a job ended, with what the writer says of its last commit: what it could not make lasting is a failure, also of a job
/// that was cancelled, and the first failure stands.
fn last_word(outcome: Option<Outcome>, written: Result<()>) -> Outcome {
    match (outcome, written) {
        (Some(Outcome::Failed(error)), _) | (_, Err(error)) => Outcome::Failed(error),
        (Some(outcome), Ok(())) => outcome,
        (None, Ok(())) => Outcome::Cancelled,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::bell::Bell;
    use crossbeam_channel::bounded;

    #[test]
    fn a_commit_that_failed_is_told_however_the_job_ended() {
        let lost = || Err(Error::external("STATE_DISK_FULL", "no room"));
        for ended in [Some(Outcome::Done), Some(Outcome::Drained), Some(Outcome::Cancelled), None] {
            assert!(matches!(last_word(ended, lost()), Outcome::Failed(e) if e.code == "STATE_DISK_FULL"));
        }
        let first = Outcome::Failed(Error::user("JOB_BROKEN", "first"));
        assert!(matches!(last_word(Some(first), lost()), Outcome::Failed(e) if e.message == "first"));
        assert_eq!(last_word(Some(Outcome::Cancelled), Ok(())), Outcome::Cancelled);
    }

    #[test]
    fn shards_whose_job_does_not_start_are_stopped_and_waited_for() {
        let (order, orders) = bounded(1);
        let (done, ended) = bounded(1);
        let thread = std::thread::spawn(move || {
            let stopped = matches!(orders.recv(), Ok(Order::Stop));
            done.send(stopped).unwrap_or_default();
        });
        let order = Line { sender: order, bell: Bell::default() };
        drop(ShardThreads { orders: vec![order], threads: vec![thread] });
        assert_eq!(ended.try_recv(), Ok(true), "the thread has ended by now, because it was told to");
    }
}
