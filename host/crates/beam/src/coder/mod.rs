//! Coders: which of a pipeline's coders the engine can walk through, and how elements and timers look on a worker's
//! wire.
//!
//! - [`table`]: a proto coder becomes a wire coder (unknown parts length-prefixed) and the engine's
//!   [`Coder`](thalweg_core::coder::Coder).
//! - [`schema`] knows where rows end.
//! - [`wire`]: windowed values of the data plane, to and from batches.
//! - [`timer`]: timers of the data plane.
//! - [`window`], [`pane`], [`instant`]: their parts.

pub mod instant;
pub mod pane;
pub mod schema;
pub mod table;
pub mod timer;
pub mod window;
pub mod wire;

pub use timer::{TimerCoder, WireTimer};
pub use window::WindowCoder;
pub use wire::WireCoder;
