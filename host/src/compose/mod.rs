//! From a translated pipeline to a job that can run: native sources, sinks, functions and components get their meaning here.
//!
//! In: a `Translation` and [`Settings`]. Out: a [`Composed`] job, complete but for workers over the Fn API, which
//! [`jobs`](crate::jobs) adds. Everything that can be refused is refused here, before a thread is started.

mod apart;
mod check;
mod combine;
mod components;
mod connectors;
pub mod deploy;
mod describe;
mod embedded;
mod local;
mod memory;
mod mirror;
pub mod payload;
mod payload_of;
mod schemas;
mod shape;
mod shared;
mod side;
mod sinks;
mod sources;
mod store;
#[cfg(test)]
mod tests;
pub mod ttl;

pub use apart::Apart;
pub use components::{ComponentStore, pinned};
pub use connectors::Connectors;
pub use deploy::Deployments;
pub use local::LocalWorkers;
pub use schemas::Schemas;
pub use shared::SharedLog;
pub use sinks::{Place, SinkReport};
pub use ttl::StateTtl;

use crate::native::urn::{DECODE_RECORDS, TABLE_JOIN};
use crate::native::{Decode, Registry, Shape};
use crate::runtime::{JobSpec, SourceSpec, Waker, WorkerFactory, WorkerSet};
use crate::table::{Join, Tables};
use sinks::Writer;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use store::Opened;
use thalweg_beam::job::JobOptions;
use thalweg_beam::translate::{NativeSpec, Translation};
use thalweg_core::engine::Config;
use thalweg_core::error::Result;
use thalweg_core::graph::{Plan, fuse};
use thalweg_core::id::ShardId;
use thalweg_core::port::sink::Sink;
use thalweg_core::port::store::StateStore;
use thalweg_io::kafka::KafkaClientConfig;
use thalweg_state::Database;

/// The least that outputs of bundles may hold: a bundle is asked to end at a quarter of it.
const OUTPUTS_BYTES_MIN: usize = 64 << 20;

/// How jobs are run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Threads that run stages; by default one per core.
    pub shards: u16,
    /// Length of an epoch in milliseconds.
    pub epoch_ms: i64,
    /// Bytes that the outputs of a shard's bundles may hold before their end, or their job fails; by default a quarter of the memory there is
    /// for all cores together, since they take two to three times as much, and no less than [`OUTPUTS_BYTES_MIN`].
    pub outputs_bytes: usize,
    /// Where state lives; in memory without it. One directory holds one job.
    pub state_dir: Option<PathBuf>,
    /// What the store in that directory may use, and how careful it is.
    pub store: thalweg_state::Options,
    /// Where compiled components are kept; nowhere without it.
    pub cache_dir: Option<PathBuf>,
    /// Kafka properties given on the command line; they win over the pipeline's.
    pub kafka: BTreeMap<String, String>,
    /// Limits of every component.
    pub wasm: thalweg_wasm::Limits,
    /// Where components are compiled.
    pub compiler: thalweg_wasm::Compiler,
    /// What pipelines may grant to components.
    pub allowed: thalweg_wasm::Allowed,
    /// How long state lives that is not written.
    pub state_ttl: StateTtl,
    /// `bootstrap.servers` of the cluster that commits the job, if one does: what is written there is part of the commit.
    pub commits_on: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            shards: u16::try_from(cores).unwrap_or(64).min(64),
            epoch_ms: 500,
            outputs_bytes: (memory::limit() / 4 / cores).max(OUTPUTS_BYTES_MIN),
            state_dir: None,
            store: thalweg_state::Options::default(),
            cache_dir: None,
            kafka: BTreeMap::new(),
            wasm: thalweg_wasm::Limits::default(),
            compiler: thalweg_wasm::Compiler::Here,
            allowed: thalweg_wasm::Allowed::Everything,
            state_ttl: StateTtl::default(),
            commits_on: None,
        }
    }
}

impl Settings {
    /// Settings of a Kafka client. Properties of whoever runs the process may name files; those of a pipeline may not.
    fn kafka_client(&self, bootstrap: &str, mut properties: BTreeMap<String, String>) -> KafkaClientConfig {
        properties.extend(self.kafka.clone());
        let properties_allowed = self.kafka.keys().cloned().collect();
        KafkaClientConfig { properties, properties_allowed, ..KafkaClientConfig::new(bootstrap) }
    }
}

