//! From a stage of the plan to what an SDK worker builds it from, and how the two name each other's ends.
//!
//! In: a [`Translation`], the [`Plan`] made of its graph, a worker stage of an SDK environment. Out: a [`StageWire`]:
//! the `ProcessBundleDescriptor` with data sources, sinks and wire coders put in, and lists by the engine's indices of
//! what carries which input, output, timer, state and side input. Inside the descriptor transforms are called by their
//! unique names, because SDKs put that id into metrics, logs and state keys. It does not know how bundles are run.

mod build;
mod truncate;
mod windows;

pub use build::describe;
pub use windows::{WindowsWire, describe_map, describe_merge};

use crate::coder::{TimerCoder, WindowCoder, WireCoder};
use crate::translate::StateKind;
use std::sync::Arc;
use thalweg_core::coder::Coder;
use thalweg_core::id::StateId;
use thalweg_core::port::worker::TimeDomain;
use thalweg_proto::fn_execution::ProcessBundleDescriptor;
use thalweg_proto::pipeline::ApiServiceDescriptor;

/// Where workers reach the runner.
#[derive(Clone, Debug, Default)]
pub struct Endpoints {
    /// Elements and timers.
    pub data: ApiServiceDescriptor,
    /// State and side inputs.
    pub state: ApiServiceDescriptor,
}

impl Endpoints {
    /// Everything at one address, without authentication.
    #[must_use]
    pub fn at(url: &str) -> Self {
        let one = ApiServiceDescriptor { url: url.to_owned(), authentication: None };
        Self { data: one.clone(), state: one }
    }
}

/// An input: a data source of the descriptor. Its position is the engine's input index and a residual's entry.
#[derive(Clone, Debug)]
pub struct InputWire {
    /// The source transform, which data is addressed to.
    pub source: String,
    /// How elements look.
    pub coder: WireCoder,
    /// Whether large grouped values may be sent in pages.
    pub paged: bool,
    /// Transforms that read it, with the local name of the input: who may hand elements of it back.
    pub consumers: Vec<(String, String)>,
}

/// An output: a data sink of the descriptor. Its position is the engine's output index.
#[derive(Clone, Debug)]
pub struct OutputWire {
    /// The sink transform.
    pub sink: String,
    /// How elements look.
    pub coder: WireCoder,
}

/// A timer family. Its position is the engine's.
#[derive(Clone, Debug)]
pub struct TimerWire {
    /// Whose.
    pub transform: String,
    /// Its local name.
    pub family: String,
    /// Its clock.
    pub domain: TimeDomain,
    /// How timers look.
    pub coder: TimerCoder,
}

/// A state. Its position is the engine's.
#[derive(Clone, Debug)]
pub struct StateWire {
    /// Whose.
    pub transform: String,
    /// Its local name.
    pub name: String,
    /// How it is read and written.
    pub kind: StateKind,
    /// Where its cells are.
    pub id: StateId,
    /// Of a map: its values, as the SDK itself writes them. `None` where only the SDK can tell one from the next.
    pub value: Option<Arc<Coder>>,
}

/// A side input. Its position is the engine's.
#[derive(Clone, Debug)]
pub struct SideWire {
    /// Whose.
    pub transform: String,
    /// Its local name.
    pub name: String,
    /// Its windows.
    pub window: WindowCoder,
    /// Its keys; not used for iterables.
    pub key: Arc<Coder>,
    /// Values of a multimap, elements of an iterable.
    pub value: Arc<Coder>,
    /// The SDK goes on with what it has read for as long as it keeps the function, whatever cache tokens say.
    pub kept: bool,
}

/// A stage as an SDK worker knows it.
#[derive(Clone, Debug)]
pub struct StageWire {
    /// What the SDK builds the stage from. Its id is unique in the job.
    pub descriptor: ProcessBundleDescriptor,
    /// By input index.
    pub inputs: Vec<InputWire>,
    /// By output index.
    pub outputs: Vec<OutputWire>,
    /// By family index.
    pub timers: Vec<TimerWire>,
    /// By state index.
    pub states: Vec<StateWire>,
    /// By side input index.
    pub sides: Vec<SideWire>,
    /// Keys of state and timers: SDKs name them in nested context of this coder.
    pub key: Arc<Coder>,
    /// Windows of state and timers.
    pub window: WindowCoder,
    /// A bundle has one key alone, because the worker does not say of which one it asks for state.
    pub lone_keys: bool,
    /// Of a stage that processes restrictions: how they are truncated instead.
    pub truncate: Option<Arc<StageWire>>,
}
