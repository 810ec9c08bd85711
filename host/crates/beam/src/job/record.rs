//! What is remembered of one job: its pipeline, state, history and metrics. Shared by the services and its reporters.

use super::artifact::{Digest, StagedLists};
use super::history::{Event, History, What};
use super::limits::JobLimits;
use super::runner::{Importance, PreparedJob};
use super::state::JobState;
use super::status::{failure_text, shorten};
use prost_types::Timestamp;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;
use thalweg_core::error::Error;
use thalweg_core::metric::Metrics;
use tokio::sync::watch;
use tokio::time::Instant;

/// A job. All methods are short and lock only the record itself.
#[derive(Debug)]
pub(super) struct JobRecord {
    /// The job as submitted.
    job: PreparedJob,
    /// The secret by which its client stages artifacts.
    token: String,
    message_bytes_max: usize,
    changing: Mutex<Changing>,
    /// Wakes the followers of the history.
    changed: watch::Sender<()>,
    /// Held over a call of the runner for this job, so that such calls never overlap.
    pub(super) control: tokio::sync::Mutex<()>,
}

/// Gives attempted and committed metrics of a job that runs.
#[derive(Clone)]
pub(super) struct Live(pub Arc<dyn Fn() -> (Metrics, Metrics) + Send + Sync>);

impl std::fmt::Debug for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Live")
    }
}

#[derive(Debug)]
struct Changing {
    state: JobState,
    history: History,
    attempted: Metrics,
    committed: Metrics,
    /// Who knows them better while the job runs.
    live: Option<Live>,
    /// When the client was last seen preparing or staging.
    touched: Instant,
    /// Whether `Run` was asked for.
    started: bool,
    staged: StagedLists,
    digests: Vec<Digest>,
}

impl JobRecord {
    /// A job that was just prepared.
    pub(super) fn new(job: PreparedJob, token: String, limits: &JobLimits) -> Self {
        let mut history = History::new(limits.messages_first, limits.messages_last);
        history.push(now(), What::State(JobState::Stopped));
        let changing = Changing {
            state: JobState::Stopped,
            history,
            attempted: Metrics::default(),
            committed: Metrics::default(),
            live: None,
            touched: Instant::now(),
            started: false,
            staged: StagedLists::default(),
            digests: Vec::new(),
        };
        Self {
            job,
            token,
            message_bytes_max: limits.message_bytes_max,
            changing: Mutex::new(changing),
            changed: watch::Sender::new(()),
            control: tokio::sync::Mutex::new(()),
        }
    }

    fn changing(&self) -> MutexGuard<'_, Changing> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn id(&self) -> &str {
        &self.job.id
    }

    pub(super) fn job(&self) -> &PreparedJob {
        &self.job
    }

    pub(super) fn token(&self) -> &str {
        &self.token
    }

    pub(super) fn state(&self) -> JobState {
        self.changing().state
    }

    /// The state and since when.
    pub(super) fn state_since(&self) -> (JobState, Timestamp) {
        let changing = self.changing();
        changing.history.last_state().unwrap_or((changing.state, Timestamp::default()))
    }

    /// Enters a state unless the present one forbids it; says whether it did.
    pub(super) fn enter(&self, state: JobState) -> bool {
        let mut changing = self.changing();
        let allowed = changing.state.may_become(state);
        if allowed {
            changing.state = state;
            changing.history.push(now(), What::State(state));
            drop(changing);
            tracing::info!(job = self.id(), ?state, "job state");
            self.changed.send_replace(());
        }
        allowed
    }

    /// Adds a message, unless the job has ended.
    pub(super) fn say(&self, importance: Importance, text: String) {
        let text = shorten(text, self.message_bytes_max);
        let mut changing = self.changing();
        if changing.state.is_terminal() {
            drop(changing);
            tracing::debug!(job = self.id(), text, "message after the job's end");
            return;
        }
        changing.history.push(now(), What::Message { importance, text });
        drop(changing);
        self.changed.send_replace(());
    }

    /// Enters the failed state with the error as the last message; says whether it did.
    pub(super) fn fail(&self, error: &Error) -> bool {
        let text = shorten(failure_text(error), self.message_bytes_max);
        let mut changing = self.changing();
        if !changing.state.may_become(JobState::Failed) {
            return false;
        }
        changing.state = JobState::Failed;
        changing.history.push(now(), What::Message { importance: Importance::Error, text });
        changing.history.push(now(), What::State(JobState::Failed));
        drop(changing);
        tracing::error!(job = self.id(), code = error.code, error = error.message, "job failed");
        self.changed.send_replace(());
        true
    }

    pub(super) fn measure_live(&self, live: Live) {
        self.changing().live = Some(live);
    }

    pub(super) fn measure(&self, attempted: Metrics, committed: Metrics) {
        let mut changing = self.changing();
        changing.live = None;
        changing.attempted = attempted;
        changing.committed = committed;
    }

    /// Attempted and committed metrics.
    pub(super) fn metrics(&self) -> (Metrics, Metrics) {
        let changing = self.changing();
        let Some(live) = changing.live.clone() else {
            return (changing.attempted.clone(), changing.committed.clone());
        };
        drop(changing); // the job may have much to add up
        (live.0)()
    }

    /// The first kept event numbered `number` or higher.
    pub(super) fn event(&self, number: u64) -> Option<Event> {
        self.changing().history.at_or_after(number).cloned()
    }

    /// Told whenever the history grows.
    pub(super) fn watch(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Whether the job was run, or ended before.
    pub(super) fn is_started(&self) -> bool {
        let changing = self.changing();
        changing.started || changing.state.is_terminal()
    }

    /// Marks the job as run; false if it was, or if it has ended before.
    pub(super) fn start(&self) -> bool {
        let mut changing = self.changing();
        let fresh = !changing.started && !changing.state.is_terminal();
        changing.started = true;
        fresh
    }

    /// Prolongs the life of a job that is not run yet.
    pub(super) fn touch(&self) {
        self.changing().touched = Instant::now();
    }

    /// How long nothing was heard of the client of a job that is not run yet; nothing once it is.
    pub(super) fn idle(&self) -> Option<std::time::Duration> {
        let changing = self.changing();
        (!changing.started).then(|| changing.touched.elapsed())
    }

    /// Remembers what a staging session delivered; gives back the digests of an earlier session.
    pub(super) fn set_staged(&self, staged: StagedLists, digests: Vec<Digest>) -> Vec<Digest> {
        let mut changing = self.changing();
        changing.staged = staged;
        changing.touched = Instant::now();
        std::mem::replace(&mut changing.digests, digests)
    }

    pub(super) fn staged(&self) -> StagedLists {
        self.changing().staged.clone()
    }

    /// Takes the digests the job holds in the store, to release them.
    pub(super) fn take_digests(&self) -> Vec<Digest> {
        std::mem::take(&mut self.changing().digests)
    }
}

/// The wall clock, for the eyes of users only.
fn now() -> Timestamp {
    let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    Timestamp {
        seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(since.subsec_nanos()).unwrap_or_default(),
    }
}
