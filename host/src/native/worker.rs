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

#[cfg(test)]
mod tests {
    use super::*;
    use thalweg_core::batch::{Batch, BatchBuilder};
    use thalweg_core::coder::read_varint;
    use thalweg_core::id::{CacheToken, StateId};
    use thalweg_core::port::store::{NullStore, StateStore};
    use thalweg_core::port::worker::{Group, Item};
    use thalweg_core::state::{CellValue, StateView};
    use thalweg_core::time::{EventTime, ProcessingTime};
    use thalweg_core::window::Window;

    /// Gives each value with a letter, and counts at the end; fails at `bad`.
    struct Mark(u8, u8);

    impl NativeFn for Mark {
        fn begin(&mut self) {
            self.1 = 0;
        }

        fn process(&mut self, batch: &Batch, out: &mut Outputs) -> Result<()> {
            for row in batch.rows() {
                if batch.value(row) == b"bad" {
                    return Err(Error::user("BAD", "a bad value"));
                }
                self.1 += 1;
                out.like(0, batch, row, |bytes| bytes.extend_from_slice(&[batch.value(row), &[self.0]].concat()));
            }
            Ok(())
        }

        fn finish(&mut self, out: &mut Outputs) -> Result<()> {
            out.push(1, &[], &[b'0' + self.1], EventTime(9), &[Window::Global]);
            Ok(())
        }
    }

    /// Counts per key in state.
    struct Count;

    impl NativeFn for Count {
        fn process(&mut self, _: &Batch, _: &mut Outputs) -> Result<()> {
            Ok(())
        }

        fn process_keyed(&mut self, input: &mut Keyed<'_>, out: &mut Outputs) -> Result<()> {
            for i in 0..input.len() {
                let Some((group, _)) = input.turn(i) else { continue };
                let before = input.get(group, 0)?.map_or(0, |cell| cell.as_slice().first().copied().unwrap_or(0));
                input.put(group, 0, Some(CellValue::copy(&[before + 1])))?;
                let key = input.group(group).map(|g| g.key.clone()).unwrap_or_default();
                out.push(0, &key, &[before + 1], EventTime(0), &[Window::Global]);
            }
            Ok(())
        }
    }

    fn start(bundle: u64, input: Input, state: StateView) -> Command {
        Command::Start(Box::new(BundleStart {
            bundle: BundleId(bundle),
            stage: StageId(3),
            input,
            state,
            sides: Vec::new(),
            cache_token: CacheToken(0),
            watermark: EventTime::MIN,
            now: ProcessingTime(0),
            truncate: false,
        }))
    }

    fn elements(bundle: u64, batches: &[&[&str]]) -> Command {
        let batches = batches.iter().map(|values| {
            let mut batch = BatchBuilder::new();
            values.iter().for_each(|v| batch.push(&[], v.as_bytes(), EventTime(1), &[Window::Global]));
            (0, batch.finish())
        });
        let state = StateView::empty(BundleId(bundle), NullStore::default().reader());
        start(bundle, Input::Elements { batches: batches.collect() }, state)
    }

    /// Outputs as `output:value`, and how the bundle ended.
    fn events(worker: &mut NativeWorker) -> (Vec<String>, Vec<Event>) {
        let mut all = Vec::new();
        worker.poll(&mut all);
        let (outputs, rest): (Vec<Event>, Vec<Event>) =
            all.into_iter().partition(|e| matches!(e, Event::Output { .. }));
        let mut values = Vec::new();
        for event in outputs {
            let Event::Output { output, batch, .. } = event else { continue };
            values.extend(batch.rows().iter().map(|r| format!("{output}:{}", String::from_utf8_lossy(batch.value(r)))));
        }
        (values, rest)
    }

