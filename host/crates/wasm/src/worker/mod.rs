//! The worker: bundles of Wasm stages, run in the shard's own thread.
//!
//! In: commands of the port. Out: its events, ready when `submit` returns. A stage is a chain of functions; the buffer that
//! one function returns is the arena of the next one's input. Nothing of a bundle lasts unless the engine applies it, so a
//! failed call is simply an event.
//!
//! Does not know: which transform means which function (the adapter that made the graph says so in a [`StagePlan`]), and
//! what becomes of its outputs.

mod bundle;
mod collect;
mod drive;
mod elements;
mod keyed;

use crate::describe::{Function, SlotKind};
use crate::error::{Error, Result};
use crate::frame::{Encoder, Frame};
use crate::native::NativeFunction;
use crate::pool::Pool;
use crate::state::{Slot, StateAccess};
use crate::store::Returned;
use std::collections::BTreeMap;
use std::sync::Arc;
use thalweg_core::coder::Coder;
use thalweg_core::error::{Error as CoreError, Result as CoreResult};
use thalweg_core::id::{StageId, StateId};
use thalweg_core::port::worker::{Command, Event, Worker};

/// Operation 0 of a DoFn: process the rows.
const PROCESS: u32 = 0;
/// What a row costs in columns of a frame.
const ROW_BYTES: usize = 32;

/// Buffers that all calls of a worker share.
#[derive(Default, Debug)]
struct Scratch {
    encoder: Encoder,
    cells: Vec<u8>,
}

/// What executes a step.
#[derive(Debug)]
pub enum Callee {
    /// A function of a component.
    Wasm(Pool),
    /// A native function behind the same frames.
    Native(NativeFunction),
}

impl Callee {
    fn describe(&self) -> Result<&Function> {
        match self {
            Self::Wasm(pool) => pool.describe(),
            Self::Native(function) => Ok(function.describe()),
        }
    }

    fn call(&mut self, op: u32, input: &Frame, state: Option<StateAccess>) -> (Result<Returned>, Option<StateAccess>) {
        match self {
            Self::Wasm(pool) => pool.call(op, input, state),
            Self::Native(function) => function.call(op, input, state),
        }
    }
}

/// Where elements of an output go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    /// To a later step of the same stage.
    Step(usize),
    /// Out, as this output of the stage.
    Output(u32),
}

/// What becomes of an element that the function cannot process, or that makes it trap when it stands alone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Failures {
    /// The bundle fails with the element's error; the engine retries it or fails the job.
    FailBundle,
    /// The element goes to these targets as a row `{element, msg: string, stack: string}`, the field `element` in the nested
    /// encoding of the input's coder, with the element's time, windows and pane; everything else goes on.
    DeadLetter(Vec<Target>),
}

/// One function of a stage.
#[derive(Debug)]
pub struct Step {
    transform: String,
    callee: Callee,
    keyed: bool,
    slots: Arc<[Slot]>,
    output_keyed: Vec<bool>,
    outputs: Vec<Vec<Target>>,
    failures: Failures,
    input_coder: Coder,
}

impl Step {
    /// A step that runs `callee` as `transform`. `states` gives for each slot of the function, by name, where it is
    /// stored; `outputs` gives for each output of the function, by index, who takes its elements (perhaps nobody).
    ///
    /// # Errors
    /// [`Error::Unsupported`] if a slot has no place, or `outputs` does not fit the function.
    pub fn new(
        transform: &str,
        callee: Callee,
        states: &[(&str, StateId)],
        outputs: Vec<Vec<Target>>,
        failures: Failures,
    ) -> Result<Self> {
        let function = callee.describe()?;
        let needs = |what: String| Error::Unsupported { function: function.name.clone(), what };
        let slots = function.slots.iter().map(|slot| {
            let id = states.iter().find(|(name, _)| *name == slot.name).map(|(_, id)| *id);
            let id = id.ok_or_else(|| needs(format!("a place for the state {:?}", slot.name)))?;
            Ok(Slot { id, bag: slot.kind == SlotKind::Bag, eager: slot.eager })
        });
        let slots = slots.collect::<Result<Arc<[_]>>>()?;
        if outputs.len() != function.outputs.len() {
            return Err(needs(format!("{} outputs, not {}", function.outputs.len(), outputs.len())));
        }
        let input_coder = function.input.to_core().ok_or_else(|| needs("its input coder".into()))?;
        let output_keyed = function.outputs.iter().map(|o| o.coder.is_kv()).collect();
        let keyed = function.input.is_kv();
        let transform = transform.to_owned();
        Ok(Self { transform, keyed, slots, output_keyed, outputs, failures, input_coder, callee })
    }
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
            if i > 0 && !step.slots.is_empty() {
                return wrong("only the first step of a stage may keep state");
            }
        }
        Ok(Self { steps })
    }
}

/// Runs Wasm stages of one shard.
#[derive(Debug)]
pub struct WasmWorker {
    stages: BTreeMap<StageId, StagePlan>,
    events: Vec<Event>,
    scratch: Scratch,
}

impl WasmWorker {
    /// A worker for these stages. Its instances are opened by the first bundle.
    #[must_use]
    pub fn new(stages: impl IntoIterator<Item = (StageId, StagePlan)>) -> Self {
        let stages: BTreeMap<_, _> = stages.into_iter().collect();
        // A bundle is done when `submit` returns, so there is never more than one.
        let events = stages.keys().map(|stage| Event::Credit { stage: *stage, bundles: 1 }).collect();
        Self { stages, events, scratch: Scratch::default() }
    }

    /// Opens an instance of every function now, so that a bad configuration shows before the first element.
    ///
    /// # Errors
    /// What the first function that fails says.
    pub fn warm(&mut self) -> Result<()> {
        for step in self.stages.values_mut().flat_map(|stage| &mut stage.steps) {
            if let Callee::Wasm(pool) = &mut step.callee {
                pool.warm()?;
            }
        }
        Ok(())
    }
}

impl Worker for WasmWorker {
    fn submit(&mut self, command: Command) -> CoreResult<()> {
        match command {
            Command::Start(start) => {
                let Some(stage) = self.stages.get_mut(&start.stage) else {
                    return Err(CoreError::internal(
                        "WASM_ENGINE",
                        format!("stage {} is not a Wasm stage", start.stage.0),
                    ));
                };
                bundle::run(&mut stage.steps, *start, &mut self.scratch, &mut self.events);
                Ok(())
            }
            // The bundle is done already: there is nothing to report, give back, forget or hear of.
            Command::Progress(_) | Command::Split(..) | Command::Abandon(_) | Command::Finalize(_) => Ok(()),
            Command::MergeWindows { .. } => Err(unasked("merge windows")),
            Command::MapWindows { .. } => Err(unasked("map windows")),
            Command::Compact { .. } => Err(unasked("merge accumulators")),
        }
    }

    fn poll(&mut self, out: &mut Vec<Event>) {
        out.append(&mut self.events);
    }
}

fn unasked(what: &str) -> CoreError {
    CoreError::internal("WASM_UNSUPPORTED", format!("no Wasm function of this version can {what}"))
}
