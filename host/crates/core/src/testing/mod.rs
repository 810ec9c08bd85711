//! Attic: testing. Fakes of every port, a driver that runs a whole job in one thread without a clock, and a seeded simulation.
//!
//! In: a [`Topology`], built by a test. Out: what its sinks hold. Everything random comes from a seed; a broken invariant panics,
//! with what is needed to see it again. Nothing here is used by a running job.

mod driver;
mod log;
mod rng;
mod scratch;
mod simulation;
mod sink;
mod source;
mod store;
mod topology;
mod work;
mod worker;

pub use driver::{Choice, Driver, Observer};
pub use log::MemoryLog;
pub use rng::SplitMix64;
pub use scratch::MemoryScratch;
pub use simulation::{Faults, Simulation, Tally, Workload};
pub use sink::{CollectingSink, Line, OutboxSink, SinkDisk};
pub use source::{ScriptedSource, ScriptedSplit, SourceRow};
pub use store::{CountingRead, FakeStore, Fault};
pub use topology::{SinkKind, Topology, User};
pub use work::{Cache, Element, Piece, StageFn, StageScript, Work};
pub use worker::{MapFn, MergeFn, ScriptedWorker, SplitFn, WorkerScript, give_back_whole};
