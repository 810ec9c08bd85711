//! Submitted jobs: what stands behind Beam's Job API.
//!
//! In: a `PreparedJob`. Out: a running job, its states, messages and metrics. A job's pipeline is translated and composed
//! like a pipeline file's; what comes on top are workers over the Fn API, one harness per environment.

mod deploys;
mod harnesses;
mod logs;
mod queries;
mod running;
mod saving;
mod server;
mod sizes;
mod states;
mod update;

pub(crate) use deploys::config as deploy_config;
pub(crate) use harnesses::{AllWorkers, Harnesses};
pub use logs::worker_logs;
pub use queries::ask_state;
pub(crate) use queries::{ask_process, asked as asked_state, json as state_json, not_open as state_not_open};
pub use running::JobTable;
pub use server::{ServeOptions, WorkerOptions, serve};
pub(crate) use sizes::Sizes;
pub use states::JobStates;
pub(crate) use states::state_name;
pub(crate) use update::{WITHIN as UPDATE_WITHIN, nothing as nothing_to_update, wanted as is_update};

use crate::compose::{Composer, ttl};
use crate::runtime::Control;
use crate::savepoint::{self, Places, Savepoint};
use running::{JobPlace, Start};
use std::sync::Arc;
use thalweg_beam::fnapi::{Environment, FnApiServer};
use thalweg_beam::job::{Importance, JobReporter, JobRunner, OptionDescriptor, PreparedJob, StateQuestion};
use thalweg_beam::translate::{EnvironmentInfo, EnvironmentKind, Options, Translation, translate_with};
use thalweg_core::error::{Error, Result};
use thalweg_proto::life::SavepointRequest;

/// What the jobs of a server may use together, and what holds for each.
#[derive(Clone, Debug, Default)]
pub struct JobsLimits {
    /// Where their state is kept; in memory without it.
    pub states: Option<JobStates>,
    /// How many may run at once; no bound without it.
    pub running_max: Option<usize>,
    /// How often a bundle is tried again where a job does not say it.
    pub bundle_retries: Option<u32>,
    /// Where clients may have savepoints.
    pub places: Places,
}

/// Runs submitted jobs in this process.
pub struct Jobs {
    composer: Composer,
    limits: JobsLimits,
    workers: Arc<FnApiServer>,
    table: JobTable,
    runtime: tokio::runtime::Handle,
}

impl Jobs {
    /// A runner whose workers connect to `workers`.
    #[must_use]
    pub fn new(
        composer: Composer,
        limits: JobsLimits,
        workers: Arc<FnApiServer>,
        runtime: tokio::runtime::Handle,
    ) -> Self {
        Self { composer, limits, workers, table: JobTable::default(), runtime }
    }

    /// The jobs that run now.
    #[must_use]
    pub fn table(&self) -> &JobTable {
        &self.table
    }

    /// The workers' server.
    pub(crate) fn workers(&self) -> &Arc<FnApiServer> {
        &self.workers
    }

    pub(crate) fn translate(&self, job: &PreparedJob) -> Result<Translation> {
        let streaming = job.options.boolean("streaming")?.unwrap_or_default();
        let translation = translate_with((*job.pipeline).clone(), &Options { streaming })?;
        for environment in translation.environments.iter().filter(|e| is_sdk(e)) {
            Environment::choose(&environment.proto, self.workers.allowed())?;
        }
        Ok(translation)
    }
}

impl Jobs {
    pub(crate) fn sizes(&self, job: &PreparedJob) -> Result<Sizes> {
        let mut config = self.composer.config();
        if let Some(retries) = self.limits.bundle_retries {
            config.attempts_max = retries.saturating_add(1);
        }
        Sizes::of(job, config)
    }

    /// Checks a job, without starting anything: what `run` reads once workers are started is refused here.
    pub(crate) fn check(&self, job: &PreparedJob) -> Result<()> {
        self.sizes(job)?;
        states::state_name(job)?;
        let mut translation = self.translate(job)?;
        self.composer.clone().with_options(&job.options)?.plan(&mut translation).map(drop)
    }

    /// The savepoint that a job begins with, if its options name one.
    ///
    /// # Errors
    /// As for [`savepoint::wanted`].
    pub(crate) fn wanted_savepoint(&self, job: &PreparedJob) -> Result<Option<Savepoint>> {
        savepoint::wanted(job, &self.limits.places)
    }

    /// Where a savepoint goes that a client asks for.
    ///
    /// # Errors
    /// As for [`Places::meant`].
    pub(crate) fn place_of_savepoint(&self, asked: &SavepointRequest) -> Result<String> {
        self.limits.places.meant(&asked.to, Some(&asked.directory))
    }

    /// Where jobs keep their state.
    ///
    /// # Errors
    /// `SAVEPOINT_NEVER` when they keep none.
    fn states(&self) -> Result<&JobStates> {
        self.limits.states.as_ref().ok_or_else(|| {
            Error::user("SAVEPOINT_NEVER", "jobs of this server keep their state in memory, and have no savepoints")
                .help("start the server with --state-dir, or in a cluster")
        })
    }

