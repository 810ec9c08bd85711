//! Questions about windows of SDK-defined functions: which of a key's windows merge, which window of a side input belongs to
//! one of the main input.
//!
//! In: [`Command::MergeWindows`] and [`Command::MapWindows`]. Out: their answers. A question is a bundle like any other,
//! of a stage that holds nothing but the function; its output is read here instead of by the engine.
//!
//! [`Command::MergeWindows`]: thalweg_core::port::worker::Command::MergeWindows
//! [`Command::MapWindows`]: thalweg_core::port::worker::Command::MapWindows

use crate::coder::{WindowCoder, WireCoder};
use crate::descriptor::{Endpoints, InputWire, OutputWire, StageWire, WindowsWire, describe_map, describe_merge};
use crate::translate::Translation;
use crate::urn::transform::{DATA_SINK, DATA_SOURCE};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;
use thalweg_core::coder::Coder;
use thalweg_core::error::{Error, Result};
use thalweg_core::graph::{EnvironmentId, Plan, StageKind};
use thalweg_core::id::StageId;
use thalweg_core::port::worker::{Event, Input};
use thalweg_core::window::{Merges, Window, WindowFn, WindowSet};
use thalweg_proto::fn_execution::ProcessBundleDescriptor;

/// What may be asked of the workers of an environment.
#[derive(Clone, Default, Debug)]
pub struct Windows {
    /// By grouping.
    merges: BTreeMap<StageId, Asked>,
    /// By stage and index of the side input.
    maps: BTreeMap<(StageId, u32), Asked>,
}

/// A kind of question.
#[derive(Clone, Debug)]
struct Asked {
    wire: Arc<WindowsWire>,
    stage: Arc<StageWire>,
}

impl Asked {
    fn new(wire: WindowsWire) -> Self {
        let pair = Coder::Kv(Arc::new(Coder::Bytes), Arc::new(Coder::LengthPrefix));
        let coder = WireCoder { element: Arc::new(pair), window: WindowCoder::Global };
        let end = |urn: &str| {
            let mut transforms = wire.descriptor.transforms.iter();
            let found = transforms.find(|(_, t)| t.spec.as_ref().is_some_and(|spec| spec.urn == urn));
            found.map(|(id, _)| id.clone()).unwrap_or_default()
        };
        let stage = StageWire {
            inputs: vec![InputWire {
                source: end(DATA_SOURCE),
                coder: coder.clone(),
                paged: false,
                consumers: Vec::new(),
            }],
            outputs: vec![OutputWire { sink: end(DATA_SINK), coder }],
            timers: Vec::new(),
            states: Vec::new(),
            sides: Vec::new(),
            key: Arc::new(Coder::Bytes),
            window: WindowCoder::Global,
            descriptor: wire.descriptor.clone(),
            lone_keys: false,
            truncate: None,
        };
        Self { wire: Arc::new(wire), stage: Arc::new(stage) }
    }

    fn question(&self, message: Bytes, request: u64, kind: Kind) -> Result<Question> {
        let input = self.stage.inputs.first().map(|input| input.coder.decode(message)).transpose()?;
        let input = Input::Elements { batches: input.map(|batch| (0, batch)).into_iter().collect() };
        let answer = Asking { wire: Arc::clone(&self.wire), request, kind };
        Ok(Question { stage: Arc::clone(&self.stage), input, answer })
    }
}

