//! A stock Python harness under a runner of a few lines: stages in order, one bundle each, groupings left out.

use super::group;
use bytes::Bytes;
use prost::Message;
use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command as Process, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use thalweg_beam::descriptor::{Endpoints, describe};
use thalweg_beam::fnapi::{
    Allowed, Environment, FnApiConfig, FnApiServer, FnApiWorker, Harness, HarnessSpec, Provision, Windows,
};
use thalweg_beam::translate::{Translation, translate};
use thalweg_core::batch::{Batch, BatchBuilder};
use thalweg_core::error::Error;
use thalweg_core::graph::{EnvironmentId, Plan, SideAccess, Stage, StageKind, ViewStage, WorkerStage, fuse};
use thalweg_core::id::{BundleId, CacheToken, Epoch, StageId};
use thalweg_core::port::store::NullStore;
use thalweg_core::port::worker::{BundleResult, BundleStart, Command, DueTimer, Event, Group, Input, Item, Worker};
use thalweg_core::state::{GroupCells, SideView, StateView};
use thalweg_core::time::{EventTime, ProcessingTime};
use thalweg_core::window::Window;
use thalweg_proto::pipeline::Pipeline;

/// How a bundle ended.
#[derive(Debug)]
pub enum Run {
    Done { outputs: Vec<Vec<Batch>>, result: Box<BundleResult> },
    Failed(Error),
}

/// The harness and what its runner knows.
pub struct Python {
    process: Child,
    runtime: tokio::runtime::Runtime,
    server: Arc<FnApiServer>,
    harness: Harness,
    pub worker: FnApiWorker,
    translation: Translation,
    plan: Plan,
    bundles: u64,
    events: Vec<Event>,
    groups: Arc<[Group]>,
    cells: HashMap<Group, GroupCells>,
}

/// The interpreter: a test that silently did nothing would prove nothing, so it must be there.
fn interpreter() -> anyhow::Result<PathBuf> {
    if let Some(python) = std::env::var_os("THALWEG_PYTHON") {
        return Ok(python.into());
    }
    let venv = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../.venv/bin/python");
    anyhow::ensure!(venv.exists(), "no Python with apache-beam: run `make setup`, or set THALWEG_PYTHON");
    Ok(venv)
}

impl Python {
    pub fn start() -> anyhow::Result<Self> {
        let python = interpreter()?;
        let folder = tempfile::tempdir()?;
        let proto = folder.path().join("pipeline.pb");
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fnapi_support/harness.py");
        let mut process = Process::new(python)
            .arg(script)
            .arg(&proto)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut pool = String::new();
        BufReader::new(process.stdout.take().expect("piped")).read_line(&mut pool)?;
        let pipeline = Pipeline::decode(std::fs::read(&proto)?.as_slice())?;
        let environment = pipeline.components.iter().flat_map(|c| c.environments.values()).next();
        let environment = Environment::choose(environment.expect("an environment"), Allowed::default())?.environment;
        assert_eq!(environment, Environment::External { pool: pool.trim().to_owned(), params: BTreeMap::new() });

        let translation = translate(pipeline)?;
        let plan = fuse(&translation.graph)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let config = FnApiConfig { pool_timeout: Duration::from_secs(1), ..FnApiConfig::default() };
        let server = FnApiServer::start(runtime.handle(), config, Arc::new(|_| {}))?;
        let mut stages = BTreeMap::new();
        for stage in &plan.stages {
            if matches!(&stage.kind, StageKind::Worker(worker) if worker.environment.is_some()) {
                let wire = describe(&translation, &plan, stage.id, &Endpoints::at(server.endpoint()))?;
                stages.insert(stage.id, wire);
            }
        }
        let name = "python".to_owned();
        let windows = Windows::of(&translation, &plan, EnvironmentId(0), &Endpoints::at(server.endpoint()))?;
        let provision = Provision::default();
        let harness = server.harness(HarnessSpec { name, environment, provision, stages, windows });
        let worker = FnApiWorker::new(&harness, Arc::new(|| {}));
        let mut this = Self {
            process,
            runtime,
            server,
            harness,
            worker,
            translation,
            plan,
            bundles: 0,
            events: Vec::new(),
            groups: Arc::from([]),
            cells: HashMap::new(),
        };
        let first = this.event()?;
        assert!(matches!(first, Event::Credit { .. }), "{first:?}");
        this.events.clear(); // credit of the other stages
        Ok(this)
    }

