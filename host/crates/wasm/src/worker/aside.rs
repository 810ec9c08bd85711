//! A stage whose functions ask tables that make them wait: its bundles run on a thread of its own, so that the shard and all its other
//! stages go on while a call is suspended in a lookup.
//!
//! In: bundles, one at a time. Out: their events, and a call of the shard's waker when there are some. A guest is never re-entered: its
//! instance stays with the call that waits.

use super::{Scratch, StagePlan, Step, Trial, bundle, deploy};
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use thalweg_core::error::{Error, Result};
use thalweg_core::id::BundleId;
use thalweg_core::port::worker::{BundleStart, Event};

/// Tells the shard that there are events.
pub type Waker = Arc<dyn Fn() + Send + Sync>;

/// A bundle, and the versions of functions that begin with it.
struct Job {
    versions: Vec<(usize, Box<Step>, Trial)>,
    start: Box<BundleStart>,
}

/// The thread of a stage.
pub struct Aside {
    /// `None` once the thread is gone.
    jobs: Option<SyncSender<Job>>,
    done: Receiver<Vec<Event>>,
    running: Option<BundleId>,
    /// Bundles that came while another one ran: that one was abandoned.
    queue: VecDeque<Box<BundleStart>>,
    /// Versions of its functions that wait for the next bundle.
    versions: Vec<(usize, Box<Step>, Trial)>,
}

impl fmt::Debug for Aside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Aside").field("running", &self.running).finish_non_exhaustive()
    }
}

impl Aside {
    /// Starts the thread of a stage.
    ///
    /// # Errors
    /// `WASM_ENGINE` when the system gives no thread.
    pub fn start(mut plan: StagePlan, waker: Waker) -> Result<Self> {
        // one bundle is under way at a time, so neither side ever waits for the other
        let (jobs, inbox) = sync_channel::<Job>(1);
        let (outbox, done) = sync_channel(1);
        let work = move || {
            let mut scratch = Scratch::default();
            for Job { versions, start } in inbox {
                for (at, step, trial) in versions {
                    deploy::begin(&mut plan.steps, at, *step, trial);
                }
                let mut events = Vec::new();
                bundle::run(&mut plan.steps, *start, &mut scratch, &mut events);
                if outbox.send(events).is_err() {
                    return; // the worker is gone
                }
                waker();
            }
        };
        let thread = std::thread::Builder::new().name("thalweg-lookups".to_owned()).spawn(work);
        thread.map_err(|e| Error::internal("WASM_ENGINE", format!("no thread for a stage that waits: {e}")))?;
        Ok(Self { jobs: Some(jobs), done, running: None, queue: VecDeque::new(), versions: Vec::new() })
    }

    /// Takes a bundle.
    pub fn submit(&mut self, start: Box<BundleStart>) {
        self.queue.push_back(start);
        self.next();
    }

    /// Puts another version of a function beside the one that runs, from the next bundle on.
    pub fn begin(&mut self, at: usize, step: Box<Step>, trial: Trial) {
        self.versions.push((at, step, trial));
    }

    /// Forgets a bundle. One that runs goes on to its end, and what it says is nobody's.
    pub fn abandon(&mut self, bundle: BundleId) {
        self.queue.retain(|start| start.bundle != bundle);
    }

    fn next(&mut self) {
        if self.running.is_some() {
            return;
        }
        if let (Some(start), Some(jobs)) = (self.queue.pop_front(), &self.jobs) {
            self.running = Some(start.bundle);
            let versions = std::mem::take(&mut self.versions);
            if jobs.send(Job { versions, start }).is_err() {
                self.jobs = None;
            }
        }
    }

    /// Moves what is ready into `out`.
    pub fn poll(&mut self, out: &mut Vec<Event>) {
        loop {
            match self.done.try_recv() {
                Ok(mut events) => {
                    out.append(&mut events);
                    self.running = None;
                    self.next();
                }
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Disconnected) => {
                    let waiting = self.queue.drain(..).map(|start| start.bundle);
                    let lost = self.running.take().into_iter().chain(waiting);
                    let error = || Error::internal("WASM_ENGINE", "the thread of a stage that waits has ended");
                    out.extend(lost.map(|bundle| Event::Failed { bundle, error: error() }));
                    return;
                }
            }
        }
    }
}
