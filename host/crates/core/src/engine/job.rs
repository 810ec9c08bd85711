//! The job machine: what is global. It ends epochs, plays scripts when all shards are quiet, and knows when a job is done.
//!
//! Quiet means: every shard says it is idle and as many messages were received as sent, the job's own orders included. A
//! shard's report is carried before the messages of the same step, so a report that follows from a message never overtakes that of its sender.

use super::event::Report;
use super::hold::Hold;
use super::restore::{script_clock, script_step};
use crate::error::{Error, Result};
use crate::graph::{Plan, SCRIPT_START, ScriptEvent, StageKind};
use crate::id::{Epoch, ShardId, StageId};
use crate::port::store::StateRead;
use crate::time::ProcessingTime;
use std::collections::BTreeSet;
use std::sync::Arc;

/// So many epochs at the beginning of a run are shorter than later ones, by this divisor: who starts again after a failure has results soon.
const YOUNG_EPOCHS: u8 = 8;
const YOUNG_DIVISOR: i64 = 4;

/// What happens to a job.
#[derive(Debug)]
pub enum JobEvent {
    /// A shard says how it stands.
    Report(ShardId, Report),
    /// A shard's part of an epoch is with the writer.
    Sealed(ShardId, Epoch),
    /// The writer has made an epoch lasting.
    Committed(Epoch),
    /// Time has passed.
    Tick,
    /// Stop reading, finish what is there.
    Drain,
    /// Stop as it is; nothing committed is lost.
    Cancel,
    /// Read nothing, finish what was read, and wait.
    Pause,
    /// Go on after a pause.
    Resume,
    /// Begin nothing, let what runs come to its end within so many milliseconds, commit, and stop: others go on from there.
    Leave(i64),
    /// The same, but finish first what was read, as long as half of the time is left: another pipeline goes on from there.
    Settle(i64),
    /// A shard or the writer cannot go on.
    Failed(Error),
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All input is processed and committed.
    Done,
    /// The same after a drain.
    Drained,
    /// On request, or left to others.
    Cancelled,
    /// With this error; what was committed stays.
    Failed(Error),
}

/// What a job wants done. All but `Commit` and `Finish` are for shards.
#[derive(Debug)]
pub enum JobEffect {
    /// All shards: end this epoch.
    Seal(Epoch),
    /// The writer: commit the parts of all shards.
    Commit(Epoch),
    /// All shards: this epoch is lasting.
    Committed(Epoch),
    /// One shard: play a step of its script.
    Script(ShardId, StageId, usize),
    /// All shards: the clock is the script's.
    Clock(ProcessingTime),
    /// All shards: stop reading.
    Drain,
    /// All shards: leave so much undone.
    Hold(Hold),
    /// The job has ended; the last effect.
    Finish(Outcome),
}

/// How a job that is left to others comes to its end here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Going {
    /// It does not.
    On,
    /// It finishes what was read, at most until the first time; the second is that of its end.
    Settling(ProcessingTime, ProcessingTime),
    /// It waits for what runs, at most until then.
    Leaving(ProcessingTime),
}

struct Script {
    stage: StageId,
    events: Arc<Vec<ScriptEvent>>,
    next: usize,
}

/// The job machine.
pub struct Job {
    shards: Vec<Report>,
    scripts: Vec<Script>,
    clock: Option<ProcessingTime>,
    epoch: Epoch,
    sealing: Option<(Epoch, BTreeSet<ShardId>)>,
    last_seal: Option<ProcessingTime>,
    epoch_ms: i64,
    /// Short epochs that are still to come.
    young: u8,
    draining: bool,
    going: Going,
    paused: bool,
    /// Orders given to shards: they count them as received.
    sent: u64,
    /// The epoch being sealed is the last one.
    closing: bool,
    ended: bool,
}

impl Job {
    /// The machine of a job whose last committed epoch is `last`; epochs are `epoch_ms` milliseconds long, the first eight of
    /// them a quarter of that.
    ///
    /// # Errors
    /// `STATE_CORRUPT` when the store cannot be read.
    pub fn new(plan: &Plan, shards: u16, epoch_ms: i64, last: Epoch, state: &dyn StateRead) -> Result<Self> {
        let mut scripts = Vec::new();
        for stage in &plan.stages {
            if let StageKind::Script(events) = &stage.kind {
                let next = script_step(state, stage.state)?;
                scripts.push(Script { stage: stage.id, events: Arc::clone(events), next });
            }
        }
        let clock = script_clock(plan, state)?;
        Ok(Self {
            shards: vec![Report::default(); usize::from(shards)],
            scripts,
            clock,
            epoch: last.next(),
            sealing: None,
            last_seal: None,
            epoch_ms,
            young: YOUNG_EPOCHS,
            draining: false,
            going: Going::On,
            paused: false,
            // the first effect of a run whose script owns time
            sent: if clock.is_some() { u64::from(shards) } else { 0 },
            closing: false,
            ended: false,
        })
    }

    /// The effects with which a run begins.
    #[must_use]
    pub fn start(&self) -> Vec<JobEffect> {
        self.clock.map(JobEffect::Clock).into_iter().collect()
    }

