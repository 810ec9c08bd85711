//! A job whose partitions run apart, composed once per process: what all its partitions on this machine share.

use super::sinks::Writer;
use super::{Composer, Connectors, Deployments, LocalWorkers, Schemas, Settings, register_joins, sinks, sources};
use crate::runtime::SourceSpec;
use crate::table::Tables;
use std::sync::Arc;
use thalweg_beam::translate::{NativeSpec, Translation};
use thalweg_core::error::{Error, Result};
use thalweg_core::graph::{Plan, StageKind, distribute};
use thalweg_core::port::sink::Sink;

/// What the partitions of a job share.
pub struct Apart {
    /// What each runs: the edges between partitions are exchanges, whose sources and sinks stand behind those of the pipeline.
    pub plan: Arc<Plan>,
    /// Sources of the pipeline, by id.
    pub sources: Vec<SourceSpec>,
    /// Makes native and Wasm workers.
    pub local: Arc<LocalWorkers>,
    /// Where functions can be replaced while it runs.
    pub deployments: Deployments,
    sinks: Vec<NativeSpec>,
    settings: Settings,
    connectors: Connectors,
    schemas: Arc<Schemas>,
}

impl Apart {
    /// Sinks of the pipeline for one partition, by id. `job` names the job among all that use the same cluster.
    ///
    /// # Errors
    /// As for [`Composer::compose`].
    pub fn sinks(&self, job: &str, partition: u16) -> Result<Vec<Box<dyn Sink>>> {
        let writer = Writer { job, partition: Some(partition) };
        let make = |spec| sinks::sink(spec, &self.settings, &self.connectors, &self.schemas, writer, None);
        self.sinks.iter().map(|spec| make(spec).map(|(sink, _)| sink)).collect()
    }
}

impl Composer {
    /// The sources of a job whose partitions run apart, by id, with the splits that there are.
    ///
    /// # Errors
    /// What their files and brokers say.
    pub fn sources(&self, translation: &Translation) -> Result<Vec<SourceSpec>> {
        let find = |spec| sources::source(spec, &self.settings, &self.connectors, &self.schemas, None);
        translation.sources.iter().map(|spec| find(spec).map(|found| found.spec)).collect()
    }

    /// Composes a job whose partitions run apart.
    ///
    /// # Errors
    /// As for [`Composer::compose`]; `CLUSTER_TEST_STREAM` for a script of time, which needs all partitions at once.
    pub fn compose_apart(&self, translation: &mut Translation) -> Result<Apart> {
        let whole = self.plan(translation)?;
        if let Some(stage) = whole.stages.iter().find(|stage| matches!(stage.kind, StageKind::Script(_))) {
            return Err(Error::user("CLUSTER_TEST_STREAM", "a TestStream needs all of the job in one process")
                .help("run the test with a server that has no cluster")
                .in_transform(&stage.name));
        }
        let plan = Arc::new(distribute(&whole)?);
        let sources = self.sources(translation)?;
        let tables = Arc::new(Tables::new(self.settings.kafka.clone()));
        let mut registry = self.registry.clone();
        register_joins(&mut registry, &tables);
        let local = Arc::new(LocalWorkers::new(translation, &plan, registry, Arc::clone(&self.components), &tables)?);
        let deployments = Deployments::new(Arc::clone(&local), Arc::clone(&self.components));
        let (settings, connectors, schemas) =
            (self.settings.clone(), self.connectors.clone(), Arc::clone(&self.schemas));
        let sinks = translation.sinks.clone();
        let apart = Apart { plan, sources, local, deployments, sinks, settings, connectors, schemas };
        apart.sinks("check", 0).map(|_| apart)
    }
}
