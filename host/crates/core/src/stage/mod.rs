//! Room: stage. What waits for a worker stage, and the life of its bundles.
//!
//! In: batches of the stage's input edges. Out: bundles, each a state machine from `Open` to `Finalized` or `Abandoned`; its inputs
//! are pending until it is applied.

mod bundle;
mod inbox;

pub use bundle::{Bundle, BundleState};
pub use inbox::{Inbox, Lane, Origin, Pending};
