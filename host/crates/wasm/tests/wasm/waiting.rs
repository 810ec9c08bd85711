//! A table that makes a function wait: the shard goes on meanwhile, and the time is not the function's.

use crate::support::{engine, guest};
use bytes::Bytes;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};
use thalweg_core::batch::BatchBuilder;
use thalweg_core::id::{BundleId, CacheToken, StageId};
use thalweg_core::port::store::NullStore;
use thalweg_core::port::worker::{BundleStart, Command, Event, Input, Worker};
use thalweg_core::state::{SideView, SideWindow, StateView};
use thalweg_core::time::{EventTime, ProcessingTime};
use thalweg_core::window::{Window, WindowFn};
use thalweg_core::{coder::Coder as CoreCoder, error::Error as CoreError};
use thalweg_wasm::describe::Access;
use thalweg_wasm::{
    Binding, Callee, Component, Failures, Limits, Pool, Side, StagePlan, Step, Table, Target, Task, Waker, WasmWorker,
};

type Fallible = Result<(), Box<dyn std::error::Error>>;

/// Has nothing to say until it is let.
#[derive(Debug, Default)]
struct Slow {
    open: Mutex<bool>,
    opened: Condvar,
    asked: AtomicU32,
}

impl Slow {
    fn let_go(&self) {
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.opened.notify_all();
    }
}

impl Table for Slow {
    fn get(&self, _key: &[u8]) -> Option<Bytes> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        while !*open {
            open = self.opened.wait(open).unwrap_or_else(PoisonError::into_inner);
        }
        Some(Bytes::from_static(&[7]))
    }

    fn waits(&self) -> bool {
        true
    }
}

/// Knows nothing, at once.
#[derive(Debug)]
struct Empty;

impl Table for Empty {
    fn get(&self, _key: &[u8]) -> Option<Bytes> {
        None
    }
}

fn stage(function: &str, binding: Binding<'_>, limits: Limits) -> Result<StagePlan, thalweg_wasm::Error> {
    let component = Component::load(engine(), &guest("conformance"), None)?;
    let pool = Pool::new(&component, function, function, "", limits)?;
    let outputs = vec![vec![Target::Output(0)]];
    let step = Step::new(function, Callee::Wasm(pool), Task::Process, binding, outputs, Failures::FailBundle)?;
    StagePlan::new(vec![step])
}

fn start(bundle: u64, stage: u32, value: &[u8]) -> Command {
    let mut builder = BatchBuilder::new();
    builder.push(b"k", value, EventTime(0), &[Window::Global]);
    let side = || {
        let mut view = SideView::default();
        view.windows.insert(Window::Global, Arc::new(SideWindow::default()));
        Arc::new(view)
    };
    Command::Start(Box::new(BundleStart {
        bundle: BundleId(bundle),
        stage: StageId(stage),
        input: Input::Elements { batches: vec![(0, builder.finish())] },
        state: StateView::empty(BundleId(bundle), Arc::new(NullStore::default())),
        sides: vec![side(), side()],
        cache_token: CacheToken(0),
        watermark: EventTime::MIN,
        now: ProcessingTime(0),
        truncate: false,
    }))
}

/// Bundles that are done, and the first value each gave.
fn polled(worker: &mut WasmWorker) -> Result<Vec<(u64, String)>, CoreError> {
    let (mut events, mut done, mut values) = (Vec::new(), Vec::new(), Vec::new());
    worker.poll(&mut events);
    for event in events {
        match event {
            Event::Output { bundle, batch, .. } => {
                let text = batch.rows().first().map(|row| String::from_utf8_lossy(batch.value(row)).into_owned());
                values.push((bundle.0, text.unwrap_or_default()));
            }
            Event::Done { bundle, .. } => {
                let value = values.iter().find(|(of, _)| *of == bundle.0).map(|(_, text)| text.clone());
                done.push((bundle.0, value.unwrap_or_default()));
            }
            Event::Failed { error, .. } => return Err(error),
            _ => {}
        }
    }
    Ok(done)
}

