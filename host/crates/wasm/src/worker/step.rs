//! A step of a stage: a function, what it is asked to do, and what is bound to the names in its description.

use super::deploy::Next;
use super::drive::FrameSize;
use super::metrics::Names;
use crate::describe::{Domain, Function, Kind, Lookup};
use crate::error::{Error, Result};
use crate::frame::Frame;
use crate::limits::Limits;
use crate::native::NativeFunction;
use crate::pool::Pool;
use crate::side::{Side, Table};
use crate::state::Slot;
use crate::store::{Loan, Returned};
use std::sync::Arc;
use thalweg_core::coder::Coder;
use thalweg_core::id::StateId;

/// What executes a step.
#[derive(Debug)]
pub enum Callee {
    /// A function of a component.
    Wasm(Pool),
    /// A native function behind the same frames.
    Native(NativeFunction),
}

impl Callee {
    pub(super) fn describe(&self) -> Result<&Function> {
        match self {
            Self::Wasm(pool) => pool.describe(),
            Self::Native(function) => Ok(function.describe()),
        }
    }

    pub(super) fn limits(&self) -> &Limits {
        match self {
            Self::Wasm(pool) => pool.limits(),
            Self::Native(function) => function.limits(),
        }
    }

    /// Closes its instance, so that the next call is made in a fresh one.
    pub(super) fn forget(&mut self) {
        match self {
            Self::Wasm(pool) => pool.forget(),
            Self::Native(_) => {} // native code has one memory
        }
    }

    pub(super) fn call(&mut self, op: u32, input: &Frame, loan: Loan) -> (Result<Returned>, Loan) {
        match self {
            Self::Wasm(pool) => pool.call(op, input, loan),
            Self::Native(function) => function.call(op, input, loan),
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

/// What a step asks of its function.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Task {
    /// A DoFn: process elements.
    Process,
    /// A key selector: elements become pairs of key and element.
    Select,
    /// A CombineFn before the grouping: values of a key become an accumulator.
    Add,
    /// A CombineFn after it: accumulators of a key become one.
    Merge,
    /// A CombineFn at the end: accumulators become outputs.
    Extract,
    /// A CombineFn on grouped values.
    Combine,
    /// A WindowFn: elements get their windows.
    Assign,
}

impl Task {
    /// Whether a kind of function can do it.
    fn fits(self, kind: &Kind) -> bool {
        match self {
            Self::Process => *kind == Kind::DoFn,
            Self::Select => *kind == Kind::KeySelector,
            Self::Add | Self::Merge | Self::Extract | Self::Combine => *kind == Kind::CombineFn,
            Self::Assign => *kind == Kind::WindowFn,
        }
    }
}

/// A timer family of a stage, in the order of the stage's declaration.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Family {
    /// A family of the function.
    Timers {
        /// Its index in the description.
        index: u32,
        /// Its clock.
        domain: Domain,
    },
    /// Fires when the window of a key is over.
    Expiration,
}

/// What is bound to the names in a function's description.
#[derive(Debug, Default)]
pub struct Binding<'a> {
    /// Where each slot is stored, by name.
    pub states: &'a [(&'a str, StateId)],
    /// The timer families of the stage, by their index there; the name of the function's family, or none for the one that
    /// fires when a window is over.
    pub timers: &'a [Option<&'a str>],
    /// The side inputs by their index in the description.
    pub sides: Vec<Side>,
    /// The tables by their index in the description.
    pub tables: Vec<Arc<dyn Table>>,
}

/// One function of a stage.
#[derive(Debug)]
pub struct Step {
    pub(super) transform: String,
    pub(super) callee: Callee,
    pub(super) task: Task,
    /// Whether the function's input is a KV.
    pub(super) keyed: bool,
    pub(super) bundles: bool,
    pub(super) sees_elements: bool,
    pub(super) slots: Arc<[Slot]>,
    pub(super) timers: Arc<[Family]>,
    pub(super) timer_families: u32,
    pub(super) sides: Arc<[Side]>,
    pub(super) tables: Arc<[Arc<dyn Table>]>,
    /// Tables that are looked up by the element's key before every call.
    pub(super) declared: Vec<u32>,
    pub(super) output_keyed: Vec<bool>,
    pub(super) outputs: Vec<Vec<Target>>,
    pub(super) failures: Failures,
    /// How large its frames are made.
    pub(super) frame: FrameSize,
    pub(super) input_coder: Coder,
    /// Whether it reads grouped values by page.
    pub(super) pages: bool,
    /// Coder of what a merge finds in each element: accumulators, or values.
    pub(super) element_coder: Coder,
    /// The metrics that it has reported.
    pub(super) metrics: Names,
    /// Another version of the function, beside this one.
    pub(super) next: Option<Box<Next>>,
    /// This is such a version: a call that fails is the old one's to do, not a row's fault.
    pub(super) on_trial: bool,
}

