//! The worker: bundles of Wasm stages, run in the shard's own thread, but for stages that wait for tables.
//!
//! In: commands of the port. Out: its events, ready when `submit` returns. A stage is a chain of functions; the buffer that
//! one function returns is the arena of the next one's input. Nothing of a bundle lasts unless the engine applies it, so a
//! failed call is simply an event.
//!
//! Does not know: which transform means which function (the adapter that made the graph says so in a [`StagePlan`]), and
//! what becomes of its outputs.

mod aside;
mod beside;
mod bundle;
mod collect;
mod combine;
mod deploy;
mod drive;
mod edges;
mod elements;
mod keyed;
mod large;
mod metrics;
mod select;
mod step;
mod windows;

pub use aside::Waker;
pub use deploy::{Inbox, Terms, Trial, Verdict};
pub use step::{Binding, Callee, Failures, Family, Step, Target, Task};

use crate::error::{Error, Result};
use crate::frame::{Encoder, Moment};
use aside::Aside;
use std::collections::BTreeMap;
use thalweg_core::error::{Error as CoreError, Result as CoreResult};
use thalweg_core::id::{StageId, key_hash};
use thalweg_core::port::worker::{Command, Event, Worker};
use thalweg_core::time::ProcessingTime;

// the operations of `call`, as wit/README.md lists them
const PROCESS: u32 = 0;
const START_BUNDLE: u32 = 1;
pub(crate) const FINISH_BUNDLE: u32 = 2;
const ADD: u32 = 16;
const MERGE: u32 = 17;
const EXTRACT: u32 = 18;
const ASSIGN: u32 = 32;
const MERGE_WINDOWS: u32 = 33;
/// What a row costs in columns of a frame.
const ROW_BYTES: usize = 32;

/// Buffers that all calls of a worker share.
#[derive(Default, Debug)]
struct Scratch {
    encoder: Encoder,
    /// Finished sections for the next frame.
    sections: Vec<u8>,
}

/// The functions of a stage. The first gets the stage's input; a step's targets stand after it.
#[derive(Debug)]
pub struct StagePlan {
    steps: Vec<Step>,
}

impl StagePlan {
    /// A stage of these steps.
    ///
    /// # Errors
    /// [`Error::Engine`] if there is none, a target does not stand after its step, or a step after the first has state.
    pub fn new(steps: Vec<Step>) -> Result<Self> {
        let wrong = |why: &str| Err(Error::Engine { why: why.to_owned() });
        if steps.is_empty() {
            return wrong("a stage without steps");
        }
        for (i, step) in steps.iter().enumerate() {
            let dead = if let Failures::DeadLetter(targets) = &step.failures { targets.as_slice() } else { &[] };
            let all = step.outputs.iter().flatten().chain(dead);
            let forward = |target: &Target| matches!(target, Target::Step(to) if *to <= i || *to >= steps.len());
            if all.into_iter().any(forward) {
                return wrong("a step feeds one that does not stand after it");
            }
            if i > 0 && step.is_keyed() {
                return wrong("only the first step of a stage may keep state or set timers");
            }
        }
        Ok(Self { steps })
    }
}

/// Runs Wasm stages of one shard.
#[derive(Debug)]
pub struct WasmWorker {
    stages: BTreeMap<StageId, StagePlan>,
    /// Stages that wait for tables.
    aside: BTreeMap<StageId, Aside>,
    /// WindowFns by the stage whose windows they merge or map: a grouping, or a stage and its side input.
    windows: BTreeMap<(StageId, u32), Step>,
    events: Vec<Event>,
    scratch: Scratch,
    inbox: Inbox,
}

impl WasmWorker {
    /// A worker for these stages. Its instances are opened by the first bundle.
    #[must_use]
    pub fn new(stages: impl IntoIterator<Item = (StageId, StagePlan)>) -> Self {
        let stages: BTreeMap<_, _> = stages.into_iter().collect();
        // A bundle is done when `submit` returns, so there is never more than one.
        let events = stages.keys().map(|stage| Event::Credit { stage: *stage, bundles: 1 }).collect();
        let (aside, windows, scratch) = (BTreeMap::new(), BTreeMap::new(), Scratch::default());
        Self { stages, aside, windows, events, scratch, inbox: Inbox::default() }
    }

    /// Adds the WindowFn that merges the windows of the grouping `stage`, or maps windows to those of side input `side` of
    /// `stage`; a grouping has side 0.
    #[must_use]
    pub fn with_windows(mut self, stage: StageId, side: u32, function: Step) -> Self {
        self.windows.insert((stage, side), function);
        self
    }

    /// Where other versions of its functions can be put while it runs.
    #[must_use]
    pub fn inbox(&self) -> Inbox {
        self.inbox.clone()
    }

