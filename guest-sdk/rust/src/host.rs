//! What the host does for a guest: in a component the imports of the contract, in a test of the function an object in
//! their place. The rest of the SDK does not know which.

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

/// The imports as an object, for functions that run outside of a component.
#[cfg(not(target_arch = "wasm32"))]
pub trait Imports: Send {
    /// `log.write`
    fn log(&mut self, level: Level, row: Option<u32>, message: &str);
    /// `outputs.emit`
    fn emit(&mut self, rows: Vec<u8>);
    /// `state.read`
    fn read(&mut self, slot: u32, groups: &[u32]) -> Vec<u8>;
    /// `state.write`
    fn write(&mut self, ops: Vec<u8>);
}

/// The way out of the guest.
#[cfg(not(target_arch = "wasm32"))]
pub struct Host(pub Box<dyn Imports>);

#[cfg(not(target_arch = "wasm32"))]
impl Host {
    pub(crate) fn log(&mut self, level: Level, row: Option<u32>, message: &str) {
        self.0.log(level, row, message);
    }
    pub(crate) fn emit(&mut self, rows: Vec<u8>) {
        self.0.emit(rows);
    }
    pub(crate) fn read(&mut self, slot: u32, groups: &[u32]) -> Vec<u8> {
        self.0.read(slot, groups)
    }
    pub(crate) fn write(&mut self, ops: Vec<u8>) {
        self.0.write(ops);
    }
}

/// The way out of the guest.
#[cfg(target_arch = "wasm32")]
pub struct Host;

#[cfg(target_arch = "wasm32")]
impl Host {
    pub(crate) fn log(&mut self, level: Level, row: Option<u32>, message: &str) {
        crate::bindings::thalweg::udf::log::write(level as u8, row, message);
    }
    pub(crate) fn emit(&mut self, rows: Vec<u8>) {
        crate::bindings::thalweg::udf::outputs::emit(&rows);
    }
    pub(crate) fn read(&mut self, slot: u32, groups: &[u32]) -> Vec<u8> {
        crate::bindings::thalweg::udf::state::read(slot, groups)
    }
    pub(crate) fn write(&mut self, ops: Vec<u8>) {
        crate::bindings::thalweg::udf::state::write(&ops);
    }
}
