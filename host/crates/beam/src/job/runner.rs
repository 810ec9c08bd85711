//! The port behind the job services: what the host must be able to do with a job, and how it reports back.

use super::options::{JobOptions, OptionDescriptor};
use super::record::{JobRecord, Live};
use super::state::JobState;
use std::fmt;
use std::sync::Arc;
use thalweg_core::error::{Error, Result};
use thalweg_core::metric::Metrics;
use thalweg_proto::job::job_message::MessageImportance;
use thalweg_proto::life::{GetStateRequest, SavepointRequest, ScanStateRequest};
use thalweg_proto::pipeline::Pipeline;

/// A submitted job. Cheap to clone.
#[derive(Clone, Debug)]
pub struct PreparedJob {
    /// Unique in this process and fit for a file name: `<name>-<number>-<random>`, letters, digits and dashes.
    pub id: String,
    /// What its user calls it; not unique.
    pub name: String,
    /// The pipeline as submitted. In [`JobRunner::run`] the dependencies of its environments, also of those inside an
    /// any-of environment, are replaced by what was staged: `file` artifacts with the path in the staging directory
    /// and the digest.
    pub pipeline: Arc<Pipeline>,
    /// The pipeline options.
    pub options: Arc<JobOptions>,
}

/// What runs jobs. The services call it on threads that may block; calls for one job never overlap.
///
/// ```
/// use thalweg_beam::job::{JobReporter, JobRunner, JobState, PreparedJob};
/// use thalweg_core::error::{Error, Result};
///
/// /// Says that every job is done; refuses the empty ones.
/// struct Idle;
///
/// impl JobRunner for Idle {
///     fn prepare(&self, job: &PreparedJob) -> Result<()> {
///         if job.pipeline.root_transform_ids.is_empty() {
///             return Err(Error::user("PIPELINE_EMPTY", "the pipeline has no transforms"));
///         }
///         Ok(())
///     }
///     fn run(&self, _job: PreparedJob, reporter: JobReporter) -> Result<()> {
///         std::thread::spawn(move || {
///             reporter.state(JobState::Running);
///             reporter.state(JobState::Done);
///         });
///         Ok(())
///     }
///     fn cancel(&self, _id: &str) -> Result<()> {
///         Ok(())
///     }
///     fn drain(&self, _id: &str) -> Result<()> {
///         Ok(())
///     }
/// }
/// ```
pub trait JobRunner: Send + Sync + 'static {
    /// Checks whether the job can be run, without starting anything.
    ///
    /// # Errors
    /// What the job needs and the runner refuses, by name. The submission fails with it and leaves no trace.
    fn prepare(&self, job: &PreparedJob) -> Result<()>;

    /// Starts the job and returns without waiting for its end. The job lives on by `reporter`: it ends with a terminal
    /// state, or as failed when the last clone of the reporter is dropped without one (a panicked thread).
    ///
    /// # Errors
    /// Why it could not be started. The job is then failed with it.
    fn run(&self, job: PreparedJob, reporter: JobReporter) -> Result<()>;

    /// Asks a started job to stop at once. The end is reported as [`JobState::Cancelled`]; asking again is no error.
    ///
    /// # Errors
    /// Why it cannot be stopped; the client is told, the job goes on.
    fn cancel(&self, id: &str) -> Result<()>;

    /// Asks a started job to stop reading and to finish what it has. The end is reported as [`JobState::Drained`].
    ///
    /// # Errors
    /// Why it cannot be drained; the client is told, the job goes on.
    fn drain(&self, id: &str) -> Result<()>;

    /// Asks a started job to read nothing more, to finish what it has read, and to wait; asking again is no error.
    ///
    /// # Errors
    /// Why it cannot be paused, `JOB_NEVER_PAUSES` where no job can; the job goes on.
    fn pause(&self, _id: &str) -> Result<()> {
        Err(Error::user("JOB_NEVER_PAUSES", "jobs of this server cannot be paused").help(
            "drain or cancel the job; with a name for its state it goes on from there when it is submitted again",
        ))
    }

    /// Asks a job that was paused to go on; asking again is no error.
    ///
    /// # Errors
    /// Why it cannot; the job stays as it is.
    fn resume(&self, id: &str) -> Result<()> {
        self.pause(id)
    }

    /// Copies what a job that runs keeps to where it is asked to, and returns when the copy is whole; with `stop` the job is cancelled then, and nothing
    /// of what it does after the moment of the copy lasts. Gives the place as it is understood everywhere.
    ///
    /// # Errors
    /// Why there is no savepoint, `SAVEPOINT_NEVER` where no job can have one; the job goes on.
    fn savepoint(&self, _asked: &SavepointRequest) -> Result<String> {
        Err(Error::user("SAVEPOINT_NEVER", "jobs of this server have no savepoints")
            .help("start the server with --state-dir, or in a cluster"))
    }

    /// Answers a question about what a job keeps, as its last commit left it: the JSON of a `StateResponse`. Never waits for the job.
    ///
    /// # Errors
    /// Why there is no answer, `QUERY_IN_MEMORY` where jobs keep nothing that others can read.
    fn state(&self, _id: &str, _question: StateQuestion) -> Result<String> {
        Err(in_memory())
    }

    /// The options this runner understands: SDKs offer them, others are mentioned in a warning and ignored.
    fn options(&self) -> Vec<OptionDescriptor> {
        OptionDescriptor::standard()
    }
}

