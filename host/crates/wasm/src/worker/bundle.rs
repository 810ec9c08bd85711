//! One bundle: its input goes through the steps of its stage; what comes out becomes events.

use super::collect::Outcome;
use super::elements::elements;
use super::keyed::{Rows, keyed};
use super::{Failures, Scratch, Step, Target};
use crate::error::{Error, Result};
use crate::frame::MetricDelta;
use std::collections::BTreeMap;
use thalweg_core::batch::Batch;
use thalweg_core::error::Error as CoreError;
use thalweg_core::metric::{MetricKey, MetricValue, Metrics};
use thalweg_core::port::worker::{BundleResult, BundleStart, Event, Input};
use thalweg_core::state::StateView;

/// Runs a bundle and appends its events.
pub fn run(steps: &mut [Step], start: BundleStart, scratch: &mut Scratch, events: &mut Vec<Event>) {
    let bundle = start.bundle;
    let mut run = Run { inputs: vec![Vec::new(); steps.len()], outputs: Vec::new(), metrics: Metrics::default() };
    match run.steps(steps, start, scratch) {
        Ok(view) => {
            let outputs = run.outputs.into_iter();
            events.extend(outputs.map(|(output, batch)| Event::Output { bundle, output, batch }));
            let result = BundleResult { state: view.into_delta(), metrics: run.metrics, ..BundleResult::default() };
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
    metrics: Metrics,
}

impl Run {
    fn steps(
        &mut self,
        steps: &mut [Step],
        start: BundleStart,
        scratch: &mut Scratch,
    ) -> Result<StateView, Box<CoreError>> {
        let BundleStart { input, state, sides, now, .. } = start;
        let mut view = Some(state);
        let mut input = Some(input);
        for (i, step) in steps.iter_mut().enumerate() {
            let mut outcome = Outcome::new(step.output_keyed.len());
            let ran = if sides.is_empty() {
                match input.take() {
                    Some(Input::Keyed { groups, batches, items }) => {
                        let rows = Rows { groups: &groups, batches: &batches, items: &items };
                        let lent = view.take();
                        keyed(step, &rows, lent, now, scratch, &mut outcome).map(|back| view = Some(back))
                    }
                    Some(Input::Elements { .. }) if !step.slots.is_empty() => Err(unsupported(step, "a keyed input")),
                    Some(Input::Elements { batches }) => {
                        batches.iter().try_for_each(|(_, batch)| elements(step, batch, now, scratch, &mut outcome))
                    }
                    None => {
                        let batches = self.inputs.get_mut(i).map(std::mem::take).unwrap_or_default();
                        batches.iter().try_for_each(|batch| elements(step, batch, now, scratch, &mut outcome))
                    }
                }
            } else {
                Err(unsupported(step, "side inputs"))
            };
            ran.map_err(|error| Box::new(CoreError::from(error).in_transform(&step.transform)))?;
            self.route(step, outcome);
        }
        view.ok_or_else(|| Box::new(CoreError::internal("WASM_ENGINE", "a bundle lost its state")))
    }

    fn route(&mut self, step: &Step, mut outcome: Outcome) {
        let dead_letters = outcome.dead_letters();
        for (targets, batches) in step.outputs.iter().zip(outcome.outputs) {
            for batch in batches {
                self.send(targets, &batch);
            }
        }
        if let (Failures::DeadLetter(targets), Some(batch)) = (&step.failures, dead_letters) {
            self.send(targets, &batch);
        }
        for delta in outcome.metrics {
            let (key, value) = metric(&step.transform, delta);
            self.metrics.add(&key, &value);
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

fn unsupported(step: &Step, what: &str) -> Error {
    Error::Unsupported { function: step.transform.clone(), what: what.to_owned() }
}

/// A metric as the job knows it. The namespace of every guest's metric is `udf`.
fn metric(transform: &str, delta: MetricDelta) -> (MetricKey, MetricValue) {
    let (urn, kind, name, value) = match delta {
        MetricDelta::Counter { name, value } => {
            ("beam:metric:user:sum_int64:v1", "beam:metrics:sum_int64:v1", name, MetricValue::Sum(value))
        }
        MetricDelta::Distribution { name, values: [count, sum, min, max] } => (
            "beam:metric:user:distribution_int64:v1",
            "beam:metrics:distribution_int64:v1",
            name,
            MetricValue::Distribution { count, sum, min, max },
        ),
    };
    let labels = [("PTRANSFORM", transform.to_owned()), ("NAMESPACE", "udf".to_owned()), ("NAME", name)];
    let labels: BTreeMap<_, _> = labels.into_iter().map(|(label, text)| (label.to_owned(), text)).collect();
    (MetricKey { urn: urn.to_owned(), kind: kind.to_owned(), labels }, value)
}
