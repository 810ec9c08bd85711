//! What a scripted stage function works with: the bundle's elements and timers, its state, and what it gives.

use crate::batch::{BatchBuilder, Pane};
use crate::error::Result;
use crate::graph::WorkerStage;
use crate::id::{CacheToken, StageId, StateId};
use crate::port::worker::{
    BundleResult, BundleStart, DueTimer, Event, Group, Input, Item, Residual, TimerSet, TimerUpdate,
};
use crate::state::CellValue;
use crate::time::EventTime;
use crate::window::{Window, WindowSet};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// What a stage does with a bundle. An error fails the bundle.
pub type StageFn = Arc<dyn Fn(&mut Work) -> Result<()> + Send + Sync>;

/// A stage as a scripted worker knows it.
#[derive(Clone)]
pub struct StageScript {
    /// The stage.
    pub stage: StageId,
    /// What the plan says of it.
    pub plan: WorkerStage,
    /// The stage's output for each output of the transform; `None` where nobody listens.
    pub outputs: Vec<Option<u32>>,
    /// Bundles at once.
    pub bundles: u32,
    /// What it does.
    pub run: StageFn,
}

/// One element.
#[derive(Clone, Debug)]
pub struct Element {
    /// Its group in a keyed bundle.
    pub group: u32,
    /// Which of the stage's inputs, or which entry point of a residual.
    pub input: u32,
    /// Key.
    pub key: Vec<u8>,
    /// Value.
    pub value: Vec<u8>,
    /// Event time.
    pub time: EventTime,
    /// Windows; in a keyed bundle the group's alone.
    pub windows: WindowSet,
    /// Pane.
    pub pane: Pane,
}

/// One thing to do.
#[derive(Clone, Debug)]
pub enum Piece {
    /// An element.
    Element(Element),
    /// A timer of a group.
    Timer(u32, DueTimer),
}

type CacheKey = (u64, StageId, Vec<u8>, Window, StateId);

/// What a worker remembers of state beyond a bundle, under the bundle's cache token. Reading it checks the engine: under one token
/// the remembered value and the view's must agree.
#[derive(Clone, Default)]
pub struct Cache(Arc<Mutex<BTreeMap<CacheKey, Option<Vec<u8>>>>>);

impl Cache {
    fn check(&self, key: CacheKey, value: Option<&[u8]>) {
        let mut cells = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let have = cells.entry(key.clone()).or_insert_with(|| value.map(<[u8]>::to_vec));
        assert!(have.as_deref() == value, "stale cache under one token: {key:?} is {value:?}, remembered {have:?}");
    }

    fn put(&self, key: CacheKey, value: Option<Vec<u8>>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key, value);
    }
}

/// A bundle being worked on.
pub struct Work {
    /// The bundle as it was given.
    pub start: BundleStart,
    script: Arc<StageScript>,
    cache: Cache,
    outputs: BTreeMap<u32, BatchBuilder>,
    result: BundleResult,
}

impl Work {
    pub(super) fn new(start: BundleStart, script: Arc<StageScript>, cache: Cache) -> Self {
        Self { start, script, cache, outputs: BTreeMap::new(), result: BundleResult::default() }
    }

    /// Elements and timers in the order in which they have to be run.
    #[must_use]
    pub fn pieces(&self) -> Vec<Piece> {
        match &self.start.input {
            Input::Elements { batches } => {
                let elements = batches.iter().flat_map(|(input, batch)| {
                    batch.rows().iter().map(move |row| {
                        let windows = WindowSet::from(batch.windows(row));
                        Piece::Element(element(batch, row, 0, *input, windows))
                    })
                });
                elements.collect()
            }
            Input::Keyed { groups, batches, items } => {
                let piece = |item: &Item| match item {
                    Item::Timer { group, timer } => Piece::Timer(*group, timer.as_ref().clone()),
                    Item::Row { group, batch, row } => {
                        let batch = &batches[*batch as usize];
                        let mut windows = WindowSet::new();
                        windows.push(groups[*group as usize].window.clone());
                        Piece::Element(element(batch, &batch.rows()[*row as usize], *group, 0, windows))
                    }
                };
                items.iter().map(piece).collect()
            }
        }
    }

    /// The elements alone.
    #[must_use]
    pub fn elements(&self) -> Vec<Element> {
        let pieces = self.pieces().into_iter();
        pieces.filter_map(|p| if let Piece::Element(e) = p { Some(e) } else { None }).collect()
    }

    /// A group of a keyed bundle.
    #[must_use]
    pub fn group(&self, group: u32) -> Group {
        match &self.start.input {
            Input::Keyed { groups, .. } => groups[group as usize].clone(),
            Input::Elements { .. } => unreachable!("a plain bundle has no groups"),
        }
    }

    /// Gives an element to the transform's output `n`.
    pub fn emit(&mut self, n: usize, key: &[u8], value: &[u8], time: EventTime, windows: &[Window]) {
        if let Some(Some(output)) = self.script.outputs.get(n) {
            self.outputs.entry(*output).or_default().push(key, value, time, windows);
        }
    }

