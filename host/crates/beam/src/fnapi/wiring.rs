//! Look-ups in a stage's wiring by the names SDKs use.
//!
//! In: a [`StageWire`] that [`descriptor`](crate::descriptor) made. Out: the engine's indices. The lists are short, so a
//! look-up walks them: once per message or state request, never per element.

pub use crate::descriptor::StageWire;
use crate::descriptor::{InputWire, StateWire};
use crate::urn::capability;

impl StageWire {
    /// Number of streams the worker closes: its outputs, then its timer families.
    pub(super) fn streams(&self) -> usize {
        self.outputs.len() + self.timers.len()
    }

    /// Whether the timers of a transform are to end once, with the last of its families, because the SDK waits for exactly as
    /// many ends as it has transforms with timers. The other families are named without an end, so that it answers with theirs.
    pub(super) fn ends_once(&self) -> bool {
        self.is_go()
    }

    /// Whether the SDK can be told which snapshot of a side input a bundle reads. Go's cache knows one token per side input for all
    /// bundles that run, the one it was given last: told of two snapshots at once, it answers from either. Untold it asks each time.
    /// Source: `statecache.SideInputCache`, `idsToTokens`.
    pub(super) fn keeps_snapshots_apart(&self) -> bool {
        !self.is_go()
    }

    fn is_go(&self) -> bool {
        let mut capabilities = self.descriptor.environments.values().flat_map(|e| &e.capabilities);
        capabilities.any(|c| c.starts_with(capability::GO_SDK))
    }

    /// Whether its bundles ask for state in a worker that runs on one core: more of them wait for each other, not for us.
    pub(super) fn queues_for_state(&self) -> bool {
        let mut capabilities = self.descriptor.environments.values().flat_map(|e| &e.capabilities);
        !self.states.is_empty() && !capabilities.any(|c| c == capability::MULTI_CORE)
    }

    /// Index of an output by its sink.
    pub(super) fn output(&self, sink: &str) -> Option<usize> {
        self.outputs.iter().position(|output| output.sink == sink)
    }

    /// Index of a timer family.
    pub(super) fn family(&self, transform: &str, family: &str) -> Option<usize> {
        self.timers.iter().position(|timer| timer.transform == transform && timer.family == family)
    }

    /// A state.
    pub(super) fn state(&self, transform: &str, name: &str) -> Option<&StateWire> {
        self.states.iter().find(|state| state.transform == transform && state.name == name)
    }

    /// Index of a side input.
    pub(super) fn side(&self, transform: &str, name: &str) -> Option<usize> {
        self.sides.iter().position(|side| side.transform == transform && side.name == name)
    }

    /// Index of the input that feeds a transform.
    pub(super) fn entry(&self, transform: &str, input: &str) -> Option<usize> {
        let feeds = |wire: &InputWire| wire.consumers.iter().any(|(t, i)| t == transform && i == input);
        self.inputs.iter().position(feeds)
    }

    /// Unique names of the pipeline's transforms: without the ends that the runner adds to a stage.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let names = self.descriptor.transforms.values().map(|transform| transform.unique_name.as_str());
        names.filter(|name| !name.starts_with("thalweg/"))
    }
}