/// What is asked of the state of a job.
#[derive(Clone, Debug, PartialEq)]
pub enum StateQuestion {
    /// Which states there are.
    List,
    /// What a state holds for a key.
    Get(GetStateRequest),
    /// What a state holds for all keys.
    Scan(ScanStateRequest),
}

/// The state of a job that nobody else can read.
#[must_use]
pub fn in_memory() -> Error {
    Error::user("QUERY_IN_MEMORY", "the job keeps its state in memory alone, where nobody else can read it")
        .help("start the server, or the run, with a state directory: --state-dir DIR")
}

/// What only a job that runs can do was asked of one that does not; `help` says what can be done instead.
#[must_use]
pub fn not_running(job: &str, help: &str) -> Error {
    Error::user(
        "JOB_NOT_RUNNING",
        format!("the job {job} does not run: it has yet to begin, has ended, or is about to"),
    )
    .help(help)
}

/// The help of [`not_running`] for savepoints.
pub const SAVEPOINT_HELP: &str = "only of a job that runs or is paused a savepoint can be made";

/// How much a message matters to the job's user; SDKs map it to a log level.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Importance {
    /// For those who look for a fault of the runner.
    Debug,
    /// For the curious.
    Detailed,
    /// For everybody.
    Basic,
    /// Something the user should look at.
    Warning,
    /// The job fails because of it; the last one is the text of the SDK's exception.
    Error,
}

impl Importance {
    pub(super) fn to_wire(self) -> MessageImportance {
        match self {
            Self::Debug => MessageImportance::JobMessageDebug,
            Self::Detailed => MessageImportance::JobMessageDetailed,
            Self::Basic => MessageImportance::JobMessageBasic,
            Self::Warning => MessageImportance::JobMessageWarning,
            Self::Error => MessageImportance::JobMessageError,
        }
    }
}

/// A running job's way to its users: states, messages, metrics. Cheap to clone, never blocks.
#[derive(Clone)]
pub struct JobReporter(Arc<Line>);

/// The reporters of one job together; its end without a terminal state fails the job.
struct Line(Arc<JobRecord>);

impl JobReporter {
    pub(super) fn new(record: Arc<JobRecord>) -> Self {
        Self(Arc::new(Line(record)))
    }

    /// The job's id.
    #[must_use]
    pub fn id(&self) -> &str {
        self.0.0.id()
    }

    /// Reports a new state; returns whether it was taken. What would undo an end or a request to stop is not.
    pub fn state(&self, state: JobState) -> bool {
        self.0.0.enter(state)
    }

    /// Tells the job's users something. Messages after the end are dropped.
    pub fn message(&self, importance: Importance, text: impl Into<String>) {
        self.0.0.say(importance, text.into());
    }

    /// Fails the job: the error, with its help and the worker's stack trace, is its last message.
    pub fn fail(&self, error: &Error) -> bool {
        self.0.0.fail(error)
    }

    /// Asks `live` for attempted and committed metrics whenever a client wants to know them while the job runs.
    pub fn live_metrics(&self, live: impl Fn() -> (Metrics, Metrics) + Send + Sync + 'static) {
        self.0.0.measure_live(Live(Arc::new(live)));
    }

    /// The job's metrics over its whole life, to be told just before the end: nobody is asked for them any more.
    pub fn metrics(&self, attempted: Metrics, committed: Metrics) {
        self.0.0.measure(attempted, committed);
    }

    /// Whether the job has ended or was asked to.
    #[must_use]
    pub fn current(&self) -> JobState {
        self.0.0.state()
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if !self.0.state().is_terminal() {
            let error = Error::internal("JOB_ABANDONED", "the job's threads ended without saying how")
                .help("this is a fault of Thalweg; the server's log says which thread panicked and where");
            self.0.fail(&error);
        }
    }
}

impl fmt::Debug for JobReporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("JobReporter").field(&self.id()).finish()
    }
}
