//! One opened function: a store of its own, and calls under limits. After an error that is not the guest's own answer the
//! instance is dropped, store and all; nothing of a failed call is seen again.

use crate::bindings::{Failure, Full, FullPre};
use crate::component::Component;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::frame::{self, Frame, Moment};
use crate::grant::Grants;
use crate::limits::Limits;
use crate::store::{CODE_BYTES, GuestStore, Loan, MESSAGE_BYTES, Returned, cut_text};
use std::sync::Arc;
use std::time::Duration;
use wasmtime::{Store, Trap, WasmBacktrace};

/// Component handles that one store may hold: a guest of this contract needs none.
const HANDLES_MAX: usize = 1000;
/// How long a function may take to close, in CPU time and in wall time, if its limits are not shorter: a job's end waits for it.
const CLOSING: Duration = Duration::from_secs(1);
/// Lines of a guest's stack that are kept for the error.
const TRACE_LINES: usize = 32;
/// Longest trace that a guest makes itself, in bytes.
const TRACE_BYTES: usize = 8 << 10;
/// Longest name of a function in it; generic functions have names of kilobytes.
const TRACE_NAME_BYTES: usize = 120;

/// An instance with a function opened in it.
pub struct Instance {
    engine: Engine,
    store: Store<GuestStore>,
    guest: Full,
    handle: u32,
    calls: u64,
    /// When its last call took place.
    moment: Moment,
}

/// Makes a store and instantiates the component in it.
fn instantiate(pre: &FullPre<GuestStore>, engine: &Engine, data: GuestStore) -> Result<(Store<GuestStore>, Full)> {
    let output_bytes = data.limits.output_bytes;
    let mut store = Store::new(engine.wasmtime(), data);
    store.limiter(|data| data);
    store.set_hostcall_fuel(output_bytes);
    store.set_max_component_handles(HANDLES_MAX);
    store.epoch_deadline_callback(|mut context| context.data_mut().tick());
    store.set_epoch_deadline(1);
    store.data_mut().begin(Moment::default(), Loan::default());
    let _running = engine.running();
    match pre.instantiate(&mut store) {
        Ok(guest) => Ok((store, guest)),
        Err(e) => Err(explain(&mut store, &e)),
    }
}

/// Asks a component for its description.
pub fn describe(pre: &FullPre<GuestStore>, engine: &Engine, limits: &Arc<Limits>) -> Result<String> {
    let stack_bytes = engine.limits().stack_bytes;
    let data = GuestStore::new("describe".into(), "".into(), Arc::clone(limits), stack_bytes);
    let (mut store, guest) = instantiate(pre, engine, data)?;
    let _running = engine.running();
    store.set_epoch_deadline(1);
    let json = guest.thalweg_udf_guest().call_describe(&mut store);
    json.map_err(|e| explain(&mut store, &e))
}

impl Instance {
    /// Instantiates the component and opens a function in it.
    ///
    /// # Errors
    /// What the guest says to `config`, or a limit it reached.
    pub fn open(
        component: &Component,
        function: &Arc<str>,
        transform: &Arc<str>,
        config: &str,
        limits: &Arc<Limits>,
        grants: &Arc<Grants>,
    ) -> Result<Self> {
        let stack_bytes = component.engine().limits().stack_bytes;
        let mut data = GuestStore::new(Arc::clone(function), Arc::clone(transform), Arc::clone(limits), stack_bytes);
        data.world.grant(grants);
        let engine = component.engine().clone();
        let (mut store, guest) = instantiate(component.pre(), &engine, data)?;
        let running = engine.running();
        store.set_epoch_deadline(1);
        let opened = guest.thalweg_udf_guest().call_open(&mut store, function, frame::plan(config).as_vec());
        drop(running);
        match opened {
            Ok(Ok(handle)) => Ok(Self { engine, store, guest, handle, calls: 0, moment: Moment::default() }),
            Ok(Err(failure)) => Err(refused(function, failure)),
            Err(e) => Err(explain(&mut store, &e)),
        }
    }

