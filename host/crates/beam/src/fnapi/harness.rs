//! A harness: one SDK process (or, for LOOPBACK, one thread of the submitting program), started, watched, started again
//! when it is lost, and stopped at the end.
//!
//! In: an [`Environment`] and the stages it serves. Out: a [`Session`] while it is up, and news to the shards that use it:
//! up, lost, failed for good.

use super::environment::{Endpoints, Environment, Ordered};
use super::link::Link;
use super::lock;
use super::provision::Provision;
use super::server::FnApiServer;
use super::session::{Phase, Session, Stages};
use super::windows::Windows;
use super::wiring::StageWire;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;
use thalweg_core::error::{Error, Result};
use thalweg_core::id::StageId;
use tokio::sync::watch;
use tokio::time::Instant;

/// What a harness is started for.
#[derive(Clone, Debug)]
pub struct HarnessSpec {
    /// Names it in logs and begins its worker id, e.g. `job-7-python-0`.
    pub name: String,
    /// How it is started.
    pub environment: Environment,
    /// What it is told about the job.
    pub provision: Provision,
    /// The stages of its environment.
    pub stages: BTreeMap<StageId, StageWire>,
    /// What may be asked of its workers about windows.
    pub windows: Windows,
}

/// A handle of a harness; cheap to clone. All shards of a process share one, and each makes its own
/// [`FnApiWorker`](super::FnApiWorker) of it.
#[derive(Clone)]
pub struct Harness {
    shared: Arc<Shared>,
}

/// How long a process may take to end after its streams did, so that its own words can be told.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Source: `StandardProtocols.HARNESS_MONITORING_INFOS`.
const HARNESS_METRICS: &str = "beam:protocol:harness_monitoring_infos:v1";

/// Where it is.
enum Status {
    Starting,
    Up(Arc<Session>),
    Failed(Error),
}

pub(super) struct Shared {
    server: Arc<FnApiServer>,
    name: String,
    environment: Environment,
    provision: Arc<Provision>,
    stages: Arc<Stages>,
    windows: Arc<Windows>,
    status: Mutex<Status>,
    links: Mutex<Vec<Weak<Link>>>,
    workers: AtomicU64,
    stop: watch::Sender<bool>,
    stopped: watch::Sender<bool>,
}

impl Harness {
    pub(super) fn start(server: &Arc<FnApiServer>, spec: HarnessSpec) -> Self {
        let stages = spec.stages.into_iter().map(|(id, stage)| (id, Arc::new(stage))).collect();
        let shared = Arc::new(Shared {
            server: Arc::clone(server),
            name: spec.name,
            environment: spec.environment,
            provision: Arc::new(spec.provision),
            stages: Arc::new(stages),
            windows: Arc::new(spec.windows),
            status: Mutex::new(Status::Starting),
            links: Mutex::default(),
            workers: AtomicU64::new(0),
            stop: watch::Sender::new(false),
            stopped: watch::Sender::new(false),
        });
        server.runtime().spawn(Arc::clone(&shared).supervise());
        Self { shared }
    }

    /// Waits until its worker has done what it does after commits, as far as it was told of them.
    pub async fn finalized(&self) {
        let session = match &*lock(&self.shared.status) {
            Status::Up(session) => Arc::clone(session),
            _ => return,
        };
        session.finalized().await;
    }

    /// Asks it to stop and waits until it has, at most as long as the pool may take. Bundles it still has are lost.
    pub async fn stop(&self) {
        self.shared.stop.send_replace(true);
        let mut stopped = self.shared.stopped.subscribe();
        let limit = self.shared.server.config().stop_timeout * 2;
        let _ = tokio::time::timeout(limit, stopped.wait_for(|stopped| *stopped)).await;
    }

    /// Asks it to stop and does not wait: for those who have nothing to wait with.
    pub fn end(&self) {
        self.shared.stop.send_replace(true);
    }

    /// Why it will not come back, if so.
    #[must_use]
    pub fn failure(&self) -> Option<Error> {
        match &*lock(&self.shared.status) {
            Status::Failed(error) => Some(error.clone()),
            _ => None,
        }
    }

    /// Whether a worker is connected now.
    #[must_use]
    pub fn is_up(&self) -> bool {
        matches!(&*lock(&self.shared.status), Status::Up(_))
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}

/// How one life of a harness ended.
enum End {
    /// As asked.
    Stopped,
    /// It never came up, or went away.
    Lost(Error),
}

impl Shared {
    pub fn server(&self) -> &Arc<FnApiServer> {
        &self.server
    }

    pub fn stages(&self) -> &Stages {
        &self.stages
    }

    pub fn windows(&self) -> &Windows {
        &self.windows
    }

    /// A number for a shard's worker, unique in this harness.
    pub fn worker_number(&self) -> u64 {
        self.workers.fetch_add(1, Ordering::Relaxed)
    }

    /// Lets a shard hear of changes, beginning with how things are.
    pub fn attach(&self, link: &Arc<Link>) {
        let status = lock(&self.status); // held, so that no change falls between
        lock(&self.links).push(Arc::downgrade(link));
        match &*status {
            Status::Starting => {}
            Status::Up(_) => link.tell(|news| news.up = true),
            Status::Failed(error) => link.tell(|news| news.failed = Some(error.clone())),
        }
    }

    /// The session, while it is up.
    pub fn session(&self) -> Option<Arc<Session>> {
        match &*lock(&self.status) {
            Status::Up(session) => Some(Arc::clone(session)),
            _ => None,
        }
    }

