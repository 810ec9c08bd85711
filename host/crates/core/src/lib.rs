//! The pure engine of Thalweg: it takes events and returns effects, and knows no clock, I/O, protobuf or thread.
//!
//! Ground floor: [`id`], [`error`], [`time`], [`window`], [`coder`], [`short`], [`batch`], [`metric`], [`graph`], [`port`]. Rooms, in the
//! order data walks them: source, stage, shuffle, trigger, timer, [`state`], sink. Beside them: progress. Attic: engine, testing.
//! A room imports the ground floor and rooms after it.

pub mod batch;
pub mod coder;
pub mod engine;
pub mod error;
pub mod graph;
pub mod id;
pub mod metric;
pub mod port;
pub mod progress;
pub mod short;
pub mod shuffle;
pub mod sink;
pub mod source;
pub mod stage;
pub mod state;
pub mod stored;
pub mod testing;
pub mod time;
pub mod timer;
pub mod trigger;
pub mod window;