    /// Runs an operation on a frame. What it was lent comes back changed if the call returned ok, else as it was.
    pub fn call(&mut self, op: u32, input: &Frame, loan: Loan) -> (Result<Returned>, Loan) {
        self.calls += 1;
        self.moment = input.moment();
        self.store.data_mut().begin(input.moment(), loan);
        self.store.set_epoch_deadline(1);
        let running = self.engine.running();
        let returned = self.guest.thalweg_udf_guest().call_call(&mut self.store, self.handle, op, input.as_vec());
        drop(running);
        let result = match returned {
            Ok(Ok(frame)) => self.store.data_mut().finish(frame),
            Ok(Err(failure)) => Err(refused(&self.store.data().function, failure)),
            Err(e) => Err(explain(&mut self.store, &e)),
        };
        self.store.data_mut().end_lines();
        (result, std::mem::take(&mut self.store.data_mut().call.loan))
    }

    /// Lets the function end in order and drops it. It has no element, state or output any more, and [`CLOSING`] at most; what goes wrong is
    /// told in the log and harms nobody.
    pub fn close(mut self) {
        self.store.data_mut().begin(self.moment, Loan::default());
        self.store.data_mut().hurry(CLOSING);
        self.store.set_epoch_deadline(1);
        let running = self.engine.running();
        let closed = self.guest.thalweg_udf_guest().call_close(&mut self.store, self.handle);
        drop(running);
        self.store.data_mut().end_lines();
        if let Err(error) = closed {
            let why = match explain(&mut self.store, &error) {
                Error::CpuLimit { .. } | Error::WallLimit { .. } => {
                    format!("it takes more than {} ms", CLOSING.as_millis())
                }
                error => error.to_string(),
            };
            let GuestStore { transform, function, .. } = self.store.data();
            tracing::warn!(target: "thalweg::udf", transform = &**transform, function = &**function, "it did not close: {why}");
        }
    }

    /// Whether it has served its time: so many calls, or so much memory.
    pub fn worn(&self) -> bool {
        let data = self.store.data();
        self.calls >= data.limits.recycle_calls || data.memory_bytes > data.limits.recycle_bytes
    }
}

fn refused(function: &str, failure: Failure) -> Error {
    let Failure { code, message, trace, again } = failure;
    let cut = |text: String, bytes| cut_text(&text, bytes).to_owned();
    let (code, message) = (cut(code, CODE_BYTES), cut(message, MESSAGE_BYTES));
    Error::Refused { function: function.to_owned(), code, message, trace: cut(trace, TRACE_BYTES), again }
}

/// What an error of wasmtime means: the host's own reason if it ended the call, else the trap.
fn explain(store: &mut Store<GuestStore>, error: &wasmtime::Error) -> Error {
    let kept = trace(error);
    let data = store.data_mut();
    let function = data.function.to_string();
    if let Some(mut reason) = data.call.error.take() {
        if let Error::CpuLimit { trace, .. } | Error::WallLimit { trace, .. } = &mut reason {
            *trace = kept;
        }
        return reason;
    }
    let trap = error.downcast_ref::<Trap>();
    if data.memory_refused {
        return Error::MemoryLimit { function, limit_bytes: data.limits.memory_bytes as u64, trace: kept };
    }
    if trap == Some(&Trap::StackOverflow) {
        let limit_bytes = data.stack_bytes as u64;
        return Error::StackLimit { function, limit_bytes, trace: kept };
    }
    let text = format!("{:#}", error.root_cause());
    if text.contains("fuel allocated for hostcalls") {
        return Error::OutputLimit { function, limit_bytes: data.limits.output_bytes as u64 };
    }
    if error.downcast_ref::<wasmtime::PoolConcurrencyLimitError>().is_some() {
        return Error::Instances { why: text };
    }
    let what = trap.map_or(text, ToString::to_string);
    // wasmtime begins with what the sentence around it says already
    let what = what.strip_prefix("wasm trap: ").map_or_else(|| what.clone(), str::to_owned);
    Error::Trap { function, what, trace: kept }
}

/// The guest's stack, innermost first, with source lines where the component knows them. Calls inside the language's own
/// library are left out, but for the innermost: they say nothing of the user's code.
fn trace(error: &wasmtime::Error) -> String {
    let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else { return String::new() };
    let text = backtrace.to_string();
    let mut kept: Vec<String> = Vec::new();
    let mut lines = text.lines().skip(1).peekable();
    while let Some(name) = lines.next() {
        let place = lines.next_if(|line| line.trim_start().starts_with("at ")).map_or("", str::trim);
        if kept.is_empty() || !place.starts_with("at /rustc/") {
            let name = cut_text(name.trim_end(), TRACE_NAME_BYTES);
            kept.push(if place.is_empty() { name.to_owned() } else { format!("{name} {place}") });
        }
    }
    kept.truncate(TRACE_LINES);
    kept.join("\n")
}