    fn worker(steps: Vec<NativeStep>, states: Vec<StateSpec>) -> Result<NativeWorker> {
        let mut worker = NativeWorker::new([(StageId(3), NativeStage::new(steps, states)?)]);
        let (_, credit) = events(&mut worker);
        assert!(matches!(credit.as_slice(), [Event::Credit { stage: StageId(3), bundles: 1 }]), "{credit:?}");
        Ok(worker)
    }

    fn tree() -> Vec<NativeStep> {
        let both = vec![vec![Target::Step(1), Target::Output(0)], vec![Target::Output(1)]];
        vec![
            NativeStep::new("first", Box::new(Mark(b'a', 0)), both),
            NativeStep::new("second", Box::new(Mark(b'b', 0)), vec![vec![Target::Output(2)], Vec::new()]),
        ]
    }

    #[test]
    fn functions_feed_each_other_and_the_outputs_in_order() -> Result<()> {
        let mut worker = worker(tree(), Vec::new())?;
        worker.submit(elements(7, &[&["x", "y"], &["z"]]))?;
        let (values, rest) = events(&mut worker);
        assert_eq!(values, ["0:xa", "0:ya", "2:xab", "2:yab", "0:za", "2:zab", "1:3"]);
        assert!(matches!(rest.as_slice(), [Event::Done { bundle: BundleId(7), .. }]), "{rest:?}");
        Ok(())
    }

    #[test]
    fn a_failed_bundle_leaves_nothing_behind() -> Result<()> {
        let mut worker = worker(tree(), Vec::new())?;
        worker.submit(elements(1, &[&["x"], &["bad"]]))?;
        let (values, rest) = events(&mut worker);
        assert!(values.is_empty());
        let [Event::Failed { bundle: BundleId(1), error }] = rest.as_slice() else { panic!("{rest:?}") };
        assert_eq!((error.code, error.transform.as_str()), ("BAD", "first"));
        worker.submit(elements(2, &[&["y"]]))?;
        assert_eq!(events(&mut worker).0, ["0:ya", "2:yab", "1:1"]);
        Ok(())
    }

    #[test]
    fn keyed_functions_read_and_write_the_state_of_their_groups() -> Result<()> {
        let id = StateId::derive("Count", "state\0n");
        let states = vec![StateSpec { name: "n".to_owned(), id, kept: String::new() }];
        let mut worker =
            worker(vec![NativeStep::new("Count", Box::new(Count), vec![vec![Target::Output(0)]])], states)?;
        let group = |key: &[u8]| Group::new(key, Window::Global);
        let groups: std::sync::Arc<[Group]> = [group(b"a"), group(b"b")].into();
        let mut batch = BatchBuilder::new();
        batch.push(b"a", b"", EventTime(0), &[Window::Global]);
        let item = |group: u32| Item::Row { group, batch: 0, row: 0 };
        let items = vec![item(0), item(0), item(1)];
        let base = Vec::new();
        let state = StateView::new(BundleId(4), groups.clone(), base, NullStore::default().reader());
        worker.submit(start(4, Input::Keyed { groups, batches: vec![batch.finish()], items }, state))?;
        let (values, rest) = events(&mut worker);
        assert_eq!(values, ["0:\u{1}", "0:\u{2}", "0:\u{1}"]);
        let [Event::Done { result, .. }] = rest.as_slice() else { panic!("{rest:?}") };
        let written = |group: usize| result.state.groups.get(group).and_then(|g| g.changes.first()?.value.clone());
        assert_eq!(written(0).map(|v| read_varint(v.as_slice()).map(|(n, _)| n)), Some(Ok(2)));
        assert_eq!(written(1).map(|v| read_varint(v.as_slice()).map(|(n, _)| n)), Some(Ok(1)));
        Ok(())
    }

    #[test]
    fn functions_cannot_feed_those_before_them() {
        let step = NativeStep::new("first", Box::new(Count), vec![vec![Target::Step(0)]]);
        assert_eq!(NativeStage::new(vec![step], Vec::new()).err().map(|e| e.code), Some("NATIVE_STAGE"));
    }
}