    /// Gives each stage whose tables make it wait a thread of its own, and `waker` to tell of its events: [`Worker::submit`] returns at
    /// once for them. Without it, the shard waits with them.
    ///
    /// # Errors
    /// `WASM_ENGINE` when the system gives no thread.
    pub fn with_waker(mut self, waker: &Waker) -> CoreResult<Self> {
        let waiting: Vec<StageId> = self
            .stages
            .iter()
            .filter(|(_, plan)| plan.steps.iter().any(Step::waits))
            .map(|(stage, _)| *stage)
            .collect();
        for stage in waiting {
            if let Some(plan) = self.stages.remove(&stage) {
                self.aside.insert(stage, Aside::start(plan, Waker::clone(waker))?);
            }
        }
        Ok(self)
    }

    fn window_fn(&mut self, stage: StageId, side: u32) -> CoreResult<&mut Step> {
        self.windows.get_mut(&(stage, side)).ok_or_else(|| unknown(stage))
    }

    /// The step of a stage that merges accumulators.
    fn merging(&mut self, stage: StageId) -> CoreResult<&mut Step> {
        let steps = self.stages.get_mut(&stage).map(|plan| plan.steps.as_mut_slice()).unwrap_or_default();
        let combines = |step: &&mut Step| matches!(step.task, Task::Merge | Task::Combine | Task::Extract);
        steps.iter_mut().find(combines).map(Step::newest).ok_or_else(|| unknown(stage))
    }

    fn answer(&mut self, command: Command) -> CoreResult<Event> {
        let mut scratch = std::mem::take(&mut self.scratch);
        let event = match command {
            Command::MergeWindows { request, stage, keys } => {
                let step = self.window_fn(stage, 0)?;
                let keys = windows::merge(step, &keys, asked(request), &mut scratch);
                keys.map(|keys| Event::WindowsMerged { request, keys }).map_err(|e| named(step, e))
            }
            Command::MapWindows { request, stage, side, windows } => {
                let step = self.window_fn(stage, side)?;
                let windows = windows::map(step, &windows, asked(request), &mut scratch);
                windows.map(|windows| Event::WindowsMapped { request, windows }).map_err(|e| named(step, e))
            }
            Command::Compact { request, stage, cells } => {
                let step = self.merging(stage)?;
                let cells = combine::compact(step, cells, asked(request), &mut scratch);
                cells.map(|cells| Event::Compacted { request, cells }).map_err(|e| named(step, e))
            }
            _ => Err(CoreError::internal("WASM_ENGINE", "a command that has no answer was asked for one")),
        };
        self.scratch = scratch;
        event
    }

    /// Opens an instance of every function now, so that a bad configuration shows before the first element.
    ///
    /// # Errors
    /// What the first function that fails says.
    pub fn warm(&mut self) -> Result<()> {
        let steps = self.stages.values_mut().flat_map(|stage| &mut stage.steps).chain(self.windows.values_mut());
        for step in steps {
            step.warm()?;
        }
        Ok(())
    }
}

impl Worker for WasmWorker {
    fn submit(&mut self, command: Command) -> CoreResult<()> {
        match command {
            Command::Start(start) => {
                let (stages, aside) = (&mut self.stages, &mut self.aside);
                self.inbox.take(|stage, at, step, trial| {
                    if let Some(plan) = stages.get_mut(&stage) {
                        deploy::begin(&mut plan.steps, at, *step, trial);
                    } else if let Some(aside) = aside.get_mut(&stage) {
                        aside.begin(at, step, trial);
                    }
                });
                if let Some(aside) = self.aside.get_mut(&start.stage) {
                    aside.submit(start);
                    return Ok(());
                }
                let Some(stage) = self.stages.get_mut(&start.stage) else {
                    return Err(unknown(start.stage));
                };
                bundle::run(&mut stage.steps, *start, &mut self.scratch, &mut self.events);
                Ok(())
            }
            Command::Abandon(bundle) => {
                self.aside.values_mut().for_each(|aside| aside.abandon(bundle));
                Ok(())
            }
            // The bundle is done already, or cannot be cut: there is nothing to report, give back or hear of.
            Command::Progress(_) | Command::Split(..) | Command::Finalize(_) => Ok(()),
            command => {
                let event = self.answer(command)?;
                self.events.push(event);
                Ok(())
            }
        }
    }

    fn poll(&mut self, out: &mut Vec<Event>) {
        out.append(&mut self.events);
        self.aside.values_mut().for_each(|aside| aside.poll(out));
    }
}

fn unknown(stage: StageId) -> CoreError {
    CoreError::internal("WASM_ENGINE", format!("stage {} is none of this worker", stage.0))
}

fn named(step: &Step, error: Error) -> CoreError {
    CoreError::from(error).in_transform(&step.transform)
}

/// The moment of a question that belongs to no bundle: nothing in it depends on the clock.
fn asked(request: u64) -> Moment {
    Moment { now: ProcessingTime(0), seed: key_hash(&request.to_le_bytes()) }
}