    pub fn stop(mut self) {
        self.runtime.block_on(self.harness.stop());
        self.server.stop();
        drop(self.process.stdin.take());
        self.process.kill().ok();
        self.process.wait().ok();
    }

    /// The next event.
    pub fn event(&mut self) -> anyhow::Result<Event> {
        let begun = Instant::now();
        while self.events.is_empty() {
            anyhow::ensure!(begun.elapsed() < Duration::from_secs(60), "no event within a minute");
            std::thread::sleep(Duration::from_millis(1));
            self.worker.poll(&mut self.events);
        }
        Ok(self.events.remove(0))
    }

    /// Kills the process without a word.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }

    /// The stage that groups.
    pub fn grouping(&self) -> StageId {
        let mut stages = self.plan.stages.iter();
        stages.find(|s| matches!(s.kind, StageKind::Group(_))).expect("a grouping").id
    }

    /// The last bundle.
    pub fn last(&self) -> BundleId {
        BundleId(self.bundles)
    }

    /// The stage that begins with, or has, a transform; the last of several.
    fn stage(&self, transform: &str) -> &Stage {
        let has = |worker: &WorkerStage| {
            worker.transforms.iter().any(|id| self.translation.transform(*id).is_some_and(|t| t.name == transform))
        };
        let mut stages = self.plan.stages.iter();
        stages.rfind(|s| matches!(&s.kind, StageKind::Worker(w) if has(w))).expect("a stage with the transform")
    }

    /// Runs one bundle.
    pub fn bundle(&mut self, transform: &str, input: Input, sides: Vec<Arc<SideView>>) -> anyhow::Result<Run> {
        let stage = self.stage(transform).clone();
        self.bundle_of(&stage, input, sides)
    }

    fn bundle_of(&mut self, stage: &Stage, input: Input, sides: Vec<Arc<SideView>>) -> anyhow::Result<Run> {
        self.bundles += 1;
        let bundle = BundleId(self.bundles);
        let groups = match &input {
            Input::Keyed { groups, .. } => Arc::clone(groups),
            Input::Elements { .. } => Arc::from([]),
        };
        let base = groups.iter().map(|g| self.cells.get(g).cloned().unwrap_or_default()).collect();
        let state = StateView::new(bundle, groups, base, Arc::new(NullStore::default()));
        self.worker.submit(Command::Start(Box::new(BundleStart {
            bundle,
            stage: stage.id,
            input,
            state,
            sides,
            cache_token: CacheToken(1),
            watermark: EventTime::MIN,
            now: ProcessingTime(0),
            truncate: false,
        })))?;
        let mut outputs = vec![Vec::new(); stage.outputs.len()];
        loop {
            match self.event()? {
                Event::Output { output, batch, .. } => outputs[output as usize].push(batch),
                Event::Done { result, .. } => return Ok(Run::Done { outputs, result }),
                Event::Failed { error, .. } => return Ok(Run::Failed(error)),
                other => anyhow::bail!("unexpected {other:?}"),
            }
        }
    }

