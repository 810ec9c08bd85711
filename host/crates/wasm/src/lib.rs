//! The host of Wasm functions: components in, a [`Worker`](thalweg_core::port::worker::Worker) out.
//!
//! In the order data walks: [`Component`] (load, check, describe; [`Cache`]), [`Pool`] (instances under [`Limits`]),
//! [`frame`] (batches into frames and back), [`WasmWorker`] (bundles). The contract is `wit/`. Knows nothing of Beam's protos,
//! Kafka or RocksDB.

mod asked;
mod bags;
mod bindings;
mod cache;
mod clock;
mod compile;
mod component;
mod componentize;
pub mod describe;
mod engine;
mod error;
pub mod frame;
mod grant;
mod instance;
mod iterables;
mod limits;
mod native;
mod pool;
mod replay;
mod side;
mod state;
mod store;
mod ticker;
mod wasi;
mod watch;
mod worker;
mod world;

pub use asked::AskedLimits;
pub use cache::{Cache, Digest};
pub use compile::{CompileLimits, Compiler, compile_child};
pub use component::Component;
pub use componentize::{componentize, componentize_in};
pub use engine::Engine;
pub use error::{Error, Result};
pub use grant::{Allowed, Capability, Grants};
pub use limits::{EngineLimits, Limits};
pub use native::{HostCalls, NativeFunction, Run};
pub use pool::Pool;
pub use side::{Side, Table};
pub use worker::{
    Binding, Callee, Failures, Family, Inbox, StagePlan, Step, Target, Task, Terms, Trial, Verdict, Waker, WasmWorker,
};
pub use world::World;
