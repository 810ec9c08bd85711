//! A function that runs as native code behind the same frames: for measuring what the sandbox costs, and for tests. No
//! limit holds for it but those of output and state.

use crate::describe::{Description, Function};
use crate::error::{Error, Result};
use crate::frame::Frame;
use crate::limits::Limits;
use crate::store::{GuestStore, Loan, Returned};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The imports of the contract for a native function. What is refused here fails the call when it returns.
#[derive(Clone, Debug)]
pub struct HostCalls(Arc<Mutex<GuestStore>>);

impl HostCalls {
    fn store(&self) -> MutexGuard<'_, GuestStore> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `log.write`
    pub fn log(&self, level: u8, row: Option<u32>, message: &str) {
        self.store().log_line(level, row, message);
    }

    /// What a call of the contract gives; what is refused is kept, and nothing given.
    fn served<T: Default>(&self, call: impl FnOnce(&mut GuestStore) -> Result<T>) -> T {
        let mut store = self.store();
        let served = call(&mut store);
        served.unwrap_or_else(|e| {
            store.call.error = Some(e);
            T::default()
        })
    }

    /// `outputs.emit`
    pub fn emit(&self, rows: Vec<u8>) {
        self.served(|store| store.take_rows(rows));
    }

    /// `state.read`
    #[must_use]
    pub fn read(&self, slot: u32, groups: &[u32]) -> Vec<u8> {
        self.served(|store| store.read_cells(slot, groups))
    }

    /// `state.lookup`
    #[must_use]
    pub fn look_up(&self, slot: u32, subkeys: &[u8]) -> Vec<u8> {
        self.served(|store| store.look_up(slot, subkeys))
    }

    /// `state.scan`
    #[must_use]
    pub fn scan(&self, slot: u32, group: u32, start: &[u8], end: Option<&[u8]>, max_bytes: u32) -> Page {
        self.served(|store| store.scan(slot, group, start, end, max_bytes))
    }

    /// `state.write`
    pub fn write(&self, ops: Vec<u8>) {
        self.served(|store| store.write_changes(ops));
    }

    /// `iterables.read`
    #[must_use]
    pub fn read_iterable(&self, token: &[u8], max_bytes: u32) -> Page {
        self.served(|store| store.read_iterable(token, max_bytes))
    }

    /// `side-inputs.read`
    #[must_use]
    pub fn read_side(
        &self,
        input: u32,
        windows: u32,
        key: Option<&[u8]>,
        start: Option<&[u8]>,
        max_bytes: u32,
    ) -> Page {
        self.served(|store| store.read_side(input, windows, key, start, max_bytes))
    }

    /// `side-inputs.keys`
    #[must_use]
    pub fn side_keys(&self, input: u32, windows: u32, start: Option<&[u8]>, max_bytes: u32) -> Page {
        self.served(|store| store.side_keys(input, windows, start, max_bytes))
    }

    /// `tables.lookup`
    #[must_use]
    pub fn look_up_table(&self, table: u32, keys: &[u8]) -> Vec<u8> {
        self.served(|store| store.look_up_table(table, keys))
    }
}

/// Rows of something that may be larger than a frame, and where to go on.
pub type Page = (Vec<u8>, Option<Vec<u8>>);

/// Runs operation and frame; gives the frame with the results, or code and message of a refusal.
pub type Run = Box<dyn FnMut(u32, &[u8]) -> Result<Vec<u8>, (String, String)> + Send>;

/// A native function.
pub struct NativeFunction {
    function: Function,
    limits: Arc<Limits>,
    calls: HostCalls,
    run: Run,
}

impl std::fmt::Debug for NativeFunction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NativeFunction").field("function", &self.function.name).finish()
    }
}

impl NativeFunction {
    /// The function `name` of a description (the JSON text that a component would return), opened by `open`.
    ///
    /// # Errors
    /// [`Error::Description`], [`Error::NoFunction`], or what `open` says.
    pub fn new(
        description: &str,
        name: &str,
        limits: Limits,
        open: impl FnOnce(HostCalls) -> Result<Run, (String, String)>,
    ) -> Result<Self> {
        let description = Description::parse("native", description)?;
        let known = || description.functions.iter().map(|f| f.name.clone()).collect();
        let function = description.function(name).cloned().ok_or_else(|| Error::NoFunction {
            name: "native".into(),
            function: name.to_owned(),
            known: known(),
        })?;
        let limits = Arc::new(limits);
        let store = GuestStore::new(name.into(), name.into(), Arc::clone(&limits), 0);
        let calls = HostCalls(Arc::new(Mutex::new(store)));
        let run = open(calls.clone()).map_err(|refusal| refused(name, refusal))?;
        Ok(Self { function, limits, calls, run })
    }

    /// What it says of itself.
    #[must_use]
    pub fn describe(&self) -> &Function {
        &self.function
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(crate) fn call(&mut self, op: u32, input: &Frame, loan: Loan) -> (Result<Returned>, Loan) {
        self.calls.store().begin(input.moment(), loan);
        let returned = (self.run)(op, input.as_slice());
        let mut store = self.calls.store();
        let result = match (store.call.error.take(), returned) {
            (Some(error), _) => Err(error),
            (None, Err(refusal)) => Err(refused(&self.function.name, refusal)),
            (None, Ok(frame)) => store.finish(frame),
        };
        (result, std::mem::take(&mut store.call.loan))
    }
}

fn refused(function: &str, (code, message): (String, String)) -> Error {
    Error::Refused { function: function.to_owned(), code, message, trace: String::new(), again: false }
}
