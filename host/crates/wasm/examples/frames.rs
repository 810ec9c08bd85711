//! What a function costs per event through the worker, limits on, as Wasm and as native code from the same source, side by side; inputs
//! are made as `bench/gen.py` makes them. Usage: `frames [w1|w2|w3|w4|same|all] [EVENTS_PER_BUNDLE] [COMPONENT]` after
//! `scripts/build-guests.sh`; the component is `bench_udfs`, or `bench_udfs_python` and the like.
//!
//! The time is the CPU time of the thread inside `submit`: frames, calls, state, batches; not the making of the input.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;
use thalweg_core::batch::{Batch, BatchBuilder};
use thalweg_core::id::{BundleId, CacheToken, StageId, StateId};
use thalweg_core::port::store::NullStore;
use thalweg_core::port::worker::{BundleStart, Command, Event, Group, Input, Item, Worker};
use thalweg_core::state::StateView;
use thalweg_core::time::{EventTime, ProcessingTime};
use thalweg_core::window::Window;
use thalweg_udf::{Host, Imports, Level, Page, instance::Function};
use thalweg_wasm::{
    Binding, Cache, Callee, Component, Engine, EngineLimits, Failures, HostCalls, Limits, NativeFunction, Pool,
    StagePlan, Step, Target, Task, WasmWorker,
};

const EVENTS: u64 = 1_000_000;
const ROUNDS: u64 = 5;
type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

/// The imports of a native function, served by the host.
struct Served(HostCalls);

impl Imports for Served {
    fn log(&mut self, level: Level, row: Option<u32>, message: &str) {
        self.0.log(level as u8, row, message);
    }
    fn emit(&mut self, rows: Vec<u8>) {
        self.0.emit(rows);
    }
    fn read(&mut self, slot: u32, groups: &[u32]) -> Vec<u8> {
        self.0.read(slot, groups)
    }
    fn lookup(&mut self, slot: u32, subkeys: &[u8]) -> Vec<u8> {
        self.0.look_up(slot, subkeys)
    }
    fn scan(&mut self, slot: u32, group: u32, start: &[u8], end: Option<&[u8]>, max_bytes: u32) -> Page {
        self.0.scan(slot, group, start, end, max_bytes)
    }
    fn iterable(&mut self, token: &[u8], max_bytes: u32) -> Page {
        self.0.read_iterable(token, max_bytes)
    }
    fn side(&mut self, input: u32, windows: u32, key: Option<&[u8]>, start: Option<&[u8]>, max_bytes: u32) -> Page {
        self.0.read_side(input, windows, key, start, max_bytes)
    }
    fn side_keys(&mut self, input: u32, windows: u32, start: Option<&[u8]>, max_bytes: u32) -> Page {
        self.0.side_keys(input, windows, start, max_bytes)
    }
    fn table(&mut self, table: u32, keys: &[u8]) -> Vec<u8> {
        self.0.look_up_table(table, keys)
    }
}

fn native(name: &str) -> Fallible<Callee> {
    let functions = bench_udfs::FUNCTIONS;
    let function = NativeFunction::new(&Function::describe(functions), name, Limits::default(), |calls| {
        let opened = Function::open(functions, name, &[], Host::new(Served(calls)));
        let mut instance = opened.map_err(|f| (f.code.into_owned(), f.message.into_owned()))?;
        Ok(Box::new(move |op, input: &[u8]| {
            instance.call(op, input).map_err(|f| (f.code.into_owned(), f.message.into_owned()))
        }))
    })?;
    Ok(Callee::Native(function))
}

/// The generator of `bench/gen.py`.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

fn word(i: u64) -> String {
    let (mut i, mut letters) = (i + 17576, Vec::new());
    while i > 0 {
        letters.push(b'a' + (i % 26) as u8);
        i /= 26;
    }
    letters.iter().rev().map(|b| char::from(*b)).collect()
}

/// A document of about 150 bytes, one in two to be changed.
fn document(r: &mut SplitMix, i: u64) -> String {
    let (user, page, cents, ok) = (r.next() % 10_000, r.next() % 5_000, r.next() % 100_000, r.next().is_multiple_of(2));
    format!(
        r#"{{"id": {i}, "user": "user-{user:05}", "ts": {}, "page": "/shop/item/{page}?ref={:08x}", "amount": {}.{:02}, "ok": {ok}, "tags": ["t{}", "t{}", "web"]}}"#,
        1_700_000_000_000 + i,
        r.next() as u32,
        cents / 100,
        cents % 100,
        r.next() % 8,
        r.next() % 8,
    )
}

fn lines(r: &mut SplitMix, workload: &str, events: Range<u64>) -> Vec<String> {
    let line = |i: u64| {
        if workload == "w3" {
            return document(r, i);
        }
        if workload == "same" {
            return format!("{:08}", r.next() % 100_000_000);
        }
        if workload == "w1" {
            let mut pick = || {
                let u = (r.next() >> 11) as f64 * 2f64.powi(-53);
                word((10_000.0 * (u * u * u)) as u64)
            };
            return (0..10).map(|_| pick()).collect::<Vec<_>>().join(" ");
        }
        let key = r.next() % 10_000;
        let time = 1_700_000_000_000 + i * 600_000 / EVENTS + r.next() % 10_000 - 5_000;
        format!("key-{key:05}\t{time}\t{}", r.next() % 1000)
    };
    events.map(line).collect()
}

fn unkeyed(lines: &[String]) -> Input {
    let mut builder = BatchBuilder::new();
    for line in lines {
        builder.push(&[], line.as_bytes(), EventTime(0), &[Window::Global]);
    }
    Input::Elements { batches: vec![(0, builder.finish())] }
}