    /// Runs a keyed stage on numbers by key, or on timers by key.
    pub fn keyed(&mut self, transform: &str, numbers: &[(&str, u8)], due: &[(&str, DueTimer)]) -> anyhow::Result<Run> {
        let mut keys: Vec<&str> = numbers.iter().map(|n| n.0).chain(due.iter().map(|d| d.0)).collect();
        keys.sort_unstable();
        keys.dedup();
        let place = |key: &str| keys.iter().position(|k| *k == key).unwrap_or_default() as u32;
        let mut builder = BatchBuilder::new();
        let mut items = Vec::new();
        for (row, (key, number)) in numbers.iter().enumerate() {
            builder.push(key.as_bytes(), &[*number], EventTime(0), &[Window::Global]);
            items.push(Item::Row { group: place(key), batch: 0, row: row as u32 });
        }
        items.extend(due.iter().map(|(key, timer)| Item::Timer { group: place(key), timer: Box::new(timer.clone()) }));
        self.groups = keys.iter().map(|key| group(key)).collect();
        let input = Input::Keyed { groups: Arc::clone(&self.groups), batches: vec![builder.finish()], items };
        self.bundle(transform, input, Vec::new())
    }

    /// Makes a bundle's state changes lasting.
    pub fn keep(&mut self, result: &BundleResult) {
        for (group, delta) in self.groups.iter().zip(&result.state.groups) {
            let cells = self.cells.entry(group.clone()).or_default();
            for change in &delta.changes {
                cells.put(change.id, change.sub.clone(), change.value.clone(), Epoch(1));
            }
        }
    }

    /// Runs all stages up to the one of a transform; how that one ended.
    pub fn run_until(&mut self, transform: &str) -> anyhow::Result<Run> {
        let goal = self.stage(transform).id;
        let mut inputs: BTreeMap<(StageId, u32), Vec<Batch>> = BTreeMap::new();
        let mut views = BTreeMap::new();
        for stage in self.plan.stages.clone() {
            let mut input = |i: u32| inputs.remove(&(stage.id, i)).unwrap_or_default();
            let outputs = match &stage.kind {
                StageKind::Impulse => {
                    let mut builder = BatchBuilder::new();
                    builder.push(b"", b"", EventTime::MIN, &[Window::Global]);
                    vec![vec![builder.finish()]]
                }
                StageKind::View(view) => {
                    views.insert(stage.id, side(view, &input(0)));
                    continue;
                }
                StageKind::Worker(worker) if !worker.keyed => {
                    let batches: Vec<_> = input(0).into_iter().map(|batch| (0, batch)).collect();
                    let sides = worker.sides.iter().map(|s| Arc::clone(&views[&s.view])).collect();
                    match self.bundle_of(&stage, Input::Elements { batches }, sides)? {
                        ended if stage.id == goal => return Ok(ended),
                        Run::Done { outputs, .. } => outputs,
                        Run::Failed(_) => continue,
                    }
                }
                _ => continue,
            };
            for (port, batches) in stage.outputs.iter().zip(outputs) {
                for edge in &port.edges {
                    let edge = self.plan.edge(*edge);
                    inputs.entry((edge.to, edge.input)).or_default().extend(batches.iter().cloned());
                }
            }
        }
        anyhow::bail!("{transform} was not reached")
    }
}

/// A snapshot of a side input.
fn side(view: &ViewStage, batches: &[Batch]) -> Arc<SideView> {
    let mut snapshot = SideView::default();
    for batch in batches {
        for row in batch.rows() {
            let window = Arc::make_mut(snapshot.windows.entry(Window::Global).or_default());
            match (view.access, view.coder.kv()) {
                (SideAccess::Multimap, Some((_, value))) => {
                    let key = Bytes::copy_from_slice(batch.key(row));
                    if !window.by_key.contains_key(&key) {
                        window.keys.push(key.clone());
                    }
                    value.write_nested(window.by_key.entry(key).or_default(), batch.value(row));
                }
                (SideAccess::Iterable, Some((key, value))) => {
                    key.write_nested(&mut window.values, batch.key(row));
                    value.write_nested(&mut window.values, batch.value(row));
                }
                _ => view.coder.write_nested(&mut window.values, batch.value(row)),
            }
        }
    }
    Arc::new(snapshot)
}