    fn state_id(&self, name: &str) -> StateId {
        let spec = self.script.plan.states.iter().find(|s| s.name == name);
        spec.map(|s| s.id).unwrap_or_else(|| unreachable!("no state {name}"))
    }

    fn cache_key(&self, group: u32, id: StateId) -> CacheKey {
        let owner = self.group(group);
        let CacheToken(token) = self.start.cache_token;
        (token, self.start.stage, owner.key.to_vec(), owner.window, id)
    }

    /// Reads a value state.
    ///
    /// # Errors
    /// The store's.
    pub fn value(&mut self, group: u32, state: &str) -> Result<Option<Vec<u8>>> {
        let id = self.state_id(state);
        let value = self.start.state.get(group, id, b"")?.map(|v| v.as_slice().to_vec());
        self.cache.check(self.cache_key(group, id), value.as_deref());
        Ok(value)
    }

    /// Writes a value state.
    ///
    /// # Errors
    /// None for groups of this bundle.
    pub fn set_value(&mut self, group: u32, state: &str, value: Option<&[u8]>) -> Result<()> {
        let id = self.state_id(state);
        self.cache.put(self.cache_key(group, id), value.map(<[u8]>::to_vec));
        self.start.state.put(group, id, b"", value.map(CellValue::copy))
    }

    /// Appends to a bag.
    ///
    /// # Errors
    /// None for groups of this bundle.
    pub fn append(&mut self, group: u32, state: &str, value: &[u8]) -> Result<()> {
        let id = self.state_id(state);
        self.start.state.append(group, id, CellValue::copy(value))
    }

    /// All of a bag, in the order of appending.
    ///
    /// # Errors
    /// The store's.
    pub fn bag(&mut self, group: u32, state: &str) -> Result<Vec<Vec<u8>>> {
        let id = self.state_id(state);
        Ok(self.start.state.list(group, id)?.into_iter().map(|(_, v)| v.as_slice().to_vec()).collect())
    }

    /// Deletes all of a state.
    ///
    /// # Errors
    /// The store's.
    pub fn clear(&mut self, group: u32, state: &str) -> Result<()> {
        let id = self.state_id(state);
        self.cache.put(self.cache_key(group, id), None);
        self.start.state.clear(group, id)
    }

    fn family(&self, name: &str) -> u32 {
        let at = self.script.plan.timers.iter().position(|t| t.name == name);
        at.unwrap_or_else(|| unreachable!("no timer family {name}")) as u32
    }

    /// The name of a due timer's family.
    #[must_use]
    pub fn family_name(&self, timer: &DueTimer) -> &str {
        self.script.plan.timers.get(timer.family as usize).map_or("?", |t| t.name.as_str())
    }

    /// Sets a timer.
    pub fn set_timer(&mut self, group: u32, family: &str, tag: &str, fire: i64, hold: EventTime) {
        self.timer(group, family, tag, Some(TimerSet { fire, hold, pane: Pane::NO_FIRING }));
    }

    /// Clears a timer.
    pub fn clear_timer(&mut self, group: u32, family: &str, tag: &str) {
        self.timer(group, family, tag, None);
    }

    fn timer(&mut self, group: u32, family: &str, tag: &str, set: Option<TimerSet>) {
        let tag = bytes::Bytes::copy_from_slice(tag.as_bytes());
        self.result.timers.push(TimerUpdate { group, family: self.family(family), tag, set });
    }

    /// Gives work back.
    pub fn residual(&mut self, residual: Residual) {
        self.result.residuals.push(residual);
    }

    /// Adds to a counter of the bundle's metrics.
    pub fn count(&mut self, name: &str, n: i64) {
        let key = crate::metric::MetricKey {
            urn: "beam:metric:user:sum_int64:v1".to_owned(),
            kind: "beam:metrics:sum_int64:v1".to_owned(),
            labels: BTreeMap::from([("NAME".to_owned(), name.to_owned())]),
        };
        self.result.metrics.add(&key, &crate::metric::MetricValue::Sum(n));
    }

    /// Asks to be told when the bundle's epoch is committed.
    pub fn finalize(&mut self) {
        self.result.finalize = true;
    }

    /// Runs the stage's function. The events of the bundle: its outputs, then its end.
    pub(super) fn run(mut self) -> Vec<Event> {
        let bundle = self.start.bundle;
        let run = Arc::clone(&self.script.run);
        let done = run(&mut self);
        let mut events: Vec<Event> = Vec::new();
        for (output, mut builder) in self.outputs {
            events.push(Event::Output { bundle, output, batch: builder.finish() });
        }
        match done {
            Ok(()) => {
                self.result.state = self.start.state.into_delta();
                events.push(Event::Done { bundle, result: Box::new(self.result) });
            }
            Err(error) => events.push(Event::Failed { bundle, error }),
        }
        events
    }
}

fn element(
    batch: &crate::batch::Batch,
    row: &crate::batch::Row,
    group: u32,
    input: u32,
    windows: WindowSet,
) -> Element {
    Element {
        group,
        input,
        key: batch.key(row).to_vec(),
        value: batch.value(row).to_vec(),
        time: row.time,
        windows,
        pane: batch.pane(row),
    }
}
