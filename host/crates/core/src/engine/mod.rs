//! Attic: the two state machines. A [`Shard`] runs every stage for its partitions; the one [`Job`] holds what is global.
//!
//! `step(event, state, now)` returns effects. Events and effects are per bundle, never per element. Machines talk by
//! messages that a shell carries; the same code runs under threads and under a seeded simulation.

mod bundles;
mod cut;
mod deal;
mod event;
mod expiry;
mod flow;
mod gather;
mod groups;
mod hold;
mod identity;
mod job;
mod keyed;
mod pace;
mod restore;
mod sealed;
mod shard;
mod sorted;
mod stable;
mod stages;
mod start;
mod ttl;
mod views;

pub use deal::Deal;
pub use event::{Effect, Envelope, Event, Message, Report, SealedPart};
pub use gather::{Gather, Gathered};
pub use hold::Hold;
pub use identity::{check_job, identity, stored_description, stored_partitions, stored_revision, stored_shape};
pub use job::{Job, JobEffect, JobEvent, Outcome};
pub use restore::{ended_splits, stored_split, stored_splits};
pub use shard::{Config, Shard};