/// Key groups as the engine makes them: a group per key, its rows together.
fn keyed(lines: &[String]) -> Input {
    let mut builder = BatchBuilder::new();
    let mut order: Vec<(&str, u32)> = Vec::new();
    for (i, line) in lines.iter().enumerate() {
        let key = line.split('\t').next().unwrap_or_default();
        order.push((key, i as u32));
        builder.push(key.as_bytes(), &[7], EventTime(0), &[Window::Global]);
    }
    order.sort_unstable();
    let batch: Batch = builder.finish();
    let (mut groups, mut items): (Vec<Group>, Vec<Item>) = (Vec::new(), Vec::new());
    for (key, row) in order {
        if groups.last().is_none_or(|g| *g.key != *key.as_bytes()) {
            groups.push(Group::new(key.as_bytes(), Window::Global));
        }
        items.push(Item::Row { group: groups.len() as u32 - 1, batch: 0, row });
    }
    Input::Keyed { groups: groups.into(), batches: vec![batch], items }
}

fn cpu_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Runs a bundle; gives elements out and CPU nanoseconds in the worker.
fn run(worker: &mut WasmWorker, bundle: u64, input: Input) -> Fallible<(u64, u64)> {
    let groups: Arc<[Group]> = if let Input::Keyed { groups, .. } = &input { Arc::clone(groups) } else { [].into() };
    let base = Vec::new();
    let start = BundleStart {
        bundle: BundleId(bundle),
        stage: StageId(0),
        input,
        state: StateView::new(BundleId(bundle), groups, base, Arc::new(NullStore::default())),
        sides: Vec::new(),
        cache_token: CacheToken(0),
        watermark: EventTime::MIN,
        now: ProcessingTime(0),
        truncate: false,
    };
    let before = cpu_ns();
    worker.submit(Command::Start(Box::new(start)))?;
    let spent = cpu_ns() - before;
    let (mut events, mut elements) = (Vec::new(), 0);
    worker.poll(&mut events);
    for event in events {
        match event {
            Event::Output { batch, .. } => elements += batch.len() as u64,
            Event::Failed { error, .. } => return Err(error.into()),
            _ => {}
        }
    }
    Ok((elements, spent))
}

fn worker(callee: Callee) -> Fallible<WasmWorker> {
    let states = [("n", StateId::derive("bench", "n"))];
    let binding = Binding { states: &states, ..Binding::default() };
    let outputs = vec![vec![Target::Output(0)]];
    let step = Step::new("bench", callee, Task::Process, binding, outputs, Failures::FailBundle)?;
    Ok(WasmWorker::new([(StageId(0), StagePlan::new(vec![step])?)]))
}

/// Runs all bundles through both workers, bundle after bundle, so that a busy machine is unfair to neither; prints microseconds each, per
/// element out of `w1` and per event of the others, in the median of the rounds.
fn compare(workload: &str, size: u64, wasm: Callee, native: Callee) -> Fallible<()> {
    let mut workers = [worker(wasm)?, worker(native)?];
    let mut random = SplitMix(if workload == "w1" { 1 } else { 2 });
    let (mut costs, mut ratios): ([Vec<f64>; 2], Vec<f64>) = Default::default();
    for round in 0..ROUNDS {
        let (mut counted, mut spent) = (0, [0u64; 2]);
        for i in 0..(EVENTS / ROUNDS / size).max(1) {
            let bundle = round * (EVENTS / ROUNDS / size) + i;
            let lines = lines(&mut random, workload, bundle * size..(bundle + 1) * size);
            let mut elements = [0; 2];
            for ((worker, elements), spent) in workers.iter_mut().zip(&mut elements).zip(&mut spent) {
                let input = if workload == "w4" { keyed(&lines) } else { unkeyed(&lines) };
                let (out, ns) = run(worker, bundle, input)?;
                (*elements, *spent) = (out, *spent + ns);
            }
            if elements[0] != elements[1] {
                return Err(format!("{workload}: the two give different numbers of elements: {elements:?}").into());
            }
            counted += if workload == "w1" { elements[0] } else { size };
        }
        for (costs, spent) in costs.iter_mut().zip(spent) {
            costs.push(spent as f64 / counted as f64 / 1000.0);
        }
        ratios.push(spent[1] as f64 / spent[0] as f64 * 100.0);
    }
    let [wasm, native] = costs.map(median);
    let ratio = median(ratios);
    println!("{workload:4} wasm {wasm:.4} us each, native {native:.4} us each: {ratio:.0} % of native's speed");
    Ok(())
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

fn main() -> Fallible<()> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../..");
    let mut args = std::env::args().skip(1);
    let chosen = args.next().unwrap_or("all".into());
    let size: u64 = args.next().map_or(Ok(10_000), |n| n.parse())?;
    let guest = args.next().unwrap_or("bench_udfs".into());
    let file = if guest.contains("/") { guest } else { format!("{root}/target/guests/components/{guest}.wasm") };
    let directory = tempfile::tempdir()?;
    let cache = Cache::open(&directory.path().join("cache"))?;
    let started = Instant::now();
    let engine = Engine::new(EngineLimits::default())?;
    println!("engine {:?}", started.elapsed());
    let load = |how: &str| -> Fallible<Component> {
        let started = Instant::now();
        let component = Component::load(&engine, file.as_ref(), Some(&cache))?;
        println!("component {how} {:?}", started.elapsed());
        Ok(component)
    };
    load("compiled")?;
    let component = load("from the cache")?;
    for (workload, function) in [("w1", "split"), ("w2", "event"), ("w3", "change"), ("w4", "count"), ("same", "same")]
    {
        if chosen != "all" && chosen != workload {
            continue;
        }
        let pool = Pool::new(&component, function, "bench", "", Limits::default())?;
        compare(workload, size, Callee::Wasm(pool), native(function)?)?;
    }
    Ok(())
}
