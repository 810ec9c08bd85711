//! One bundle: its input goes through the steps of its stage; what comes out becomes events.

use super::collect::Outcome;
use super::deploy::Parts;
use super::edges::{self, Work};
use super::elements::elements;
use super::keyed::{Rows, keyed};
use super::large::{Cut, whole};
use super::metrics::metric;
use super::{ADD, FINISH_BUNDLE, Failures, MERGE, START_BUNDLE, Scratch, Step, Target, Task};
use super::{combine, select, windows};
use crate::error::{Error, Result};
use crate::frame::Moment;
use crate::side::SideAccess;
use std::sync::Arc;
use thalweg_core::batch::Batch;
use thalweg_core::error::Error as CoreError;
use thalweg_core::id::key_hash;
use thalweg_core::metric::Metrics;
use thalweg_core::port::worker::{BundleResult, BundleStart, Event, Input, TimerUpdate};
use thalweg_core::state::{GroupDelta, SideView, StateView};

/// Runs a bundle and appends its events.
pub fn run(steps: &mut [Step], start: BundleStart, scratch: &mut Scratch, events: &mut Vec<Event>) {
    let bundle = start.bundle;
    let mut run = Run {
        inputs: vec![Vec::new(); steps.len()],
        outputs: Vec::new(),
        timers: Vec::new(),
        metrics: Metrics::default(),
        sides: start.sides.iter().cloned().collect(),
        hash: 0,
    };
    match run.steps(steps, start, scratch) {
        Ok(view) => {
            let outputs = run.outputs.into_iter();
            events.extend(outputs.map(|(output, batch)| Event::Output { bundle, output, batch }));
            let (timers, metrics) = (run.timers, run.metrics);
            let result = BundleResult { state: view.into_delta(), timers, metrics, ..BundleResult::default() };
            events.push(Event::Done { bundle, result: Box::new(result) });
        }
        Err(error) => events.push(Event::Failed { bundle, error: *error }),
    }
}

/// What a running bundle has gathered.
struct Run {
    /// Batches that wait for a step.
    inputs: Vec<Vec<Batch>>,
    outputs: Vec<(u32, Batch)>,
    timers: Vec<TimerUpdate>,
    metrics: Metrics,
    sides: Arc<[Arc<SideView>]>,
    /// What decides which version runs a bundle without keys, while there are two.
    hash: u64,
}

impl Run {
    fn steps(
        &mut self,
        steps: &mut [Step],
        start: BundleStart,
        scratch: &mut Scratch,
    ) -> Result<StateView, Box<CoreError>> {
        let BundleStart { input, state, now, .. } = start;
        let mut view = Some(state);
        let mut input = Some(input);
        steps.iter_mut().for_each(Step::settle);
        if steps.iter().any(|step| step.next.is_some()) {
            self.hash = bundle_hash(input.as_ref());
        }
        for (i, step) in steps.iter_mut().enumerate() {
            let moment = Moment { now, seed: seed(&step.transform, input.as_ref()) };
            let mut outcome = Outcome::new(step.output_keyed.len());
            let ran = self.versions(i, step, input.take(), &mut view, moment, scratch, &mut outcome);
            ran.map_err(|error| Box::new(CoreError::from(error).in_transform(&step.transform)))?;
            self.route(step, outcome);
        }
        view.ok_or_else(|| Box::new(CoreError::internal("WASM_ENGINE", "a bundle lost its state")))
    }

