//! Submitted jobs: what stands behind Beam's Job API.
//!
//! In: a `PreparedJob`. Out: a running job, its states, messages and metrics. A job's pipeline is translated and composed
//! like a pipeline file's; what comes on top are workers over the Fn API, one harness per environment.

mod harnesses;
mod logs;
mod running;
mod server;

pub use logs::worker_logs;
pub use running::JobTable;
pub use server::{ServeOptions, serve};

use crate::compose::Composer;
use harnesses::Harnesses;
use running::Start;
use std::sync::Arc;
use thalweg_beam::fnapi::{Environment, FnApiServer};
use thalweg_beam::job::{Importance, JobReporter, JobRunner, PreparedJob};
use thalweg_beam::translate::{EnvironmentInfo, EnvironmentKind, Options, Translation, translate_with};
use thalweg_core::error::Result;

/// Runs submitted jobs in this process.
pub struct Jobs {
    composer: Composer,
    workers: Arc<FnApiServer>,
    table: JobTable,
    runtime: tokio::runtime::Handle,
}

impl Jobs {
    /// A runner whose workers connect to `workers`.
    #[must_use]
    pub fn new(composer: Composer, workers: Arc<FnApiServer>, runtime: tokio::runtime::Handle) -> Self {
        Self { composer, workers, table: JobTable::default(), runtime }
    }

    /// The jobs that run now.
    #[must_use]
    pub fn table(&self) -> &JobTable {
        &self.table
    }

    fn translate(&self, job: &PreparedJob) -> Result<Translation> {
        let drain = job.options.list("experiments").iter().any(|e| e == "drain_at_start");
        let translation = translate_with((*job.pipeline).clone(), &Options { drain })?;
        for environment in translation.environments.iter().filter(|e| is_sdk(e)) {
            Environment::from_proto(&environment.proto)?.supported()?;
        }
        Ok(translation)
    }
}

/// Whether an environment is served over the Fn API.
fn is_sdk(environment: &EnvironmentInfo) -> bool {
    !environment.choices.iter().any(|c| matches!(c, EnvironmentKind::Wasm))
}

impl JobRunner for Jobs {
    fn prepare(&self, job: &PreparedJob) -> Result<()> {
        // what `run` reads once workers are started is refused here
        for name in ["max_bundle_size", "sdk_worker_parallelism"] {
            job.options.integer(name)?;
        }
        let mut translation = self.translate(job)?;
        self.composer.plan(&mut translation).map(drop)
    }

    fn run(&self, job: PreparedJob, reporter: JobReporter) -> Result<()> {
        let mut translation = self.translate(&job)?;
        let composed = self.composer.compose(&mut translation, &job.id)?;
        let harnesses = Harnesses::start(&self.workers, &translation, &composed.plan, &job)?;
        reporter.message(Importance::Detailed, format!("{} stages", composed.plan.stages.len()));
        running::start(Start {
            composer: &self.composer,
            table: self.table.clone(),
            runtime: self.runtime.clone(),
            job,
            composed,
            harnesses,
            reporter,
        })
    }

    fn cancel(&self, id: &str) -> Result<()> {
        self.table.with(id, |control| control.cancel());
        Ok(())
    }

    fn drain(&self, id: &str) -> Result<()> {
        self.table.with(id, |control| control.drain());
        Ok(())
    }
}
