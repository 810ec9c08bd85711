//! Whether the partitions of a job make steps here: a process of which one is stuck gives all of them up, so that others go on.
//!
//! In: the pulses of the partitions that run here, looked at now and then. Out: an error that names the partition which has stood still too long, and where. A
//! partition without input has a pulse all the same, and so has one that waits for a slow sink; one that reads its state has none yet, and is
//! not watched. Time counts only while it is watched: a process that was stopped and continued has not stood still.

use super::node::Shared;
use super::{Cluster, Inner};
use crate::runtime::{Beat, Pulse};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};
use thalweg_core::error::Error;
use thalweg_core::graph::Plan;
use thalweg_core::id::{BundleId, StageId};

/// How often pulses are looked at, at most.
const LOOK: Duration = Duration::from_secs(1);

/// The pulses of the partitions that run here.
#[derive(Debug, Default)]
pub struct Pulses(Mutex<BTreeMap<u16, Arc<Pulse>>>);

impl Pulses {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u16, Arc<Pulse>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing that runs here is watched any more: the job is over.
    pub fn clear(&self) {
        self.lock().clear();
    }

    /// Watches a partition until what is given back is dropped.
    pub fn watch(&self, partition: u16, pulse: Arc<Pulse>) -> Watched<'_> {
        self.lock().insert(partition, Arc::clone(&pulse));
        Watched { pulses: self, partition, pulse }
    }
}

/// A partition that is watched.
pub struct Watched<'a> {
    pulses: &'a Pulses,
    partition: u16,
    pulse: Arc<Pulse>,
}

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        let mut pulses = self.pulses.lock();
        // another life of the partition may have begun
        if pulses.get(&self.partition).is_some_and(|pulse| Arc::ptr_eq(pulse, &self.pulse)) {
            pulses.remove(&self.partition);
        }
    }
}

/// How long something has stood still.
#[derive(Clone, Copy, Debug)]
struct Still<T> {
    what: T,
    time: Duration,
}

impl<T: PartialEq + Copy> Still<T> {
    fn of(what: T) -> Self {
        Self { what, time: Duration::ZERO }
    }

    fn look(&mut self, now: T, since: Duration) -> Duration {
        *self = if self.what == now { Self { time: self.time + since, ..*self } } else { Self::of(now) };
        self.time
    }
}

/// What was seen of a partition.
#[derive(Clone, Copy, Debug)]
struct Seen {
    steps: Still<u64>,
    bundle: Still<Option<(BundleId, u64)>>,
}

/// A partition that stands still.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Stuck {
    partition: u16,
    /// Where it is, if that is known.
    stage: Option<StageId>,
    /// It is a worker that does not answer, not the partition's own thread.
    worker: bool,
}

/// Watches the partitions of one job.
#[derive(Debug)]
struct Watch {
    limit: Duration,
    seen: BTreeMap<u16, Seen>,
}

impl Watch {
    fn new(limit: Duration) -> Self {
        Self { limit, seen: BTreeMap::new() }
    }

    /// How often it has to look.
    fn every(&self) -> Duration {
        LOOK.min(self.limit / 10)
    }

    /// Looks at all pulses, so long after the last look; what stands still, if anything does.
    fn look(&mut self, beats: &BTreeMap<u16, Beat>, since: Duration) -> Option<Stuck> {
        self.seen.retain(|partition, _| beats.contains_key(partition));
        // whoever looks late may have been stopped, and with it what it looks at
        let since = since.min(self.every() * 2);
        let mut stuck = None;
        for (partition, beat) in beats {
            let bundle = beat.awaited.map(|awaited| (awaited.bundle, awaited.signs));
            let fresh = || Seen { steps: Still::of(beat.steps), bundle: Still::of(bundle) };
            let seen = self.seen.entry(*partition).or_insert_with(fresh);
            let (thread, worker) = (seen.steps.look(beat.steps, since), seen.bundle.look(bundle, since));
            if thread >= self.limit {
                stuck.get_or_insert(Stuck { partition: *partition, stage: beat.inside, worker: false });
            } else if worker >= self.limit && bundle.is_some() {
                let stage = beat.awaited.map(|awaited| awaited.stage);
                stuck.get_or_insert(Stuck { partition: *partition, stage, worker: true });
            }
        }
        stuck
    }
}

fn error(stuck: Stuck, limit: Duration, (name, id): (&str, &str), plan: &Plan) -> Error {
    let who = if stuck.worker { "the worker of partition" } else { "partition" };
    let what = format!("{who} {} of the job {name} ({id}) has made no step for {} s", stuck.partition, limit.as_secs());
    let stage = stuck.stage.and_then(|stage| plan.stages.get(stage.0 as usize)).map_or("", |stage| stage.name.as_str());
    Error::external("CLUSTER_STUCK", format!("{what}: this process leaves the cluster, so that others go on"))
        .help("see what the function waits for and start the process again; if an element may take so long, raise --max-poll-interval-ms")
        .in_transform(stage)
}

