//! Long bundles: when they are asked how far they are, and when they are asked to give back what is left.
//!
//! In: the clock, at most once per interval, and answers of workers. Out: commands to workers, and the metrics of what runs now. Four reasons
//! to split: free places beside a long bundle while nothing else waits; an endless restriction whose bundle has had its time;
//! a drain, a pause, the job's last moments here; outputs that are more than the next queue may hold, since they stay in memory until their
//! bundle is done. What comes back is pending input of the same stage and shard. Under a script's clock no time passes, so
//! nothing is asked.

use super::event::Effect;
use super::hold::Hold;
use super::shard::Shard;
use crate::error::{Domain, Error, Result};
use crate::graph::{EnvironmentId, StageKind, WorkerStage};
use crate::id::{BundleId, StageId};
use crate::metric::Metrics;
use crate::port::worker::Command;
use crate::stage::{Bundle, BundleState};
use crate::time::ProcessingTime;

/// Give back everything that has not been begun, and what can be spared of what has.
const ALL: f64 = 1.0;
/// Share and share alike.
const HALF: f64 = 0.5;
/// A bundle whose worker does not say that it has begun is given so many times as long before it is checkpointed.
const SILENT: i64 = 10;

/// Why a bundle should give something back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Why {
    /// It has had its time, or the job drains.
    Checkpoint,
    /// Others could help.
    Share,
}

impl Shard {
    /// Looks at the bundles that run, at most once per interval.
    pub(super) fn pace(&mut self, now: ProcessingTime) {
        if self.clock.is_some() || now < self.pace_at || !self.bundles.values().any(Bundle::is_running) {
            return;
        }
        self.pace_at = now.plus(self.config.pace_ms());
        let progress_ms = self.config.progress_ms;
        let long = |b: &&Bundle| progress_ms > 0 && b.is_running() && now.0 - b.started.0 >= progress_ms;
        let asked: Vec<(StageId, BundleId)> = self.bundles.values().filter(long).map(|b| (b.stage, b.id)).collect();
        self.out.extend(asked.into_iter().map(|(stage, id)| Effect::Worker(stage, Command::Progress(id))));
        for i in 0..self.stages.len() {
            self.split_stage(StageId(i as u32), now);
        }
    }

    /// Splits what has to be split of a stage, and at most one bundle more to share its work.
    fn split_stage(&mut self, stage: StageId, now: ProcessingTime) {
        let plan = std::sync::Arc::clone(&self.plan);
        let StageKind::Worker(spec) = &plan.stage(stage).kind else { return };
        if !divides(spec) {
            return;
        }
        let ripe = |b: &&Bundle| b.stage == stage && b.state == BundleState::Open && b.pace.split_at <= now;
        let list: Vec<(BundleId, Why)> =
            self.bundles.values().filter(ripe).filter_map(|b| Some((b.id, self.reason(spec, b, now)?))).collect();
        let mut shared = !self.may_share(stage, now);
        for (id, why) in list {
            let fraction = match why {
                Why::Checkpoint => ALL,
                Why::Share if shared => continue,
                Why::Share => HALF,
            };
            if let Some(effect) = self.request_split(id, fraction) {
                shared |= why == Why::Share;
                self.out.push(effect);
            }
        }
    }

    /// The outputs of a bundle are more than a queue may hold, or those of all more than the shard may: it is asked to end with what it has
    /// begun. By the clock of the job, so a bundle of a paused job that had nothing to give is not asked again.
    ///
    /// # Errors
    /// `BUNDLE_OUTPUTS_TOO_LARGE` when those of all are.
    pub(super) fn overfull(&mut self, id: BundleId, now: ProcessingTime) -> Result<()> {
        let Some(bundle) = self.bundles.get(&id) else { return Ok(()) };
        let StageKind::Worker(spec) = &self.plan.stage(bundle.stage).kind else { return Ok(()) };
        if self.held > self.config.outputs_bytes_max {
            return Err(too_large(self.held, bundle).in_transform(&self.plan.stage(bundle.stage).name));
        }
        let may = divides(spec) && has_parts(spec, bundle) && self.clock.is_none();
        if may && bundle.pace.split_at <= now {
            let effect = self.request_split(id, ALL);
            self.out.extend(effect);
        }
        Ok(())
    }

    fn reason(&self, spec: &WorkerStage, bundle: &Bundle, now: ProcessingTime) -> Option<Why> {
        let age = now.0 - bundle.started.0;
        let config = &self.config;
        if spec.splittable && !bundle.truncates {
            let drains = self.draining && !bundle.is_truncated() || self.holds != Hold::Nothing;
            let due = spec.unbounded && config.checkpoint_ms > 0 && age >= config.checkpoint_ms;
            // what has not been begun would come back as it went, again and again
            let begun = bundle.pace.consumed > 0 || age >= config.checkpoint_ms.saturating_mul(SILENT);
            if (drains || due) && begun {
                return Some(Why::Checkpoint);
            }
        }
        if self.holds == Hold::Everything && bundle.elements() > 1 {
            return Some(Why::Checkpoint); // what it has not begun is for those who come after
        }
        (has_parts(spec, bundle) && config.split_after_ms > 0 && age >= config.split_after_ms).then_some(Why::Share)
    }