    /// Takes one event; returns what is to be done, in this order.
    pub fn step(&mut self, event: JobEvent, now: ProcessingTime) -> Vec<JobEffect> {
        let mut out = Vec::new();
        if self.ended {
            return out;
        }
        match event {
            JobEvent::Report(shard, report) => {
                if let Some(have) = self.shards.get_mut(usize::from(shard.0)) {
                    *have = report;
                }
            }
            JobEvent::Sealed(shard, epoch) => self.sealed(shard, epoch, &mut out),
            JobEvent::Committed(epoch) => {
                self.sealing = None;
                self.epoch = epoch.next();
                out.push(JobEffect::Committed(epoch));
                if self.closing {
                    let outcome = match (self.going != Going::On, self.draining) {
                        (true, _) => Outcome::Cancelled,
                        (false, true) => Outcome::Drained,
                        (false, false) => Outcome::Done,
                    };
                    self.end(outcome, &mut out);
                }
            }
            JobEvent::Tick => {}
            JobEvent::Drain => {
                if !std::mem::replace(&mut self.draining, true) {
                    self.sent += self.shards.len() as u64;
                    out.push(JobEffect::Drain);
                }
                self.pause(false, &mut out);
            }
            JobEvent::Pause if self.draining => {}
            JobEvent::Pause => self.pause(true, &mut out),
            JobEvent::Resume => self.pause(false, &mut out),
            JobEvent::Settle(ms) if self.going == Going::On => {
                self.going = Going::Settling(now.plus(ms / 2), now.plus(ms));
                self.hold(Hold::Sources, &mut out);
            }
            JobEvent::Leave(ms) => self.leave(now.plus(ms), &mut out),
            JobEvent::Settle(_) => {}
            JobEvent::Cancel => self.end(Outcome::Cancelled, &mut out),
            JobEvent::Failed(error) => self.end(Outcome::Failed(error), &mut out),
        }
        if !self.ended && self.sealing.is_none() {
            self.advance(now, &mut out);
        }
        out
    }

    fn hold(&mut self, hold: Hold, out: &mut Vec<JobEffect>) {
        self.sent += self.shards.len() as u64;
        out.push(JobEffect::Hold(hold));
    }

    fn pause(&mut self, paused: bool, out: &mut Vec<JobEffect>) {
        if self.going == Going::On && std::mem::replace(&mut self.paused, paused) != paused {
            self.hold(if paused { Hold::Sources } else { Hold::Nothing }, out);
        }
    }

    fn leave(&mut self, until: ProcessingTime, out: &mut Vec<JobEffect>) {
        if !matches!(self.going, Going::Leaving(_)) {
            self.hold(Hold::Everything, out);
        }
        self.going = Going::Leaving(until);
    }

    fn end(&mut self, outcome: Outcome, out: &mut Vec<JobEffect>) {
        self.ended = true;
        out.push(JobEffect::Finish(outcome));
    }

    fn sealed(&mut self, shard: ShardId, epoch: Epoch, out: &mut Vec<JobEffect>) {
        if let Some((sealing, parts)) = &mut self.sealing
            && *sealing == epoch
        {
            parts.insert(shard);
            if parts.len() == self.shards.len() {
                out.push(JobEffect::Commit(epoch));
            }
        }
    }

    fn advance(&mut self, now: ProcessingTime, out: &mut Vec<JobEffect>) {
        let quiet = self.is_quiet();
        if quiet && self.shards.iter().all(|s| s.finished) {
            self.going = Going::On; // it is done: nothing is left to others
            self.closing = true;
            return self.seal(now, out);
        }
        match self.going {
            Going::Settling(until, end) if quiet || now >= until => self.leave(end, out),
            Going::Leaving(until) if now >= until || self.shards.iter().all(|s| s.resting) => {
                self.closing = true;
                return self.seal(now, out);
            }
            _ => {}
        }
        let last = *self.last_seal.get_or_insert(now);
        let length = if self.young > 0 { self.epoch_ms / YOUNG_DIVISOR } else { self.epoch_ms };
        if now.0 - last.0 >= length || self.shards.iter().any(|s| s.full) {
            self.young = self.young.saturating_sub(1);
            return self.seal(now, out);
        }
        if quiet && !self.paused && self.going == Going::On {
            self.play(out);
        }
    }

    fn seal(&mut self, now: ProcessingTime, out: &mut Vec<JobEffect>) {
        self.last_seal = Some(now);
        self.sealing = Some((self.epoch, BTreeSet::new()));
        out.push(JobEffect::Seal(self.epoch));
    }

    fn is_quiet(&self) -> bool {
        let sent: u64 = self.sent + self.shards.iter().map(|s| s.sent).sum::<u64>();
        let received: u64 = self.shards.iter().map(|s| s.received).sum();
        sent == received && self.shards.iter().all(|s| s.idle)
    }

    /// Plays the next event of the first script that has one; after the last, time runs out for everyone.
    fn play(&mut self, out: &mut Vec<JobEffect>) {
        let Some(script) = self.scripts.iter_mut().find(|s| s.next <= s.events.len()) else {
            if self.clock.is_some_and(|c| c.0 < i64::MAX) && !self.scripts.is_empty() {
                self.set_clock(ProcessingTime(i64::MAX), out);
            }
            return;
        };
        let step = script.next;
        script.next += 1;
        let stage = script.stage;
        if let Some(ScriptEvent::ProcessingTime(ms)) = script.events.get(step) {
            let clock = self.clock.unwrap_or(SCRIPT_START).plus(*ms);
            self.set_clock(clock, out);
        }
        self.sent += 1;
        out.push(JobEffect::Script(ShardId(0), stage, step));
    }

    fn set_clock(&mut self, clock: ProcessingTime, out: &mut Vec<JobEffect>) {
        self.clock = Some(clock);
        self.sent += self.shards.len() as u64;
        out.push(JobEffect::Clock(clock));
    }
}