impl Step {
    /// A step that runs `callee` as `transform`. `outputs` gives for each output of the function, by index, who takes its
    /// elements (perhaps nobody); what is no DoFn has one.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if the function cannot do this, something it describes is not bound, or `outputs` does not fit.
    pub fn new(
        transform: &str,
        callee: Callee,
        task: Task,
        binding: Binding<'_>,
        outputs: Vec<Vec<Target>>,
        failures: Failures,
    ) -> Result<Self> {
        let function = callee.describe()?;
        let needs = |what: String| Error::Unsupported { function: function.name.clone(), what };
        if !task.fits(&function.kind) {
            return Err(needs(format!("the task {task:?} for a function of its kind")));
        }
        if task != Task::Process && failures != Failures::FailBundle {
            return Err(needs("an output for failed elements, which only DoFns have".into()));
        }
        let count = if task == Task::Process { function.outputs.len() } else { 1 };
        if outputs.len() != count {
            return Err(needs(format!("{count} outputs, not {}", outputs.len())));
        }
        if binding.sides.len() != function.side_inputs.len() || binding.tables.len() != function.tables.len() {
            return Err(needs("all the side inputs and tables that it describes".into()));
        }
        let coder = |coder: &crate::describe::Coder| coder.to_core().ok_or_else(|| needs("its coders".into()));
        let input_coder = coder(&function.input)?;
        let element_coder = match (task, &function.accumulator) {
            (Task::Merge | Task::Extract, Some(accumulator)) => coder(accumulator)?,
            _ => input_coder.clone(),
        };
        let output_keyed = match task {
            Task::Process => function.outputs.iter().map(|o| o.coder.is_kv()).collect(),
            _ => vec![true],
        };
        Ok(Self {
            transform: transform.to_owned(),
            task,
            keyed: function.input.is_kv(),
            bundles: function.bundles,
            sees_elements: function.element,
            slots: slots(function, binding.states)?,
            timers: families(function, binding.timers)?,
            timer_families: function.timers.len() as u32,
            sides: binding.sides.into(),
            tables: binding.tables.into(),
            declared: declared_lookups(function),
            output_keyed,
            outputs,
            failures,
            frame: FrameSize::from(callee.limits()),
            pages: task == Task::Process && grouped(&input_coder).is_some() && function.reads_pages(),
            input_coder,
            element_coder,
            metrics: Names::default(),
            next: None,
            on_trial: false,
            callee,
        })
    }

    /// Whether a row that makes its call fail is looked for and put aside.
    pub(super) fn isolates(&self) -> bool {
        !self.on_trial && matches!(self.failures, Failures::DeadLetter(_))
    }

    /// Opens an instance of the function now.
    ///
    /// # Errors
    /// What the function says to its configuration, or a limit it reached.
    pub fn warm(&mut self) -> Result<()> {
        match &mut self.callee {
            Callee::Wasm(pool) => pool.warm(),
            Callee::Native(_) => Ok(()),
        }
    }

    /// Whether it keeps state or sets timers.
    pub(super) fn is_keyed(&self) -> bool {
        !self.slots.is_empty() || !self.timers.is_empty()
    }

    /// Whether its lookups may take their time.
    pub(super) fn waits(&self) -> bool {
        self.tables.iter().any(|table| table.waits())
    }
}

/// Coder of the elements of grouped values, if the elements are such: lists, or pairs of key and list.
pub(super) fn grouped(input: &Coder) -> Option<&Coder> {
    match input.kv().map_or(input, |(_, value)| value) {
        Coder::Iterable(element) => Some(element),
        _ => None,
    }
}

fn slots(function: &Function, states: &[(&str, StateId)]) -> Result<Arc<[Slot]>> {
    let bind = |slot: &crate::describe::Slot| {
        let id = states.iter().find(|(name, _)| *name == slot.name).map(|(_, id)| *id);
        let missing = || Error::Unsupported {
            function: function.name.clone(),
            what: format!("a place for the state {:?}", slot.name),
        };
        let coder = slot.coder.to_core().map(Arc::new);
        Ok(Slot { id: id.ok_or_else(missing)?, kind: slot.kind.clone(), eager: slot.eager, coder })
    };
    function.slots.iter().map(bind).collect()
}

fn families(function: &Function, names: &[Option<&str>]) -> Result<Arc<[Family]>> {
    let bind = |name: &Option<&str>| {
        let Some(name) = name else { return Ok(Family::Expiration) };
        let found = function.timers.iter().position(|t| t.name == *name);
        let index = found.ok_or_else(|| Error::Unsupported {
            function: function.name.clone(),
            what: format!("the timer family {name:?}"),
        })?;
        let domain = function.timers.get(index).map_or(Domain::Event, |t| t.domain);
        Ok(Family::Timers { index: index as u32, domain })
    };
    names.iter().map(bind).collect()
}

fn declared_lookups(function: &Function) -> Vec<u32> {
    let by_key = function.tables.iter().enumerate().filter(|(_, table)| table.lookup == Lookup::Key);
    by_key.map(|(i, _)| i as u32).collect()
}