/// Composes jobs; shared by all jobs of a process.
#[derive(Clone, Debug)]
pub struct Composer {
    settings: Settings,
    registry: Registry,
    connectors: Connectors,
    components: Arc<ComponentStore>,
    shared: Option<Arc<SharedLog>>,
    schemas: Arc<Schemas>,
}

/// A job without its Fn API workers.
pub struct Composed {
    /// What to run.
    pub plan: Arc<Plan>,
    /// Sources, by id.
    pub sources: Vec<SourceSpec>,
    /// Sinks, by id.
    pub sinks: Vec<Box<dyn Sink>>,
    /// Makes native and Wasm workers.
    pub local: Arc<LocalWorkers>,
    /// Where its functions can be replaced while it runs.
    pub deployments: Deployments,
    /// The commit authority.
    pub store: Box<dyn StateStore>,
    /// What the sinks write, live.
    pub reports: Vec<SinkReport>,
    /// Rows that the sources will give, if all of them know.
    pub rows: Option<u64>,
    /// The database behind the store, where there is one.
    pub database: Option<Database>,
    /// What the job is called in it, if others share it.
    pub shares: Option<String>,
}

/// Only native functions and components: no Fn API.
struct OnlyLocal(Arc<LocalWorkers>);

impl WorkerFactory for OnlyLocal {
    fn make(&self, shard: ShardId, waker: Waker) -> Result<WorkerSet> {
        self.0.make(shard, &waker)
    }
}

/// Joins with the tables of a job.
fn register_joins(registry: &mut Registry, tables: &Arc<Tables>) {
    let tables = Arc::clone(tables);
    registry.register(TABLE_JOIN, Shape::default(), move |setup| Ok(Box::new(Join::new(setup, &tables)?)));
}

impl Composer {
    /// A composer with the functions in `registry`.
    ///
    /// # Errors
    /// `KAFKA_REGISTRY_CONFIG` and `KAFKA_REGISTRY_URL` for properties that are about schema registries; the component engine is set up by the
    /// first component.
    pub fn new(settings: Settings, registry: Registry) -> Result<Self> {
        let mut registry = registry;
        register_joins(&mut registry, &Arc::default());
        let schemas = Arc::new(Schemas::new(&settings.kafka)?);
        let known = Arc::clone(&schemas);
        registry.register(DECODE_RECORDS, Shape::default(), move |setup| Ok(Box::new(Decode::new(setup, &known)?)));
        let components = ComponentStore::new(settings.cache_dir.as_deref(), settings.wasm.clone());
        let components = components.allowing(settings.allowed.clone()).compiled_by(settings.compiler.clone());
        let components = Arc::new(components);
        Ok(Self { settings, registry, connectors: Connectors::default(), components, shared: None, schemas })
    }

    /// Adds sources and sinks.
    #[must_use]
    pub fn with_connectors(mut self, connectors: Connectors) -> Self {
        self.connectors = connectors;
        self
    }

    /// The same with another directory for the state of the next job; memory without one.
    #[must_use]
    pub fn with_state_dir(mut self, dir: Option<PathBuf>) -> Self {
        self.settings.state_dir = dir;
        self
    }

    /// The same for a job that says in its options how long its state lives.
    ///
    /// # Errors
    /// `STATE_TTL_INVALID`.
    pub fn with_options(mut self, options: &JobOptions) -> Result<Self> {
        self.settings.state_ttl = StateTtl::of_options(options)?.over(&self.settings.state_ttl);
        Ok(self)
    }

    /// The same with a directory for all jobs that read or write topics of the embedded log: they share that log, and keep their state beside it.
    #[must_use]
    pub fn with_shared_log(mut self, shared: Option<Arc<SharedLog>>) -> Self {
        self.shared = shared;
        self
    }

    /// The same for one job, with components that came with it, by the paths in its pipeline.
    ///
    /// # Errors
    /// `WASM_*` for a component that cannot be used.
    pub fn with_components(&self, brought: Vec<(PathBuf, Vec<u8>)>) -> Result<Self> {
        let components = Arc::new(self.components.with_brought(brought)?);
        Ok(Self { components, ..self.clone() })
    }

    /// How jobs are run.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The components that were loaded.
    #[must_use]
    pub fn components(&self) -> &Arc<ComponentStore> {
        &self.components
    }