    /// Runs what waits for a step through it, each of its versions with its part. What the new one fails on the old one does at
    /// once, and no attempt is lost by it: in a retry other rows may stand beside these, which the new one might fail on again.
    #[expect(clippy::too_many_arguments, reason = "the bundle, the step and where its results go")]
    fn versions(
        &mut self,
        at: usize,
        step: &mut Step,
        input: Option<Input>,
        view: &mut Option<StateView>,
        moment: Moment,
        scratch: &mut Scratch,
        out: &mut Outcome,
    ) -> Result<()> {
        let Some(mut next) = step.next.take() else {
            return self.step(at, step, input, view, moment, scratch, out);
        };
        let parts = match &input {
            Some(input) => next.parts(input.clone(), self.hash),
            None => Parts { old: None, new: None },
        };
        let first = input.is_some();
        let runs_new = if first { parts.new.is_some() } else { next.takes(self.hash) };
        let mut runs_old = if first { parts.old.is_some() } else { !runs_new };
        let mut rest = parts.old;
        if runs_new {
            let kept = Kept::of(self.inputs.get(at), input.as_ref(), view.as_mut());
            let mut made = Outcome::new(step.output_keyed.len());
            match self.step(at, &mut next.step, parts.new, view, moment, scratch, &mut made) {
                Ok(()) => {
                    next.ran();
                    out.absorb(made);
                }
                Err(error) => {
                    next.failed(input.as_ref(), &error);
                    kept.back(self.inputs.get_mut(at), view);
                    (rest, runs_old) = (input, true);
                }
            }
        }
        let ran = if runs_old { self.step(at, step, rest, view, moment, scratch, out) } else { Ok(()) };
        step.next = Some(next);
        ran
    }

    /// Runs what waits for a step through it. Only the first one gets the bundle's input.
    #[expect(clippy::too_many_arguments, reason = "the bundle, the step and where its results go")]
    fn step(
        &mut self,
        at: usize,
        step: &mut Step,
        input: Option<Input>,
        view: &mut Option<StateView>,
        moment: Moment,
        scratch: &mut Scratch,
        out: &mut Outcome,
    ) -> Result<()> {
        let work = match input {
            Some(Input::Keyed { groups, batches, items }) => {
                let batches = batches.iter().map(|batch| Cut::of(step, batch)).collect::<Result<Vec<_>>>()?;
                Work::Keyed { groups, batches, items }
            }
            Some(Input::Elements { .. }) if !step.slots.is_empty() => return Err(unsupported(step, "a keyed input")),
            Some(Input::Elements { batches }) => Work::of(step, batches.into_iter().map(|(_, batch)| batch)),
            None => Work::of(step, self.inputs.get_mut(at).map(std::mem::take).unwrap_or_default()),
        };
        if step.bundles {
            edges::gather(step, work, view, out, |step, work, view, out| {
                edges::edge(step, START_BUNDLE, moment, scratch, out)?;
                self.work(step, work, view, moment, scratch, out)?;
                if out.counts() { edges::edge(step, FINISH_BUNDLE, moment, scratch, out) } else { Ok(()) }
            })
        } else {
            self.work(step, &work, view, moment, scratch, out)
        }
    }

    fn work(
        &self,
        step: &mut Step,
        work: &Work,
        view: &mut Option<StateView>,
        moment: Moment,
        scratch: &mut Scratch,
        out: &mut Outcome,
    ) -> Result<()> {
        match work {
            Work::Keyed { groups, batches, items } => {
                let rows = Rows { groups, batches, items };
                keyed(step, &rows, view, &self.sides, moment, scratch, out)?;
            }
            Work::Batches(batches) => {
                for (at, batch) in batches.iter().enumerate() {
                    out.batch = at;
                    self.batch(step, batch, moment, scratch, out)?;
                }
            }
        }
        Ok(())
    }

    fn batch(
        &self,
        step: &mut Step,
        batch: &Batch,
        moment: Moment,
        scratch: &mut Scratch,
        out: &mut Outcome,
    ) -> Result<()> {
        let made;
        let batch = if batch.has_large() && matches!(step.task, Task::Select | Task::Assign) {
            made = whole(step, batch)?;
            &made
        } else {
            batch
        };
        match step.task {
            Task::Process => {
                if step.sides.is_empty() {
                    return elements(step, batch, None, moment, scratch, out);
                }
                let sides = self.side_access(step, batch);
                elements(step, batch, sides.as_ref(), moment, scratch, out)
            }
            Task::Select => select::select(step, batch, moment, scratch, out),
            Task::Add => combine::add(step, batch, moment, scratch, out),
            Task::Merge => combine::merge(step, MERGE, false, batch, moment, scratch, out),
            Task::Combine => combine::merge(step, ADD, true, batch, moment, scratch, out),
            Task::Extract => combine::extract(step, batch, moment, scratch, out),
            Task::Assign => windows::assign(step, batch, moment, scratch, out),
        }
    }