impl Windows {
    /// All that the plan's groupings and side inputs may want to ask the workers of `environment`.
    ///
    /// # Errors
    /// `PIPELINE_INVALID` when the pipeline does not say who can answer.
    pub fn of(
        translation: &Translation,
        plan: &Plan,
        environment: EnvironmentId,
        endpoints: &Endpoints,
    ) -> Result<Self> {
        let mut windows = Self::default();
        for stage in &plan.stages {
            match &stage.kind {
                // a component merges its own
                StageKind::Group(group) if group.environment.is_some_and(|of| of != environment) => {}
                StageKind::Group(group) if group.windowing.window_fn == (WindowFn::Custom { merging: true }) => {
                    let transform = translation.graph.transform(group.transform);
                    let Some(input) = transform.and_then(|t| t.inputs.first()) else { continue };
                    let wire = describe_merge(translation, *input, endpoints)?;
                    if wire.environment == environment {
                        windows.merges.insert(stage.id, Asked::new(wire));
                    }
                }
                StageKind::Worker(worker) if worker.environment == Some(environment) => {
                    for (i, side) in worker.sides.iter().enumerate() {
                        // the engine maps to windows of every other function by itself
                        if matches!(side.windowing.window_fn, WindowFn::Custom { .. } | WindowFn::Sessions { .. }) {
                            let wire = describe_map(translation, worker.input, side, endpoints)?;
                            windows.maps.insert((stage.id, i as u32), Asked::new(wire));
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(windows)
    }

    /// The question that merges windows of each key.
    pub(super) fn merge(&self, stage: StageId, request: u64, keys: &[Vec<Window>]) -> Result<Question> {
        let asked = self.merges.get(&stage).ok_or_else(|| unasked("merged", stage))?;
        asked.question(asked.wire.ask_merge(keys), request, Kind::Merge { keys: keys.len() })
    }

    /// The question that maps windows of the main input.
    pub(super) fn map(&self, stage: StageId, side: u32, request: u64, windows: &[Window]) -> Result<Question> {
        let asked = self.maps.get(&(stage, side)).ok_or_else(|| unasked("mapped", stage))?;
        asked.question(asked.wire.ask_map(windows), request, Kind::Map { windows: windows.len() })
    }

    /// A descriptor by its id.
    pub(super) fn descriptor(&self, id: &str) -> Option<&ProcessBundleDescriptor> {
        let mut all = self.merges.values().chain(self.maps.values());
        all.find(|asked| asked.wire.descriptor.id == id).map(|asked| &asked.wire.descriptor)
    }
}

fn unasked(what: &str, stage: StageId) -> Error {
    let message = format!("windows of stage {} cannot be {what}: their function is of another environment", stage.0);
    Error::user("WINDOW_FN_UNSUPPORTED", message)
        .help("put the grouping or side input behind a transform of the SDK that defines the window function")
}

/// A question, ready to be asked.
#[derive(Debug)]
pub(super) struct Question {
    /// The stage that holds the function.
    pub stage: Arc<StageWire>,
    /// What it is given.
    pub input: Input,
    /// How its output is read.
    pub answer: Asking,
}

/// A question that waits for its answer.
#[derive(Debug)]
pub(super) struct Asking {
    wire: Arc<WindowsWire>,
    request: u64,
    kind: Kind,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Merge { keys: usize },
    Map { windows: usize },
}

impl Asking {
    /// Reads the messages of the answer. What the worker said nothing of stays as it is.
    ///
    /// # Errors
    /// `CODER_MALFORMED` when they hold something else.
    pub fn answer(&self, messages: &[Bytes]) -> Result<Event> {
        let request = self.request;
        match self.kind {
            Kind::Merge { keys } => {
                let mut merged: Vec<Merges> = vec![Merges::new(); keys];
                for message in messages {
                    for (key, merges) in self.wire.merged(message.clone())? {
                        if let Some(place) = merged.get_mut(key) {
                            *place = merges;
                        }
                    }
                }
                Ok(Event::WindowsMerged { request, keys: merged })
            }
            Kind::Map { windows } => {
                let mut mapped: Vec<WindowSet> = vec![WindowSet::new(); windows];
                for message in messages {
                    for (window, to) in self.wire.mapped(message.clone())? {
                        if let Some(place) = mapped.get_mut(window) {
                            place.push(to);
                        }
                    }
                }
                Ok(Event::WindowsMapped { request, windows: mapped })
            }
        }
    }
}
