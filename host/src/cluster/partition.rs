//! One partition of a job in this process: from the changelog to its end, or until it goes to another process.

use super::node::Shared;
use super::order::Ended;
use super::store::{ChangelogStore, wipe};
use crate::runtime::{self, Control, Finished, JobSpec, OpenSource, SourceSpec};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use thalweg_core::engine::Outcome;
use thalweg_core::error::{Error, Result};
use thalweg_core::graph::Exchange;
use thalweg_core::id::{Partition, ShardId, SplitId};
use thalweg_core::port::sink::Sink;
use thalweg_io::kafka::cluster::{Changelog, ExchangeSink, ExchangeSource};
use thalweg_io::kafka::passes;

/// A partition that the cluster kept from working begins again, after such a pause, so many times in a row.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
const AGAIN_MAX: u32 = 60;
/// So many times where it may be the job's own fault.
const DOUBTED_MAX: u32 = 3;
/// One that ran for so long has made a new start.
const LONG_RUN: Duration = Duration::from_secs(60);

/// Stops a partition from outside.
#[derive(Default)]
struct Steering {
    stopped: AtomicBool,
    control: Mutex<Option<Control>>,
}

impl Steering {
    fn control(&self) -> MutexGuard<'_, Option<Control>> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn goes_on(&self) -> bool {
        !self.stopped.load(Ordering::SeqCst)
    }
}

/// A partition that runs.
pub struct RunningPartition {
    steering: Arc<Steering>,
    ended: Receiver<()>,
    thread: Option<JoinHandle<()>>,
}

impl RunningPartition {
    /// Starts it on a thread of its own.
    pub fn start(shared: Arc<Shared>, partition: u16) -> Result<Self> {
        let steering = Arc::new(Steering::default());
        let (over, ended) = sync_channel(1);
        let mine = Arc::clone(&steering);
        let name = format!("{}-partition-{partition}", shared.job.id);
        let run = move || {
            Running { shared: &shared, partition, steering: &mine }.run();
            over.send(()).unwrap_or_default();
        };
        let thread = std::thread::Builder::new().name(name).spawn(run).map_err(|e| {
            Error::external("THREAD_START", format!("cannot start a thread: {e}"))
                .help("raise the process's limit of threads, or start the cluster with fewer partitions")
        })?;
        Ok(Self { steering, ended, thread: Some(thread) })
    }

    /// Asks it to let what runs come to its end within so long, to commit, and to stop.
    pub fn leave(&self, within: Duration) {
        self.steering.stopped.store(true, Ordering::SeqCst);
        if let Some(control) = &*self.steering.control() {
            control.leave(within);
        }
    }

    /// Asks it to stop without another commit.
    pub fn cancel(&self) {
        self.steering.stopped.store(true, Ordering::SeqCst);
        if let Some(control) = &*self.steering.control() {
            control.cancel();
        }
    }

    /// Asks it to do what its job is told by now.
    pub fn obey(&self, shared: &Shared) {
        if let Some(control) = &*self.steering.control() {
            shared.steer(control);
        }
    }

    /// Waits for its end, at most until `end`; then it stops without another commit. One that still waits for brokers after as long again is
    /// left alone: what it has in hand is refused when they answer.
    pub fn wait(&mut self, end: Instant) {
        let begun = Instant::now();
        let late = |ended: &Receiver<()>, end: Instant| {
            ended.recv_timeout(end.saturating_duration_since(Instant::now())) == Err(RecvTimeoutError::Timeout)
        };
        if late(&self.ended, end) {
            self.cancel();
            if late(&self.ended, end + (end - begun)) {
                return;
            }
        }
        if let Some(thread) = self.thread.take() {
            // a panic of that thread is no reason for one of this
            drop(thread.join());
        }
    }
}

struct Running<'a> {
    shared: &'a Arc<Shared>,
    partition: u16,
    steering: &'a Steering,
}

