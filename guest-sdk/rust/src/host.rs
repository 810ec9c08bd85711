//! What the host does for a guest: in a component the imports of the contract, in a test of the function an object in
//! their place. The rest of the SDK does not know which.

#[cfg(not(target_arch = "wasm32"))]
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How serious a log line is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Level {
    /// Every step.
    Trace = 0,
    /// For the author.
    Debug = 1,
    /// Worth knowing.
    Info = 2,
    /// Something is not as it should be.
    Warn = 3,
    /// Something failed.
    Error = 4,
}

/// Rows of something that may be larger than a frame, and where to go on.
pub type Page = (Vec<u8>, Option<Vec<u8>>);

/// The imports as an object, for functions that run outside of a component.
#[cfg(not(target_arch = "wasm32"))]
pub trait Imports: Send {
    /// `log.write`
    fn log(&mut self, level: Level, row: Option<u32>, message: &str);
    /// `outputs.emit`
    fn emit(&mut self, rows: Vec<u8>);
    /// `state.read`
    fn read(&mut self, slot: u32, groups: &[u32]) -> Vec<u8>;
    /// `state.lookup`
    fn lookup(&mut self, slot: u32, subkeys: &[u8]) -> Vec<u8>;
    /// `state.scan`
    fn scan(&mut self, slot: u32, group: u32, start: &[u8], end: Option<&[u8]>, max_bytes: u32) -> Page;
    /// `iterables.read`
    fn iterable(&mut self, token: &[u8], max_bytes: u32) -> Page;
    /// `side-inputs.read`
    fn side(&mut self, input: u32, windows: u32, key: Option<&[u8]>, start: Option<&[u8]>, max_bytes: u32) -> Page;
    /// `side-inputs.keys`
    fn side_keys(&mut self, input: u32, windows: u32, start: Option<&[u8]>, max_bytes: u32) -> Page;
    /// `tables.lookup`
    fn table(&mut self, table: u32, keys: &[u8]) -> Vec<u8>;
}

/// The way out of the guest. What outlives a row, such as the values of a list, holds it too.
#[cfg(not(target_arch = "wasm32"))]
#[derive(Clone)]
pub struct Host(Arc<Mutex<dyn Imports>>);

#[cfg(not(target_arch = "wasm32"))]
impl Host {
    /// A host that these imports are.
    #[must_use]
    pub fn new(imports: impl Imports + 'static) -> Self {
        Self(Arc::new(Mutex::new(imports)))
    }

    fn imports(&self) -> MutexGuard<'_, dyn Imports + 'static> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn iterable(&self, token: &[u8]) -> Page {
        self.imports().iterable(token, PAGE_BYTES)
    }
    pub(crate) fn log(&mut self, level: Level, row: Option<u32>, message: &str) {
        self.imports().log(level, row, message);
    }
    pub(crate) fn emit(&mut self, rows: Vec<u8>) {
        self.imports().emit(rows);
    }
    pub(crate) fn read(&mut self, slot: u32, groups: &[u32]) -> Vec<u8> {
        self.imports().read(slot, groups)
    }
    pub(crate) fn lookup(&mut self, slot: u32, subkeys: &[u8]) -> Vec<u8> {
        self.imports().lookup(slot, subkeys)
    }
    pub(crate) fn scan(&mut self, slot: u32, group: u32, start: &[u8], end: Option<&[u8]>, max_bytes: u32) -> Page {
        self.imports().scan(slot, group, start, end, max_bytes)
    }
    pub(crate) fn side(&mut self, input: u32, windows: u32, key: Option<&[u8]>, start: Option<&[u8]>) -> Page {
        self.imports().side(input, windows, key, start, PAGE_BYTES)
    }
    pub(crate) fn side_keys(&mut self, input: u32, windows: u32, start: Option<&[u8]>) -> Page {
        self.imports().side_keys(input, windows, start, PAGE_BYTES)
    }
    pub(crate) fn table(&mut self, table: u32, keys: &[u8]) -> Vec<u8> {
        self.imports().table(table, keys)
    }
}

/// What is asked for at a time of things that come in pages.
pub const PAGE_BYTES: u32 = 256 * 1024;

/// The way out of the guest.
#[cfg(target_arch = "wasm32")]
#[derive(Clone)]
pub struct Host;

#[cfg(target_arch = "wasm32")]
mod imports {
    use super::{Host, Level, PAGE_BYTES, Page};
    use crate::bindings::thalweg::udf::{iterables, log, outputs, side_inputs, state, tables, types};

    fn page(page: types::Page) -> Page {
        (page.rows, page.next)
    }

    impl Host {
        pub(crate) fn log(&mut self, level: Level, row: Option<u32>, message: &str) {
            log::write(level as u8, row, message);
        }
        pub(crate) fn emit(&mut self, rows: Vec<u8>) {
            outputs::emit(&rows);
        }
        pub(crate) fn read(&mut self, slot: u32, groups: &[u32]) -> Vec<u8> {
            state::read(slot, groups)
        }
        pub(crate) fn lookup(&mut self, slot: u32, subkeys: &[u8]) -> Vec<u8> {
            state::lookup(slot, subkeys)
        }
        pub(crate) fn scan(&mut self, slot: u32, group: u32, start: &[u8], end: Option<&[u8]>, max_bytes: u32) -> Page {
            page(state::scan(slot, group, start, end, max_bytes))
        }
        pub(crate) fn iterable(&self, token: &[u8]) -> Page {
            page(iterables::read(token, PAGE_BYTES))
        }
        pub(crate) fn side(&mut self, input: u32, windows: u32, key: Option<&[u8]>, start: Option<&[u8]>) -> Page {
            page(side_inputs::read(input, windows, key, start, PAGE_BYTES))
        }
        pub(crate) fn side_keys(&mut self, input: u32, windows: u32, start: Option<&[u8]>) -> Page {
            page(side_inputs::keys(input, windows, start, PAGE_BYTES))
        }
        pub(crate) fn table(&mut self, table: u32, keys: &[u8]) -> Vec<u8> {
            tables::lookup(table, keys)
        }
    }
}
