//! One life of a harness: its streams, its bundles and what it still owes an answer to.
//!
//! In: messages of the services. Out: events to the shards whose bundles it has. A session ends once (the harness
//! stopped, broke or was told to stop) and is never revived: a harness that is started again has a new one, under a
//! new worker id.

use super::bundle::{Answer, Bundle, Next, bundle_over};
use super::config::FnApiConfig;
use super::feed::Feed;
use super::link::Link;
use super::metrics::ShortIds;
use super::provision::Provision;
use super::queue::Queue;
use super::windows::{Question, Windows};
use super::wiring::StageWire;
use super::{lock, split, state};
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use thalweg_core::error::{Error, Result};
use thalweg_core::id::{BundleId, StageId};
use thalweg_core::port::worker::{BundleStart, Event};
use thalweg_proto::fn_execution::{
    Elements, InstructionRequest, InstructionResponse, MonitoringInfosMetadataRequest, ProcessBundleDescriptor,
    ProcessBundleRequest, ProcessBundleResponse, ProvisionInfo, StateRequest, StateResponse, WorkerStatusRequest,
    WorkerStatusResponse, instruction_request, instruction_response,
};
use tokio::runtime::Handle;
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

/// An instruction that waits for its answer, other than a bundle.
enum Call {
    Progress(BundleId, Arc<Link>),
    Split(Arc<Bundle>),
    Finalize(BundleId),
    Names(Arc<Bundle>, Box<ProcessBundleResponse>),
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
    endpoint: String,
    config: Arc<FnApiConfig>,
    runtime: Handle,
    provision: Arc<Provision>,
    stages: Arc<Stages>,
    windows: Arc<Windows>,
    control: Queue<InstructionRequest>,
    feeds: Queue<Feed>,
    open: Mutex<Open>,
    next: AtomicU64,
    names: ShortIds,
    phase: watch::Sender<Phase>,
}

impl Session {
    /// A session that waits for its harness.
    pub fn new(
        worker: String,
        endpoint: String,
        config: Arc<FnApiConfig>,
        runtime: Handle,
        provision: Arc<Provision>,
        stages: Arc<Stages>,
        windows: Arc<Windows>,
    ) -> Arc<Self> {
        Arc::new(Self {
            worker,
            endpoint,
            config,
            runtime,
            provision,
            stages,
            windows,
            control: Queue::new(),
            feeds: Queue::new(),
            open: Mutex::default(),
            next: AtomicU64::new(1),
            names: ShortIds::default(),
            phase: watch::Sender::new(Phase::Awaited),
        })
    }

    /// The worker id, never used twice.
    pub fn worker(&self) -> &str {
        &self.worker
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
    pub fn open_status(&self) -> impl Stream<Item = WorkerStatusRequest> + Send + use<> {
        tokio_stream::pending()
    }

    /// A status report.
    pub fn report(&self, report: WorkerStatusResponse) {
        tracing::debug!(worker = self.worker, report = report.status_info, "worker status");
    }

    /// What the harness asks first.
    pub fn provision(&self) -> ProvisionInfo {
        self.provision.info(&self.endpoint)
    }

    /// A stage by the id of its descriptor.
    pub fn descriptor(&self, id: &str) -> Option<ProcessBundleDescriptor> {
        let stage = self.stages.values().map(|stage| &stage.descriptor).find(|descriptor| descriptor.id == id);
        stage.or_else(|| self.windows.descriptor(id)).cloned()
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
        let (bundle, input) = Bundle::begin(start, instruction, Arc::clone(stage), Arc::clone(link));
        open.bundles.insert(instruction, Arc::clone(&bundle));
        drop(open);
        self.instruct(instruction, instruction_request::Request::ProcessBundle(request));
        let feed = Feed::new(instruction, Arc::clone(stage), input, self.config.chunk_bytes);
        self.feeds.push(&self.runtime, feed);
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
        self.feeds.push(&self.runtime, Feed::new(instruction, stage, input, self.config.chunk_bytes));
    }

    fn instruct(&self, instruction: u64, request: instruction_request::Request) {
        let message = InstructionRequest { instruction_id: instruction.to_string(), request: Some(request) };
        self.control.push(&self.runtime, message);
    }

    /// Sends an instruction whose answer `call` is for.
    fn call(&self, call: Call, request: instruction_request::Request) {
        let instruction = self.next.fetch_add(1, Ordering::Relaxed);
        let mut open = lock(&self.open);
        if !open.closed {
            open.calls.insert(instruction, call);
            drop(open);
            self.instruct(instruction, request);
        }
    }

    /// Asks how far a bundle is.
    pub fn progress(&self, bundle: &Bundle) {
        let call = Call::Progress(bundle.id, Arc::clone(bundle.link()));
        self.call(call, split::progress_request(bundle.instruction));
    }

    /// Asks for a part of a bundle of `elements` elements.
    pub fn split(&self, bundle: &Arc<Bundle>, fraction: f64, elements: usize) {
        let request = split::split_request(bundle, fraction, elements);
        self.call(Call::Split(Arc::clone(bundle)), request);
    }

    /// Tells that a bundle's epoch is committed.
    pub fn finalize(&self, bundle: &Bundle) {
        self.call(Call::Finalize(bundle.id), split::finalize_request(bundle.instruction));
    }

    /// Forgets a bundle.
    pub fn abandon(&self, bundle: &Bundle) {
        bundle.end();
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
            _ if !response.error.is_empty() => bundle.fail_in_worker(&response.error).await,
            Some(instruction_response::Response::ProcessBundle(answer)) => self.bundle_answer(&bundle, answer).await,
            _ => bundle.fail_in_worker("the worker answered a bundle with something else").await,
        };
        self.after(&bundle, next);
    }