    /// Asks for the metrics of the harness itself, again and again, if its SDK has any. They are told to the first of the shards
    /// that use it.
    async fn ask_metrics(&self, session: &Session) {
        let has = |stage: &Arc<StageWire>| {
            let mut environments = stage.descriptor.environments.values();
            environments.any(|e| e.capabilities.iter().any(|c| c == HARNESS_METRICS))
        };
        if !self.stages.values().any(has) {
            return std::future::pending().await;
        }
        loop {
            tokio::time::sleep(self.server.config().harness_metrics_every).await;
            if let Some(link) = lock(&self.links).iter().find_map(Weak::upgrade) {
                session.harness_metrics(link);
            }
        }
    }

    fn set(&self, status: Status, tell: impl Fn(&Link)) {
        let mut current = lock(&self.status);
        *current = status;
        let mut links = lock(&self.links);
        links.retain(|link| link.upgrade().is_some_and(|link| !link.is_closed()));
        for link in links.iter().filter_map(Weak::upgrade) {
            tell(&link);
        }
    }

    /// Keeps it up until it is told to stop or fails too often.
    async fn supervise(self: Arc<Self>) {
        let config = Arc::clone(self.server.config());
        let mut failures = 0;
        loop {
            let begun = Instant::now();
            let (end, worked) = self.live().await;
            let error = match end {
                End::Stopped => break,
                End::Lost(error) => error,
            };
            let of_use = worked || begun.elapsed() > config.restart_window;
            if of_use && !error.code.starts_with("WORKER_START") {
                failures = 0;
            }
            failures += 1;
            tracing::warn!(harness = self.name, %error, failures, "a worker was lost");
            let hopeless = error.permanent || error.code.starts_with("WORKER_START");
            if hopeless || failures > config.restarts_max {
                self.set(Status::Failed(error.clone()), |link| {
                    link.tell(|news| {
                        news.up = false;
                        news.failed = Some(error.clone());
                    });
                });
                break;
            }
            self.set(Status::Starting, |link| {
                link.tell(|news| {
                    news.up = false;
                    news.lost = Some(error.clone());
                });
            });
            tokio::time::sleep(Duration::from_millis(100 << failures.min(6))).await;
        }
        self.stopped.send_replace(true);
    }

    /// One life: from the order to start to the end, and whether it was of use.
    async fn live(&self) -> (End, bool) {
        let worker = self.server.worker_id(&self.name);
        let session = Session::new(
            worker.clone(),
            Arc::clone(&self.server),
            Arc::clone(&self.provision),
            Arc::clone(&self.stages),
            Arc::clone(&self.windows),
        );
        self.server.registry().add(&session);
        let mut stop = self.stop.subscribe();
        let mut ordered = None;
        let end = tokio::select! {
            end = self.run(&session, &mut ordered) => end,
            _ = stop.wait_for(|stop| *stop) => End::Stopped,
        };
        session.close(Error::external("WORKER_LOST", "the worker was told to stop"));
        if let Some(ordered) = ordered {
            ordered.stop(&worker, self.server.config()).await;
        }
        self.server.registry().remove(&worker);
        (end, session.worked())
    }

    async fn run(&self, session: &Arc<Session>, ordered: &mut Option<Ordered>) -> End {
        let ordered = match self.order(session).await {
            Ok(new) => ordered.insert(new),
            Err(error) => return End::Lost(error),
        };
        match self.connect(session, ordered).await {
            Ok(()) => self.set(Status::Up(Arc::clone(session)), |link| link.tell(|news| news.up = true)),
            Err(error) => return End::Lost(error),
        }
        let lost = tokio::select! {
            lost = closed(session) => lost,
            () = self.ask_metrics(session) => return End::Stopped, // never: it asks for ever
            over = ordered.over() => return End::Lost(over),
        };
        // a process that is gone says more than the streams that broke with it
        match tokio::time::timeout(LAST_WORDS, ordered.over()).await {
            Ok(over) if !lost.permanent => End::Lost(over),
            _ => End::Lost(lost),
        }
    }

    /// Orders the worker.
    async fn order(&self, session: &Arc<Session>) -> Result<Ordered> {
        let services = self.server.endpoint().to_owned();
        let artifacts = self.provision.artifacts(&services).to_owned();
        let endpoints = Endpoints { services, artifacts };
        self.environment.start(session.worker(), &endpoints, self.server.config()).await
    }

    /// Waits until an ordered worker is connected.
    async fn connect(&self, session: &Arc<Session>, ordered: &mut Ordered) -> Result<()> {
        let config = self.server.config();
        let mut phase = session.phase();
        let wait = phase.wait_for(|phase| !matches!(phase, Phase::Awaited));
        let connected = tokio::select! {
            connected = tokio::time::timeout(config.start_timeout, wait) => connected,
            over = ordered.over() => {
                let (message, trace) = (over.message, over.trace);
                return Err(Error::external("WORKER_START_FAILED", format!("{message} before it was connected"))
                    .help("the last of what it printed stands below: mend the command or what it needs")
                    .trace(trace));
            }
        };
        match connected {
            Ok(Ok(phase)) => match &*phase {
                Phase::Closed(error) => Err(error.clone()),
                _ => Ok(()),
            },
            _ => Err(Error::external(
                "WORKER_START_TIMEOUT",
                format!("the worker did not connect within {} s", config.start_timeout.as_secs()),
            )
            .help("look at the worker's own output; it must be able to reach the runner's endpoint")),
        }
    }
}

/// Waits for the end of a session.
async fn closed(session: &Session) -> Error {
    let mut phase = session.phase();
    let lost = || Error::external("WORKER_LOST", "the worker is gone");
    match phase.wait_for(|phase| matches!(phase, Phase::Closed(_))).await.map(|phase| phase.clone()) {
        Ok(Phase::Closed(error)) => error,
        _ => lost(),
    }
}