fn until(worker: &mut WasmWorker, count: usize) -> Result<Vec<(u64, String)>, CoreError> {
    let (began, mut all) = (Instant::now(), Vec::new());
    while all.len() < count && began.elapsed() < Duration::from_secs(30) {
        all.extend(polled(worker)?);
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(all)
}

/// A worker with a stage that waits, number 0, and one that does not, number 1.
fn worker(slow: &Arc<Slow>, waker: &Waker, limits: Limits) -> Result<WasmWorker, Box<dyn std::error::Error>> {
    let pairs = CoreCoder::Kv(Arc::new(CoreCoder::StringUtf8), Arc::new(CoreCoder::StringUtf8));
    let sides = [(Access::Iterable, CoreCoder::VarInt), (Access::Multimap, pairs)];
    let sides = sides.map(|(access, coder)| Side { access, coder, window_fn: WindowFn::Global });
    let lookups = |other: Arc<dyn Table>| Binding {
        sides: sides.to_vec(),
        tables: vec![Arc::new(Empty), other],
        ..Binding::default()
    };
    let waiting = stage("lookups", lookups(Arc::clone(slow) as Arc<dyn Table>), limits.clone())?;
    let quick = stage("lookups", lookups(Arc::new(Empty)), limits)?;
    Ok(WasmWorker::new([(StageId(0), waiting), (StageId(1), quick)]).with_waker(waker)?)
}

#[test]
fn a_suspended_lookup_does_not_stop_the_shard() -> Fallible {
    let (slow, woken) = (Arc::new(Slow::default()), Arc::new(AtomicU32::new(0)));
    let count = Arc::clone(&woken);
    let waker: Waker = Arc::new(move || {
        count.fetch_add(1, Ordering::SeqCst);
    });
    let mut worker = worker(&slow, &waker, Limits::default())?;
    polled(&mut worker)?; // credits
    worker.submit(start(1, 0, b"z"))?;
    let began = Instant::now();
    while slow.asked.load(Ordering::SeqCst) == 0 && began.elapsed() < Duration::from_secs(30) {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(polled(&mut worker)?, [], "the function waits in its lookup");
    // meanwhile another function of the same shard does all its work
    for bundle in 2..12 {
        worker.submit(start(bundle, 1, b"z"))?;
        let quick = (bundle, "k: sum 0, names  of 0, own none, other None".to_owned());
        assert_eq!(polled(&mut worker)?, [quick]);
    }
    assert_eq!(woken.load(Ordering::SeqCst), 0);
    slow.let_go();
    let waited = until(&mut worker, 1)?;
    assert_eq!(waited, [(1, "k: sum 0, names  of 0, own none, other Some(7)".to_owned())]);
    assert_eq!(woken.load(Ordering::SeqCst), 1);
    Ok(())
}

#[test]
fn the_time_of_a_lookup_is_not_charged() -> Fallible {
    let slow = Arc::new(Slow::default());
    let limits = Limits::default().wall_hard(Duration::from_millis(150));
    let mut worker = worker(&slow, &(Arc::new(|| {}) as Waker), limits)?;
    worker.submit(start(1, 0, b"z"))?;
    std::thread::sleep(Duration::from_millis(400));
    slow.let_go();
    assert_eq!(until(&mut worker, 1)?.len(), 1);
    Ok(())
}

#[test]
fn a_bundle_behind_an_abandoned_one_that_waits_runs_when_that_is_over() -> Fallible {
    let slow = Arc::new(Slow::default());
    let mut worker = worker(&slow, &(Arc::new(|| {}) as Waker), Limits::default())?;
    worker.submit(start(1, 0, b"z"))?;
    worker.submit(Command::Abandon(BundleId(1)))?;
    worker.submit(start(2, 0, b"z"))?;
    worker.submit(start(3, 0, b"z"))?;
    worker.submit(Command::Abandon(BundleId(3)))?;
    slow.let_go();
    let ran: Vec<u64> = until(&mut worker, 2)?.into_iter().map(|(bundle, _)| bundle).collect();
    assert_eq!(ran, [1, 2], "what bundle 1 says is nobody's, and 3 never ran");
    Ok(())
}