    /// Whether a stage has places that nothing waits for.
    fn may_share(&mut self, stage: StageId, now: ProcessingTime) -> bool {
        let room = self.room(stage);
        let idle = room.inbox.is_empty() || room.inbox.iter().all(|p| p.not_before > now);
        let free = room.worker().is_some_and(|w| w.running < w.credit);
        idle && free && self.has_room(stage)
    }

    /// Asks a running bundle to give back part of what is left. `None` when it must not be split now: it does not run, it has
    /// keys, or a later bundle of its lane has been started, which what it gives back would come behind. Until the worker
    /// answers or the bundle ends, its lane starts no other.
    pub fn request_split(&mut self, id: BundleId, fraction: f64) -> Option<Effect> {
        let open = |b: &&Bundle| b.state == BundleState::Open && b.leases.is_empty() && !b.truncates;
        let (stage, lane) = self.bundles.get(&id).filter(open).map(|b| (b.stage, b.lane))?;
        if let Some(lane) = lane
            && self.room(stage).worker()?.lanes.get(&lane)?.back() != Some(&id)
        {
            return None;
        }
        let bundle = self.bundles.get_mut(&id)?;
        bundle.state = BundleState::Splitting;
        Some(Effect::Worker(bundle.stage, Command::Split(id, fraction)))
    }

    /// A worker has answered a request to split, with something or with nothing: then it is asked again later and later.
    pub(super) fn split_answered(&mut self, id: BundleId, given: bool, now: ProcessingTime) {
        let pause = self.config.pace_ms().max(self.config.split_after_ms);
        let Some(bundle) = self.bundles.get_mut(&id) else { return };
        bundle.state = BundleState::Open;
        bundle.pace.fruitless = if given { 0 } else { bundle.pace.fruitless.saturating_add(1) };
        bundle.pace.split_at = now.plus(pause.saturating_mul(1 << bundle.pace.fruitless.min(6)));
    }

    /// A worker says how far a bundle is.
    pub(super) fn progressed(&mut self, id: BundleId, consumed: u64, metrics: Metrics) {
        if let Some(bundle) = self.bundles.get_mut(&id).filter(|b| b.is_running()) {
            bundle.pace.consumed = bundle.pace.consumed.max(consumed);
            bundle.pace.metrics = metrics;
            self.running_changed = true;
        }
    }

    /// A harness tells its own totals; those of one that is gone are final.
    pub(super) fn harness_metrics(&mut self, environment: Option<EnvironmentId>, totals: Option<Metrics>) {
        let before = match totals {
            Some(totals) => {
                self.running_changed = true;
                self.harnesses.insert(environment, totals);
                None
            }
            None => self.harnesses.remove(&environment),
        };
        self.attempted(before.unwrap_or_default());
    }

    /// Metrics of an attempt that is over, whatever became of it.
    pub(super) fn attempted(&mut self, metrics: Metrics) {
        let metrics = metrics.lasting();
        if !metrics.is_empty() {
            self.running_changed = true;
            self.out.push(Effect::Metrics { committed: false, metrics });
        }
    }

    /// Tells the metrics of what runs now, when they have changed.
    pub(super) fn tell_running(&mut self) {
        if !std::mem::take(&mut self.running_changed) {
            return;
        }
        let mut all = Metrics::default();
        self.bundles.values().filter(|b| b.is_running()).for_each(|b| all.merge(&b.pace.metrics));
        self.harnesses.values().for_each(|totals| all.merge(totals));
        if self.told_running || !all.is_empty() {
            self.told_running = !all.is_empty();
            self.out.push(Effect::Running(all));
        }
    }
}

/// Whether bundles of a stage can be split: what is left of a keyed one would have to keep its groups, a stable one stays as it was formed.
fn divides(spec: &WorkerStage) -> bool {
    !spec.keyed && !spec.stable
}

/// Whether what a bundle has in hand can be split at all.
fn has_parts(spec: &WorkerStage, bundle: &Bundle) -> bool {
    (spec.splittable && !bundle.truncates) || bundle.elements() > 1
}

fn too_large(held: usize, bundle: &Bundle) -> Error {
    let message = format!(
        "bundles of a shard have put out {} MiB before their end; the last of them, with {} elements and timers, {} MiB",
        held >> 20,
        bundle.rows(),
        bundle.output_weight >> 20
    );
    Error::new("BUNDLE_OUTPUTS_TOO_LARGE", Domain::User, message).help(
        "what a bundle puts out is in memory until it is done: let elements stand for less each (file by file instead of a list of files), make \
         the function splittable, or allow more with `thalweg serve --outputs-mib`",
    )
}
