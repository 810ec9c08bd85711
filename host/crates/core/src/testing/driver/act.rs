//! How the driver takes a choice, and how it carries out effects: in their order, one after the other.

use super::run::Seat;
use super::{Choice, Driver};
use crate::engine::{Effect, Event, JobEffect, JobEvent};
use crate::error::Error;
use crate::graph::EnvironmentId;
use crate::id::{BundleId, ShardId, SourceId, SplitId};
use crate::port::source::Source;
use crate::port::worker::{self, Worker};
use crate::time::ProcessingTime;
use xxhash_rust::xxh3::xxh3_64_with_seed;

impl Driver {
    /// Takes a choice.
    ///
    /// # Panics
    /// When an invariant is broken or the job goes round in circles.
    pub fn take(&mut self, choice: Choice) {
        self.steps += 1;
        if self.steps > self.steps_max {
            self.stuck("the job does not end");
        }
        match choice {
            Choice::Order(shard) => {
                self.running().started.insert(shard);
                let order = self.running().orders.get_mut(usize::from(shard.0)).and_then(|o| o.pop_front());
                order.into_iter().for_each(|event| self.step(shard, event));
            }
            Choice::Message(from, to) => {
                let envelope = self.running().link(from, to).pop_front();
                envelope.into_iter().for_each(|e| self.step(to, Event::Message(e)));
            }
            Choice::Tell => {
                let event = self.running().to_job.pop_front();
                event.into_iter().for_each(|event| self.step_job(event));
            }
            Choice::Speak(shard, env, bundle) => self.speak(shard, env, bundle),
            Choice::Work(shard, env, bundle) => self.with_seat(shard, env, |seat| seat.worker.run(bundle)),
            Choice::Write => self.write(),
            Choice::Alarm(shard) => {
                if let Some(at) = self.running().alarms.get_mut(usize::from(shard.0)) {
                    *at = None;
                }
                self.step(shard, Event::Alarm);
            }
            Choice::Read(shard, source, split) => self.read(shard, source, split),
            Choice::Time => self.pass_until(ProcessingTime(i64::MAX)),
        }
        self.close();
    }

    fn with_seat(&mut self, shard: ShardId, env: Option<EnvironmentId>, act: impl FnOnce(&mut Seat)) {
        if let Some(seat) = self.running().seats.get_mut(&(shard, env)) {
            act(seat);
            seat.collect();
        }
    }

    fn speak(&mut self, shard: ShardId, environment: Option<EnvironmentId>, bundle: Option<BundleId>) {
        let mut event = None;
        self.with_seat(shard, environment, |seat| {
            event = seat.said.get_mut(&bundle).and_then(|said| said.pop_front());
            seat.said.retain(|_, said| !said.is_empty());
        });
        let Some(event) = event else { return };
        let epoch = self.running().shards.get(usize::from(shard.0)).map(|s| s.open_epoch()).unwrap_or_default();
        self.observer.heard(shard, environment, &event, epoch);
        self.step(shard, Event::Worker { environment, event });
    }

    fn read(&mut self, shard: ShardId, source: SourceId, split: SplitId) {
        let at = (shard, source, split);
        let wanted = self.read_rows;
        let run = self.running();
        let rows = wanted.or(run.polls.get(&at).copied()).unwrap_or(1);
        let instance = run.sources.get_mut(usize::from(shard.0)).and_then(|s| s.get_mut(source.0 as usize));
        match instance.map(|s| s.poll(split, rows)) {
            Some(Ok(Some(read))) => {
                run.polls.remove(&at);
                self.step(shard, Event::Read { source, split, read });
            }
            Some(Ok(None)) => {
                run.dry.insert(at);
            }
            Some(Err(error)) => run.to_job.push_back(JobEvent::Failed(error)),
            None => {}
        }
    }

