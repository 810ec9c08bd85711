//! The worker of native stages: runs a bundle in `submit`, so its events are ready when the call returns.

use super::{Keyed, NativeFn, Outputs};
use std::collections::BTreeMap;
use thalweg_core::batch::Batch;
use thalweg_core::error::{Error, Result};
use thalweg_core::id::{BundleId, StageId};
use thalweg_core::port::worker::{BundleResult, BundleStart, Command, Event, Input, StateSpec, TimerUpdate, Worker};

/// Where batches of a function's output go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    /// To a later function of the stage.
    Step(usize),
    /// Out, as this output of the stage.
    Output(u32),
}

/// One function of a stage.
pub struct NativeStep {
    name: String,
    function: Box<dyn NativeFn>,
    targets: Vec<Vec<Target>>,
    outputs: Outputs,
    waiting: Vec<Batch>,
}

impl std::fmt::Debug for NativeStep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NativeStep").field("name", &self.name).field("targets", &self.targets).finish()
    }
}

impl NativeStep {
    /// A function called `name`, and for each of its outputs who takes it (perhaps nobody).
    #[must_use]
    pub fn new(name: &str, function: Box<dyn NativeFn>, targets: Vec<Vec<Target>>) -> Self {
        let wanted: Vec<bool> = targets.iter().map(|t| !t.is_empty()).collect();
        Self { name: name.to_owned(), function, targets, outputs: Outputs::new(&wanted), waiting: Vec::new() }
    }
}

/// The functions of a stage. The first gets the stage's input; targets of a function stand after it.
#[derive(Debug)]
pub struct NativeStage {
    steps: Vec<NativeStep>,
    states: Vec<StateSpec>,
}

impl NativeStage {
    /// A stage. `states` are those of its first function.
    ///
    /// # Errors
    /// `NATIVE_STAGE` if a target does not stand after its function.
    pub fn new(steps: Vec<NativeStep>, states: Vec<StateSpec>) -> Result<Self> {
        let after = |i: usize, target: &Target| matches!(target, Target::Step(to) if *to <= i || *to >= steps.len());
        if steps.iter().enumerate().any(|(i, s)| s.targets.iter().flatten().any(|t| after(i, t))) {
            return Err(Error::internal("NATIVE_STAGE", "a function feeds one that does not stand after it"));
        }
        Ok(Self { steps, states })
    }
}

/// Runs native stages of one shard.
#[derive(Debug)]
pub struct NativeWorker {
    stages: BTreeMap<StageId, NativeStage>,
    events: Vec<Event>,
}

impl NativeWorker {
    /// A worker for these stages.
    #[must_use]
    pub fn new(stages: impl IntoIterator<Item = (StageId, NativeStage)>) -> Self {
        let stages: BTreeMap<_, _> = stages.into_iter().collect();
        // a bundle is done when `submit` returns, so there is never more than one
        let events = stages.keys().map(|stage| Event::Credit { stage: *stage, bundles: 1 }).collect();
        Self { stages, events }
    }
}

impl Worker for NativeWorker {
    fn submit(&mut self, command: Command) -> Result<()> {
        match command {
            Command::Start(start) => {
                let stage = self.stages.get_mut(&start.stage);
                let stage = stage
                    .ok_or_else(|| Error::internal("NATIVE_STAGE", format!("stage {} is not native", start.stage.0)))?;
                let bundle = start.bundle;
                let before = self.events.len();
                match run(stage, *start, &mut self.events) {
                    Ok(result) => self.events.push(Event::Done { bundle, result: Box::new(result) }),
                    Err(error) => {
                        self.events.truncate(before);
                        self.events.push(Event::Failed { bundle, error });
                    }
                }
                Ok(())
            }
            // the bundle is done already: there is nothing to report, give back, forget or hear of
            Command::Progress(_) | Command::Split(..) | Command::Abandon(_) | Command::Finalize(_) => Ok(()),
            Command::MergeWindows { .. } | Command::MapWindows { .. } | Command::Compact { .. } => Err(
                Error::internal("NATIVE_STAGE", "no native function merges or maps windows or compacts accumulators"),
            ),
        }
    }

    fn poll(&mut self, out: &mut Vec<Event>) {
        out.append(&mut self.events);
    }
}

fn run(stage: &mut NativeStage, start: BundleStart, events: &mut Vec<Event>) -> Result<BundleResult> {
    let BundleStart { bundle, input, mut state, now, watermark, .. } = start;
    for step in &mut stage.steps {
        step.waiting.clear();
        step.function.begin();
        step.outputs.begin(now, watermark);
    }
    let mut timers: Vec<TimerUpdate> = Vec::new();
    match input {
        Input::Elements { batches } => {
            for (_, batch) in batches {
                if let Some(first) = stage.steps.first_mut() {
                    first.waiting.push(batch);
                }
                sweep(&mut stage.steps, bundle, events, false)?;
            }
        }
        Input::Keyed { groups, batches, items } => {
            if let Some(first) = stage.steps.first_mut() {
                let mut keyed = Keyed::new((&groups, &batches, &items), (&mut state, &stage.states), &mut timers);
                first
                    .function
                    .process_keyed(&mut keyed, &mut first.outputs)
                    .map_err(|e| e.in_transform(&first.name))?;
            }
        }
    }
    sweep(&mut stage.steps, bundle, events, true)?;
    let mut result = BundleResult { state: state.into_delta(), timers, ..BundleResult::default() };
    for step in &mut stage.steps {
        result.metrics.merge(&step.outputs.take_metrics());
    }
    Ok(result)
}

/// Lets every function work on what waits for it, first to last; at the end of the bundle each also finishes.
fn sweep(steps: &mut [NativeStep], bundle: BundleId, events: &mut Vec<Event>, last: bool) -> Result<()> {
    for i in 0..steps.len() {
        let Some((step, later)) = steps.get_mut(i..).and_then(|s| s.split_first_mut()) else { break };
        let NativeStep { name, function, targets, outputs, waiting } = step;
        for batch in waiting.drain(..) {
            function.process(&batch, outputs).map_err(|e| e.in_transform(name))?;
        }
        if last {
            function.finish(outputs).map_err(|e| e.in_transform(name))?;
        }
        outputs.drain(|output, batch| {
            for target in targets.get(output).into_iter().flatten() {
                match target {
                    Target::Output(output) => {
                        events.push(Event::Output { bundle, output: *output, batch: batch.clone() })
                    }
                    Target::Step(to) => {
                        if let Some(next) = later.get_mut(to - i - 1) {
                            next.waiting.push(batch.clone());
                        }
                    }
                }
            }
        });
    }
    Ok(())
}
