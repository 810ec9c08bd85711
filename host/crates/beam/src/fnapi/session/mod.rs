//! One life of a harness: its streams, its bundles and what it still owes an answer to.
//!
//! In: messages of the services. Out: events to the shards whose bundles it has. A session ends once (the harness
//! stopped, broke or was told to stop) and is never revived: a harness that is started again has a new one, under a
//! new worker id.

mod calls;

use super::bundle::{Answer, Bundle, Next, bundle_over};
use super::feed::Feed;
use super::link::Link;
use super::metrics::ShortIds;
use super::pages::Pages;
use super::provision::Provision;
use super::queue::Queue;
use super::server::FnApiServer;
use super::service::Severity;
use super::sides::without_copy;
use super::windows::{Question, Windows};
use super::wiring::StageWire;
use super::{lock, samples, split, state};
use calls::Call;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use thalweg_core::error::{Error, Result};
use thalweg_core::id::StageId;
use thalweg_core::port::worker::BundleStart;
use thalweg_proto::fn_execution::{
    Elements, InstructionRequest, InstructionResponse, MonitoringInfosMetadataRequest, ProcessBundleDescriptor,
    ProcessBundleRequest, ProcessBundleResponse, ProvisionInfo, StateRequest, StateResponse, WorkerStatusRequest,
    WorkerStatusResponse, instruction_request, instruction_response,
};
use tokio::sync::watch;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

/// The stages of a harness.
pub(super) type Stages = BTreeMap<StageId, Arc<StageWire>>;

/// How far a session is.
#[derive(Clone, Debug)]
pub(super) enum Phase {
    /// Ordered, not connected.
    Awaited,
    /// Its control stream is open.
    Connected,
    /// Gone.
    Closed(Error),
}

#[derive(Default)]
struct Open {
    closed: bool,
    bundles: HashMap<u64, Arc<Bundle>>,
    calls: HashMap<u64, Call>,
}

/// One life of a harness.
pub(super) struct Session {
    worker: String,
    server: Arc<FnApiServer>,
    provision: Arc<Provision>,
    stages: Arc<Stages>,
    windows: Arc<Windows>,
    status: Queue<WorkerStatusRequest>,
    /// Why status was asked for, by the id of the request.
    asked: Mutex<HashMap<String, String>>,
    control: Queue<InstructionRequest>,
    feeds: Queue<Feed>,
    open: Mutex<Open>,
    next: AtomicU64,
    names: ShortIds,
    /// Bundles that were told of their commit and have not answered.
    finalizing: watch::Sender<usize>,
    phase: watch::Sender<Phase>,
    /// Whether a bundle has come to its end.
    worked: AtomicBool,
    /// It is asked for the metrics of the harness itself, and has not answered.
    metrics_asked: AtomicBool,
}

impl Session {
    /// A session that waits for its harness.
    pub fn new(
        worker: String,
        server: Arc<FnApiServer>,
        provision: Arc<Provision>,
        stages: Arc<Stages>,
        windows: Arc<Windows>,
    ) -> Arc<Self> {
        Arc::new(Self {
            worker,
            server,
            provision,
            stages,
            windows,
            status: Queue::new(),
            asked: Mutex::default(),
            control: Queue::new(),
            feeds: Queue::new(),
            open: Mutex::default(),
            next: AtomicU64::new(1),
            names: ShortIds::default(),
            finalizing: watch::Sender::new(0),
            phase: watch::Sender::new(Phase::Awaited),
            worked: AtomicBool::new(false),
            metrics_asked: AtomicBool::new(false),
        })
    }

    /// The worker id, never used twice.
    pub fn worker(&self) -> &str {
        &self.worker
    }

    /// Whether it was of use: a bundle has come to its end.
    pub fn worked(&self) -> bool {
        self.worked.load(Ordering::Relaxed)
    }