    async fn bundle_answer(&self, bundle: &Arc<Bundle>, mut answer: ProcessBundleResponse) -> Next {
        if let Some(embedded) = answer.elements.take() {
            Box::pin(self.receive(embedded)).await;
        }
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
        let metrics = self.names.metrics(&answer.monitoring_data, &answer.monitoring_infos);
        match split::residuals(&bundle.stage, answer.residual_roots) {
            Ok(residuals) => bundle.answer(Answer { residuals, finalize: answer.requires_finalization, metrics }).await,
            Err(error) => bundle.fail(error).await,
        }
    }

    async fn answer_call(&self, call: Call, response: InstructionResponse) {
        use instruction_response::Response;
        let failed = (!response.error.is_empty()).then_some(response.error);
        match (call, response.response) {
            (Call::Names(bundle, answer), names) => {
                if let Some(Response::MonitoringInfos(names)) = names {
                    self.names.learn(names.monitoring_info);
                }
                let next = self.complete(&bundle, *answer).await;
                self.after(&bundle, next);
            }
            (Call::Progress(bundle, link), Some(Response::ProcessBundleProgress(progress))) => {
                let (consumed, metrics) = self.names.progress(&progress.monitoring_data, &progress.monitoring_infos);
                link.send(Event::Progress { bundle, consumed, metrics }).await;
            }
            (Call::Split(bundle), Some(Response::ProcessBundleSplit(reply))) => {
                match split::reply(&bundle.stage, reply) {
                    Ok(reply) => bundle.link().send(Event::Split { bundle: bundle.id, reply }).await,
                    Err(error) => {
                        let next = bundle.fail(error).await;
                        self.after(&bundle, next);
                    }
                }
            }
            (Call::Split(bundle), _) => {
                // it could not: an answer all the same, so that nobody waits for one
                bundle.link().send(Event::Split { bundle: bundle.id, reply: Default::default() }).await;
            }
            (Call::Finalize(bundle), _) => {
                if let Some(failed) = failed {
                    // what is committed stays so: callbacks are best effort
                    tracing::warn!(worker = self.worker, bundle = bundle.0, failed, "a bundle could not be finalized");
                }
            }
            (Call::Progress(..), _) => {}
        }
    }

    /// Answers a state request.
    pub fn state(&self, request: StateRequest) -> StateResponse {
        let StateRequest { id, instruction_id, state_key, request } = request;
        let served = match self.bundle(&instruction_id) {
            Some(bundle) => state::serve(&bundle, state_key, request, self.config.state_page_bytes),
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
        self.phase.send_if_modified(|phase| {
            let first = !matches!(phase, Phase::Closed(_));
            if first {
                *phase = Phase::Closed(why);
            }
            first
        });
    }
}