/// Watches until the job is gone, or a partition of it is stuck: then `tell` hears of it, once. Runs on a thread of its own.
pub fn run(shared: &Weak<Shared>, limit: Duration, tell: &dyn Fn(Error)) {
    let mut watch = Watch::new(limit);
    let mut looked = Instant::now();
    while let Some(shared) = shared.upgrade() {
        let beats =
            shared.pulses.lock().iter().filter_map(|(partition, pulse)| Some((*partition, pulse.now()?))).collect();
        let since = looked.elapsed();
        looked = Instant::now();
        if let Some(stuck) = watch.look(&beats, since) {
            return tell(error(stuck, limit, (&shared.job.name, &shared.job.id), &shared.apart.plan));
        }
        drop(shared);
        std::thread::sleep(watch.every());
    }
}

impl Cluster {
    /// Waits until a partition that runs here is stuck; gives the error that names it. Whoever hears it leaves the cluster and ends the process: nothing else
    /// ends a thread that does not come back.
    pub async fn stuck(&self) -> Error {
        let mut told = self.0.stuck.subscribe();
        loop {
            if let Some(error) = told.borrow_and_update().clone() {
                return error;
            }
            if told.changed().await.is_err() {
                std::future::pending::<()>().await; // nobody is left to say so
            }
        }
    }
}

impl Inner {
    /// What is to be done with the first error that says why this process cannot go on.
    pub(super) fn when_stuck(self: &Arc<Self>) -> Box<dyn Fn(Error) + Send> {
        let this = Arc::downgrade(self);
        Box::new(move |error| {
            if let Some(this) = this.upgrade() {
                this.stuck.send_if_modified(|told| told.is_none() && told.replace(error.clone()).is_none());
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use thalweg_core::port::worker::Awaited;

    const SECOND: Duration = Duration::from_secs(1);
    const LIMIT: Duration = Duration::from_secs(60);

    fn beat(steps: u64) -> Beat {
        Beat { steps, inside: Some(StageId(2)), awaited: None }
    }

    fn waits(steps: u64, bundle: u64, signs: u64) -> Beat {
        let awaited = Some(Awaited { stage: StageId(1), bundle: BundleId(bundle), signs });
        Beat { steps, inside: None, awaited }
    }

    /// Looks at one partition beside one that is well, once a second; the second at which it is stuck.
    fn seconds(watch: &mut Watch, of: impl Fn(u64) -> Option<Beat>) -> Option<(u64, Stuck)> {
        (0..600).find_map(|second| {
            let beats = [(0, Some(beat(second + 1))), (3, of(second))];
            let beats = beats.into_iter().filter_map(|(partition, beat)| Some((partition, beat?))).collect();
            watch.look(&beats, SECOND).map(|stuck| (second, stuck))
        })
    }

    #[test]
    fn a_thread_that_makes_no_step_is_told_at_the_limit_and_where_it_is() {
        let stuck = Stuck { partition: 3, stage: Some(StageId(2)), worker: false };
        assert_eq!(seconds(&mut Watch::new(LIMIT), |second| Some(beat(second.min(100) + 1))), Some((160, stuck)));
    }

    #[test]
    fn a_worker_that_gives_no_sign_is_told_though_the_thread_makes_steps() {
        let stuck = Stuck { partition: 3, stage: Some(StageId(1)), worker: true };
        let last = |second: u64| Some(waits(second + 1, 9, second.min(100)));
        assert_eq!(seconds(&mut Watch::new(LIMIT), last), Some((160, stuck)));
    }

    #[test]
    fn idle_slow_and_restoring_partitions_are_left_alone() {
        // an idle shard looks around five times a second; of a slow worker every sign counts, and every other bundle
        assert_eq!(seconds(&mut Watch::new(LIMIT), |second| Some(beat(second * 5 + 1))), None);
        assert_eq!(seconds(&mut Watch::new(LIMIT), |second| Some(waits(second + 1, 9, second / 59))), None);
        assert_eq!(seconds(&mut Watch::new(LIMIT), |second| Some(waits(second + 1, second / 59, 0))), None);
        assert_eq!(seconds(&mut Watch::new(LIMIT), |_| None), None, "a long restore has no pulse");
        // one life after the other, each of them shorter than the limit
        assert_eq!(seconds(&mut Watch::new(LIMIT), |second| (second % 50 > 0).then(|| beat(1))), None);
    }

    #[test]
    fn a_process_that_was_stopped_and_continued_has_not_stood_still() {
        let mut watch = Watch::new(LIMIT);
        let beats = BTreeMap::from([(3, beat(1))]);
        assert_eq!(watch.look(&beats, SECOND), None);
        for _ in 0..20 {
            assert_eq!(watch.look(&beats, Duration::from_secs(3600)), None);
        }
    }

    #[test]
    fn the_message_names_partition_job_transform_and_limit() {
        let stuck = Stuck { partition: 3, stage: None, worker: false };
        let told = error(stuck, LIMIT, ("count", "count-1"), &Plan::default());
        assert!(told.message.starts_with("partition 3 of the job count (count-1) has made no step for 60 s"), "{told}");
    }
}