    /// Moves the clock to the next alarm or epoch's end, but not past `limit`.
    pub(super) fn pass_until(&mut self, limit: ProcessingTime) {
        let (now, epoch_ms) = (self.now, self.epoch_ms);
        let run = self.running();
        let alarms = run.alarms.iter().flatten().filter(|at| **at > now);
        let next = alarms.copied().chain([run.next_tick]).min().unwrap_or(run.next_tick);
        let next = next.min(limit).max(now);
        if next >= run.next_tick {
            run.next_tick = next.plus(epoch_ms);
            // one that waits will do: a job that is behind is not told the time more and more often
            if !run.to_job.iter().any(|event| matches!(event, JobEvent::Tick)) {
                run.to_job.push_back(JobEvent::Tick);
            }
        }
        self.now = next;
    }

    /// A shard takes an event.
    pub(super) fn step(&mut self, shard: ShardId, event: Event) {
        let (now, store) = (self.now, self.store.clone());
        let Some(machine) = self.running().shards.get_mut(usize::from(shard.0)) else { return };
        let effects = machine.step(event, &store, now);
        let failed = effects.iter().any(|e| matches!(e, Effect::Fail(_)));
        if failed {
            let after = machine.step(Event::Alarm, &store, now);
            assert!(after.is_empty(), "a failed shard wants {after:?}");
        }
        for effect in effects {
            if !self.lives_on() {
                return;
            }
            self.note(&effect);
            self.carry_out(shard, effect);
        }
    }

    /// Whether the process carries out one more effect.
    fn lives_on(&mut self) -> bool {
        match &mut self.last_effects {
            None => true,
            Some(left) => {
                let more = *left > 0;
                *left = left.saturating_sub(1);
                more
            }
        }
    }

    fn note(&mut self, effect: &dyn std::fmt::Debug) {
        if let Some(hash) = self.trace {
            self.trace = Some(xxh3_64_with_seed(format!("{effect:?}").as_bytes(), hash));
        }
    }

    fn carry_out(&mut self, shard: ShardId, effect: Effect) {
        match effect {
            Effect::Worker(stage, command) => {
                let env = self.environment(stage);
                let committed = crate::port::store::StateStore::last_epoch(&self.store).unwrap_or_default();
                self.observer.commanded(shard, env, stage, &command, committed);
                self.with_seat(shard, env, |seat| {
                    let taken = seat.worker.submit(command);
                    assert!(taken.is_ok(), "scripted workers take every command");
                });
            }
            Effect::Open { source, split, position } => {
                let instances = self.running().sources.get_mut(usize::from(shard.0));
                let opened =
                    instances.and_then(|s| s.get_mut(source.0 as usize)).map(|s| s.open(split, position.as_deref()));
                if let Some(Err(error)) = opened {
                    self.fail(error);
                }
            }
            Effect::Poll { source, split, rows } => {
                let again = self.running().polls.insert((shard, source, split), rows);
                assert!(again.is_none(), "split {split:?} is polled twice at once");
            }
            Effect::Send(to, envelope) => {
                self.observer.sent(to, &envelope);
                self.running().link(shard, to).push_back(envelope);
            }
            Effect::Sealed(part) => {
                let event = JobEvent::Sealed(shard, part.epoch);
                self.running().writer.part(part);
                self.running().to_job.push_back(event);
            }
            Effect::Alarm(at) => {
                if let Some(alarm) = self.running().alarms.get_mut(usize::from(shard.0)) {
                    *alarm = Some(at);
                }
            }
            Effect::Report(report) => self.running().to_job.push_back(JobEvent::Report(shard, report)),
            Effect::Metrics { committed, metrics } => {
                let sums = &mut self.sums;
                if committed { sums.committed.merge(&metrics) } else { sums.attempted.merge(&metrics) }
            }
            Effect::Running(metrics) => {
                self.sums.running.insert(shard, metrics);
            }
            Effect::Fail(error) => self.fail(error),
        }
    }

    pub(super) fn fail(&mut self, error: Error) {
        self.running().to_job.push_back(JobEvent::Failed(error));
    }

    fn step_job(&mut self, event: JobEvent) {
        let now = self.now;
        let effects = self.running().job.step(event, now);
        self.carry_out_job(effects);
    }

