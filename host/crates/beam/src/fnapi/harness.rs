//! A harness: one SDK process (or, for LOOPBACK, one thread of the submitting program), started, watched, started again
//! when it is lost, and stopped at the end.
//!
//! In: an [`Environment`] and the stages it serves. Out: a [`Session`] while it is up, and news to the shards that use it:
//! up, lost, failed for good.

use super::environment::{Endpoints, Environment};
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

    /// Asks it to stop and waits until it has, at most as long as the pool may take. Bundles it still has are lost.
    pub async fn stop(&self) {
        self.shared.stop.send_replace(true);
        let mut stopped = self.shared.stopped.subscribe();
        let limit = self.shared.server.config().stop_timeout * 2;
        let _ = tokio::time::timeout(limit, stopped.wait_for(|stopped| *stopped)).await;
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
            let error = match self.live().await {
                End::Stopped => break,
                End::Lost(error) => error,
            };
            if begun.elapsed() > config.restart_window && !error.code.starts_with("WORKER_START") {
                failures = 0;
            }
            failures += 1;
            tracing::warn!(harness = self.name, %error, failures, "a worker was lost");
            let hopeless = error.code == "ENVIRONMENT_UNSUPPORTED" || error.code.starts_with("WORKER_START");
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

    /// One life: from the order to start to the end.
    async fn live(&self) -> End {
        let worker = self.server.worker_id(&self.name);
        let session = Session::new(
            worker.clone(),
            self.server.endpoint().to_owned(),
            Arc::clone(self.server.config()),
            self.server.runtime().clone(),
            Arc::clone(&self.provision),
            Arc::clone(&self.stages),
            Arc::clone(&self.windows),
        );
        self.server.registry().add(&session);
        let mut stop = self.stop.subscribe();
        let end = tokio::select! {
            end = self.run(&session) => end,
            _ = stop.wait_for(|stop| *stop) => End::Stopped,
        };
        session.close(Error::external("WORKER_LOST", "the worker was told to stop"));
        self.environment.stop(&worker, self.server.config()).await;
        self.server.registry().remove(&worker);
        end
    }

    async fn run(&self, session: &Arc<Session>) -> End {
        match self.connect(session).await {
            Ok(()) => self.set(Status::Up(Arc::clone(session)), |link| link.tell(|news| news.up = true)),
            Err(error) => return End::Lost(error),
        }
        End::Lost(closed(session).await)
    }

    /// Orders the worker and waits until it is connected.
    async fn connect(&self, session: &Arc<Session>) -> Result<()> {
        let config = self.server.config();
        let services = self.server.endpoint().to_owned();
        let artifacts = self.provision.artifacts(&services).to_owned();
        let endpoints = Endpoints { services, artifacts };
        self.environment.start(session.worker(), &endpoints, config).await?;
        let mut phase = session.phase();
        let wait = phase.wait_for(|phase| !matches!(phase, Phase::Awaited));
        match tokio::time::timeout(config.start_timeout, wait).await {
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