    /// Changes of phase.
    pub fn phase(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    /// The harness has opened its control stream.
    pub fn open_control(&self) -> Result<ReceiverStream<InstructionRequest>, Status> {
        let stream = self.control.open("control")?;
        self.phase.send_if_modified(|phase| {
            let awaited = matches!(phase, Phase::Awaited);
            if awaited {
                *phase = Phase::Connected;
            }
            awaited
        });
        Ok(stream)
    }

    /// The harness has opened its data stream: the messages of the feeds, encoded as they are asked for.
    pub fn open_data(&self) -> Result<impl Stream<Item = Elements> + Send + use<>, Status> {
        let feeds = self.feeds.open("data")?;
        Ok(super::feed::messages(feeds))
    }

    /// The harness offers status reports.
    ///
    /// # Errors
    /// A status for a second stream.
    pub fn open_status(&self) -> Result<ReceiverStream<WorkerStatusRequest>, Status> {
        self.status.open("status")
    }

    /// Asks what the harness is at; its report is logged behind `why`.
    pub fn ask_status(&self, transform: &str, why: String) {
        (self.server.logs())(samples::record(&self.worker, Severity::Warn, transform, why.clone()));
        let id = self.next.fetch_add(1, Ordering::Relaxed).to_string();
        lock(&self.asked).insert(id.clone(), why);
        self.status.push(self.server.runtime(), WorkerStatusRequest { id });
    }

    /// A status report: one that was asked for is logged with the reason, any other for those who look for faults.
    pub fn report(&self, report: WorkerStatusResponse) {
        let why = lock(&self.asked).remove(&report.id);
        let severity = if why.is_some() { Severity::Warn } else { Severity::Debug };
        let said = if report.error.is_empty() { report.status_info } else { report.error };
        let message = format!("{}; its worker reports:\n{said}", why.unwrap_or_else(|| "not asked for".to_owned()));
        (self.server.logs())(samples::record(&self.worker, severity, "", message));
    }

    /// What the harness asks first.
    pub fn provision(&self) -> ProvisionInfo {
        self.provision.info(self.server.endpoint())
    }

    /// A stage by the id of its descriptor, or of a copy of it.
    pub fn descriptor(&self, asked: &str) -> Option<ProcessBundleDescriptor> {
        let id = without_copy(asked);
        let twins = self.stages.values().filter_map(|stage| stage.truncate.as_ref());
        let mut stages = self.stages.values().chain(twins).map(|stage| &stage.descriptor);
        let stage = stages.find(|descriptor| descriptor.id == id);
        let found = stage.or_else(|| self.windows.descriptor(id))?;
        Some(ProcessBundleDescriptor { id: asked.to_owned(), ..found.clone() })
    }

    /// Gives a bundle to the harness; never blocks. Gives it back when the session is over.
    pub fn start(
        &self,
        stage: &Arc<StageWire>,
        start: BundleStart,
        request: ProcessBundleRequest,
        link: &Arc<Link>,
    ) -> Result<Arc<Bundle>, Box<BundleStart>> {
        let instruction = self.next.fetch_add(1, Ordering::Relaxed);
        let mut open = lock(&self.open);
        if open.closed {
            return Err(Box::new(start));
        }
        let pages = self.pages(stage);
        let (bundle, input) = Bundle::begin(start, instruction, Arc::clone(stage), Arc::clone(link), pages);
        open.bundles.insert(instruction, Arc::clone(&bundle));
        drop(open);
        self.instruct(instruction, instruction_request::Request::ProcessBundle(request));
        let feed = Feed::new(instruction, Arc::clone(stage), input, self.server.config().chunk_bytes).in_pages(pages);
        self.feeds.push(self.server.runtime(), feed);
        Ok(bundle)
    }

    /// Asks about windows. A session that is over answers nothing: the shard hears that it is lost and asks the next one.
    pub fn ask(&self, question: Question, link: &Arc<Link>) {
        let instruction = self.next.fetch_add(1, Ordering::Relaxed);
        let stage = Arc::clone(&question.stage);
        let mut open = lock(&self.open);
        if open.closed {
            return;
        }
        let (bundle, input) = Bundle::ask(question, instruction, Arc::clone(link));
        open.bundles.insert(instruction, bundle);
        drop(open);
        let id = stage.descriptor.id.clone();
        let request = ProcessBundleRequest { process_bundle_descriptor_id: id, ..Default::default() };
        self.instruct(instruction, instruction_request::Request::ProcessBundle(request));
        self.feeds.push(self.server.runtime(), Feed::new(instruction, stage, input, self.server.config().chunk_bytes));
    }

    /// How large grouped values of a stage are sent.
    fn pages(&self, stage: &StageWire) -> Option<Pages> {
        let config = self.server.config();
        let paged = stage.inputs.iter().any(|input| input.paged);
        paged.then_some(Pages { over: config.iterable_inline_bytes, first: config.state_page_bytes })
    }

    fn instruct(&self, instruction: u64, request: instruction_request::Request) {
        let message = InstructionRequest { instruction_id: instruction.to_string(), request: Some(request) };
        self.control.push(self.server.runtime(), message);
    }

    /// Forgets a bundle.
    pub fn abandon(&self, bundle: &Bundle) {
        if !bundle.end() && bundle.stage.truncate.is_some() {
            // an endless restriction would go on for nobody; whatever the answer is, nobody waits for it
            let instruction = self.next.fetch_add(1, Ordering::Relaxed);
            self.instruct(instruction, split::split_request(bundle, 1.0, 1));
        }
        self.forget(bundle.instruction);
    }

    fn forget(&self, instruction: u64) {
        lock(&self.open).bundles.remove(&instruction);
    }

    fn bundle(&self, instruction: &str) -> Option<Arc<Bundle>> {
        let instruction: u64 = instruction.parse().ok()?;
        lock(&self.open).bundles.get(&instruction).cloned()
    }

    fn after(&self, bundle: &Bundle, next: Next) {
        if next == Next::Over {
            self.forget(bundle.instruction);
        }
    }

    /// Takes outputs and timers. Those of bundles that are over are dropped.
    pub async fn receive(&self, elements: Elements) {
        for data in elements.data {
            if let Some(bundle) = self.bundle(&data.instruction_id) {
                let next = bundle.data(data).await;
                self.after(&bundle, next);
            }
        }
        for timers in elements.timers {
            if let Some(bundle) = self.bundle(&timers.instruction_id) {
                let next = bundle.timers(timers).await;
                self.after(&bundle, next);
            }
        }
    }

    /// Takes the answer to an instruction.
    pub async fn answer(&self, response: InstructionResponse) {
        let Ok(instruction) = response.instruction_id.parse::<u64>() else { return };
        let call = lock(&self.open).calls.remove(&instruction);
        if let Some(call) = call {
            return self.answer_call(call, response).await;
        }
        let Some(bundle) = self.bundle(&response.instruction_id) else { return };
        let next = match response.response {
            _ if !response.error.is_empty() => {
                self.sample();
                bundle.fail_in_worker(&response.error).await
            }
            Some(instruction_response::Response::ProcessBundle(answer)) => self.bundle_answer(&bundle, answer).await,
            _ => bundle.fail_in_worker("the worker answered a bundle with something else").await,
        };
        self.after(&bundle, next);
    }

    async fn bundle_answer(&self, bundle: &Arc<Bundle>, mut answer: ProcessBundleResponse) -> Next {
        if let Some(embedded) = answer.elements.take() {
            Box::pin(self.receive(embedded)).await;
        }
        answer.monitoring_data = bundle.told.all(std::mem::take(&mut answer.monitoring_data), &answer.monitoring_infos);
        let unknown = self.names.unknown(&answer.monitoring_data);
        if unknown.is_empty() {
            return self.complete(bundle, answer).await;
        }
        let request = MonitoringInfosMetadataRequest { monitoring_info_id: unknown };
        let call = Call::Names(Arc::clone(bundle), Box::new(answer));
        self.call(call, instruction_request::Request::MonitoringInfos(request));
        Next::Running
    }

    async fn complete(&self, bundle: &Bundle, answer: ProcessBundleResponse) -> Next {
        let (_, metrics) = self.names.metrics(&answer.monitoring_data, &answer.monitoring_infos);
        self.worked.store(true, Ordering::Relaxed);
        let metrics = metrics.lasting(); // of what an earlier answer said not all is true of a bundle that is done
        match split::residuals(&bundle.stage, answer.residual_roots) {
            Ok(residuals) => bundle.answer(Answer { residuals, finalize: answer.requires_finalization, metrics }).await,
            Err(error) => bundle.fail(error).await,
        }
    }

    /// Answers a state request.
    pub fn state(&self, request: StateRequest) -> StateResponse {
        let StateRequest { id, instruction_id, state_key, request } = request;
        let served = match self.bundle(&instruction_id) {
            Some(bundle) => {
                bundle.asks();
                state::serve(&bundle, state_key, request, self.server.config().state_page_bytes)
            }
            None => Err(bundle_over()),
        };
        match served {
            Ok(response) => StateResponse { id, error: String::new(), response: Some(response) },
            Err(error) => {
                let help = if error.help.is_empty() { String::new() } else { format!(" ({})", error.help) };
                StateResponse { id, error: format!("{error}{help}"), response: None }
            }
        }
    }

    /// Ends it: no bundle of it will say anything more. The first reason stands.
    pub fn close(&self, why: Error) {
        let bundles = {
            let mut open = lock(&self.open);
            open.closed = true;
            open.calls.clear();
            std::mem::take(&mut open.bundles)
        };
        bundles.values().for_each(|bundle| {
            bundle.end();
        });
        self.control.close();
        self.feeds.close();
        self.status.close();
        self.phase.send_if_modified(|phase| {
            let first = !matches!(phase, Phase::Closed(_));
            if first {
                *phase = Phase::Closed(why);
            }
            first
        });
    }
}