    /// Checks a pipeline and makes its plan, without opening anything lasting.
    ///
    /// # Errors
    /// What the pipeline needs and is not there: components, functions, mismatched coders.
    pub fn plan(&self, translation: &mut Translation) -> Result<Plan> {
        shape::shape(self, translation)?;
        let known = |specs: &[NativeSpec], known: fn(&str, &Connectors) -> bool| {
            specs.iter().find(|s| !known(&s.urn, &self.connectors)).map_or(Ok(()), |s| Err(sources::unknown(s)))
        };
        known(&translation.sources, sources::known)?;
        known(&translation.sinks, sinks::known)?;
        self.settings.state_ttl.put(translation)?;
        let mut plan = fuse(&translation.graph)?;
        plan.described = describe::states(translation, &plan, &self.components)?.encode();
        Ok(plan)
    }

    /// Whether a job keeps its state beside a log that it shares with others.
    ///
    /// # Errors
    /// `NATIVE_PAYLOAD`.
    pub fn shares_log(&self, translation: &Translation) -> Result<bool> {
        Ok(self.shared.is_some() && embedded::any(translation)?)
    }

    /// Composes a job. `name` names its state, if it has any.
    ///
    /// # Errors
    /// As for [`Composer::plan`], and when a source, sink or the state cannot be opened.
    pub fn compose(&self, translation: &mut Translation, name: &str) -> Result<Composed> {
        // only a directory that is there can hold what was deployed
        let dir = self.settings.state_dir.as_deref();
        let options = &self.settings.store;
        let uses_log = embedded::any(translation)?;
        let mut store = store::existing(dir, self.shared.as_deref(), uses_log, options)?;
        if let Some(Opened { store, .. }) = &store {
            deploy::restore(translation, &self.components, store.reader().as_ref())?;
        }
        let mut plan = self.plan(translation)?;
        // sources and sinks of the embedded log are made of the store, so it is opened before them
        if uses_log && store.is_none() {
            store = Some(store::open(dir, options)?);
        }
        let log = store.as_ref().filter(|_| uses_log).and_then(|opened| opened.store.log());
        // sinks make topics that sources of the same job may read
        let writer = Writer { job: name, partition: None };
        let make = |spec| sinks::sink(spec, &self.settings, &self.connectors, &self.schemas, writer, log.as_ref());
        let made = translation.sinks.iter().map(make);
        let (sinks, reports): (_, Vec<SinkReport>) = made.collect::<Result<Vec<_>>>()?.into_iter().unzip();
        let find = |spec| sources::source(spec, &self.settings, &self.connectors, &self.schemas, log.as_ref());
        let found = translation.sources.iter().map(find);
        let found = found.collect::<Result<Vec<_>>>()?;
        let rows = found.iter().map(|f| f.rows).sum();
        let read: Vec<PathBuf> = found.iter().flat_map(|f| f.files.iter().cloned()).collect();
        let mut mirrors = BTreeMap::new();
        let mut sources = Vec::new();
        for (found, id) in found.into_iter().zip(&plan.sources) {
            mirrors.extend(found.mirror.map(|mirror| (*id, mirror)));
            sources.push(found.spec);
        }
        reports.iter().try_for_each(|report| sinks::refuse_own_input(report, &read))?;
        let Opened { store, database, shares } = store.map_or_else(|| store::open(dir, options), Ok)?;
        let store = mirror::mirrored(store, mirrors);
        let tables = Arc::new(Tables::new(self.settings.kafka.clone()));
        let mut registry = self.registry.clone();
        register_joins(&mut registry, &tables);
        let local = Arc::new(LocalWorkers::new(translation, &plan, registry, Arc::clone(&self.components), &tables)?);
        plan.read_in_pieces(&local.pieces());
        let plan = Arc::new(plan);
        let deployments = Deployments::new(Arc::clone(&local), Arc::clone(&self.components));
        Ok(Composed { plan, sources, sinks, local, deployments, store, reports, rows, database, shares })
    }

    /// Sizes of a job.
    #[must_use]
    pub fn config(&self) -> Config {
        let sizes = Config::default();
        // a shard without a partition would have no place of its own in the store
        let shards = self.settings.shards.clamp(1, sizes.partitions);
        Config { shards, outputs_bytes_max: self.settings.outputs_bytes, ..sizes }
    }

    /// A job that has no Fn API environment, ready to start.
    #[must_use]
    pub fn job(&self, name: &str, composed: Composed) -> JobSpec {
        let Composed { plan, sources, sinks, local, deployments, store, .. } = composed;
        let workers = Arc::new(OnlyLocal(local));
        let changes = deployments.changes().clone();
        let (config, epoch_ms) = (self.config(), self.settings.epoch_ms);
        let (name, update, apart) = (name.to_owned(), false, None);
        JobSpec { name, plan, config, update, apart, epoch_ms, sources, sinks, workers, store, changes }
    }
}