impl Running<'_> {
    /// Runs until the partition has ended, failed or left.
    fn run(&self) {
        let mut tries = 0;
        let mut anew = false;
        while self.goes_on() {
            let begun = Instant::now();
            let error = match self.live() {
                Ok(outcome) => match outcome {
                    Outcome::Done => return self.tell(&Ended::Done),
                    Outcome::Drained => return self.tell(&Ended::Drained),
                    Outcome::Cancelled => return,
                    Outcome::Failed(error) => error,
                },
                Err(error) => error,
            };
            if !self.goes_on() {
                return; // whoever has it now finds what is wrong with it, if it is not that it had to stop
            }
            if begun.elapsed() > LONG_RUN {
                tries = 0;
            }
            tries += 1;
            // the copy was damaged while it was used: what it held is whole in the changelog
            if error.code == "STATE_CORRUPT"
                && !std::mem::replace(&mut anew, true)
                && wipe(&self.shared.copy_dir(self.partition)).is_ok()
            {
                tracing::warn!(partition = self.partition, %error, "the copy of the state is given up");
                continue;
            }
            if tries > again(&error) {
                return self.tell(&Ended::Failed((&error).into()));
            }
            if self.goes_on() {
                tracing::warn!(partition = self.partition, %error, "begins again after its last committed epoch");
                std::thread::sleep(AGAIN_AFTER);
            }
        }
    }

    /// Tells how the partition ended, however long the brokers are away: the job waits for it. Whoever has the partition next finds it ended, and tells it again.
    fn tell(&self, ended: &Ended) {
        while let Err(error) = self.shared.tell(self.partition, ended) {
            if !self.goes_on() || !passes(&error) {
                return;
            }
            std::thread::sleep(AGAIN_AFTER);
        }
    }

    fn goes_on(&self) -> bool {
        self.steering.goes_on() && self.shared.owns(self.partition)
    }

    /// One life: from the state to the end.
    fn live(&self) -> Result<Outcome> {
        let shared = self.shared;
        let (dir, partitions) = (shared.copy_dir(self.partition), shared.partitions);
        let _mine = shared.copies.claim(self.partition);
        let epochs = shared.epochs();
        let tenure = epochs.take_over(self.partition)?;
        let changelog = Changelog::new(Arc::clone(&shared.reader), shared.topics.changelog(), self.partition);
        let goes_on = || self.goes_on();
        let begun = Instant::now();
        let consumed = Arc::clone(&shared.consumed);
        let (store, restored) = ChangelogStore::open(&dir, partitions, &changelog, epochs, consumed, tenure, &goes_on)?;
        tracing::info!(
            partition = self.partition,
            epoch = restored.epoch.0,
            records = restored.records,
            bytes = restored.bytes,
            ms = begun.elapsed().as_millis() as u64,
            "state is there"
        );
        shared.shown.show(self.partition, store.database(), None);
        let spec = JobSpec {
            name: format!("{}-{}", shared.job.id, self.partition),
            plan: Arc::clone(&shared.apart.plan),
            config: shared.config(),
            update: false,
            apart: Some(ShardId(self.partition)),
            epoch_ms: shared.epoch_ms,
            sources: self.sources(),
            sinks: self.sinks()?,
            workers: shared.workers(),
            store: Box::new(store),
            changes: Default::default(),
        };
        let running = runtime::start(spec)?;
        shared.measures(self.partition, running.metrics());
        *self.steering.control() = Some(running.control());
        shared.steer(&running.control()); // what the job was told while it was started
        if !self.goes_on() {
            running.control().cancel(); // it was stopped while it was started
        }
        let pulse = running.pulses().first().map(|pulse| shared.pulses.watch(self.partition, Arc::clone(pulse)));
        let Finished { outcome, .. } = running.join();
        drop(pulse);
        *self.steering.control() = None;
        Ok(outcome)
    }

    fn sources(&self) -> Vec<SourceSpec> {
        let shared = self.shared;
        let exchange = |exchange: &Exchange| {
            let (reader, topic) = (Arc::clone(&shared.reader), shared.topics.exchange(exchange.state));
            let (partitions, job) = (shared.partitions, shared.job.id.clone());
            let open: OpenSource = Arc::new(move || {
                Ok(Box::new(ExchangeSource::new(Arc::clone(&reader), topic.clone(), partitions, &job)))
            });
            // a split for each partition, which falls to it by its place
            SourceSpec::new((0..u32::from(partitions)).map(SplitId).collect(), open)
        };
        shared.apart.sources.iter().cloned().chain(shared.apart.plan.exchanges.iter().map(exchange)).collect()
    }

    fn sinks(&self) -> Result<Vec<Box<dyn Sink>>> {
        let shared = self.shared;
        let mut sinks = shared.apart.sinks(shared.topics.prefix(), self.partition)?;
        for exchange in &shared.apart.plan.exchanges {
            let topic = shared.topics.exchange(exchange.state);
            let sink = ExchangeSink::new(&topic, exchange, Partition(self.partition), shared.partitions);
            sinks.push(Box::new(sink));
        }
        Ok(sinks)
    }
}

/// How often a partition begins again after an error: often, if it is the cluster that cannot be reached, or has given the partition to another process,
/// or an earlier life of the partition that has not let go of its state, or an update that this process has still to hear of: no fault of the
/// job. A process that slept past its session may find that the new owner has had records deleted, before it hears of that owner.
fn again(error: &Error) -> u32 {
    match error.code {
        "STATE_LOCKED" | "CLUSTER_LOST" | "STATE_NEWER" => AGAIN_MAX,
        "KAFKA_OFFSET_LOST" | "CLUSTER_FENCED" => DOUBTED_MAX,
        _ if passes(error) => AGAIN_MAX,
        _ => 0,
    }
}