    pub(super) fn carry_out_job(&mut self, effects: Vec<JobEffect>) {
        for effect in effects {
            if !self.lives_on() {
                return;
            }
            self.note(&effect);
            let run = self.running();
            assert!(run.outcome.is_none(), "{effect:?} after the end");
            match effect {
                JobEffect::Seal(epoch) => run.orders.iter_mut().for_each(|o| o.push_back(Event::Seal(epoch))),
                JobEffect::Commit(epoch) => run.writer.begin(epoch),
                JobEffect::Committed(epoch) => run.orders.iter_mut().for_each(|o| o.push_back(Event::Committed(epoch))),
                JobEffect::Script(shard, stage, step) => {
                    if let Some(orders) = run.orders.get_mut(usize::from(shard.0)) {
                        orders.push_back(Event::Script { stage, step });
                    }
                }
                JobEffect::Clock(time) => run.orders.iter_mut().for_each(|o| o.push_back(Event::Clock(time))),
                JobEffect::Drain => run.orders.iter_mut().for_each(|o| o.push_back(Event::Drain)),
                JobEffect::Hold(hold) => run.orders.iter_mut().for_each(|o| o.push_back(Event::Hold(hold))),
                JobEffect::Finish(outcome) => run.outcome = Some(outcome),
            }
        }
    }

    /// Runs an open bundle and fails it.
    pub fn fail_bundle(&mut self, shard: ShardId, env: Option<EnvironmentId>, bundle: BundleId) {
        self.with_seat(shard, env, |seat| seat.worker.fail(bundle));
    }

    /// Runs an open bundle.
    pub fn work(&mut self, shard: ShardId, env: Option<EnvironmentId>, bundle: BundleId) {
        self.with_seat(shard, env, |seat| seat.worker.run(bundle));
    }

    /// Lets the workers of a shard say what they have ready.
    pub fn listen(&mut self, shard: ShardId) {
        let envs: Vec<_> = self.scripts.keys().copied().collect();
        envs.into_iter().for_each(|env| self.with_seat(shard, env, |_| {}));
    }

    /// Asks a bundle to give back part of what is left.
    pub fn split(&mut self, shard: ShardId, bundle: BundleId, fraction: f64) {
        let machine = self.running().shards.get_mut(usize::from(shard.0));
        if let Some(effect) = machine.and_then(|m| m.request_split(bundle, fraction)) {
            self.note(&effect);
            self.carry_out(shard, effect);
        }
    }

    /// A split comes into being and belongs to this shard.
    pub fn find_split(&mut self, shard: ShardId, source: SourceId, split: SplitId) {
        self.step(shard, Event::Splits { source, splits: vec![split] });
    }

    /// A worker dies and another takes its place. With `late`, the engine still hears what the old one had said of its bundles.
    pub fn lose_worker(&mut self, shard: ShardId, env: Option<EnvironmentId>, late: bool) {
        let Some(script) = self.scripts.get(&env).cloned() else { return };
        let run = self.running();
        let Some(seat) = run.seats.get_mut(&(shard, env)) else { return };
        let mut fresh = Seat::new(script);
        if late {
            let old = std::mem::take(&mut seat.said).into_iter().filter(|(bundle, _)| bundle.is_some());
            fresh.said.extend(old);
        }
        let error = Error::new("WORKER_LOST", crate::error::Domain::Guest, "told to die");
        fresh.said.entry(None).or_default().push_front(worker::Event::Lost { error });
        *seat = fresh;
    }

    /// Asks the job to stop as it is.
    pub fn cancel(&mut self) {
        self.running().to_job.push_back(JobEvent::Cancel);
    }

    /// Asks the job to finish what is there.
    pub fn drain(&mut self) {
        self.running().to_job.push_back(JobEvent::Drain);
    }

    /// Tells the job something from outside: to pause, to resume, to leave.
    pub fn tell(&mut self, event: JobEvent) {
        self.running().to_job.push_back(event);
    }
}