    fn side_access(&self, step: &Step, batch: &Batch) -> Option<SideAccess> {
        let (sides, views) = (Arc::clone(&step.sides), Arc::clone(&self.sides));
        (!sides.is_empty()).then(|| SideAccess { sides, views, windows: batch.window_sets().to_vec() })
    }

    fn route(&mut self, step: &mut Step, mut outcome: Outcome) {
        let dead_letters = outcome.dead_letters();
        for (targets, batches) in step.outputs.iter().zip(outcome.outputs) {
            for batch in batches {
                self.send(targets, &batch);
            }
        }
        if let Failures::DeadLetter(targets) = &step.failures {
            dead_letters.iter().for_each(|batch| self.send(targets, batch));
        }
        self.timers.append(&mut outcome.timers);
        for delta in outcome.metrics {
            if step.metrics.admits(&step.transform, &delta) {
                let (key, value) = metric(&step.transform, delta);
                self.metrics.add(&key, &value);
            }
        }
    }

    fn send(&mut self, targets: &[Target], batch: &Batch) {
        for target in targets {
            match target {
                Target::Output(output) => self.outputs.push((*output, batch.clone())),
                Target::Step(step) => {
                    self.inputs.get_mut(*step).into_iter().for_each(|input| input.push(batch.clone()))
                }
            }
        }
    }
}

/// What a version on trial may use up, as it was before.
struct Kept {
    /// Batches that waited for the step.
    inputs: Vec<Batch>,
    /// The state of the bundle's keys.
    marks: Vec<GroupDelta>,
}

impl Kept {
    fn of(inputs: Option<&Vec<Batch>>, input: Option<&Input>, view: Option<&mut StateView>) -> Self {
        let marks = match (input, view) {
            (Some(Input::Keyed { groups, .. }), Some(view)) => {
                (0..groups.len()).map(|group| view.checkpoint(group as u32)).collect()
            }
            _ => Vec::new(),
        };
        Self { inputs: inputs.cloned().unwrap_or_default(), marks }
    }

    fn back(self, inputs: Option<&mut Vec<Batch>>, view: &mut Option<StateView>) {
        if let Some(inputs) = inputs {
            *inputs = self.inputs;
        }
        if let Some(view) = view {
            self.marks.into_iter().enumerate().for_each(|(group, mark)| view.rollback(group as u32, mark));
        }
    }
}

/// The hash of a bundle by what its first rows hold.
fn bundle_hash(input: Option<&Input>) -> u64 {
    let mut bytes = seed("", input).to_le_bytes().to_vec();
    if let Some(Input::Elements { batches }) = input {
        for (_, batch) in batches {
            let rows = batch.rows().iter().take(4);
            rows.for_each(|row| bytes.extend([batch.key(row), batch.value(row)].concat()));
        }
    }
    key_hash(&bytes)
}

/// A seed that an attempt and its retry share: made of the transform and what the bundle looks like.
fn seed(transform: &str, input: Option<&Input>) -> u64 {
    let mut bytes = transform.as_bytes().to_vec();
    match input {
        Some(Input::Elements { batches }) => {
            for (_, batch) in batches {
                bytes.extend((batch.len() as u64).to_le_bytes());
                bytes.extend(batch.min_time().0.to_le_bytes());
            }
        }
        Some(Input::Keyed { groups, items, .. }) => {
            bytes.extend((items.len() as u64).to_le_bytes());
            groups.iter().take(16).for_each(|group| bytes.extend(group.hash.to_le_bytes()));
        }
        None => {}
    }
    key_hash(&bytes)
}

fn unsupported(step: &Step, what: &str) -> Error {
    Error::Unsupported { function: step.transform.clone(), what: what.to_owned() }
}