    /// The savepoint that a job begins with, if it wants one; checked as far as that is possible without touching anything.
    ///
    /// # Errors
    /// As for [`Jobs::wanted_savepoint`]; `UPDATE_INCOMPATIBLE`, naming what the job cannot take over; `SAVEPOINT_NEVER`, `SAVEPOINT_STATE_THERE`.
    fn begins_with(&self, job: &PreparedJob) -> Result<Option<Savepoint>> {
        let Some(savepoint) = self.wanted_savepoint(job)? else { return Ok(None) };
        let (states, mut translation) = (self.states()?, self.translate(job)?);
        if self.composer.shares_log(&translation)? {
            let what = "a job that uses the embedded log keeps its state in the directory of that log, with others";
            return Err(Error::user("SAVEPOINT_NEVER", what)
                .help("use topics of a Kafka cluster, or begin with the savepoint by `thalweg run`"));
        }
        savepoint.begins(&self.composer.plan(&mut translation)?)?;
        match state_name(job)? {
            Some(name) if states.has_in_log(&name)? => {
                Err(savepoint::state_there(&format!("there is state of the name {name:?} beside the embedded log")))
            }
            _ => Ok(Some(savepoint)),
        }
    }

    /// A place for a job, held as long as it runs.
    fn place(&self, job: &PreparedJob) -> Result<JobPlace> {
        let most = self.limits.running_max;
        self.table.place(&job.id, most).ok_or_else(|| {
            let most = most.unwrap_or_default();
            Error::user("JOBS_TOO_MANY", format!("{most} jobs run on this server, and no more may"))
                .help("wait for one to end, cancel one, or start the server with a larger --jobs-max")
        })
    }
}

/// Whether an environment is served over the Fn API.
fn is_sdk(environment: &EnvironmentInfo) -> bool {
    !environment.choices.iter().any(|c| matches!(c, EnvironmentKind::Wasm))
}

impl JobRunner for Jobs {
    fn prepare(&self, job: &PreparedJob) -> Result<()> {
        if update::wanted(job)? {
            self.check_update(job)?;
        } else {
            drop(self.place(job)?); // said now rather than when its artifacts are staged
        }
        self.begins_with(job)?;
        self.check(job)
    }

    fn run(&self, job: PreparedJob, reporter: JobReporter) -> Result<()> {
        let update = update::wanted(&job)?;
        let goes_on = if update { Some(self.take_over(&job)?) } else { None };
        let mut translation = self.translate(&job)?;
        let place = self.place(&job)?;
        let sizes = self.sizes(&job)?;
        let dir = self.limits.states.as_ref().map(|states| match goes_on {
            Some(name) => Ok(states.named(name)),
            None => states.of(&job),
        });
        let dir = dir.transpose()?;
        let savepoint = self.begins_with(&job)?;
        if let (Some(savepoint), Some(dir)) = (&savepoint, &dir) {
            savepoint.copy_to(&dir.path)?;
        }
        let name = dir.as_ref().map_or(&job.id, |dir| &dir.name);
        let composer =
            self.composer.clone().with_options(&job.options)?.with_state_dir(dir.as_ref().map(|dir| dir.path.clone()));
        let mut composed = composer.compose(&mut translation, name)?;
        let harnesses = Harnesses::start(&self.workers, &translation, &composed.plan, &job, &sizes)?;
        let pieces = &composed.local.pieces() | harnesses.pieces();
        Arc::make_mut(&mut composed.plan).read_in_pieces(&pieces);
        reporter.message(Importance::Detailed, format!("{} stages", composed.plan.stages.len()));
        for line in ttl::lines(&composed.plan) {
            reporter.message(Importance::Basic, line);
        }
        running::start(Start {
            config: sizes.config,
            epoch_ms: composer.settings().epoch_ms,
            update: update || savepoint.is_some(),
            dir,
            place,
            runtime: self.runtime.clone(),
            job,
            composed,
            harnesses,
            reporter,
        })
    }

    fn cancel(&self, id: &str) -> Result<()> {
        self.table.order(id, Control::cancel);
        Ok(())
    }

    fn drain(&self, id: &str) -> Result<()> {
        self.table.order(id, Control::drain);
        Ok(())
    }

    fn pause(&self, id: &str) -> Result<()> {
        self.table.order(id, Control::pause);
        Ok(())
    }

    fn resume(&self, id: &str) -> Result<()> {
        self.table.order(id, Control::resume);
        Ok(())
    }

    fn savepoint(&self, asked: &SavepointRequest) -> Result<String> {
        self.states()?;
        let to = self.place_of_savepoint(asked)?;
        self.save(&asked.job_id, &to, asked.stop)?;
        Ok(to)
    }

    fn state(&self, id: &str, question: StateQuestion) -> Result<String> {
        queries::answer(&self.table, id, question)
    }

    fn options(&self) -> Vec<OptionDescriptor> {
        let ours = [update::option(), savepoint::option()];
        OptionDescriptor::standard().into_iter().chain(sizes::options()).chain(ours).chain([ttl::option()]).collect()
    }
}
