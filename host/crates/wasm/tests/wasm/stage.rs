//! One function of a component as a stage: bundles run through the worker, and the state that they leave is kept for the next.

use crate::support::component;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;
use thalweg_core::batch::Batch;
use thalweg_core::error::Error as CoreError;
use thalweg_core::id::{BundleId, CacheToken, StageId, StateId};
use thalweg_core::port::store::NullStore;
use thalweg_core::port::worker::{BundleResult, BundleStart, Command, Event, Group, Input, Worker};
use thalweg_core::state::{CellValue, SideView, StateView};
use thalweg_core::time::{EventTime, ProcessingTime};
use thalweg_wasm::{Binding, Callee, Failures, Grants, Limits, Pool, StagePlan, Step, Target, Task, WasmWorker};

/// A stage, and the state that is kept from one bundle to the next.
pub struct Stage {
    worker: WasmWorker,
    cells: BTreeMap<(Bytes, StateId, Bytes), Option<CellValue>>,
    /// What its side inputs have.
    pub sides: Vec<Arc<SideView>>,
    bundles: u64,
}

/// What a bundle gave: batches with their outputs, and its result.
#[derive(Debug)]
pub struct Ran {
    /// The batches.
    pub outputs: Vec<(u32, Batch)>,
    /// The rest.
    pub result: BundleResult,
}

impl Ran {
    /// Key, value and time of the rows of an output; a string behind its length is shown without it.
    pub fn rows(&self, output: u32) -> Vec<(String, String, i64)> {
        let batches = self.outputs.iter().filter(|(o, _)| *o == output);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        batches
            .flat_map(|(_, batch)| {
                let row = |row| (text(batch.key(row)), text(batch.value(row)), row.time.0);
                batch.rows().iter().map(row).collect::<Vec<_>>()
            })
            .collect()
    }
}

impl Stage {
    /// A DoFn of a guest whose outputs are those of the stage.
    pub fn of(
        guest: &str,
        function: &str,
        config: &str,
        binding: Binding<'_>,
        failures: Failures,
    ) -> Result<Self, thalweg_wasm::Error> {
        Self::new(guest, (function, config), Limits::default(), binding, failures)
    }

    /// The same within limits.
    pub fn limited(
        guest: &str,
        function: &str,
        limits: Limits,
        binding: Binding<'_>,
        failures: Failures,
    ) -> Result<Self, thalweg_wasm::Error> {
        Self::new(guest, (function, ""), limits, binding, failures)
    }

    /// A DoFn within limits that is granted something of the machine.
    pub fn granted(guest: &str, function: &str, limits: Limits, grants: &Grants) -> Result<Self, thalweg_wasm::Error> {
        let pool = Pool::granted(&component(guest), function, "T", "", limits, grants)?;
        Self::with(guest, function, pool, Binding::default(), Failures::FailBundle)
    }

    fn new(
        guest: &str,
        (function, config): (&str, &str),
        limits: Limits,
        binding: Binding<'_>,
        failures: Failures,
    ) -> Result<Self, thalweg_wasm::Error> {
        let pool = Pool::new(&component(guest), function, "T", config, limits)?;
        Self::with(guest, function, pool, binding, failures)
    }

    fn with(
        guest: &str,
        function: &str,
        pool: Pool,
        binding: Binding<'_>,
        failures: Failures,
    ) -> Result<Self, thalweg_wasm::Error> {
        let outputs = component(guest).function(function)?.outputs.len();
        let outputs = (0..outputs).map(|output| vec![Target::Output(output as u32)]).collect();
        let step = Step::new("T", Callee::Wasm(pool), Task::Process, binding, outputs, failures)?;
        let worker = WasmWorker::new([(StageId(0), StagePlan::new(vec![step])?)]);
        Ok(Self { worker, cells: BTreeMap::new(), sides: Vec::new(), bundles: 0 })
    }

    /// Runs a bundle.
    pub fn run(&mut self, input: Input) -> Result<Ran, CoreError> {
        self.bundles += 1;
        let bundle = BundleId(self.bundles);
        let groups: Arc<[Group]> =
            if let Input::Keyed { groups, .. } = &input { Arc::clone(groups) } else { [].into() };
        let mut state = StateView::new(bundle, Arc::clone(&groups), Vec::new(), Arc::new(NullStore::default()));
        for ((key, id, sub), value) in &self.cells {
            if let Some(group) = groups.iter().position(|group| *group.key == **key) {
                state.put(group as u32, *id, sub, value.clone())?;
            }
        }
        let start = BundleStart {
            bundle,
            stage: StageId(0),
            input,
            state,
            sides: self.sides.clone(),
            cache_token: CacheToken(0),
            watermark: EventTime::MIN,
            now: ProcessingTime(7),
            truncate: false,
        };
        self.worker.submit(Command::Start(Box::new(start)))?;
        let (mut events, mut outputs) = (Vec::new(), Vec::new());
        self.worker.poll(&mut events);
        for event in events {
            match event {
                Event::Output { output, batch, .. } => outputs.push((output, batch)),
                Event::Failed { error, .. } => return Err(error),
                Event::Done { result, .. } => {
                    for (group, delta) in groups.iter().zip(&result.state.groups) {
                        let changes = delta.changes.iter();
                        let cell = |c: &thalweg_core::state::CellChange| {
                            ((group.key.to_bytes(), c.id, c.sub.clone()), c.value.clone())
                        };
                        self.cells.extend(changes.map(cell));
                    }
                    return Ok(Ran { outputs, result: *result });
                }
                _ => {}
            }
        }
        Err(CoreError::internal("TEST", "the bundle is not done"))
    }
}
