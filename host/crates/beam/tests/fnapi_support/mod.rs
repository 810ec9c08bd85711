//! A scripted SDK: a worker pool and harness in the test, which speaks the Fn API as a client and does only what it is told.

#![expect(dead_code, reason = "each test file uses its part of the support")]

pub mod python;

use bytes::Bytes;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use thalweg_beam::coder::{TimerCoder, WindowCoder, WireCoder};
use thalweg_beam::descriptor::{InputWire, OutputWire, SideWire, StageWire, StateWire, TimerWire};
use thalweg_beam::fnapi::{Environment, FnApiConfig, FnApiServer, FnApiWorker, Harness, HarnessSpec, Provision};
use thalweg_beam::translate::StateKind;
use thalweg_core::batch::{Batch, BatchBuilder};
use thalweg_core::coder::Coder;
use thalweg_core::id::{BundleId, CacheToken, StageId, StateId};
use thalweg_core::port::store::NullStore;
use thalweg_core::port::worker::{BundleStart, Command, Event, Group, Input, TimeDomain, Worker};
use thalweg_core::state::{SideView, StateView};
use thalweg_core::time::{EventTime, ProcessingTime};
use thalweg_core::window::Window;
use thalweg_proto::fn_execution::beam_fn_control_client::BeamFnControlClient;
use thalweg_proto::fn_execution::beam_fn_data_client::BeamFnDataClient;
use thalweg_proto::fn_execution::beam_fn_external_worker_pool_server::{
    BeamFnExternalWorkerPool, BeamFnExternalWorkerPoolServer,
};
use thalweg_proto::fn_execution::beam_fn_state_client::BeamFnStateClient;
use thalweg_proto::fn_execution::*;
use tokio::sync::{Mutex, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

/// The stage all scripted tests use.
pub const STAGE: StageId = StageId(3);
/// Where its only state is.
pub const COUNT: StateId = StateId(77);
/// Its only window.
pub const WINDOW: Window = Window::Global;

/// A connected harness.
pub struct FakeSdk {
    pub worker: String,
    pub endpoint: String,
    pub instructions: Streaming<InstructionRequest>,
    pub responses: mpsc::Sender<InstructionResponse>,
    pub received: Streaming<Elements>,
    pub elements: mpsc::Sender<Elements>,
    pub replies: Streaming<StateResponse>,
    pub requests: mpsc::Sender<StateRequest>,
}

fn of_worker<T>(worker: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("worker_id", worker.parse().expect("a worker id is ascii"));
    request
}

impl FakeSdk {
    /// Connects control, data and state, as an SDK does.
    async fn connect(worker: String, endpoint: String) -> anyhow::Result<Self> {
        let url = format!("http://{endpoint}");
        let channel = tonic::transport::Endpoint::from_shared(url)?.connect().await?;
        let (responses, outgoing) = mpsc::channel(16);
        let mut control = BeamFnControlClient::new(channel.clone());
        let instructions = control.control(of_worker(&worker, ReceiverStream::new(outgoing))).await?.into_inner();
        let (elements, outgoing) = mpsc::channel(16);
        let mut data = BeamFnDataClient::new(channel.clone()).max_decoding_message_size(1 << 30);
        let received = data.data(of_worker(&worker, ReceiverStream::new(outgoing))).await?.into_inner();
        let (requests, outgoing) = mpsc::channel(16);
        let mut state = BeamFnStateClient::new(channel);
        let replies = state.state(of_worker(&worker, ReceiverStream::new(outgoing))).await?.into_inner();
        Ok(Self { worker, endpoint, instructions, responses, received, elements, replies, requests })
    }

    pub async fn instruction(&mut self) -> (String, instruction_request::Request) {
        let message = self.instructions.message().await.expect("control").expect("an instruction");
        (message.instruction_id, message.request.expect("a request"))
    }

    /// The bundle it is given.
    pub async fn bundle(&mut self) -> (String, ProcessBundleRequest) {
        match self.instruction().await {
            (id, instruction_request::Request::ProcessBundle(request)) => (id, request),
            (_, other) => unreachable!("not a bundle: {other:?}"),
        }
    }

    pub async fn respond(&self, id: &str, response: instruction_response::Response) {
        let message =
            InstructionResponse { instruction_id: id.to_owned(), error: String::new(), response: Some(response) };
        self.responses.send(message).await.expect("control is open");
    }

    pub async fn fail(&self, id: &str, error: &str) {
        let message = InstructionResponse { instruction_id: id.to_owned(), error: error.to_owned(), response: None };
        self.responses.send(message).await.expect("control is open");
    }

    pub async fn done(&self, id: &str, response: ProcessBundleResponse) {
        self.respond(id, instruction_response::Response::ProcessBundle(response)).await;
    }

    /// Sends elements of a sink; without bytes, closes it.
    pub async fn send(&self, id: &str, sink: &str, data: Option<Bytes>) {
        let is_last = data.is_none();
        let data = elements::Data {
            instruction_id: id.to_owned(),
            transform_id: sink.to_owned(),
            data: data.unwrap_or_default(),
            is_last,
        };
        self.elements.send(Elements { data: vec![data], timers: Vec::new() }).await.expect("data is open");
    }

    /// Sends timers and closes the family.
    pub async fn send_timers(&self, id: &str, timers: Bytes) {
        let entry = |timers: Bytes, is_last| elements::Timers {
            instruction_id: id.to_owned(),
            transform_id: "Fn".to_owned(),
            timer_family_id: "due".to_owned(),
            timers,
            is_last,
        };
        let timers = vec![entry(timers, false), entry(Bytes::new(), true)];
        self.elements.send(Elements { data: Vec::new(), timers }).await.expect("data is open");
    }

    /// Closes every output and timer family.
    pub async fn close(&self, id: &str) {
        self.send(id, "sink-a", None).await;
        self.send(id, "sink-b", None).await;
        self.send_timers(id, Bytes::new()).await;
    }

    /// Takes input until its source and its timers are closed.
    pub async fn input(&mut self) -> Vec<Elements> {
        let (mut all, mut data, mut timers) = (Vec::new(), false, false);
        while !(data && timers) {
            let message = self.received.message().await.expect("data").expect("elements");
            data |= message.data.iter().any(|d| d.is_last);
            timers |= message.timers.iter().any(|t| t.is_last);
            all.push(message);
        }
        all
    }

    pub async fn state(&mut self, id: &str, key: state_key::Type, request: state_request::Request) -> StateResponse {
        let message = StateRequest {
            id: "r1".to_owned(),
            instruction_id: id.to_owned(),
            state_key: Some(StateKey { r#type: Some(key) }),
            request: Some(request),
        };
        self.requests.send(message).await.expect("state is open");
        let reply = self.replies.message().await.expect("state").expect("a reply");
        assert_eq!(reply.id, "r1");
        reply
    }
}

/// A pool whose workers are handed to the test.
struct Pool {
    workers: Mutex<mpsc::Sender<FakeSdk>>,
}

#[tonic::async_trait]
impl BeamFnExternalWorkerPool for Pool {
    async fn start_worker(&self, r: Request<StartWorkerRequest>) -> Result<Response<StartWorkerResponse>, Status> {
        let r = r.into_inner();
        let endpoint = r.control_endpoint.expect("a control endpoint").url;
        let workers = self.workers.lock().await.clone();
        tokio::spawn(async move {
            let sdk = FakeSdk::connect(r.worker_id, endpoint).await.expect("the runner serves");
            workers.send(sdk).await.ok();
        });
        Ok(Response::new(StartWorkerResponse::default()))
    }

    async fn stop_worker(&self, _: Request<StopWorkerRequest>) -> Result<Response<StopWorkerResponse>, Status> {
        Ok(Response::new(StopWorkerResponse::default()))
    }
}

/// A server, a harness of scripted workers and one shard's worker port.
pub struct Scene {
    pub server: Arc<FnApiServer>,
    pub harness: Harness,
    pub worker: FnApiWorker,
    pub workers: mpsc::Receiver<FakeSdk>,
    /// What was logged.
    pub logs: Arc<std::sync::Mutex<Vec<thalweg_beam::fnapi::LogRecord>>>,
    events: Vec<Event>,
}

impl Scene {
    pub async fn set(config: FnApiConfig) -> anyhow::Result<Self> {
        Self::with(config, Provision::default()).await
    }

    /// A scene whose workers are told this about their job. Their SDK has metrics of its own if they are asked for often.
    pub async fn with(config: FnApiConfig, provision: Provision) -> anyhow::Result<Self> {
        let capable = config.harness_metrics_every < Duration::from_secs(1);
        let capabilities = capable.then_some("beam:protocol:harness_monitoring_infos:v1");
        Self::of(config, provision, capabilities.into_iter().collect()).await
    }

    /// A scene whose workers' SDK declares these capabilities.
    pub async fn of(config: FnApiConfig, provision: Provision, capabilities: Vec<&str>) -> anyhow::Result<Self> {
        let capabilities = capabilities.into_iter().map(str::to_owned).collect();
        let listener = tokio::net::TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
        let pool = listener.local_addr()?.to_string();
        let (sender, workers) = mpsc::channel(4);
        let service = BeamFnExternalWorkerPoolServer::new(Pool { workers: Mutex::new(sender) });
        let incoming = tonic::transport::server::TcpIncoming::from(listener);
        tokio::spawn(tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming));
        let logs = Arc::new(std::sync::Mutex::new(Vec::new()));
        let heard = Arc::clone(&logs);
        let sink: thalweg_beam::fnapi::LogSink =
            Arc::new(move |record| heard.lock().expect("nobody panics with it").push(record));
        let server = FnApiServer::start(&tokio::runtime::Handle::current(), config, sink)?;
        let harness = server.harness(HarnessSpec {
            name: "fake".to_owned(),
            environment: Environment::External { pool, params: BTreeMap::new() },
            provision,
            stages: BTreeMap::from([(STAGE, stage(capabilities))]),
            windows: Default::default(),
        });
        let worker = FnApiWorker::new(&harness, Arc::new(|| {}));
        Ok(Self { server, harness, worker, workers, logs, events: Vec::new() })
    }

    /// The next connected worker.
    pub async fn sdk(&mut self) -> FakeSdk {
        self.workers.recv().await.expect("a worker")
    }

    /// The next event.
    pub async fn event(&mut self) -> Event {
        for _ in 0..2000 {
            if !self.events.is_empty() {
                return self.events.remove(0);
            }
            self.worker.poll(&mut self.events);
            if self.events.is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        unreachable!("no event within ten seconds")
    }

    /// Takes the credit that a harness gives when it is up.
    pub async fn up(&mut self) -> FakeSdk {
        match self.event().await {
            // the stage has state, and the worker does not say that it has several cores
            Event::Credit { stage, bundles } => assert_eq!((stage, bundles), (STAGE, 2)),
            other => unreachable!("not credit: {other:?}"),
        }
        self.sdk().await
    }

    pub fn start(&mut self, bundle: u64, input: Input, sides: Vec<Arc<SideView>>) {
        self.begin(bundle, input, sides, false);
    }

    /// Gives a bundle, whose input is perhaps to be truncated.
    pub fn begin(&mut self, bundle: u64, input: Input, sides: Vec<Arc<SideView>>, truncate: bool) {
        let groups = match &input {
            Input::Keyed { groups, .. } => Arc::clone(groups),
            Input::Elements { .. } => Arc::from([]),
        };
        let base = Vec::new();
        let state = StateView::new(BundleId(bundle), groups, base, Arc::new(NullStore::default()));
        let start = BundleStart {
            bundle: BundleId(bundle),
            stage: STAGE,
            input,
            state,
            sides,
            cache_token: CacheToken(9),
            watermark: EventTime::MIN,
            now: ProcessingTime(0),
            truncate,
        };
        self.worker.submit(Command::Start(Box::new(start))).expect("the harness is up");
    }
}

/// A job that wants samples of its data.
pub fn sampled() -> Provision {
    use prost_types::value::Kind;
    let value = |kind| prost_types::Value { kind: Some(kind) };
    let wanted = value(Kind::StringValue("enable_data_sampling".to_owned()));
    let list = value(Kind::ListValue(prost_types::ListValue { values: vec![wanted] }));
    let fields = BTreeMap::from([("beam:option:experiments:v1".to_owned(), list)]);
    Provision { options: Some(prost_types::Struct { fields }), ..Provision::default() }
}

/// Elements `k<i>` -> `v<i>`.
pub fn batch(n: u64) -> Batch {
    let mut builder = BatchBuilder::new();
    for i in 0..n {
        builder.push(format!("k{i}").as_bytes(), format!("v{i}").as_bytes(), EventTime(i as i64), &[WINDOW]);
    }
    builder.finish()
}

pub fn group(key: &str) -> Group {
    Group::new(key.as_bytes(), WINDOW)
}

pub fn coder() -> WireCoder {
    WireCoder {
        element: Arc::new(Coder::Kv(Arc::new(Coder::StringUtf8), Arc::new(Coder::StringUtf8))),
        window: WindowCoder::Global,
    }
}

pub fn timer_coder() -> TimerCoder {
    TimerCoder { key: Arc::new(Coder::StringUtf8), window: WindowCoder::Global }
}

/// A stage with all there is: one input, two outputs, a timer family, a state, two side inputs.
fn stage(capabilities: Vec<String>) -> StageWire {
    let text = || Arc::new(Coder::StringUtf8);
    let side = |name: &str| SideWire {
        transform: "Fn".to_owned(),
        name: name.to_owned(),
        window: WindowCoder::Global,
        key: text(),
        value: text(),
        kept: false,
    };
    let sink = |name: &str| OutputWire { sink: name.to_owned(), coder: coder() };
    let environment = thalweg_proto::pipeline::Environment { capabilities, ..Default::default() };
    let environments = BTreeMap::from([("python".to_owned(), environment)]);
    let mut stage = StageWire {
        descriptor: ProcessBundleDescriptor { id: "stage-3".to_owned(), environments, ..Default::default() },
        inputs: vec![InputWire {
            paged: false,
            source: "source".to_owned(),
            coder: coder(),
            consumers: vec![("Fn".to_owned(), "in".to_owned())],
        }],
        outputs: vec![sink("sink-a"), sink("sink-b")],
        timers: vec![TimerWire {
            transform: "Fn".to_owned(),
            family: "due".to_owned(),
            domain: TimeDomain::Event,
            coder: timer_coder(),
        }],
        states: vec![StateWire {
            transform: "Fn".to_owned(),
            name: "count".to_owned(),
            kind: StateKind::Bag,
            id: COUNT,
            value: Some(text()),
        }],
        sides: vec![side("list"), side("map")],
        key: text(),
        window: WindowCoder::Global,
        lone_keys: false,
        truncate: None,
    };
    let twin = StageWire {
        descriptor: ProcessBundleDescriptor { id: "stage-3-truncate".to_owned(), ..Default::default() },
        outputs: vec![sink("left")],
        timers: Vec::new(),
        states: Vec::new(),
        ..stage.clone()
    };
    stage.truncate = Some(Arc::new(twin));
    stage
}
