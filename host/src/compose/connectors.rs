//! Sources and sinks of embedders: an in-process channel, a device, a counter.

use crate::runtime::SourceSpec;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use thalweg_beam::translate::NativeSpec;
use thalweg_core::error::Result;
use thalweg_core::port::sink::Sink;

/// Finds what a source reads.
type MakeSource = Arc<dyn Fn(&NativeSpec) -> Result<SourceSpec> + Send + Sync>;
/// Makes a sink.
type MakeSink = Arc<dyn Fn(&NativeSpec) -> Result<Box<dyn Sink>> + Send + Sync>;

/// Sources and sinks by URN. URNs begin with `thalweg:source:` and `thalweg:sink:`, by which the translation knows them for
/// what they are. Cheap to clone.
#[derive(Clone, Default)]
pub struct Connectors {
    sources: BTreeMap<String, MakeSource>,
    sinks: BTreeMap<String, MakeSink>,
}

impl fmt::Debug for Connectors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.sources.keys()).entries(self.sinks.keys()).finish()
    }
}

impl Connectors {
    /// Adds a source, or replaces one.
    pub fn register_source<F>(&mut self, urn: &str, make: F)
    where
        F: Fn(&NativeSpec) -> Result<SourceSpec> + Send + Sync + 'static,
    {
        self.sources.insert(urn.to_owned(), Arc::new(make));
    }

    /// Adds a sink, or replaces one. It is made once per job.
    pub fn register_sink<F>(&mut self, urn: &str, make: F)
    where
        F: Fn(&NativeSpec) -> Result<Box<dyn Sink>> + Send + Sync + 'static,
    {
        self.sinks.insert(urn.to_owned(), Arc::new(make));
    }

    pub(super) fn source(&self, urn: &str) -> Option<&MakeSource> {
        self.sources.get(urn)
    }

    pub(super) fn sink(&self, urn: &str) -> Option<&MakeSink> {
        self.sinks.get(urn)
    }
}
